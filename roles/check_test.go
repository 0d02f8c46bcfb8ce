package roles

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// newTestChecker is one whose health role knows the zones as published, and one secondary that has all behind it.
func newTestChecker(published int) *checker {
	h := &Health{
		node: &node{log: zerolog.Nop()}, cfg: health.Config{MaxDeletePercent: 10, EventCheckWait: time.Second, CheckInterval: time.Hour}, index: newIndex(),
		events: health.NewEvents(time.Second), findings: newFindings(), feeds: map[string]broker.FeedInfo{"ns1": {Node: "ns1", Delivered: 1 << 40, AckFloor: 1 << 40}}, feedsAt: time.Now(),
	}
	h.metrics = newHealthMetrics(prometheus.NewRegistry(), func() bool { return true }, h.events)
	for n := range published {
		h.index.set(zoneOf(n), uint64(n+1), broker.StateHeader{Kind: broker.KindZone, Digest: fmt.Sprintf("%096x", n), Stable: fmt.Sprintf("%064x", n)})
	}
	return newChecker(h, &mender{wake: make(chan struct{}, 1), orders: map[zone.Name]string{}})
}

func zoneOf(n int) zone.Name { return zone.MustParseName(fmt.Sprintf("z%d.example", n)) }

// check compares with what the secondary has, and returns what came of it.
func (c *checker) check(t *testing.T, has *health.Inventory) nodeReport {
	t.Helper()
	want := c.h.index.desired()
	found, err := health.Compare(t.Context(), "a check", want, askOf(has))
	must(t, err)
	r := nodeReport{Node: "ns1"}
	c.mend("ns1", found, want.Sum().Zones, &r)
	return r
}

// What is published being empty, or most of it lost, never deletes anything by and by, however many zones there are.
func TestNothingIsPublished(t *testing.T) {
	for _, published := range []int{0, 1, 1000} {
		for _, zones := range []int{2000, 12_000, 60_000} {
			c := newTestChecker(published)
			has := &health.Inventory{}
			for n := range zones {
				has.Add(health.Entry{Zone: zoneOf(n), Version: c.h.index.get(zoneOf(n)).version(zoneOf(n))})
			}
			if r := c.check(t, has); r.Held == "" || r.Ordered != 0 || len(c.mender.orders) != 0 {
				t.Errorf("%d of %d zones are published: %+v", published, zones, r)
			}
			c.brake("ns1").Release(time.Now(), time.Minute)
			if r := c.check(t, has); r.Held != "" || r.Ordered == 0 {
				t.Errorf("%d of %d zones are published, after the operator's word: %+v", published, zones, r)
			}
		}
	}
}

// What differs is ordered, but for what is on its way.
func TestOrdersWhatDiffers(t *testing.T) {
	c := newTestChecker(100)
	has := &health.Inventory{}
	for n := 5; n < 100; n++ {
		has.Add(health.Entry{Zone: zoneOf(n), Version: c.h.index.get(zoneOf(n)).version(zoneOf(n))})
	}
	has.Add(health.Entry{Zone: named("orphan")})
	c.h.index.set(zoneOf(0), 1<<41, c.h.index.get(zoneOf(0)).header) // has still to be delivered
	c.h.events.Published(time.Now(), 2, health.Settled{Zone: zoneOf(1)})
	r := c.check(t, has)
	if r.OnWay != 2 || r.Ordered != 4 || r.Held != "" || strings.Join(r.Found, ", ") != "1 orphan, 3 missing" || c.mender.orders[named("orphan")] != "ns1" {
		t.Errorf("%+v, orders %v", r, c.mender.orders)
	}
}

// A zone that several are to take again is published once.
func TestOrdersAreMerged(t *testing.T) {
	c := newTestChecker(1)
	c.mender.add(zoneOf(0), "ns1")
	c.mender.add(zoneOf(0), "ns1")
	if got := c.mender.orders[zoneOf(0)]; got != "ns1" {
		t.Errorf("to %q", got)
	}
	c.mender.add(zoneOf(0), "ns2")
	if name, to, ok := c.mender.next(); !ok || name != zoneOf(0) || to != broker.ToAll {
		t.Errorf("%s to %q", name, to)
	}
}

