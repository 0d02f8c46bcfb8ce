package roles

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// Scrubs look at zones that nobody touched, one after the other and round and round, for what no serial shows: content
// that was changed in a database by hand, at the primary or at a secondary.

const (
	// scrubShare keeps a secondary's scrub below a twentieth of the time, whatever the rate: large zones take seconds. At a
	// primary the lanes bound background work.
	scrubShare = 20

	reasonScrub = "scrub"
)

// scrub calls look for each zone at this rate a minute, until ctx ends. A rate of 0 is none.
func scrub(ctx context.Context, rate int, zones func() []zone.Name, look func(context.Context, zone.Name)) error {
	if rate == 0 {
		return nil
	}
	pause := time.Minute / time.Duration(rate)
	for ctx.Err() == nil {
		round := zones()
		if len(round) == 0 {
			wait(ctx, pause)
		}
		for _, name := range round {
			begin := time.Now()
			look(ctx, name)
			if !wait(ctx, max(pause, scrubShare*time.Since(begin))) {
				break
			}
		}
	}
	return nil
}

// wait returns false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// scrub reads published zones anew.
func (p *Primary) scrub(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.caughtUp:
	}
	return scrub(ctx, p.cfg.ScrubRate, func() []zone.Name { return slices.Sorted(maps.Keys(p.index.existing())) },
		func(ctx context.Context, name zone.Name) {
			p.submit(ctx, name, errand{reason: reasonScrub, thorough: true})
		})
}

// scrub compares what PowerDNS has with what it was given.
func (s *Secondary) scrub(ctx context.Context) error {
	return scrub(ctx, s.cfg.ScrubRate, s.heldZones, func(ctx context.Context, name zone.Name) {
		if !s.powerdns.wait(ctx) {
			return
		}
		if err := s.compareContent(ctx, name); err != nil && ctx.Err() == nil {
			s.log.Debug().Err(err).Stringer("zone", name).Msg("the zone could not be compared")
		}
	})
}

// compareContent transfers the zone out of PowerDNS and, where it is not what PowerDNS was given, gives it again. What
// changed meanwhile is left alone: whoever changed it proves it.
func (s *Secondary) compareContent(ctx context.Context, name zone.Name) error {
	state, err := s.store.State(name)
	if err != nil {
		return err
	}
	before, held := s.holding(state)
	if !held {
		return notHeld(state, held)
	}
	err = s.proveContent(ctx, state)
	if !errors.Is(err, transfer.ErrNotServed) || s.lanes.busy(name) {
		return err
	}
	// Looked at last: a version that came while PowerDNS was asked is busy until it is held.
	if after, held := s.holding(state); !held || after.since != before.since {
		return err
	}
	s.each.Warn().Err(err).Stringer("zone", name).Msg("PowerDNS has other content than it was given: giving it again")
	s.metrics.mended.Inc()
	s.unsure(name)
	s.refills.add(name, time.Now())
	return fmt.Errorf("zone %s: %w", name, err)
}

func (s *Secondary) heldZones() []zone.Name {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.held))
}
