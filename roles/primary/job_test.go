package primary

import (
	"cmp"
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

// Of what nobody says that it is gone, the sweep has to find that, which sees how many zones are.
func TestLeavesGone(t *testing.T) {
	for _, j := range []job{sweepJob(), retryJob(), scrubJob(), renewalJob()} {
		if !j.leavesGone() {
			t.Errorf("a job of cause %s retracts zones one by one", j.cause)
		}
	}
	for _, j := range []job{goneJob(), notifyJob(), {cause: causeChanged}, {cause: causeDeleted}, {cause: causeOrdered}} {
		if j.leavesGone() {
			t.Errorf("a job of cause %s waits for the sweep", j.cause)
		}
	}
}

func TestMergedCause(t *testing.T) {
	p := newTestPrimary(&node.Node{Log: zerolog.Nop()})
	serial := uint32(7)
	proxy, other := broker.Sender{Role: broker.RoleProxy, Node: "p1"}, broker.Sender{Role: broker.RoleProxy, Node: "p2"}
	of := func(from broker.Sender, t broker.Touch, r rank) job {
		return jobOfTouch(broker.TouchMsg{From: from, Touch: t}, r, time.Time{})
	}
	changed := of(other, broker.Touch{Cause: broker.Changed}, anybody)
	created := of(proxy, broker.Touch{Cause: broker.Changed, Serial: &serial}, anybody)
	deleted := of(proxy, broker.Touch{Cause: broker.Deleted}, anybody)
	ordered := of(broker.Sender{}, broker.Touch{Cause: broker.Ordered, Again: "ns1"}, leads)
	for what, test := range map[string]struct {
		waiting, newer job
		want           job // its cause, by and shown
	}{
		"own ideas":            {sweepJob(), retryJob(), sweepJob()},
		"gone after scrub":     {scrubJob(), goneJob(), goneJob()}, // else the sweep would find it in vain, while scrubs are busy
		"scrub after gone":     {goneJob(), scrubJob(), goneJob()},
		"touch after own idea": {sweepJob(), changed, changed},
		"own idea after touch": {deleted, sweepJob(), deleted},
		"change after create":  {created, changed, job{cause: causeChanged, by: other, shown: &serial}},
		"delete after create":  {created, deleted, deleted},
		"order after delete":   {deleted, ordered, deleted},
		"order after change":   {changed, ordered, ordered},
		"create after delete":  {deleted, created, created},
	} {
		w, n := test.waiting, test.newer
		want := job{
			cause: test.want.cause, by: test.want.by, shown: test.want.shown, msg: cmp.Or(n.msg, w.msg),
			depth: max(w.depth, n.depth), priority: max(w.priority, n.priority), again: n.again, rank: n.rank,
		}
		if got := p.mergeJobs(w, n); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
}

// A message that is delivered twice is one: merging both must not acknowledge it. The delivery that waits is the one
// that could be, so it is the second here: the client takes no second word about the first.
func TestMergingTouchesOfOneMessage(t *testing.T) {
	primary, _ := roletest.StartBroker(t)
	name := roletest.Named("twice")

	touches := roletest.InHand(t, roletest.TouchesOf(primary))
	_, err := primary.PublishTouch(t.Context(), name, broker.Touch{Cause: broker.Ordered, Again: broker.ToAll})
	must.OK(t, err)
	touch1 := roletest.Receive(t, touches)
	must.OK(t, touch1.Nak(0))
	touch2 := roletest.Receive(t, touches)
	p := newTestPrimary(&node.Node{Log: zerolog.Nop()})
	p.mergeJobs(job{msg: &touch2}, job{msg: &touch1})
	must.OK(t, touch2.Nak(0))
	if again := roletest.Receive(t, touches); again.Zone != name || again.NumDelivered != 3 {
		t.Errorf("delivery %d of %s came", again.NumDelivered, again.Zone)
	}
}

// Merging acknowledges the message that the other covers, and keeps the other. They are of two zones here, because the
// broker drops the older message of a zone by itself.
func TestMergingAcknowledgesTheOlderTouch(t *testing.T) {
	primary, _ := roletest.StartBroker(t)
	names := []zone.Name{roletest.Named("a"), roletest.Named("b")}

	touches := roletest.InHand(t, roletest.TouchesOf(primary))
	for _, name := range names {
		_, err := primary.PublishTouch(t.Context(), name, broker.Touch{Cause: broker.Ordered, Again: broker.ToAll})
		must.OK(t, err)
	}
	older, newer := roletest.Receive(t, touches), roletest.Receive(t, touches)
	p := newTestPrimary(&node.Node{Log: zerolog.Nop()})
	if merged := p.mergeJobs(job{msg: &older}, job{msg: &newer}); merged.msg != &newer {
		t.Errorf("the touch of %s is kept", merged.msg.Zone)
	}
	roletest.WantAcknowledged(t, older.Message)
	must.OK(t, newer.Nak(0))
	if again := roletest.Receive(t, touches); again.Zone != names[1] {
		t.Errorf("the touch of %s came again", again.Zone)
	}
}

// Who waits for a job, and what an order of a deposed health role comes to, follows from the touch.
func TestJobOfTouch(t *testing.T) {
	again := broker.Touch{Cause: broker.Ordered, Again: "ns1"}
	for what, test := range map[string]struct {
		touch broker.Touch
		rank  rank
		want  job
	}{
		"a change":           {broker.Touch{Cause: broker.Changed}, anybody, job{cause: causeChanged, priority: work.Live}},
		"a deletion":         {broker.Touch{Cause: broker.Deleted}, anybody, job{cause: causeDeleted, priority: work.Live}},
		"an order":           {again, anybody, job{cause: causeOrdered, again: "ns1"}},
		"an order by health": {again, leads, job{cause: causeOrdered, again: "ns1", rank: leads}},
		"a late order":       {again, deposed, job{cause: causeOrdered, priority: work.Live, rank: deposed}},
	} {
		got := jobOfTouch(broker.TouchMsg{Touch: test.touch}, test.rank, roletest.Noon)
		want := test.want
		want.msg, want.depth, want.since = got.msg, toSignatures, roletest.Noon
		if got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
}
