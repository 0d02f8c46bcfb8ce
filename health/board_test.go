package health

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// sighted is a node as it spoke so long before noon.
func sighted(node, role string, before time.Duration, change ...func(*Presence)) Sighting {
	s := Sighting{Presence{Node: node, Role: role}, noon.Add(-before)}
	for _, f := range change {
		f(&s.Presence)
	}
	return s
}

func notReady(p *Presence) { p.Problems = []string{"powerdns: away"} }
func failing(p *Presence)  { p.Failures = 1 }
func warned(p *Presence)   { p.Warnings = []string{"query-cache-ttl=20"} }

func TestStateOfANode(t *testing.T) {
	const inactiveAfter = 30 * time.Second
	ns1 := []Feed{{Node: "ns1"}}
	for what, test := range map[string]struct {
		seen     Sighting
		expected []Feed
		want     string
	}{
		"well":                  {sighted("ns1", "secondary", time.Second), ns1, StateOK},
		"well, no secondary":    {sighted("proxy1", "proxy", time.Second), nil, StateOK},
		"warned of":             {sighted("ns1", "secondary", time.Second, warned), ns1, StateOK},
		"at the limit":          {sighted("ns1", "secondary", inactiveAfter), ns1, StateOK},
		"silent":                {sighted("ns1", "secondary", inactiveAfter+1), ns1, StateInactive},
		"behind":                {sighted("ns1", "secondary", 0), []Feed{{Node: "ns1", Behind: 1}}, StateBehind},
		"failing and behind":    {sighted("ns1", "secondary", 0, failing), []Feed{{Node: "ns1", Behind: 1}}, StateFailing},
		"not ready and failing": {sighted("ns1", "secondary", 0, notReady, failing), ns1, StateNotReady},
		"silent and all else":   {sighted("ns1", "secondary", time.Hour, notReady, failing), []Feed{{Node: "ns1", Behind: 1}}, StateInactive},
	} {
		t.Run(what, func(t *testing.T) {
			primary := sighted("a1", "primary", 0)
			b := NewBoard(noon, Config{InactiveAfter: inactiveAfter}, map[string]Sighting{"a1": primary, test.seen.Node: test.seen}, test.expected)
			if len(b.Nodes) != 2 || b.Nodes[0].State != StateOK {
				t.Fatalf("%+v", b.Nodes)
			}
			row := b.Nodes[1]
			if row.State != test.want || b.OK != (test.want == StateOK) || row.Active != (test.want != StateInactive) || !row.Seen.Equal(test.seen.At) {
				t.Errorf("%+v, OK %v; want state %q", row, b.OK, test.want)
			}
		})
	}
}

func TestBoard(t *testing.T) {
	seen := map[string]Sighting{
		"ns2":      sighted("ns2", "secondary", 0),
		"ns10":     sighted("ns10", "secondary", 0),
		"proxy1":   sighted("proxy1", "proxy", 0),
		"primary1": sighted("primary1", "primary", 0),
	}
	feeds := []Feed{{Node: "ns2", Behind: 7}, {Node: "ns10"}, {Node: "gone1", Behind: 3}}
	b := NewBoard(noon, Config{InactiveAfter: time.Minute, MaxLoad: 2}, seen, feeds)
	var rows []string
	for _, r := range b.Nodes {
		rows = append(rows, r.Role+" "+r.Node+" "+r.State)
	}
	want := "primary primary1 ok, proxy proxy1 ok, secondary gone1 inactive, secondary ns10 ok, secondary ns2 behind"
	if got := strings.Join(rows, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	silent := b.Nodes[2]
	if silent.Active || !silent.Seen.IsZero() || silent.Behind != 3 {
		t.Errorf("a secondary that was never seen is %+v", silent)
	}
	if b.OK || !b.At.Equal(noon) {
		t.Errorf("OK %v at %s", b.OK, b.At)
	}
	text, err := json.Marshal(silent)
	if want := `{"node":"gone1","role":"secondary","version":"","started":"0001-01-01T00:00:00Z","instance":"","clock":"0001-01-01T00:00:00Z","failures":0,"host":{"name":"","load":0,"cores":0,"disk_free":0,"disk_total":0},"zones":0,"active":false,"behind":3,"state":"inactive"}`; err != nil || string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestNothingIsWellWithoutAPrimary(t *testing.T) {
	for what, seen := range map[string]map[string]Sighting{
		"nobody":                   nil,
		"only a secondary":         {"ns1": sighted("ns1", "secondary", 0)},
		"a primary that is silent": {"primary1": sighted("primary1", "primary", time.Hour), "ns1": sighted("ns1", "secondary", 0)},
	} {
		if NewBoard(noon, Config{InactiveAfter: time.Minute, MaxLoad: 2}, seen, nil).OK {
			t.Errorf("%s: it is said to be well", what)
		}
	}
}

func TestConfig(t *testing.T) {
	hook := (&Config{InactiveAfter: 10 * time.Second, EventCheckWait: time.Second, CheckInterval: time.Second, Webhook: "htps://a.example/token"}).Validate()
	if hook == nil || strings.Contains(hook.Error(), "token") {
		t.Errorf("a webhook of no scheme: %v", hook)
	}
	good := Config{InactiveAfter: 10 * time.Second, EventCheckWait: time.Second, CheckInterval: time.Second, Webhook: "https://a.example/hook"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	bad := good
	bad.InactiveAfter = 9 * time.Second
	err := bad.Validate()
	if want := "health.inactive_after: 9s is too short, nodes send a heartbeat every 5s; use 10s or more"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestPrintable(t *testing.T) {
	const hostile = "a\x1b[2Jb\x07\u202ec\u009bd\r\nAlarm: né …\t\x00"
	if got, want := Printable(hostile), "a [2Jb  c d \nAlarm: né …\t "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Cut(hostile + strings.Repeat("é", 1000)); strings.ContainsAny(got, "\n\x1b") || len(got) > 500 {
		t.Errorf("%q", got)
	}
}
