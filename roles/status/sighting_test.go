package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/follow"
	"pdns-distribute/roles/roletest"
)

// A node is who the broker says, and only a health role can say what is wrong, and only so much.
func TestSightings(t *testing.T) {
	p := health.Presence{Node: "health1", Role: health.RoleSecondary, Leads: true}
	p.Health.Alarms, p.Problems = []health.Alarm{{Kind: "none"}}, []string{strings.Repeat("x", 100_000)}
	p.Secondary.Addresses = make([]string, 1000)
	text, err := json.Marshal(p)
	must.OK(t, err)
	s := follow.NewSighting("ns2", broker.StatusMsg{Data: text})
	if s.Node != "ns2" || s.Leads || s.Health.Alarms != nil || len(s.Problems[0]) > 500 || len(s.Secondary.Addresses) > 10 {
		t.Errorf("%.300s", fmt.Sprintf("%+v", s))
	}

	p.Role, p.Node = "health", "ns2" // one that lies
	text, err = json.Marshal(p)
	must.OK(t, err)
	s = follow.NewSighting("ns2", broker.StatusMsg{Data: text})
	s.At = time.Now()
	board := health.NewBoard(time.Now(), health.Config{InactiveAfter: time.Minute}, map[string]health.Sighting{"ns2": s}, []health.Feed{{Node: "ns2"}})
	if r := board.Nodes[0]; r.Role != health.RoleSecondary || Leader(board, "ns2") != nil {
		t.Errorf("a secondary passes for %s", r.Role)
	}
}

// A node that nobody understands is shown as such, and the others all the same.
func TestUnreadableSighting(t *testing.T) {
	for what, text := range map[string]string{"empty": "", "no JSON": "{", "another type": `{"role":"primary","leads":true,"zones":"many"}`} {
		s := follow.NewSighting("ns1", broker.StatusMsg{Data: []byte(text), At: time.Now()})
		b := health.NewBoard(time.Now(), health.Config{InactiveAfter: time.Minute}, map[string]health.Sighting{"ns1": s}, nil)
		if r := b.Nodes[0]; r.Node != "ns1" || r.State != health.StateNotReady || r.Role != "" || r.Leads || len(r.Problems) != 1 {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

// What a node sends of itself is bounded in every field, whatever it sends.
func TestSightingIsBounded(t *testing.T) {
	long := strings.Repeat("x", 5000)
	list := slices.Repeat([]string{long}, 100)
	p := health.Presence{
		Role: "health", Process: health.Process{Version: long, Instance: long, PowerDNS: long}, Host: health.Host{Name: long},
		Condition: health.Condition{
			Problems: list, Warnings: list, Failing: slices.Repeat([]health.Failure{{Zone: roletest.Numbered(0), Reason: long}}, 60),
		},
		Secondary: health.SecondaryReport{Addresses: list},
		Health: health.HealthReport{
			Alarms: slices.Repeat([]health.Alarm{{Kind: health.Kind(long), Node: long, What: long, Remedy: long}}, health.MaxAlarms+10),
		},
	}
	for _, role := range []string{health.RoleHealth, health.RoleSecondary} { // each has a part of its own
		p.Role = role
		text, err := json.Marshal(p)
		must.OK(t, err)
		text, err = json.Marshal(follow.NewSighting("health1", broker.StatusMsg{Data: text}))
		must.OK(t, err)
		if len(text) > 512<<10 {
			t.Errorf("%d bytes are kept of a %s", len(text), role)
		}
	}
	p.Role = long
	text, err := json.Marshal(p)
	must.OK(t, err)
	if s := follow.NewSighting("ns1", broker.StatusMsg{Data: text}); len(s.Role) > 500 {
		t.Errorf("a role of %d bytes", len(s.Role))
	}
}

// FuzzSighting demands that whatever a node says of itself can be shown.
func FuzzSighting(f *testing.F) {
	f.Add([]byte(`{"node":"ns1","role":"secondary","host":{"load":1},"failing":[{"zone":"example.","reason":"x"}],"health":{"alarms":[{"kind":"x"}]},"secondary":{"signed_until":{}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := follow.NewSighting("ns1", broker.StatusMsg{Data: text, At: time.Now()})
		b := health.NewBoard(time.Now(), health.Config{InactiveAfter: time.Minute}, map[string]health.Sighting{"ns1": s}, []health.Feed{{Node: "ns1"}})
		if b.Nodes[0].Node != "ns1" || b.Nodes[0].Role != health.RoleSecondary || b.Nodes[0].Leads {
			t.Fatalf("it passes for another: %+v", b.Nodes[0])
		}
		if _, err := json.Marshal(b); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := printBoard(&out, b, func(health.Kind, string) bool { return false }); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Fatalf("%q does something to the terminal", out.String()[i])
		}
	})
}
