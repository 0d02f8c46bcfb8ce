package secondary

import (
	"context"
	"errors"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/work"
)

// This file is the way of a state, from top to bottom: taken from the feed, verified, staged, taken by PowerDNS,
// proven, purged from caches, reported, stored, acknowledged.

// job is a state that PowerDNS is to serve: one of the broker, or, without a message, the one in the store.
type job struct {
	msg      *broker.FeedMsg
	priority work.Priority
}

// feedLimit is how many states may wait in memory, up to 512 KB each and mostly 1 KB.
const feedLimit = 256

// newRunner returns what delivers states, one at a time for each zone.
func (s *Secondary) newRunner(workers int) *work.Runner[job] {
	return work.NewRunner(workers, feedLimit, work.Hooks[job]{
		PowerDNS: s.powerdns, Failures: s.Failures, Log: s.Log, Each: s.Each,
		Message: job.message, Priority: func(j job) work.Priority { return j.priority }, Merge: s.merge,
		Do: s.deliver, Judge: verdict, Observe: s.metrics.observe, Done: s.done, Later: s.refills.Add,
	})
}

func (j job) message() work.Message {
	if j.msg == nil {
		return nil
	}
	return j.msg
}

// follow takes states from the feed until ctx ends.
func (s *Secondary) follow(ctx context.Context) error {
	return s.Conn.Feed(ctx, func(m broker.FeedMsg) {
		j := s.jobOf(&m)
		s.feed.delivered(m.NumPending)
		s.news.bring(m, j)
		s.jobs.Add(ctx, m.Zone, j)
		s.news.queued(m)
	}, s.feedOpened, s.feedStatus)
}

// jobOf is that of a state in its turn: what is no news any more nobody waits for.
func (s *Secondary) jobOf(m *broker.FeedMsg) job {
	if m.Header.Background || time.Since(m.Header.Published) > newsAge {
		return job{msg: m}
	}
	return s.liveJob(m)
}

// liveJob is that of a state that somebody may wait for.
func (s *Secondary) liveJob(m *broker.FeedMsg) job {
	if _, served := s.held.get(m.Zone); served {
		return job{m, work.Live}
	}
	return job{m, work.Creation}
}

// merge keeps the newer of two states that wait for the same zone, and acknowledges the other. A refill adds nothing
// to a state that waits, and a state that was fetched nothing to the same one delivered. Whoever waits for one of them
// waits for the merged one.
func (s *Secondary) merge(waiting, newer job) job {
	priority := max(waiting.priority, newer.priority)
	waiting.priority, newer.priority = priority, priority
	if waiting.msg != nil && newer.msg != nil && !newer.msg.Delivered() && waiting.msg.Same(newer.msg.Message) {
		return waiting
	}
	if newer.msg == nil || waiting.msg != nil && waiting.msg.Place().Newer(newer.msg.Place()) {
		waiting, newer = newer, waiting
	}
	if waiting.msg != nil && !waiting.msg.Same(newer.msg.Message) {
		s.jobs.Acknowledge(waiting.msg.Zone, waiting)
	}
	return newer
}

// What came of a state.
const (
	resultApplied = "applied"
	resultRemoved = "removed"
	resultHeld    = "held"
	resultFailed  = "failed"
	resultRefused = "refused"
)

// deliver makes PowerDNS serve what the state says, whatever that takes.
func (s *Secondary) deliver(ctx context.Context, name zone.Name, j job) (result string, err error) {
	if j.msg == nil {
		return s.refill(ctx, name)
	}
	state, err := s.verifier.verify(name, j.msg)
	if err != nil {
		return "", err
	}
	u := update{state: state, place: j.msg.Place(), bulk: s.mayWait(name, j)}
	switch {
	case s.outdated(u):
		return resultHeld, nil
	case s.stored(state): // which cannot be a step back
		return s.confirm(ctx, u, j.msg.Header.Again)
	}
	if err := s.verifier.checkAge(state); err != nil {
		return "", err
	}
	if state.Gone {
		return resultRemoved, s.remove(ctx, state)
	}
	return resultApplied, s.take(ctx, u)
}

// update is a verified state from the feed, on its way into PowerDNS.
type update struct {
	state *zone.State
	place broker.Place
	bulk  bool // see stagedVersion
}

// mayWait reports whether nobody waits for the job, and it is not known to fail.
func (s *Secondary) mayWait(name zone.Name, j job) bool {
	return j.priority == work.Background && !s.Failures.Has(name)
}

// outdated reports whether a newer state than this one has been applied. That this one was published later the
// primary's key says for sure; how the broker counts only the broker says.
func (s *Secondary) outdated(u update) bool {
	held, ok := s.held.get(u.state.Name)
	later := s.verifier.signed() && u.state.Published.After(held.published)
	return ok && !later && held.place.Newer(u.place)
}

