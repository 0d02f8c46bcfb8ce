package primary

import (
	"fmt"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/roletest"
)

// headerOf is what the primary says of a state beside it.
func headerOf(s *zone.State) broker.StateHeader {
	if s.Gone {
		return broker.StateHeader{Kind: broker.KindGone, Published: s.Published}
	}
	return broker.StateHeader{
		Kind: broker.KindZone, Serial: s.Serial, Stored: s.Stored, Published: s.Published, Expires: s.Expires,
		Digest: fmt.Sprintf("%x", s.Digest), Stable: fmt.Sprintf("%x", s.Stable),
	}
}

// sums are those that a secondary comes to which has just this state.
func sums(s *zone.State) zone.Sums {
	l := zone.NewLedger(roletest.Noon.Add(time.Hour))
	l.Note(s.Version(), roletest.Noon.Add(time.Hour))
	is, _ := l.Sums()
	return is
}

// A primary signs what a secondary has, by the headers alone; headers that say otherwise than the state do not lead to
// the sums of any state.
func TestIndexIsLedger(t *testing.T) {
	_, z := roletest.LargeZone(t)
	now, _ := zone.NewState(z, 7, roletest.Noon)
	signed := func(headers ...broker.StateHeader) zone.Sums {
		x := index.New()
		x.Ledger = zone.NewLedger(roletest.Noon.Add(time.Hour))
		for i, h := range headers {
			x.Set(z.Name(), uint64(i)+1, h)
		}
		is, _ := x.Ledger.Sums()
		return is
	}
	if signed(headerOf(now)) != sums(now) {
		t.Error("a primary and a secondary with the same state come to different sums")
	}
	for what, forge := range map[string]func(*broker.StateHeader){
		"serial": func(h *broker.StateHeader) { h.Serial++ },
		"stored": func(h *broker.StateHeader) { h.Stored++ },
		"expiry": func(h *broker.StateHeader) { h.Expires++ },
		"digest": func(h *broker.StateHeader) { h.Digest = h.Stable },
		"stable": func(h *broker.StateHeader) { h.Stable = "" },
		"time":   func(h *broker.StateHeader) { h.Published = h.Published.Add(-time.Second) },
		"kind":   func(h *broker.StateHeader) { h.Kind = broker.KindGone },
	} {
		forged := headerOf(now)
		forge(&forged)
		if signed(forged) == sums(now) {
			t.Errorf("%s: a forged header leads to the sums of the state", what)
		}
	}
}

// A broker that goes back to an earlier copy, or shows old states again, takes nothing out of what the primary signs.
func TestLedgerOutlivesTheBroker(t *testing.T) {
	_, z := roletest.LargeZone(t)
	old, _ := zone.NewState(z, 7, roletest.Noon)
	now, _ := zone.NewState(z, 8, roletest.Noon.Add(time.Second))
	gone := zone.NewTombstone(z.Name(), roletest.Noon.Add(2*time.Second))
	x := index.New()
	x.Ledger = zone.NewLedger(roletest.Noon.Add(time.Hour))
	want := func(what string, state *zone.State, zones int) {
		t.Helper()
		if is, _ := x.Ledger.Sums(); is != sums(state) || x.Ledger.Zones() != zones {
			t.Errorf("%s: it signs something else, of %d zones", what, x.Ledger.Zones())
		}
	}
	x.Set(z.Name(), 5, headerOf(old))
	x.Set(z.Name(), 6, headerOf(now))
	want("published", now, 1)
	x.Reset()
	want("wiped", now, 1)
	x.Set(z.Name(), 1, headerOf(old))
	want("gone back", now, 1)
	x.Replace(z.Name(), 9, headerOf(old))
	want("replaced", now, 1)
	x.Set(z.Name(), 10, headerOf(gone))
	want("deleted", gone, 0)
	x.Set(z.Name(), 11, headerOf(now))
	want("shown again", gone, 0)
	x.Set(z.Name(), 12, headerOf(gone))
	x.Forget(roletest.Noon.Add(time.Hour))
	x.Set(z.Name(), 13, headerOf(now))
	want("long after", now, 1)
}

// Until everything was compared with PowerDNS a primary vouches for nothing.
func TestCheckpointIsNotComplete(t *testing.T) {
	p := newTestPrimary(&node.Node{})
	complete := func() { p.index.CaughtUp() }
	swept := func() { p.sweeps.done(roletest.Noon) }
	p.index.Ledger = zone.NewLedger(roletest.Noon)
	p.index.Set(roletest.Numbered(1), 1, broker.StateHeader{Kind: broker.KindZone, Published: roletest.Noon.Add(-time.Hour)})
	for step, test := range []struct {
		do       func()
		complete bool
	}{
		{func() {}, false},
		{complete, false},
		{swept, true},
		{func() { p.sweeps.restart(); p.index.Reset() }, false}, // the broker was wiped
		{swept, false},
		{complete, true},
	} {
		test.do()
		c := p.checkpoint(roletest.Noon.Add(time.Minute))
		vouches := c.Complete && c.Zones == 1 && c.Sums != zone.Sums{}
		silent := !c.Complete && c.Zones == 0 && c.Sums == zone.Sums{}
		if vouches != test.complete || silent == test.complete || !c.At.Equal(roletest.Noon.Add(time.Minute)) {
			t.Errorf("step %d: %+v", step, c)
		}
	}
}
