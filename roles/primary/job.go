package primary

import (
	"cmp"
	"fmt"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/roles/work"
)

// cause is why a primary looks at a zone. The set is closed. Only the first three come from outside, each by the
// broker's cause of the same name: what a primary does of its own accord, nobody can order.
type cause int

const (
	causeChanged cause = iota // a write was accepted, or may have been
	causeDeleted              // PowerDNS confirmed the deletion to a proxy
	causeOrdered              // secondaries are to take the zone again

	causeSweep  // a sweep found another serial than was published, or none
	causeGone   // a sweep found it missing, and the deletion limit allowed it
	causeNotify // a NOTIFY of PowerDNS
	causeRetry  // an attempt of its own failed before
	causeScrub  // its turn of being read anew
	causeRenew  // PowerDNS may have signatures for it that end later
	causeAlias  // the targets of its ALIAS records may have other addresses
)

func (c cause) String() string {
	names := [...]string{"changed", "deleted", "ordered", "sweep", "gone", "notify", "retry", "scrub", "renew", "alias"}
	if c < 0 || int(c) >= len(names) {
		return fmt.Sprintf("cause %d", int(c))
	}
	return names[c]
}

// causeOf returns that of a touch, which package broker has checked.
func causeOf(c broker.Cause) cause {
	switch c {
	case broker.Deleted:
		return causeDeleted
	case broker.Ordered:
		return causeOrdered
	}
	return causeChanged
}

// depth is how much is compared of a zone that was read with what is published.
type depth int

const (
	// toContent leaves out what changes by itself: signatures over the same content, which a restart of PowerDNS makes
	// anew, and a serial that is a clock.
	toContent depth = iota

	// toSignatures leaves out nothing: an edit without a new serial is possible.
	toSignatures
)

// job is one reason to look at a zone.
type job struct {
	cause    cause
	priority work.Priority
	depth    depth

	// Of a touch; without one all are zero.
	msg   *broker.TouchMsg
	by    broker.Sender // who ordered a deletion, with causeDeleted
	rank  rank          // of who ordered it
	shown *uint32       // SOA serial that PowerDNS showed after the write; nil if that is not known
	again string        // the secondary that is to take the zone again, broker.ToAll for all
	since time.Time     // the job is done by what PowerDNS gives once it has all that was committed before that
}

// jobOfTouch returns the job of a touch that was taken then, if that matters. A touch without a secondary that is to
// take the zone again is of a change, which somebody may wait for.
func jobOfTouch(t broker.TouchMsg, r rank, since time.Time) job {
	j := job{
		cause: causeOf(t.Cause), priority: work.Live, depth: toSignatures,
		msg: &t, by: t.From, rank: r, shown: t.Serial, again: t.Again, since: since,
	}
	switch {
	case r == deposed:
		j.again = "" // and the zone is looked at all the same, which does no harm
	case t.Again != "":
		j.priority = work.Background
	}
	return j
}

// notifyJob returns that of a NOTIFY: somebody changed the zone in PowerDNS.
func notifyJob() job { return job{cause: causeNotify, priority: work.Live, depth: toSignatures} }

// sweepJob returns that of a zone that differs from what is published.
func sweepJob() job { return job{cause: causeSweep, depth: toSignatures} }

// goneJob returns that of a zone that is gone, as the deletion limit has allowed.
func goneJob() job { return job{cause: causeGone} }

// retryJob returns that of a zone for which a job without touch failed.
func retryJob() job { return job{cause: causeRetry, depth: toSignatures} }

// scrubJob returns that of a zone about which nothing is known.
func scrubJob() job { return job{cause: causeScrub, depth: toContent} }

// renewalJob returns that of a zone for which PowerDNS may have newer signatures.
func renewalJob() job { return job{cause: causeRenew, depth: toSignatures} }

// aliasJob returns that of a zone whose addresses may have moved.
func aliasJob() job { return job{cause: causeAlias, depth: toContent} }

// says reports whether the job itself says that secondaries may have the zone.
func (j job) says() bool { return j.again != "" || j.cause == causeDeleted }

// leavesGone reports whether it is for the sweep to find that the zone is gone: nobody says so of this one.
func (j job) leavesGone() bool {
	switch j.cause {
	case causeSweep, causeRetry, causeScrub, causeRenew, causeAlias:
		return true
	}
	return false
}

// origin returns what people are told of why the zone was published.
func (j job) origin() broker.Origin {
	o := broker.Origin{Cause: j.cause.String()}
	if j.msg != nil {
		o.By = j.msg.From.String()
	}
	return o
}

// background reports whether nobody waits for the job.
func (j job) background() bool { return j.priority == work.Background }

// message returns what brought the job, nil if none did.
func (p *Primary) message(j job) work.Message {
	if j.msg == nil {
		return nil
	}
	return touch{*j.msg, p.replication.taken}
}

// touch is the message of one.
type touch struct {
	broker.TouchMsg
	taken *taken
}

// Ack also forgets when the touch was taken.
func (t touch) Ack() error {
	t.taken.done(t.Zone, t.Seq)
	return t.TouchMsg.Ack()
}

// mergeJobs makes one of two that wait for the same zone. A touch that the other one covers is acknowledged. That a
// zone was created is not forgotten over a later change: it explains a low serial.
func (p *Primary) mergeJobs(waiting, newer job) job {
	merged := newer
	merged.priority = max(waiting.priority, newer.priority)
	merged.depth = max(waiting.depth, newer.depth)
	merged.rank = max(waiting.rank, newer.rank)
	merged.since = later(waiting.since, newer.since)
	merged.again = cmp.Or(newer.again, waiting.again)
	if waiting.again != "" && waiting.again != merged.again {
		merged.again = broker.ToAll
	}
	switch {
	case newer.msg == nil && waiting.cause == causeScrub: // which knows least
	case newer.msg == nil:
		merged.msg, merged.cause, merged.by, merged.shown = waiting.msg, waiting.cause, waiting.by, waiting.shown
	case waiting.msg == nil || waiting.msg.Same(newer.msg.Message):
	case p.replication.needsBoth(*waiting.msg, *newer.msg):
		p.jobs.HandBack(waiting.msg.Zone, waiting)
	default:
		p.jobs.Acknowledge(waiting.msg.Zone, waiting)
	}
	if newer.cause == causeChanged && newer.shown == nil { // what PowerDNS showed before explains a low serial
		merged.shown = waiting.shown
	}
	if waiting.cause == causeDeleted && newer.cause == causeOrdered { // an order says nothing about the zone
		merged.cause, merged.by = waiting.cause, waiting.by
	}
	return merged
}