// confirm proves that PowerDNS serves a state whose content the store has, or takes the state again. Where sync
// ordered it, all content is compared; again names who is meant.
func (s *Secondary) confirm(ctx context.Context, u update, again string) (result string, err error) {
	prove := s.prove
	if again == s.ID || again == broker.ToAll {
		prove = s.proveContent
	}
	held, err := prove(ctx, u.state)
	if err == nil {
		s.report(applied(u.state, held.since))
		return resultHeld, s.confirmStored(u.state)
	}
	if errors.Is(err, transfer.ErrNotServed) {
		s.held.noteLost(u.state)
	}
	return resultApplied, s.take(ctx, u)
}

// take fetches and verifies the content, has PowerDNS serve it, and then has the store keep it: in this order,
// because the store's disk would be in PowerDNS's way. A crash in between leaves the state unacknowledged. What
// PowerDNS does not take is kept as parked, to be tried from there.
func (s *Secondary) take(ctx context.Context, u update) error {
	fresh, err := s.fetch(ctx, u.state)
	if err != nil {
		return err
	}
	defer s.judge.Working()()
	z, err := s.content(u.state, fresh)
	if err != nil {
		return err
	}
	version, withdraw := s.source.stage(z)
	defer withdraw() // when the store has it
	version.bulk = u.bulk
	if s.storedHigher(u.state) { // after a crash in between, a review would take the new version for the older one
		if err := s.store.Park(u.state, z, fresh); err != nil {
			return err
		}
	}
	if err := s.serve(ctx, u.state, version); err != nil {
		if ctx.Err() != nil {
			return err
		}
		s.held.forget(u.state.Name)
		return parked(err, s.store.Park(u.state, z, fresh))
	}
	s.held.apply(u.state, u.place)
	s.report(applied(u.state, time.Now()))
	return s.store.Put(u.state, z, fresh)
}

// serve has PowerDNS take the staged version, by an edit where that is enough and else by a transfer, and returns
// when it answers with that, past its caches and through them.
func (s *Secondary) serve(ctx context.Context, state *zone.State, version *stagedVersion) error {
	s.applier.aliases.add(version.zone)
	var flush *preparedFlush
	if !version.bulk {
		flush = s.applier.prepareFlush(ctx, state.Name)
	}
	defer flush.close()
	edited, err := s.tryEdit(ctx, state, version.zone)
	if err == nil && !edited {
		err = s.applier.transfer(ctx, version, s.before(state.Name))
	}
	if err == nil {
		err = s.applier.purge(ctx, state.Name, flush)
	}
	if err != nil {
		return s.applier.reasons.Explain(ctx, state.Name, err)
	}
	s.applier.aliases.set(version.zone)
	s.source.committed(version.zone)
	return nil
}

// remove has PowerDNS and the store forget the zone. The tombstone is parked before: after a crash in between, a
// review would find the zone missing and give it to PowerDNS again. What cannot be removed now stays parked.
func (s *Secondary) remove(ctx context.Context, tombstone *zone.State) error {
	name := tombstone.Name
	defer s.judge.Working()()
	reopen := s.source.close(name)
	defer reopen()
	before := s.before(name)
	if err := s.store.Park(tombstone, nil, nil); err != nil {
		return err
	}
	if err := s.applier.remove(ctx, name, s.source, before); err != nil {
		if ctx.Err() != nil {
			return err
		}
		s.held.forget(name)
		return parked(s.applier.reasons.Explain(ctx, name, err), nil)
	}
	s.applier.aliases.drop(name)
	if err := s.store.Remove(tombstone); err != nil {
		return err
	}
	s.held.forget(name)
	s.report(applied(tombstone, time.Now()))
	return nil
}

// parkedError is why PowerDNS did not take a state that the store keeps for it: the broker need not.
type parkedError struct{ error }

func (e parkedError) Unwrap() error { return e.error }

// parked returns a parkedError, unless the store did not keep the state.
func parked(err, storing error) error {
	if storing != nil {
		return errors.Join(err, storing)
	}
	return parkedError{err}
}

// verdict says what becomes of a state that PowerDNS does not serve. One that the store has waits there and not at the
// broker, where too many zones in trouble would hold up all others.
func verdict(err error) work.Verdict {
	if errors.As(err, new(parkedError)) {
		return work.Park
	}
	return work.Retry
}

// observe counts what came of a state.
func (m metrics) observe(result string, took time.Duration, err error) {
	switch {
	case errors.As(err, new(node.RefusedError)):
		result = resultRefused
	case err != nil:
		result = resultFailed
	}
	m.states.WithLabelValues(result).Inc()
	if result == resultApplied {
		m.took.Observe(took.Seconds())
	}
}

// done ends the zone's refills; the runner acknowledges the state.
func (s *Secondary) done(name zone.Name, j job) {
	s.refills.Done(name)
	if j.priority == work.Background {
		s.fill.taken()
	}
}
