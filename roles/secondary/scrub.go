package secondary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// scrub compares what PowerDNS has, and answers, with what it was given.
func (s *Secondary) scrub(ctx context.Context) error {
	round := 0
	zones := func() []zone.Name {
		round++
		return s.held.names()
	}
	look := func(ctx context.Context, name zone.Name) {
		if !s.powerdns.Wait(ctx) {
			return
		}
		if err := s.compareContent(ctx, name, round); err != nil && ctx.Err() == nil {
			s.Log.Debug().Err(err).Stringer("zone", name).Msg("the zone did not pass the scrub")
		}
	}
	return work.Scrub{
		Period: s.cfg.ScrubPeriod, Zones: zones, Look: look, Ended: s.metrics.scrubEnded, Log: s.Log,
	}.Run(ctx)
}

// How many records of a zone are asked for in one round. The next round asks for the next ones, so that in time all
// are.
const (
	askedAtLeast = 16
	askedAtMost  = 1000
	askedShare   = 100 // of so many records one: asking for one costs PowerDNS as much as transferring dozens
)

func askedOf(z *zone.Zone) int { return min(max(askedAtLeast, z.Len()/askedShare), askedAtMost) }

// compareContent looks at what PowerDNS obeys of the zone, transfers the zone out of it, asks for some of it, and,
// where that is not what PowerDNS was given, has the zone put right and refilled. What changed meanwhile is left alone:
// whoever changed it proves it.
func (s *Secondary) compareContent(ctx context.Context, name zone.Name, round int) error {
	state, err := s.store.State(name)
	if err != nil {
		return err
	}
	before, err := s.held.of(state)
	if err != nil {
		return err
	}
	z, err := s.store.Zone(name)
	if err != nil {
		return err
	}
	err = s.proveAll(ctx, z, z.Sample(round*askedOf(z), 1, askedOf(z)))
	if !errors.Is(err, transfer.ErrNotServed) || s.jobs.Busy(name) {
		return err
	}
	// Looked at last: a version that came while PowerDNS was asked is busy until it is held.
	if after, gone := s.held.of(state); gone != nil || after.since != before.since {
		return err
	}
	s.Each.Warn().Err(err).Stringer("zone", name).
		Msg("the zone in PowerDNS is not what it was given, refilling it from the store")
	s.metrics.repaired.Inc()
	s.held.forget(name)
	s.applier.forget(name)
	s.refills.Add(name, time.Now())
	return fmt.Errorf("zone %s: %w", name, err)
}
