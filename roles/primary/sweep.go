package primary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/work"
)

// condSweep is the condition of the last sweep having succeeded.
const condSweep = "sweep"

const (
	// sweepRetry is the pause after a sweep that failed.
	sweepRetry = 5 * time.Second

	// sweepShare keeps PowerDNS below a twentieth of its time for regular sweeps: 50,000 zones take it up to 8 s.
	sweepShare = 20
)

// sweepScope is what a sweep compares.
type sweepScope int

const (
	// storedScope is the serials that PowerDNS stores.
	storedScope sweepScope = iota

	// servedScope is also what is served, which PowerDNS takes several times as long to list: that shows other
	// settings of SOA-EDIT, and zones that were signed, or are not any more.
	servedScope
)

// keepSweeping sweeps at start, at the interval, on request, and when PowerDNS came back.
func (p *Primary) keepSweeping(ctx context.Context) error {
	if !p.index.AwaitComplete(ctx) {
		return nil
	}
	interval := p.cfg.Primary.SweepInterval
	due := time.Now().Add(interval) // for the next sweep that nobody asks for
	p.sweeps.plan(interval)
	for p.powerdns.Wait(ctx) {
		orders := p.sweeps.orders.take()
		scope := storedScope
		if !time.Now().Before(due) {
			scope = servedScope
		}
		asOf := p.replication.awaitMoment(ctx, time.Now())
		listing, err := p.sweep(ctx, scope, asOf)
		pause := time.Until(due)
		switch {
		case err != nil && ctx.Err() == nil:
			p.Log.Warn().Err(err).Msg("sweep failed, retrying")
			p.Ready.Set(condSweep, "changes that bypass the proxy are not found: "+err.Error())
			p.powerdns.Doubt()
			pause = sweepRetry
		case scope == servedScope:
			pause = max(interval, sweepShare*listing)
			due = time.Now().Add(pause)
			p.sweeps.plan(pause)
		}
		if err == nil && p.finishSweep(orders, asOf) {
			pause = sweepRetry
		}
		select {
		case <-ctx.Done():
		case <-p.sweeps.asked:
		case <-time.After(pause):
		}
	}
	return nil
}

// finishSweep acknowledges the orders that a sweep has fulfilled which saw PowerDNS's database as of that moment, and
// reports whether others wait for the next one.
func (p *Primary) finishSweep(orders []sweepOrder, asOf time.Time) (more bool) {
	p.Ready.Clear(condSweep)
	p.sweeps.done(time.Now())
	p.AnnounceSoon()
	fulfilled, more := p.sweeps.orders.fulfil(orders, asOf)
	for _, o := range fulfilled {
		_ = o.Ack() // lost: it is swept once more
	}
	return more
}

// sweep compares all zones of PowerDNS with what is published and looks at those that differ. A listing that is not
// complete is an error and changes nothing.
//
// All zones of a SOA-EDIT can move at once, so those that are served otherwise than published are looked at at the
// pace of renewals, and so are those that were published unsigned. It returns how long PowerDNS took.
//
// asOf is a moment from before which PowerDNS gives all that was committed. A zone whose state was learned of later
// is not missing: it may only not have arrived here.
func (p *Primary) sweep(ctx context.Context, scope sweepScope, asOf time.Time) (took time.Duration, err error) {
	if err := p.source.origin.Prove(ctx); err != nil { // whoever asked for the sweep may have mapped a view
		return 0, err
	}
	begin := time.Now()
	zones, err := p.source.list(ctx, scope)
	p.noteListing(zones, begin, err)
	if err != nil {
		return 0, err
	}
	took = time.Since(begin)
	missing := p.index.Existing() // until they are seen
	for _, info := range zones {
		if !p.cfg.Primary.Distributes(info) {
			continue
		}
		p.index.Saw(info.Name)
		switch before := missing[info.Name]; {
		case !before.Stands() || before.Header.Stored != info.Serial:
			p.jobs.Add(ctx, info.Name, sweepJob())
		case p.publisher.signer.lacks(before.Header),
			scope == servedScope && servedOtherwise(before.Header, info, begin, took):
			p.schedules.moved.Suggest(info.Name, begin)
		}
		delete(missing, info.Name)
	}
	for _, name := range p.index.LostTombstones() {
		p.jobs.Add(ctx, name, goneJob())
	}
	return took, p.sweepMissing(ctx, missing, asOf)
}

