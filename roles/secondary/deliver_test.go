package secondary

import (
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/roletest"
	"pdns-distribute/roles/work"
)

// A state that is delivered again while it waits is one message still: nothing of it is acknowledged.
func TestMergingDeliveriesOfOneMessage(t *testing.T) {
	primary, secondary := roletest.StartBroker(t)
	name := roletest.Named("twice")
	feed := roletest.InHand(t, roletest.FeedOf(secondary))
	roletest.PublishState(t, primary, name)
	state1 := roletest.Receive(t, feed)
	must.OK(t, state1.Nak(0))
	state2 := roletest.Receive(t, feed)
	s := &Secondary{Node: &node.Node{Log: zerolog.Nop()}}
	s.jobs = s.newRunner(1)
	s.merge(job{msg: &state2}, job{msg: &state1})
	must.OK(t, state2.Nak(0))
	if again := roletest.Receive(t, feed); again.Zone != name || again.NumDelivered != 3 {
		t.Errorf("delivery %d of %s came", again.NumDelivered, again.Zone)
	}
}

// Of two states that wait for the same zone the older one is acknowledged, whichever came first.
func TestMergingAcknowledgesTheOlderState(t *testing.T) {
	primary, secondary := roletest.StartBroker(t)
	var names [2]zone.Name
	feed := roletest.InHand(t, roletest.FeedOf(secondary))
	for _, order := range []string{"older first", "newer first"} {
		for i := range names {
			names[i] = roletest.Named(order[:5] + fmt.Sprint(i))
			roletest.PublishState(t, primary, names[i])
		}
		old, young := roletest.Receive(t, feed), roletest.Receive(t, feed)
		waiting, next := &old, &young
		if order == "newer first" { // the older one is delivered again
			waiting, next = next, waiting
		}
		s := &Secondary{Node: &node.Node{Log: zerolog.Nop()}}
		s.jobs = s.newRunner(1)
		if merged := s.merge(job{msg: waiting}, job{msg: next}); merged.msg != &young {
			t.Errorf("%s: the state of %s is kept", order, merged.msg.Zone)
		}
		for _, live := range []work.Priority{work.Background, work.Live} {
			// the state that somebody waits for is not always the newer one
			if p := s.merge(job{waiting, live}, job{next, work.Creation}).priority; p != max(live, work.Creation) {
				t.Errorf("%s: somebody waits for a state, and is to wait with priority %d", order, p)
			}
		}
		for _, refill := range [][2]job{{{}, {msg: &young}}, {{msg: &young}, {}}} {
			if merged := s.merge(refill[0], refill[1]); merged.msg != &young {
				t.Errorf("%s: a refill took the place of a state", order)
			}
		}
		roletest.WantAcknowledged(t, old.Message)
		must.OK(t, young.Nak(0))
		if again := roletest.Receive(t, feed); again.Zone != names[1] {
			t.Errorf("%s: the state of %s came again", order, again.Zone)
		} else {
			must.OK(t, again.Ack())
		}
	}
}

// A broker that counts in a strange way cannot pass a later state for an older one, where the primary's key says when
// each was published.
func TestOutdated(t *testing.T) {
	const far = 1 << 61
	trusted := []zone.TrustedKey{{}}
	for what, test := range map[string]struct {
		trusted   []zone.TrustedKey
		held, seq uint64
		after     time.Duration // the state that comes was published after the one that is held
		want      bool
	}{
		"next":                  {trusted, 7, 8, time.Second, false},
		"delivered late":        {trusted, 8, 7, -time.Second, true},
		"delivered again":       {trusted, 8, 8, 0, false},
		"held under a far one":  {trusted, far, 8, time.Second, false},
		"played back":           {trusted, 7, 8, -time.Second, false}, // that it is older is checked elsewhere
		"unsigned, next":        {nil, 7, 8, time.Second, false},
		"unsigned, late":        {nil, 8, 7, -time.Second, true},
		"unsigned, broker back": {nil, 8, 7, time.Second, false}, // to an earlier copy of its store
	} {
		published := func(at time.Time, seq uint64) *broker.FeedMsg {
			header := broker.StateHeader{Published: at}
			return &broker.FeedMsg{StateMsg: broker.StateMsg{Zone: roletest.Numbered(1), Seq: seq, Header: header}}
		}
		s := &Secondary{held: newHoldings(), verifier: verifier{trusted: test.trusted}}
		stated := roletest.Noon
		if test.held == far {
			stated = roletest.Noon.AddDate(100, 0, 0)
		}
		s.held.apply(zone.NewTombstone(roletest.Numbered(1), roletest.Noon), published(stated, test.held).Place())
		at := roletest.Noon.Add(test.after)
		u := update{state: zone.NewTombstone(roletest.Numbered(1), at), place: published(at, test.seq).Place()}
		if got := s.outdated(u); got != test.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}
