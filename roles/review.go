package roles

import (
	"context"
	"maps"
	"sync"
	"time"

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

// review is also called when PowerDNS came back, perhaps with another database: what it lacks, or has in another version
// than the store, is given to it again.
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
	serials := s.apply.adopt(zones, begin)
	s.warn(unfit)
	missing, err := s.compare(serials, begin)
	if len(missing) > 0 {
		s.log.Warn().Int("zones", len(missing)).Msg("PowerDNS lacks zones or has older versions: giving them to it again")
	}
	for _, name := range missing {
		s.refills.add(name, begin)
	}
	return err
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

// compare takes what PowerDNS lists as the truth about what it serves, but for what was applied since the listing began,
// and returns the zones that it must be given again. A newer serial than the store's is no reason: the store was a
// moment behind when this role ended, and the state is delivered again.
func (s *Secondary) compare(serials map[zone.Name]uint32, begin time.Time) (missing []zone.Name, err error) {
	s.mu.Lock()
	before := maps.Clone(s.held)
	s.mu.Unlock()
	held := make(map[zone.Name]holding, len(before))
	for state, broken := range s.store.States() {
		if broken != nil {
			s.log.Error().Err(broken).Msg("this zone's copy in the store cannot be read; the zone's next change replaces it")
			continue
		}
		serial, is := serials[state.Name]
		switch h, was := before[state.Name]; {
		case was && h.since.After(begin):
		case !is || zone.SerialNewer(state.Serial, serial):
			missing = append(missing, state.Name)
		case serial == state.Serial && was:
			held[state.Name] = h
		case serial == state.Serial:
			held[state.Name] = holding{digest: state.Digest, since: begin}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, h := range s.held {
		if h.since.After(begin) {
			held[name] = h
		}
	}
	s.held = held
	return missing, err
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

// agenda holds zones that are due at a time, until they are done. It is safe for concurrent use.
type agenda struct {
	added chan struct{}

	mu  sync.Mutex
	due map[zone.Name]time.Time // the zero time once taken
}

func newAgenda() *agenda {
	return &agenda{added: make(chan struct{}, 1), due: map[zone.Name]time.Time{}}
}

func (a *agenda) add(name zone.Name, due time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due[name] = due
	notify(a.added, struct{}{})
}

// take returns what has become due.
func (a *agenda) take(now time.Time) (names []zone.Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, due := range a.due {
		if !due.IsZero() && !due.After(now) {
			names = append(names, name)
			a.due[name] = time.Time{}
		}
	}
	return names
}

// done removes the zone and tells whether it was there.
func (a *agenda) done(name zone.Name) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, was := a.due[name]
	delete(a.due, name)
	return was
}