// A node is who the broker says, and only a health role can say what is wrong, and only so much.
func TestSightings(t *testing.T) {
	p := health.Presence{Node: "health1", Role: roleSecondary, Leads: true, Alarms: []health.Alarm{{Kind: "none"}}, Problems: []string{strings.Repeat("x", 100_000)}, Addresses: make([]string, 1000)}
	text, err := json.Marshal(p)
	must(t, err)
	s := newSighting("ns2", broker.StatusMsg{Data: text})
	if s.Node != "ns2" || s.Leads || s.Alarms != nil || len(s.Problems[0]) > 500 || len(s.Addresses) > 10 {
		t.Errorf("%.300s", fmt.Sprintf("%+v", s))
	}

	p.Role, p.Node = "health", "ns2" // one that lies
	text, err = json.Marshal(p)
	must(t, err)
	s = newSighting("ns2", broker.StatusMsg{Data: text})
	s.At = time.Now()
	board := health.NewBoard(time.Now(), health.Config{InactiveAfter: time.Minute}, map[string]health.Sighting{"ns2": s}, []health.Feed{{Node: "ns2"}})
	if r := board.Nodes[0]; r.Role != roleSecondary || leader(board, "ns2") != nil {
		t.Errorf("a secondary passes for %s", r.Role)
	}
}

// A node that nobody understands is shown as such, and the others all the same.
func TestUnreadableSighting(t *testing.T) {
	for what, text := range map[string]string{"empty": "", "no JSON": "{", "another type": `{"role":"primary","leads":true,"zones":"many"}`} {
		s := newSighting("ns1", broker.StatusMsg{Data: []byte(text), At: time.Now()})
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
		Role: "health", Version: long, Instance: long, Host: long, PowerDNS: long, Addresses: list, Problems: list, Warnings: list,
		Failing: slices.Repeat([]health.Failure{{Zone: zoneOf(0), Reason: long}}, 60),
		Alarms:  slices.Repeat([]health.Alarm{{Kind: long, Node: long, What: long, Remedy: long}}, health.MaxAlarms+10),
	}
	text, err := json.Marshal(p)
	must(t, err)
	s := newSighting("health1", broker.StatusMsg{Data: text})
	text, err = json.Marshal(s)
	must(t, err)
	if len(text) > 512<<10 {
		t.Errorf("%d bytes are kept of a node", len(text))
	}
	p.Role = long
	text, err = json.Marshal(p)
	must(t, err)
	if s := newSighting("ns1", broker.StatusMsg{Data: text}); len(s.Role) > 500 {
		t.Errorf("a role of %d bytes", len(s.Role))
	}
}

// More nodes than there can be are not remembered, and those that are stay.
func TestNodesAreBounded(t *testing.T) {
	h := &Health{twins: health.NewTwins(), seen: map[string]health.Sighting{}}
	for i := range 2 * health.MaxNodes {
		h.heard(fmt.Sprintf("ns%d", i), health.Sighting{At: time.Now()})
	}
	later := time.Now().Add(time.Minute)
	h.heard("ns0", health.Sighting{At: later})
	if n := len(h.seen); n != health.MaxNodes || !h.seen["ns0"].At.Equal(later) {
		t.Errorf("%d nodes are known, ns0 from %s", n, h.seen["ns0"].At)
	}
}

// FuzzSighting demands that whatever a node says of itself can be shown.
func FuzzSighting(f *testing.F) {
	f.Add([]byte(`{"node":"ns1","role":"secondary","load":1,"failing":[{"zone":"example.","reason":"x"}],"alarms":[{"kind":"x"}],"signed_until":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := newSighting("ns1", broker.StatusMsg{Data: text, At: time.Now()})
		b := health.NewBoard(time.Now(), health.Config{InactiveAfter: time.Minute}, map[string]health.Sighting{"ns1": s}, []health.Feed{{Node: "ns1"}})
		if b.Nodes[0].Node != "ns1" || b.Nodes[0].Role != roleSecondary || b.Nodes[0].Leads {
			t.Fatalf("it passes for another: %+v", b.Nodes[0])
		}
		if _, err := json.Marshal(b); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := printBoard(&out, b, func(string, string) bool { return false }); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Fatalf("%q does something to the terminal", out.String()[i])
		}
	})
}

// askOf answers as a secondary does that has this.
func askOf(has *health.Inventory) func(context.Context, health.Question) (health.Answer, error) {
	return func(_ context.Context, q health.Question) (health.Answer, error) { return has.Answer(q), nil }
}
