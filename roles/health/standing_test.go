package health

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/roletest"
	"pdns-distribute/roles/status"
)

// A difference that stands though it was repaired is an alarm that says where and since when, unless the node says
// itself what is wrong with the zone, and one that is over is none.
func TestDiffersIsAnAlarm(t *testing.T) { synctest.Test(t, differsIsAnAlarm) }

func differsIsAnAlarm(t *testing.T) {
	c := newTestChecker(3)
	c.h.nodes.cfg.InactiveAfter = time.Hour
	n := checked{"ns1", health.RoleSecondary}
	has := &health.Inventory{}
	for i := range 2 {
		has.Add(health.BySerial(roletest.Numbered(i), 0))
	}
	look := func(has *health.Inventory) (raised []string) {
		found, err := health.Compare(t.Context(), health.Question{Check: "c"}, c.h.published.index.StockOf(index.ByServedSerial), askOf(has))
		must.OK(t, err)
		r := status.NodeReport{Node: n.node, Role: n.role}
		real := c.standing(n, c.beginRound(n.node), health.PowerDNS, found, &r)
		c.orderAtSecondary(union(health.Comparison{}, real), 3, &r)
		c.oldest(real, &r)
		c.conclude(n, r)
		for _, a := range c.h.findings.alarms() {
			raised = append(raised, string(a.Kind)+" "+a.What)
		}
		time.Sleep(2 * c.h.cfg.EventCheckWait)
		return raised
	}
	for range 2 {
		if raised := look(has); raised != nil {
			t.Errorf("at first: %q", raised)
		}
	}
	look(has)
	if raised := look(has); len(raised) != 1 || !strings.HasPrefix(raised[0], "differs secondary ns1: ") ||
		!strings.Contains(raised[0], `z2.example., missing in source "PowerDNS, listed"`) {
		t.Errorf("%q", raised)
	}
	if len(c.repairer.orders) != 1 || c.h.compared.Load().Whole(time.Now(), time.Hour) {
		t.Errorf("orders %v, and %+v", c.repairer.orders, c.h.compared.Load())
	}
	c.h.nodes.seen = map[string]health.Sighting{"ns1": {At: time.Now(), Presence: health.Presence{
		Node: "ns1", Role: health.RoleSecondary, Condition: health.Condition{Failures: 1, Failing: []health.Failure{{Zone: roletest.Numbered(2)}}},
	}}}
	if raised := look(has); raised != nil {
		t.Errorf("it is failing there: %q", raised)
	}
	c.h.nodes.seen = nil
	look(has)
	if raised := look(c.h.published.index.StockOf(index.ByServedSerial)); raised != nil {
		t.Errorf("it is over: %q", raised)
	}
}

// A health role that missed a state reads all of them again, and has no secondary repaired for it that is right.
func TestStaleIndexIsReadAnew(t *testing.T) {
	c := newTestChecker(3)
	n := checked{"primary1", health.RolePrimary}
	has := &health.Inventory{}
	for i := range 4 { // one more
		name := roletest.Numbered(i)
		has.Add(health.Entry{Zone: name, Version: c.h.published.index.Get(name).Version(name), Serial: 1})
	}
	look := func() (r status.NodeReport) {
		found, err := health.Compare(t.Context(), health.Question{Check: "c"}, c.h.published.index.Desired(), askOf(has))
		must.OK(t, err)
		real := c.standing(n, c.beginRound(n.node), health.Stream, found, &r)
		c.orderAtPrimary(real, &r)
		return r
	}
	if r := look(); r.OnWay != 1 || len(c.h.published.again) != 0 {
		t.Errorf("at first it may be on its way: %+v", r)
	}
	if r := look(); r.Ordered != 1 || len(c.h.published.again) != 1 || c.repairer.orders[roletest.Numbered(3)] != broker.ToAll {
		t.Errorf("%+v, orders %v", r, c.repairer.orders)
	}
}
