package primary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pdns-distribute/dnssec"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
)

// Zones that PowerDNS signs itself with NSEC are converted to NSEC3 where the operator wants it: soon after they were
// published with NSEC, and those that were left with each check of signatures.

// convertible reports whether the zone is published with NSEC and should not be, and PowerDNS takes the change.
func (p *Primary) convertible(name zone.Name) bool {
	return p.cfg.DNSSEC.NSEC3 && p.index.Get(name).Header.NSEC && p.replication.writes()
}

// scheduleConversion has a zone converted that was just published.
func (p *Primary) scheduleConversion(name zone.Name) {
	if p.convertible(name) {
		p.schedules.converting.Suggest(name, time.Now())
	}
}

// keepConverting has zones converted that were published a moment ago.
func (p *Primary) keepConverting(ctx context.Context) error {
	return p.schedules.atPace(ctx, p.schedules.converting, func(name zone.Name) { p.renewOne(ctx, name) })
}

// toConvert reports whether the zone is to be converted with this job: one that nobody waits for.
func (p *Primary) toConvert(name zone.Name, j job) bool {
	return j.msg == nil && j.background() && p.convertible(name)
}

// convert converts the zone and publishes it again. before is what came of the job without that.
func (p *Primary) convert(ctx context.Context, name zone.Name, j job, before string) (result string, err error) {
	if converted, err := p.setNSEC3(ctx, name); err != nil || !converted {
		return before, err
	}
	j.depth = toSignatures
	result, err = p.reconcile(ctx, name, j)
	if err == nil && p.convertible(name) {
		err = fmt.Errorf("zone %s was converted to NSEC3, and PowerDNS still transfers it with NSEC", name)
	}
	return result, err
}

// setNSEC3 has PowerDNS deny with NSEC3 in the zone, and reports whether it does. Parameters that somebody else chose
// are left alone, and so is what PowerDNS was given signed.
func (p *Primary) setNSEC3(ctx context.Context, name zone.Name) (converted bool, err error) {
	info, err := p.source.info(ctx, name)
	if errors.Is(err, errNotHere) {
		return false, nil // the next look at it says so, too
	}
	foreign := info.NSEC3Param != "" && info.NSEC3Param != dnssec.NSEC3Param
	if err != nil || !info.DNSSEC || info.Kind == powerdns.Slave || foreign {
		return false, err
	}
	if presigned, err := p.source.api.Presigned(ctx, name); err != nil || presigned {
		return false, err
	}
	if !p.replication.acts() {
		return false, errDeposed
	}
	if err := p.writeNSEC3(ctx, info); err != nil {
		return false, fmt.Errorf("convert from NSEC to NSEC3: %w", err)
	}
	return true, nil
}

// writeNSEC3 also rectifies a zone that has the parameters already: an attempt may have ended in between.
func (p *Primary) writeNSEC3(ctx context.Context, info powerdns.ZoneInfo) error {
	if info.NSEC3Param == "" {
		if err := p.source.api.SetNSEC3Param(ctx, info.Name, dnssec.NSEC3Param); err != nil {
			return err
		}
		p.Each.Info().Stringer("zone", info.Name).Str("parameters", dnssec.NSEC3Param).
			Msg("zone converted from NSEC to NSEC3")
	}
	return p.source.api.Rectify(ctx, info.Name)
}
