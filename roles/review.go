package roles

import (
	"context"
	"maps"
	"slices"
	"time"

	"pdns-distribute/dnssec"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
)

// Reviews compare what PowerDNS lists with the store. A listing costs PowerDNS some 30 µs per zone; reviewShare keeps that
// below a fiftieth of the time.
const (
	reviewInterval = time.Minute
	reviewShare    = 50
)

// keepReviewing finds what was changed in PowerDNS behind this role's back.
func (s *Secondary) keepReviewing(ctx context.Context) error {
	pause := reviewInterval
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if !s.powerdns.wait(ctx) {
			return nil
		}
		begin := time.Now()
		if err := s.review(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn().Err(err).Msg("the zones of PowerDNS cannot be listed")
		}
		pause = max(reviewInterval, reviewShare*time.Since(begin))
	}
}

// reviewAll is called when PowerDNS came back, perhaps with another database: nothing that waits needs to wait longer.
func (s *Secondary) reviewAll(ctx context.Context) error {
	s.refills.hasten()
	s.proveAnew()
	return s.review(ctx)
}

// review gives PowerDNS again what it lacks, or has in an older version than the store.
func (s *Secondary) review(ctx context.Context) error {
	unfit, err := s.apply.inspect(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	zones, err := s.apply.api.Zones(ctx)
	if err != nil {
		return err
	}
	parked := map[zone.Name]bool{}
	names, err := s.store.Parked()
	if err != nil {
		return err
	}
	for _, name := range names {
		parked[name] = true
	}
	s.warn(unfit)
	ours := s.apply.adopt(zones, begin)
	missing, known := s.compare(ours, parked, begin)
	s.noteExtra(zones, known)
	if len(missing) > 0 {
		s.log.Warn().Int("zones", len(missing)).Msg("PowerDNS lacks zones or has older versions: giving them to it again")
	}
	for _, name := range missing {
		s.refills.suggest(name, begin)
	}
	return nil
}

// warn shows settings of PowerDNS that are not as a secondary needs them.
func (s *Secondary) warn(unfit []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(unfit) > 0 && len(s.warnings) == 0 {
		s.log.Warn().Strs("settings", unfit).Msg("PowerDNS's settings make it answer stale after a change, or slowly, or not at all")
	}
	s.warnings = unfit
}

// noteExtra notes what PowerDNS has besides: zones of this role that nobody published, and, as foreign, those of others.
func (s *Secondary) noteExtra(zones []powerdns.ZoneInfo, known map[zone.Name]bool) {
	extra := map[zone.Name]uint32{}
	var foreign []zone.Name
	for _, info := range zones {
		switch owned := s.apply.owns(info); {
		case known[info.Name]:
		case !owned:
			foreign = append(foreign, info.Name)
			if s.apply.clean {
				extra[info.Name] = info.Serial
			}
		default:
			extra[info.Name] = info.Serial
		}
	}
	slices.Sort(foreign)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extra, s.foreign = extra, foreign
}

// compare takes what PowerDNS lists as the truth about what it serves, but for what was applied since the listing began,
// and returns the zones that it must be given again, and all that are known. A newer serial than the store's is no reason: the store was a
// moment behind when this role ended, and the state is delivered again. What is parked is on the agenda already, and not
// held whatever its serial.
func (s *Secondary) compare(serials map[zone.Name]uint32, parked map[zone.Name]bool, begin time.Time) (missing []zone.Name, known map[zone.Name]bool) {
	s.mu.Lock()
	before := maps.Clone(s.held)
	s.mu.Unlock()
	held := make(map[zone.Name]holding, len(before))
	known = make(map[zone.Name]bool, len(before))
	var signed *health.SignedUntil
	for state, err := range s.store.States() {
		if err != nil {
			s.each.Error().Err(err).Msg("a state in the store cannot be read; it is replaced when the zone next changes")
			continue
		}
		known[state.Name] = true
		if end := dnssec.End(state.Expires, begin); state.Expires != 0 && (signed == nil || end.Before(signed.At)) {
			signed = &health.SignedUntil{Zone: state.Name, At: end}
		}
		serial, is := serials[state.Name]
		switch h, was := before[state.Name]; {
		case parked[state.Name], was && h.since.After(begin):
		case !is || zone.SerialNewer(state.Serial, serial):
			missing = append(missing, state.Name)
		case serial == state.Serial && was:
			held[state.Name] = h
		case serial == state.Serial:
			held[state.Name] = holding{digest: state.Digest, stable: state.Stable, serial: state.Serial, published: state.Published, since: begin}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, h := range s.held {
		if h.since.After(begin) {
			held[name] = h
		}
	}
	missing = slices.DeleteFunc(missing, func(name zone.Name) bool { return held[name].since.After(begin) }) // applied meanwhile
	s.held, s.signed = held, signed
	return missing, known
}

// refillDue brings the zones that PowerDNS must be given again into their lanes.
func (s *Secondary) refillDue(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, name := range s.refills.take(time.Now()) {
			s.lanes.submit(ctx, name, delivery{}, false)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.refills.added:
		case <-tick.C:
		}
	}
}
