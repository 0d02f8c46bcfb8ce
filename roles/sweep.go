package roles

import (
	"context"
	"errors"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
)

// sweepOrders are requests to sweep that wait for the sweep that fulfils them.
type sweepOrders struct {
	mu      sync.Mutex
	waiting []broker.TouchMsg
}

func (o *sweepOrders) add(t broker.TouchMsg) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = append(o.waiting, t)
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
	if t.Reason == reasonConfirm {
		p.log.Warn().Dur("for", confirmed).Msg("the operator allows all deletions")
		p.brake.Release(time.Now(), confirmed)
	}
	p.ordered.add(t)
	notify(p.sweeps, struct{}{})
}

// reviewPowerDNS is called when PowerDNS came back: it may have missed nothing, or everything.
func (p *Primary) reviewPowerDNS(context.Context) error {
	notify(p.sweeps, struct{}{})
	return nil
}

// sweepRetry is the pause after a sweep that failed.
const sweepRetry = 5 * time.Second

// keepSweeping sweeps at start, at the interval, on request, and when PowerDNS came back.
func (p *Primary) keepSweeping(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.caughtUp:
	}
	for p.powerdns.wait(ctx) {
		orders := p.ordered.take()
		pause := p.cfg.SweepInterval
		if err := p.sweep(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn().Err(err).Msg("the sweep failed; it is tried again")
			p.ready.Set(condSweep, "changes made behind the proxy are not found: "+err.Error())
			p.powerdns.doubt()
			pause = sweepRetry
		} else {
			p.ready.Clear(condSweep)
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
func (p *Primary) sweep(ctx context.Context) error {
	zones, err := p.api.Zones(ctx)
	if err != nil {
		return err
	}
	missing := p.index.existing() // until they are seen
	for _, info := range zones {
		if !p.distributes(info.Kind) {
			continue
		}
		if before := missing[info.Name]; !before.stands() || before.header.Stored != info.Serial {
			p.lanes.submit(ctx, info.Name, errand{reason: reasonSweep, thorough: true, hidden: true}, false)
		}
		delete(missing, info.Name)
	}
	for _, name := range p.index.buried() {
		p.lanes.submit(ctx, name, errand{reason: reasonGone}, false)
	}
	return p.sweepMissing(ctx, missing)
}

// sweepMissing publishes the zones as gone that PowerDNS says it has not, if they are not too many.
func (p *Primary) sweepMissing(ctx context.Context, missing map[zone.Name]published) error {
	var gone []zone.Name
	for name := range missing {
		_, err := p.info(ctx, name)
		switch {
		case errors.Is(err, errNotHere):
			gone = append(gone, name)
		case errors.Is(err, powerdns.ErrUnavailable), ctx.Err() != nil:
			return err
		}
	}
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
		p.lanes.submit(ctx, name, errand{reason: reasonGone}, false)
	}
	return nil
}
