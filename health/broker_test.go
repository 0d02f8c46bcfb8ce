package health

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// brokers are what some of three brokers say of themselves and of the others.
func brokers(now time.Time, away ...string) map[string]Sighting {
	seen := map[string]Sighting{"primary1": {Presence: Presence{Node: "primary1", Role: "primary"}, At: now}}
	var peers []Peer
	for n := range 3 {
		id := fmt.Sprintf("broker%d", n+1)
		gone := strings.Contains(strings.Join(away, " "), id)
		peers = append(peers, Peer{Name: id, Away: gone, Seen: now.Add(-time.Hour)})
		if !gone {
			seen[id] = Sighting{Presence: Presence{Node: id, Role: "broker", Process: Process{Clock: now}, Broker: &BrokerReport{}}, At: now}
		}
	}
	for id, s := range seen {
		if s.Broker != nil {
			s.Broker.Peers = peers
			seen[id] = s
		}
	}
	return seen
}

func TestBrokersAway(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := Config{InactiveAfter: 30 * time.Second}
	for _, test := range []struct {
		away []string
		want string
	}{
		{nil, ""},
		{[]string{"broker2"}, "broker broker2: away; 2 of 3 brokers are up: if another broker fails, nothing is distributed; last seen at 2025-12-31T23:00:00Z"},
		{[]string{"broker2", "broker3"}, "broker broker2: away; 1 of 3 brokers are up: nothing is stored"},
	} {
		b := NewBoard(now, c, brokers(now, test.away...), nil)
		if b.OK != (test.want == "") {
			t.Errorf("%v: OK is %v", test.away, b.OK)
		}
		got := ""
		for _, a := range b.Alarms(c, time.Hour) {
			if a.Node == "broker2" {
				got = a.What
			}
		}
		if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%v: %q", test.away, got)
		}
	}
}

func TestCertificatesEnd(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for days, want := range map[int]string{400: "", 31: "", 29: "warning", 6: "alarm", -1: "alarm"} {
		r := Row{Presence: Presence{Node: "broker1", Role: "broker", Broker: &BrokerReport{Certificate: now.AddDate(0, 0, days), CA: now.AddDate(9, 0, 0)}}}
		got := ""
		for _, a := range r.brokerAlarms(now) {
			if got = "alarm"; a.Warning {
				got = "warning"
			}
			if got := Lines(a.Commands()); !slices.Equal(got, []string{"pdns-distribute init rotate certificate broker1"}) {
				t.Errorf("%q", got)
			}
		}
		if got != want {
			t.Errorf("%d days: %q, want %q", days, got, want)
		}
	}
}

// Who breaks into a broker must not fill the memory of others.
func TestBrokerIsBounded(t *testing.T) {
	p := Presence{Role: "broker", Condition: Condition{Repaired: strings.Repeat("x", 10_000)}, Broker: &BrokerReport{Server: strings.Repeat("x", 10_000), Peers: make([]Peer, 1000)}}
	p.Bound()
	if len(p.Broker.Peers) > maxPeers || len(p.Broker.Server) > 2*maxText || len(p.Repaired) > 2*maxText {
		t.Errorf("%d peers", len(p.Broker.Peers))
	}
	p = Presence{Role: "proxy", Broker: &BrokerReport{}}
	if p.Bound(); p.Broker != nil {
		t.Error("a proxy passes for a broker")
	}
}
