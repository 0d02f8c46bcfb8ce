package roles

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"pdns-distribute/dnssec"
	"pdns-distribute/powerdns/zone"
)

// reasonRenew has a zone read because PowerDNS may have signatures for it that end later.
const reasonRenew = "signatures"

// keepRenewing takes zones anew whose signatures near their end, or that PowerDNS signs for longer by now: it does so every
// week, mostly at an unchanged serial.
func (p *Primary) keepRenewing(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.caughtUp:
	}
	for p.powerdns.wait(ctx) {
		due := time.Now().Add(p.dnssec.CheckInterval)
		p.renew(ctx)
		if !wait(ctx, time.Until(due)) {
			break
		}
	}
	return nil
}

// renew reads the zones one by one, as background work. A zone that PowerDNS gives nothing newer for comes again with the
// next check.
func (p *Primary) renew(ctx context.Context) {
	for _, name := range slices.Sorted(maps.Keys(p.index.existing())) {
		h := p.index.get(name).header // as it is by now
		if !dnssec.Renewable(h.Expires, time.Now(), p.dnssec.RenewBefore) && !(p.dnssec.NSEC3 && h.NSEC) {
			continue
		}
		if !p.awaitBeat(ctx) {
			return
		}
		p.renewOne(ctx, name)
	}
}

// renewOne leaves a zone alone that PowerDNS does not sign itself: who does so changes its serial. It is still watched.
func (p *Primary) renewOne(ctx context.Context, name zone.Name) {
	if presigned, err := p.api.Presigned(ctx, name); err == nil && presigned {
		return
	}
	p.submit(ctx, name, errand{reason: reasonRenew, thorough: true, hidden: true})
}

// lookAtPace calls look for zones that are due, at the pace of renewals.
func (p *Primary) lookAtPace(ctx context.Context, zones *agenda, look func(zone.Name)) error {
	for p.awaitBeat(ctx) {
		name, ok := zones.takeOne(time.Now())
		if ok {
			look(name)
			continue
		}
		select {
		case <-ctx.Done():
		case <-zones.added:
		}
	}
	return nil
}

// awaitBeat keeps the pace; false when ctx ended first.
func (p *Primary) awaitBeat(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-p.beat:
		return true
	}
}

// signaturesTick is how often it is counted whose signatures are about to end.
const signaturesTick = time.Minute

// watchSignatures shows those that end though they should have been renewed.
func (p *Primary) watchSignatures(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.caughtUp:
	}
	for {
		p.showEnding(time.Now())
		if !wait(ctx, min(signaturesTick, p.dnssec.CheckInterval)) {
			return nil
		}
	}
}

// ending are the zones whose published signatures end too soon.
type ending struct {
	zones int
	first zone.Name
	at    time.Time
}

func (x *index) ending(now time.Time, within time.Duration) (e ending) {
	for name, p := range x.existing() {
		if !dnssec.EndsWithin(p.header.Expires, now, within) {
			continue
		}
		e.zones++
		if at := dnssec.End(p.header.Expires, now); e.zones == 1 || at.Before(e.at) {
			e.first, e.at = name, at
		}
	}
	return e
}

// showEnding tells of signatures that were not renewed in time.
func (p *Primary) showEnding(now time.Time) {
	e := p.index.ending(now, p.dnssec.AlarmBefore)
	p.metrics.ending.Set(float64(e.zones))
	if e.zones == 0 {
		p.ready.Clear(condSignatures)
		return
	}
	p.ready.Set(condSignatures, fmt.Sprintf("signatures of %d zones end within %s, the first of them those of %s at %s; does PowerDNS, or whoever signs them, still make new ones?",
		e.zones, p.dnssec.AlarmBefore, e.first, e.at.Format(time.RFC3339)))
}
