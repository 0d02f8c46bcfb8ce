package roles

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// sweepOrders are requests to sweep that wait for the sweep that fulfils them.
type sweepOrders struct {
	mu      sync.Mutex
	waiting []broker.TouchMsg
}

// Only so many wait; those beyond come again a while later, to any primary.
const (
	maxSweepOrders = 16
	sweepAgain     = time.Minute
)

// add tells whether there is room for the order.
func (o *sweepOrders) add(t broker.TouchMsg) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.IndexFunc(o.waiting, func(w broker.TouchMsg) bool { return w.Same(t.Message) }); i >= 0 {
		o.waiting[i] = t // delivered again
		return true
	}
	if len(o.waiting) == maxSweepOrders {
		return false
	}
	o.waiting = append(o.waiting, t)
	return true
}

func (o *sweepOrders) take() []broker.TouchMsg {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.waiting
	o.waiting = nil
	return taken
}

// confirmed is how long an operator's word to the brake holds.
const confirmed = 10 * time.Minute

// orderSweep has the next sweep begin now.
func (p *Primary) orderSweep(t broker.TouchMsg) {
	if t.Word {
		p.each.Warn().Dur("for", confirmed).Msg("the operator allows all deletions")
		p.brake.Release(time.Now(), confirmed)
	}
	if !p.ordered.add(t) {
		_ = t.Nak(sweepAgain) // lost: it is delivered again sooner
		return
	}
	notify(p.sweeps, struct{}{})
}

// reviewPowerDNS is called when PowerDNS came back: it may have missed nothing, or everything.
func (p *Primary) reviewPowerDNS(context.Context) error {
	notify(p.sweeps, struct{}{})
	return nil
}

const (
	// sweepRetry is the pause after a sweep that failed.
	sweepRetry = 5 * time.Second

	// sweepShare keeps PowerDNS below a twentieth of its time for regular sweeps: 50,000 zones take it up to 8 s.
	sweepShare = 20
)

// keepSweeping sweeps at start, at the interval, on request, and when PowerDNS came back.
func (p *Primary) keepSweeping(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.caughtUp:
	}
	due := time.Now().Add(p.cfg.SweepInterval) // for the next sweep that nobody asks for
	for p.powerdns.wait(ctx) {
		orders := p.ordered.take()
		regular := !time.Now().Before(due)
		listing, err := p.sweep(ctx, regular)
		pause := time.Until(due)
		switch {
		case err != nil && ctx.Err() == nil:
			p.log.Warn().Err(err).Msg("the sweep failed; it is tried again")
			p.ready.Set(condSweep, "changes made behind the proxy are not found: "+err.Error())
			p.powerdns.doubt()
			pause = sweepRetry
		case regular:
			pause = max(p.cfg.SweepInterval, sweepShare*listing)
			due = time.Now().Add(pause)
		}
		if err == nil {
			p.ready.Clear(condSweep)
			p.sweptOnce()
			p.announceSoon()
			for _, o := range orders {
				_ = o.Ack() // lost: it is swept once more
			}
		}
		select {
		case <-ctx.Done():
		case <-p.sweeps:
		case <-time.After(pause):
		}
	}
	return nil
}

// sweep compares all zones of PowerDNS with what is published and looks at those that differ. A listing that is not
// complete is an error and changes nothing.
//
// A regular one also compares what is served, which PowerDNS takes several times as long to list: that shows other
// settings of SOA-EDIT, and zones that were signed, or are not any more. All zones of a SOA-EDIT can move at once, so they
// are looked at at the pace of renewals, and so are those that were published unsigned. It returns how long PowerDNS took.
func (p *Primary) sweep(ctx context.Context, regular bool) (listing time.Duration, err error) {
	list, begin := p.api.Zones, time.Now()
	if regular {
		list = p.api.ServedZones
	}
	zones, err := list(ctx)
	if err != nil {
		return 0, err
	}
	listing = time.Since(begin)
	missing := p.index.existing() // until they are seen
	for _, info := range zones {
		ours := p.distributes(info.Kind)
		p.index.own(info.Name, ours)
		if !ours {
			continue
		}
		switch before := missing[info.Name]; {
		case !before.stands() || before.header.Stored != info.Serial:
			p.submit(ctx, info.Name, errand{reason: reasonSweep, thorough: true, hidden: true})
		case p.signer.lacks(before.header), regular && servedOtherwise(before.header, info, begin, listing):
			p.moved.suggest(info.Name, begin)
		}
		delete(missing, info.Name)
	}
	for _, name := range p.index.buried() {
		p.submit(ctx, name, errand{reason: reasonGone})
	}
	return listing, p.sweepMissing(ctx, missing)
}

