package health

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/roletest"
	"pdns-distribute/roles/status"
)

// newTestChecker is one whose health role knows the zones as published, and one secondary that has all behind it.
func newTestChecker(published int) *checker {
	cfg := health.Config{MaxDeletePercent: 10, EventCheckWait: time.Second, CheckInterval: time.Hour}
	h := &Health{
		Node: &node.Node{Log: zerolog.Nop()}, cfg: cfg, nodes: newNodes(cfg), published: newPublished(time.Second), findings: newFindings(),
	}
	h.nodes.noteFeeds(time.Now(), []broker.FeedInfo{{Node: "ns1", Delivered: 1 << 40, AckFloor: 1 << 40}}, 0)
	h.metrics = newMetrics(prometheus.NewRegistry(), h)
	for n := range published {
		h.published.index.Set(roletest.Numbered(n), uint64(n+1), broker.StateHeader{Kind: broker.KindZone, Digest: fmt.Sprintf("%096x", n), Stable: fmt.Sprintf("%064x", n)})
	}
	return newChecker(h, newRepairer(nil, nil))
}

// compareWith compares with what the secondary has, and returns what that came to.
func (c *checker) compareWith(t *testing.T, has *health.Inventory) status.NodeReport {
	t.Helper()
	want := c.h.published.index.Desired()
	found, err := health.Compare(t.Context(), health.Question{Check: "a check"}, want, askOf(has))
	must.OK(t, err)
	r := status.NodeReport{Node: "ns1"}
	real := c.standing(checked{"ns1", health.RoleSecondary}, c.beginRound("ns1"), health.Served, found, &r)
	c.orderAtSecondary(union(found, real), want.Sum().Zones, &r)
	return r
}

// What is published being empty, or most of it lost, never deletes anything by and by, however many zones there are.
func TestNothingIsPublished(t *testing.T) {
	for _, published := range []int{0, 1, 1000} {
		for _, zones := range []int{2000, 12_000, 60_000} {
			c := newTestChecker(published)
			has := &health.Inventory{}
			for n := range zones {
				has.Add(health.Entry{Zone: roletest.Numbered(n), Version: c.h.published.index.Get(roletest.Numbered(n)).Version(roletest.Numbered(n))})
			}
			if r := c.compareWith(t, has); r.Held == "" || r.Ordered != 0 || len(c.repairer.orders) != 0 {
				t.Errorf("%d of %d zones are published: %+v", published, zones, r)
			}
			c.limits.of("ns1").Confirm(time.Now(), time.Minute, zones)
			if r := c.compareWith(t, has); r.Held != "" || r.Ordered == 0 {
				t.Errorf("%d of %d zones are published, after an operator has confirmed: %+v", published, zones, r)
			}
		}
	}
}

// What differs is ordered, but for what is on its way.
func TestOrdersWhatDiffers(t *testing.T) {
	c := newTestChecker(100)
	has := &health.Inventory{}
	for n := 5; n < 100; n++ {
		has.Add(health.Entry{Zone: roletest.Numbered(n), Version: c.h.published.index.Get(roletest.Numbered(n)).Version(roletest.Numbered(n))})
	}
	has.Add(health.Entry{Zone: roletest.Named("orphan")})
	c.h.published.index.Set(roletest.Numbered(0), 1<<41, c.h.published.index.Get(roletest.Numbered(0)).Header) // has still to be delivered
	c.h.published.events.Published(time.Now(), 2, health.Settled{Zone: roletest.Numbered(1)}, true)
	r := c.compareWith(t, has)
	if r.OnWay != 2 || r.Ordered != 4 || r.Held != "" || strings.Join(r.Found, ", ") != "1 orphan, 3 missing" || c.repairer.orders[roletest.Named("orphan")] != "ns1" {
		t.Errorf("%+v, orders %v", r, c.repairer.orders)
	}
}

// A zone that several are to take again is published once.
func TestOrdersAreMerged(t *testing.T) {
	c := newTestChecker(1)
	c.repairer.add(roletest.Numbered(0), "ns1")
	c.repairer.add(roletest.Numbered(0), "ns1")
	if got := c.repairer.orders[roletest.Numbered(0)]; got != "ns1" {
		t.Errorf("to %q", got)
	}
	c.repairer.add(roletest.Numbered(0), "ns2")
	if name, to, ok := c.repairer.next(); !ok || name != roletest.Numbered(0) || to != broker.ToAll {
		t.Errorf("%s to %q", name, to)
	}
}

// More nodes than there can be are not remembered, and those that are stay.
func TestNodesAreBounded(t *testing.T) {
	n := newNodes(health.Config{})
	see := func(node string, at time.Time) { n.see(health.Sighting{Presence: health.Presence{Node: node}, At: at}) }
	for i := range 2 * health.MaxNodes {
		see(fmt.Sprintf("ns%d", i), time.Now())
	}
	later := time.Now().Add(time.Minute)
	see("ns0", later)
	if known := len(n.seen); known != health.MaxNodes || !n.seen["ns0"].At.Equal(later) {
		t.Errorf("%d nodes are known, ns0 from %s", known, n.seen["ns0"].At)
	}
}

// askOf answers as a secondary does that has this.
func askOf(has *health.Inventory) func(context.Context, health.Question) (health.Answer, error) {
	return func(_ context.Context, q health.Question) (health.Answer, error) { return has.Answer(q), nil }
}

// A node of which a source could not be compared is compared again soon, and ever later: its PowerDNS may be up a
// moment later.
func TestFaultsAreComparedAgain(t *testing.T) {
	c := newTestChecker(1)
	fault := status.NodeReport{Node: "ns1", Sources: []status.SourceReport{{Source: health.Served, Fault: "PowerDNS is down"}}}
	var pauses []time.Duration
	for range 3 {
		pauses = append(pauses, c.pause(fault))
		c.outcomes.note(time.Now(), fault)
	}
	if !slices.Equal(pauses, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}) {
		t.Errorf("it is compared again after %v", pauses)
	}
	whole := status.NodeReport{Node: "ns1"}
	c.outcomes.note(time.Now(), whole)
	if pause := c.pause(whole); pause != time.Hour || c.outcomes.differed("ns1") != 0 {
		t.Errorf("once it is compared, again after %s", pause)
	}
}