// servedOtherwise reports whether PowerDNS, which began to list then and took that long, serves the zone otherwise
// than it was published.
func servedOtherwise(h broker.StateHeader, info powerdns.ZoneInfo, begin time.Time, took time.Duration) bool {
	if info.DNSSEC != (h.Expires != 0) {
		return true
	}
	since := begin.Sub(h.Published) + took/2
	return info.EditedSerial != h.Serial && !ticks(info.EditedSerial-h.Serial, since)
}

// tickSlack is how long a transfer or a listing may have taken for a serial to count as a clock.
const tickSlack = time.Minute

// ticks reports whether a serial moved by as many seconds as went by: SOA-EDIT EPOCH gives the time of day for a
// serial, and that is no news. A serial that was set and moved as far by chance is seen as soon as it stands still
// for a minute.
func ticks(moved uint32, passed time.Duration) bool {
	return (time.Duration(int32(moved))*time.Second - passed).Abs() <= tickSlack
}

// sweepMissing publishes the zones as gone that PowerDNS says it has not, over its API and over DNS, if they are not
// too many.
func (p *Primary) sweepMissing(ctx context.Context, missing map[zone.Name]index.Published, asOf time.Time) error {
	var gone []zone.Name
	var doubts error
	for name := range missing {
		if learned := p.index.Get(name).Learned; learned.After(asOf) {
			return errStale(name, asOf, learned)
		}
		switch err := p.source.isGone(ctx, name); {
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

func (p *Primary) sweepGone(ctx context.Context, gone []zone.Name) error {
	gone = slices.DeleteFunc(gone, func(name zone.Name) bool {
		return !p.index.Get(name).Remembered() // published meanwhile
	})
	if err := p.deletions.allowAll(time.Now(), gone); err != nil {
		p.Log.Error().Err(err).Msg("deletions are held")
		return nil
	}
	for _, name := range gone {
		p.jobs.Add(ctx, name, goneJob())
	}
	return nil
}

// publishesAll reports whether all that PowerDNS has was compared with what is published since this role or the
// broker was new, and what differed was looked at.
func (p *Primary) publishesAll() bool { return p.sweeps.allPublished(p.jobs.Idle) }

// reviewPowerDNS is called when PowerDNS came back: it may have missed nothing, or everything, and have other settings.
func (p *Primary) reviewPowerDNS(ctx context.Context) error {
	p.source.reasons.Begin(ctx)
	settings, err := p.source.reasons.Read(ctx)
	if err == nil {
		p.source.expansion.set(powerdns.ExpansionOf(settings))
		p.scheduleAllAliases()
	}
	p.sweeps.ask()
	return err
}

// keepCheckingMoved reads zones that are served otherwise than they were published, or published unsigned.
func (p *Primary) keepCheckingMoved(ctx context.Context) error {
	return p.schedules.atPace(ctx, p.schedules.moved, func(name zone.Name) { p.jobs.Add(ctx, name, sweepJob()) })
}

// scrub reads published zones anew.
func (p *Primary) scrub(ctx context.Context) error {
	if !p.index.AwaitComplete(ctx) {
		return nil
	}
	return work.Scrub{
		Period: p.cfg.Primary.ScrubPeriod, Zones: p.index.Names, Ended: p.metrics.scrubEnded, Log: p.Log,
		Look: func(ctx context.Context, name zone.Name) { p.jobs.Add(ctx, name, scrubJob()) },
	}.Run(ctx)
}