// servedOtherwise tells whether PowerDNS, which began to list then and took that long, serves the zone otherwise than it
// was published.
func servedOtherwise(h broker.StateHeader, info powerdns.ZoneInfo, begin time.Time, took time.Duration) bool {
	if info.DNSSEC != (h.Expires != 0) {
		return true
	}
	since := begin.Sub(h.Published) + took/2
	return info.EditedSerial != h.Serial && !ticks(info.EditedSerial-h.Serial, since)
}

// tickSlack is how long a transfer or a listing may have taken for a serial to count as a clock.
const tickSlack = time.Minute

// ticks tells whether a serial moved by as many seconds as went by: SOA-EDIT EPOCH gives the time of day for a serial, and
// that is no news. A serial that was set and moved as far by chance is seen as soon as it stands still for a minute.
func ticks(moved uint32, passed time.Duration) bool {
	return (time.Duration(int32(moved))*time.Second - passed).Abs() <= tickSlack
}

// lookAtMoved reads zones that are served otherwise than they were published, or published unsigned.
func (p *Primary) lookAtMoved(ctx context.Context) error {
	return p.lookAtPace(ctx, p.moved, func(name zone.Name) {
		p.submit(ctx, name, errand{reason: reasonSweep, thorough: true, hidden: true})
	})
}

// errDisagree says that PowerDNS's API has no zone that its DNS has.
var errDisagree = errors.New("PowerDNS's API says that there is no such zone, and its DNS answers with it; are powerdns.api_url and powerdns.dns_address the same server?")

// sweepMissing publishes the zones as gone that PowerDNS says it has not, over its API and over DNS, if they are not too
// many.
func (p *Primary) sweepMissing(ctx context.Context, missing map[zone.Name]published) error {
	var gone []zone.Name
	var doubts error
	for name := range missing {
		switch err := p.isGone(ctx, name); {
		case errors.Is(err, errNotHere):
			gone = append(gone, name)
		case errors.Is(err, errDisagree):
			doubts = fmt.Errorf("zone %s: %w", name, err)
		case errors.Is(err, powerdns.ErrUnavailable), ctx.Err() != nil:
			return err
		}
	}
	return errors.Join(doubts, p.sweepGone(ctx, gone))
}

// isGone returns errNotHere for what is positively not here.
func (p *Primary) isGone(ctx context.Context, name zone.Name) error {
	_, err := p.info(ctx, name)
	if !errors.Is(err, errNotHere) || errors.Is(err, errOtherKind) {
		return err
	}
	switch proof := transfer.ProveGone(ctx, p.dns, name); {
	case errors.Is(proof, transfer.ErrNotServed):
		return errDisagree
	case proof != nil:
		return fmt.Errorf("%w: %w", powerdns.ErrUnavailable, proof)
	}
	return err
}

func (p *Primary) sweepGone(ctx context.Context, gone []zone.Name) error {
	if len(gone) == 0 {
		p.ready.Clear(condDeletes)
		return nil
	}
	if err := p.allow(time.Now(), gone); err != nil {
		p.log.Error().Err(err).Msg("deletions are held")
		return nil
	}
	p.ready.Clear(condDeletes)
	for _, name := range gone {
		p.submit(ctx, name, errand{reason: reasonGone})
	}
	return nil
}
