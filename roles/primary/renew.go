package primary

import (
	"context"
	"fmt"
	"time"

	"pdns-distribute/dnssec"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// condSignatures is the condition of no signatures being about to end.
const condSignatures = "signatures"

// keepRenewing takes zones anew whose signatures near their end, or that PowerDNS signs for longer by now: it does so
// every week, mostly at an unchanged serial.
func (p *Primary) keepRenewing(ctx context.Context) error {
	if !p.index.AwaitComplete(ctx) {
		return nil
	}
	for p.powerdns.Wait(ctx) {
		due := time.Now().Add(p.cfg.DNSSEC.CheckInterval)
		p.renew(ctx)
		if !work.Wait(ctx, time.Until(due)) {
			break
		}
	}
	return nil
}

// renew reads the zones one by one, as background work. A zone that PowerDNS gives nothing newer for comes again with
// the next check.
func (p *Primary) renew(ctx context.Context) {
	for _, name := range p.index.Names() {
		h := p.index.Get(name).Header // as it is by now
		if !dnssec.Renewable(h.Expires, time.Now(), p.cfg.DNSSEC.RenewBefore) && !(p.cfg.DNSSEC.NSEC3 && h.NSEC) {
			continue
		}
		if !p.schedules.awaitTick(ctx) {
			return
		}
		p.renewOne(ctx, name)
	}
	p.metrics.renewed(time.Now())
}

// renewOne leaves a zone alone that PowerDNS does not sign itself: who does so changes its serial. It is still watched.
func (p *Primary) renewOne(ctx context.Context, name zone.Name) {
	if presigned, err := p.source.api.Presigned(ctx, name); err == nil && presigned {
		return
	}
	p.jobs.Add(ctx, name, renewalJob())
}

// signaturesTick is how often it is counted whose signatures are about to end.
const signaturesTick = time.Minute

// watchSignatures shows those that end though they should have been renewed.
func (p *Primary) watchSignatures(ctx context.Context) error {
	if !p.index.AwaitComplete(ctx) {
		return nil
	}
	for {
		p.showEnding(time.Now())
		if !work.Wait(ctx, min(signaturesTick, p.cfg.DNSSEC.CheckInterval)) {
			return nil
		}
	}
}

// showEnding reports signatures that were not renewed in time.
func (p *Primary) showEnding(now time.Time) {
	e := p.index.Ending(now, p.cfg.DNSSEC.AlarmBefore)
	p.metrics.signed(e, p.index.FirstEnd(now))
	if e.Zones == 0 {
		p.Ready.Clear(condSignatures)
		return
	}
	p.Ready.Set(condSignatures, fmt.Sprintf(
		"signatures of %d zones end within %s, the first of them those of %s at %s; "+
			"does PowerDNS, or whoever signs them, still make new ones?",
		e.Zones, p.cfg.DNSSEC.AlarmBefore, e.First, e.At.Format(time.RFC3339)))
}
