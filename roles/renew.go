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

// reasonRenew has a zone read because its signatures near their end.
const reasonRenew = "signatures"

// signaturesTick is how often it is counted whose signatures are about to end.
const signaturesTick = time.Minute

// keepRenewing takes zones anew whose signatures near their end, at a pace: PowerDNS makes them anew every week, mostly
// at an unchanged serial. Those that end all the same are shown.
func (p *Primary) keepRenewing(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.caughtUp:
	}
	for due := time.Now(); p.powerdns.wait(ctx); {
		if !time.Now().Before(due) {
			due = time.Now().Add(p.dnssec.CheckInterval)
			p.renew(ctx)
		}
		p.showEnding(time.Now())
		if !wait(ctx, min(signaturesTick, time.Until(due))) {
			break
		}
	}
	return nil
}

// renew reads the zones one by one, as background work.
func (p *Primary) renew(ctx context.Context) {
	zones := p.index.existing()
	pause := time.Second / time.Duration(p.dnssec.RenewRate)
	for _, name := range slices.Sorted(maps.Keys(zones)) {
		if !dnssec.EndsWithin(zones[name].header.Expires, time.Now(), p.dnssec.RenewBefore) {
			continue
		}
		p.lanes.submit(ctx, name, errand{reason: reasonRenew, thorough: true, hidden: true}, false)
		if !wait(ctx, pause) {
			return
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
