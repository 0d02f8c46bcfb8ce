package primary

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/work"
)

// Of several primaries with primary.replicated one acts, by a lease. The others are warm: they follow what is
// published, watch PowerDNS and answer what the broker can tell, and take no touch, read no zone and publish nothing.
// A primary without that setting is the only one, and needs no lease.

var (
	// errDeposed says that another primary acts by now.
	errDeposed = errors.New("this primary does not act any more: another one does")

	// errYields says that another primary is beside the database that takes writes.
	errYields = errors.New("another primary is beside the database that takes writes")
)

// campaign acts while this primary holds the lease.
func (p *Primary) campaign(ctx context.Context) error {
	if p.replication.heart == nil {
		return p.act(ctx)
	}
	if !p.provisioner.streams.Wait(ctx) { // the lease is kept beside them
		return nil
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	err := p.Conn.Campaign(ctx, health.RolePrimary, p.replication.wants, func(ctx context.Context, l *broker.Lease) {
		p.begin(l)
		defer p.end()
		if err := p.act(ctx); err != nil && !errors.Is(err, errYields) {
			fail(err)
		}
	})
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

// act is all that only one primary does at a time.
func (p *Primary) act(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{
		p.jobs.Run, p.takeTouches, p.followHints, p.retry, p.keepSweeping, p.keepCheckingMoved, p.scrub,
		p.keepRenewing, p.watchSignatures, p.keepConverting, p.followAliases,
		p.publisher.chunks.keepCollecting, p.signCheckpoints, p.keepReading, p.replication.yieldToWriter,
	} {
		g.Go(func() error { return part(ctx) })
	}
	return g.Wait()
}

func (p *Primary) begin(l *broker.Lease) {
	p.sweeps.restart()
	p.replication.hold(l)
	p.AnnounceSoon()
}

// end forgets what is another primary's business from now on: that one finds all of it anew by its first sweep.
func (p *Primary) end() {
	p.replication.lease.Store(nil)
	p.schedules.clear()
	p.source.expansion.forget()
	for _, order := range p.sweeps.orders.take() {
		_ = order.msg.Nak(work.HandBackPause) // lost: it is delivered again a little later
	}
	p.Failures.Reset()
	for _, condition := range []string{condDeletes, condSweep, condSignatures} {
		p.Ready.Clear(condition)
	}
	p.metrics.ending.Set(0)
	p.AnnounceSoon()
}

// held returns how many deletions wait for an operator here.
func (p *Primary) held() int {
	if !p.replication.acts() {
		return 0
	}
	return p.deletions.limit.Held()
}

// acts reports whether this primary acts at this moment. Whoever publishes, deletes or writes asks right before.
func (r *replication) acts() bool {
	if r.heart == nil {
		return true
	}
	l := r.lease.Load()
	return l != nil && l.Held()
}

// hold notes the lease that this primary acts by.
func (r *replication) hold(l *broker.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unheld = time.Time{}
	r.lease.Store(l)
}

// leaseFree is how long nobody may hold the lease before a primary takes it whose PowerDNS takes no writes: one whose
// PowerDNS does takes it within a second.
const leaseFree = 3 * time.Second

// wants reports whether this primary is to act, if no other one does: the one beside a database that takes writes,
// and where that does not, any.
func (r *replication) wants(ctx context.Context) bool {
	s := r.heart.State()
	if s.Writes || !s.Known {
		return s.Writes
	}
	holder, err := r.Conn.LeaseHolder(ctx, health.RolePrimary)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || holder.Node != "" || r.unheld.IsZero() {
		r.unheld = now
	}
	return now.Sub(r.unheld) >= leaseFree
}

// writerSince reports whether another primary said since then that its PowerDNS takes writes.
func (r *replication) writerSince(since time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.writers {
		if w.writes && w.at.After(since) {
			return true
		}
	}
	return false
}

// yieldToWriter ends acting where another primary is beside the database that takes writes, and this one is not.
func (r *replication) yieldToWriter(ctx context.Context) error {
	begun := time.Now()
	for r.heart != nil && work.Wait(ctx, time.Second) {
		if r.writerSince(begun) && !r.heart.State().Writes {
			r.Log.Info().Msg("another primary is beside the database that takes writes: it is to act")
			return errYields
		}
	}
	return nil
}
