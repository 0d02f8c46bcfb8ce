package secondary

import (
	"context"
	"slices"
	"sync"
	"time"

	"pdns-distribute/dnssec"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/work"
)

// Reviews compare what PowerDNS lists with the store. A listing costs PowerDNS some 30 µs per zone; reviewShare keeps
// that below a fiftieth of the time.
const (
	reviewInterval = time.Minute
	reviewShare    = 50
)

// reviewed is what the last review counted and found. It is safe for concurrent use.
type reviewed struct {
	wanted         chan struct{} // asks for a review
	store, listing *node.Stock   // what was counted

	mu sync.Mutex

	// Under mu.
	found   findings
	foreign foreign
}

// findings are what a review found. Its maps and slices are never changed.
type findings struct {
	extra    map[zone.Name]uint32 // what PowerDNS has besides, with serials: zones of this role that nobody published
	signed   *health.SignedUntil  // the first end of signatures
	warnings []string             // settings of PowerDNS that are not as a secondary needs them
}

func newReviewed() *reviewed {
	wanted := make(chan struct{}, 1)
	renew := func() { work.Notify(wanted, struct{}{}) }
	return &reviewed{
		wanted: wanted, store: node.NewStock(reviewShare, renew), listing: node.NewStock(reviewShare, renew),
	}
}

func (r *reviewed) findings() findings {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.found
}

func (r *reviewed) update(change func(*findings)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.found)
}

func (r *reviewed) noteForeign(names []zone.Name, known map[zone.Name]bool, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.foreign.review(names, known, at)
}

func (r *reviewed) unclaimed(following time.Time) []zone.Name {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.foreign.unclaimed(time.Now(), following)
}

// keepReviewing finds what was changed in PowerDNS bypassing this role.
func (s *Secondary) keepReviewing(ctx context.Context) error {
	pause := reviewInterval
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.reviewed.wanted:
		case <-time.After(pause):
		}
		if !s.powerdns.Wait(ctx) {
			return nil
		}
		begin := time.Now()
		if err := s.review(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn().Err(err).Msg("failed to review the zones of PowerDNS")
		}
		pause = max(reviewInterval, reviewShare*time.Since(begin))
	}
}

// reviewAll is called when PowerDNS came back, perhaps with another database: nothing that waits needs to wait longer.
func (s *Secondary) reviewAll(ctx context.Context) error {
	s.refills.Hasten()
	s.held.doubt()
	s.applier.reached.Store(false)
	return s.review(ctx)
}

// review gives PowerDNS again what it lacks, or has in an older version than the store.
func (s *Secondary) review(ctx context.Context) error {
	unfit, err := s.applier.inspect(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	zones, err := s.applier.api.Zones(ctx)
	s.reviewed.listing.Put(s.listed(zones), begin, err)
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
	missing, known := s.compare(s.applier.adopt(zones, begin), parked, begin)
	s.noteExtra(zones, known, begin)
	if len(missing) > 0 {
		s.Log.Warn().Int("zones", len(missing)).
			Msg("PowerDNS lacks zones or has older versions, refilling it from the store")
	}
	for _, name := range missing {
		s.refills.Suggest(name, begin)
	}
	return nil
}

// inspect reads PowerDNS's settings and returns those that are not as a secondary needs them.
func (a *applier) inspect(ctx context.Context) (unfit []string, err error) {
	settings, err := a.api.Config(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range powerdns.UnfitForSecondary(settings) {
		unfit = append(unfit, "PowerDNS runs with "+u.String())
	}
	a.purges.configure(threadsOf(settings), powerdns.KeepsAnswers(settings))
	return unfit, nil
}

// warn shows settings of PowerDNS that are not as a secondary needs them.
func (s *Secondary) warn(unfit []string) {
	s.reviewed.update(func(f *findings) {
		if len(unfit) > 0 && len(f.warnings) == 0 {
			s.Log.Warn().Strs("settings", unfit).
				Msg("PowerDNS's settings make it answer stale after a change, or slowly, or not at all")
		}
		f.warnings = unfit
	})
}

// noteExtra notes what PowerDNS has besides: zones of this role that nobody published, and, as foreign, those of
// others.
func (s *Secondary) noteExtra(zones []powerdns.ZoneInfo, known map[zone.Name]bool, at time.Time) {
	extra := map[zone.Name]uint32{}
	var foreign []zone.Name
	for _, info := range zones {
		if known[info.Name] {
			continue
		}
		if !s.applier.owns(info) {
			foreign = append(foreign, info.Name)
		}
		if s.applier.mayDelete(info) {
			extra[info.Name] = info.Serial
		}
	}
	s.reviewed.update(func(f *findings) { f.extra = extra })
	s.reviewed.noteForeign(foreign, known, at)
}

// compare takes what PowerDNS lists as the truth about what it serves, but for what was applied since the listing
// began, and returns the zones that it must be given again, and all that are known. A newer serial than the store's
// is no reason: the store was a moment behind when this role ended, and the state is delivered again. What is parked
// is scheduled already, and not held whatever its serial.
func (s *Secondary) compare(
	serials map[zone.Name]uint32, parked map[zone.Name]bool, begin time.Time,
) (missing []zone.Name, known map[zone.Name]bool) {
	before := s.held.all()
	found := make(map[zone.Name]holding, len(before))
	known = make(map[zone.Name]bool, len(before))
	var signed *health.SignedUntil
	stock := &health.Inventory{}
	for state, err := range s.store.States() {
		if err != nil {
			s.Each.Error().Err(err).
				Msg("failed to read a state in the store; the next change of its zone replaces it")
			continue
		}
		known[state.Name] = true
		stock.Add(entryOf(state))
		if end := dnssec.End(state.Expires, begin); state.Expires != 0 && (signed == nil || end.Before(signed.At)) {
			signed = &health.SignedUntil{Zone: state.Name, At: end}
		}
		serial, is := serials[state.Name]
		switch held, was := before[state.Name]; {
		case parked[state.Name], was && held.since.After(begin):
		case !is || zone.SerialNewer(state.Serial, serial):
			missing = append(missing, state.Name)
		case serial == state.Serial && was:
			found[state.Name] = held
		case serial == state.Serial:
			found[state.Name] = holdingOf(state, begin)
		}
	}
	s.reviewed.store.Put(stock, begin, nil)
	s.reviewed.update(func(f *findings) { f.signed = signed })
	meanwhile := s.held.replace(found, begin)
	return slices.DeleteFunc(missing, func(name zone.Name) bool { return meanwhile[name] }), known
}
