package primary

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/observe"
	"pdns-distribute/roles/roletest"
)

// Zones that nobody has heard of get tombstones, because a primary may not remember, but not without end.
func TestMayBeServed(t *testing.T) {
	const budget = 2 // of five
	there, gone := broker.StateHeader{Kind: broker.KindZone}, broker.StateHeader{Kind: broker.KindGone}
	deleted, changed := job{cause: causeDeleted}, job{cause: causeChanged}
	again, led := job{cause: causeOrdered, again: "ns1"}, job{cause: causeOrdered, again: "ns1", rank: leads}
	for what, test := range map[string]struct {
		before index.Published
		j      job
		want   int // of five
	}{
		"published":                  {index.Published{Seq: 1, Header: there}, changed, 5},
		"published before a wipe":    {index.Published{Header: there}, changed, 5},
		"gone before a wipe":         {index.Published{Header: gone}, changed, 5},
		"gone":                       {index.Published{Seq: 1, Header: gone}, deleted, 0},
		"gone, to be told again":     {index.Published{Seq: 1, Header: gone}, again, 5},
		"unheard of":                 {index.Published{}, changed, 0},
		"unheard of, deleted":        {index.Published{}, deleted, budget},
		"unheard of, told again":     {index.Published{}, again, budget},
		"unheard of, health's order": {index.Published{}, led, 5},
	} {
		d := &deletions{Node: &node.Node{Each: zerolog.Nop()}, unheard: rate.NewLimiter(0, budget*unheardPrice)}
		got := 0
		for range 5 {
			if d.mayBeServed(roletest.Named("a"), test.before, test.j) {
				got++
			}
		}
		if got != test.want {
			t.Errorf("%s: %d of 5 may be served, want %d", what, got, test.want)
		}
	}
}

// A primary lets nothing pass while another one holds deletions, and looks for what that has found.
func TestHeedPrimary(t *testing.T) {
	sweeps := newSweeps()
	d := newDeletions(config.PrimaryConfig{MaxDeletePercent: 10}, &node.Node{ID: "primary1"}, index.New(), sweeps)
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for step, s := range []struct {
		node         string
		held         int
		after        time.Duration
		sweeps, lets bool
	}{
		{"primary1", 5, 0, false, true}, // itself
		{"primary2", 0, 0, false, true},
		{"primary2", 5, time.Second, true, false},
		{"primary2", 5, 20 * time.Second, false, false},
		{"primary3", 0, 21 * time.Second, false, false},
		{"primary2", 6, 22 * time.Second, true, false},
		{"primary2", 7, 23 * time.Second, false, false}, // a moment later
		{"primary2", 7, 33 * time.Second, true, false},
		{"primary3", 0, 64 * time.Second, false, false}, // the second one has gone, and what it held is held
		{"primary2", 7, 65 * time.Second, false, false},
		{"primary2", 0, 66 * time.Second, true, true},
		{"primary2", 5, 80 * time.Second, true, false},
		{"primary3", 0, 80*time.Second + otherAlive, false, true},
	} {
		at := now.Add(s.after)
		d.heed(at, health.Sighting{Presence: health.Presence{Node: s.node, Role: health.RolePrimary, Leads: true, Primary: health.PrimaryReport{Held: s.held}}, At: at})
		swept := len(sweeps.asked) == 1
		if swept {
			<-sweeps.asked
		}
		lets := d.limit.Allow(at, []zone.Name{roletest.Named("gone")}, 0, 100) == nil
		d.limit = health.NewDeletionLimit(10, health.DeleteWindow) // it counts once only
		if swept != s.sweeps || lets != s.lets {
			t.Errorf("step %d: sweeps %v, lets pass %v", step, swept, lets)
		}
	}
}

// What another primary published as gone is held no longer.
func TestReleaseGone(t *testing.T) {
	p := newTestPrimary(&node.Node{Ready: observe.NewReadiness()})
	d := p.deletions
	gone := []zone.Name{roletest.Named("a"), roletest.Named("b")}
	must.OK(t, errors.Join(p.sweepGone(t.Context(), slices.Clone(gone)), p.sweepGone(t.Context(), nil))) // neither is remembered: both were published meanwhile
	for n, name := range gone {
		if d.limit.Allow(time.Now(), []zone.Name{name}, 0, 100) == nil || d.limit.Held() != n+1 {
			t.Fatalf("%d are held", d.limit.Held())
		}
	}
	p.Ready.Set(condDeletes, "held")
	d.release(gone[0])
	if len(p.Ready.Reasons()) == 0 {
		t.Error("ready, and one is held")
	}
	d.release(gone[1])
	if len(p.Ready.Reasons()) > 0 || d.limit.Held() != 0 {
		t.Errorf("%d are held: %v", d.limit.Held(), p.Ready.Reasons())
	}
}
