package roles

import (
	"context"
	"errors"
	"fmt"

	"pdns-distribute/dnssec"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
)

// Zones that PowerDNS signs itself with NSEC are turned to NSEC3 where the operator wants it: soon after they were
// published with NSEC, and those that were left with each check of signatures.

// lookAtTurning orders zones to be turned that were just published.
func (p *Primary) lookAtTurning(ctx context.Context) error {
	return p.lookAtPace(ctx, p.turning, func(name zone.Name) { p.renewOne(ctx, name) })
}

// turnable tells whether the zone is published with NSEC and should not be.
func (p *Primary) turnable(name zone.Name) bool {
	return p.dnssec.NSEC3 && p.index.get(name).header.NSEC
}

// attend carries an errand out, and where nobody waits for it turns the zone.
func (p *Primary) attend(ctx context.Context, name zone.Name, e errand) (result string, err error) {
	result, err = p.carry(ctx, name, e)
	if err != nil || e.msg != nil || e.live || !p.turnable(name) {
		return result, err
	}
	if turned, err := p.turn(ctx, name); err != nil || !turned {
		return result, err
	}
	e.thorough, e.hidden = true, true
	result, err = p.carry(ctx, name, e)
	if err == nil && p.turnable(name) {
		err = fmt.Errorf("zone %s was turned to NSEC3, and PowerDNS still transfers it with NSEC", name)
	}
	return result, err
}

// turn has PowerDNS deny with NSEC3 in the zone. Parameters that somebody else chose are left alone, and so is what PowerDNS
// was given signed.
func (p *Primary) turn(ctx context.Context, name zone.Name) (turned bool, err error) {
	info, err := p.info(ctx, name)
	if errors.Is(err, errNotHere) {
		return false, nil // the next look at it says so, too
	}
	if err != nil || !info.DNSSEC || info.Kind == powerdns.Slave || info.NSEC3Param != "" && info.NSEC3Param != dnssec.NSEC3Param {
		return false, err
	}
	if presigned, err := p.api.Presigned(ctx, name); err != nil || presigned {
		return false, err
	}
	if err := p.setNSEC3(ctx, info); err != nil {
		return false, fmt.Errorf("turn from NSEC to NSEC3: %w", err)
	}
	return true, nil
}

// setNSEC3 also rectifies a zone that has the parameters already: an attempt may have ended in between.
func (p *Primary) setNSEC3(ctx context.Context, info powerdns.ZoneInfo) error {
	if info.NSEC3Param == "" {
		if err := p.api.SetNSEC3Param(ctx, info.Name, dnssec.NSEC3Param); err != nil {
			return err
		}
		p.each.Info().Stringer("zone", info.Name).Msg("turned from NSEC to NSEC3 " + dnssec.NSEC3Param)
	}
	return p.api.Rectify(ctx, info.Name)
}
