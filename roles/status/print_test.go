package status

import (
	"strings"
	"testing"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/roletest"
)

func TestPrintedBoard(t *testing.T) {
	seen := map[string]health.Sighting{
		"primary1": {At: roletest.Noon.Add(-time.Second), Presence: health.Presence{Node: "primary1", Role: "primary", Process: process("1.2.3", "4.7.3"), Zones: 1200, Condition: health.Condition{Failures: 61, Failing: []health.Failure{
			{Zone: roletest.Named("bad"), Reason: "transfer: refused", Since: roletest.Noon.Add(-90 * time.Second), Attempts: 7},
			{Zone: roletest.Named("worse"), Reason: "no SOA", Since: roletest.Noon.Add(-time.Hour), Attempts: 20},
		}}}},
		"proxy1": {At: roletest.Noon.Add(-1400 * time.Millisecond), Presence: health.Presence{Node: "proxy1", Role: "proxy", Process: process("1.2.3", "")}},
		"ns1": {At: roletest.Noon, Presence: health.Presence{Node: "ns1", Role: "secondary", Process: process("1.2.3", "4.9.0"), Zones: 1200,
			Secondary: health.SecondaryReport{LastApplied: roletest.Noon.Add(-3 * time.Minute), Fill: &health.Fill{Done: 200, Zones: 1400, Rate: 12.5}},
			Condition: health.Condition{Warnings: []string{"PowerDNS runs with query-cache-ttl=20 (should be 0)"}}}},
		"ns2": {At: roletest.Noon.Add(-time.Hour), Presence: health.Presence{Node: "ns2", Role: "secondary", Process: process("1.2.2", ""), Zones: 1190,
			Condition: health.Condition{Problems: []string{"powerdns: connection refused"}}}},
	}
	feeds := []health.Feed{{Node: "ns1", Behind: 2}, {Node: "ns2", Behind: 10}, {Node: "ns3", Behind: 1200}}
	wantPrinted(t, health.NewBoard(roletest.Noon, health.Config{InactiveAfter: 30 * time.Second}, seen, feeds), `
ROLE       NODE      STATE     ZONES  BEHIND  FAILING  LAST APPLIED  SEEN    POWERDNS  VERSION
primary    primary1  failing   1200   -       61       -             1s      4.7.3     1.2.3
proxy      proxy1    ok        0      -       0        -             1s      -         1.2.3
secondary  ns1       behind    1200   2       0        3m0s          0s      4.9.0     1.2.3
secondary  ns2       inactive  1190   10      0        -             1h0m0s  -         1.2.2
secondary  ns3       inactive  0      1200    0        -             -       -         -

primary primary1: failing zones (61), retried automatically:
  bad.example. for 1m30s, 7 attempts: transfer: refused
  worse.example. for 1h0m0s, 20 attempts: no SOA

secondary ns1 is being filled: 200 of 1400 zones, 12 a second, 1m36s left.

secondary ns1: PowerDNS runs with query-cache-ttl=20 (should be 0)

secondary ns2 is not ready: powerdns: connection refused
`)
}

func TestPrintedBoardWithoutAPrimary(t *testing.T) {
	wantPrinted(t, health.NewBoard(roletest.Noon, health.Config{InactiveAfter: time.Minute}, nil, nil), `
ROLE  NODE  STATE  ZONES  BEHIND  FAILING  LAST APPLIED  SEEN  POWERDNS  VERSION

No active primary: nothing is distributed.
`)
}

func process(version, powerDNS string) health.Process {
	return health.Process{Version: version, PowerDNS: powerDNS}
}

func wantPrinted(t *testing.T, b health.Board, want string) {
	t.Helper()
	var got strings.Builder
	must.OK(t, printBoard(&got, b, func(health.Kind, string) bool { return false }))
	if want = strings.TrimPrefix(want, "\n"); got.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", got.String(), want)
	}
}
