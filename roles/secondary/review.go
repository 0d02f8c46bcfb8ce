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

// reviewShare keeps what reviews cost below a fiftieth of the time: they compare what PowerDNS lists with the store,
// and a listing costs PowerDNS some 30 µs per zone.
const reviewShare = 50

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
	extra  map[zone.Name]uint32 // what PowerDNS has besides, with serials: zones of this role that nobody published
	signed *health.SignedUntil  // the first end of signatures

	unanswered []string // settings of PowerDNS that keep it from answering records of zones that are here
}

// newReviewed returns that of reviews at the interval.
func newReviewed(interval time.Duration) *reviewed {
	wanted := make(chan struct{}, 1)
	renew := func() { work.Notify(wanted, struct{}{}) }
	return &reviewed{
		wanted: wanted, store: node.NewStock(reviewShare, renew), listing: node.NewStock(reviewShare, renew),
		foreign: foreign{patience: foreignReviews * interval},
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
	pause := s.cfg.ReviewInterval
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
		pause = max(s.cfg.ReviewInterval, reviewShare*time.Since(begin))
	}
}

// reviewAll is called when PowerDNS came back, perhaps with another database: nothing that waits needs to wait longer.
func (s *Secondary) reviewAll(ctx context.Context) error {
	s.refills.Hasten()
	s.held.doubt()
	s.applier.reasons.Begin(ctx)
	s.applier.reached.Store(false)
	return s.review(ctx)
}

// review gives PowerDNS again what it lacks, or has in an older version than the store.
func (s *Secondary) review(ctx context.Context) error {
	settings, err := s.applier.reasons.Read(ctx)
	if err != nil {
		return err
	}
	s.applier.purges.configure(threadsOf(settings), powerdns.KeepsAnswers(settings))
	s.noteUnanswered(settings)
	begin := time.Now()
	zones, err := s.applier.listZones(ctx, s.cfg.Batches && powerdns.TakesBatches(s.powerdns.RunningVersion(), settings))
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

// noteUnanswered notes which settings of PowerDNS keep it from answering what the zones here have.
func (s *Secondary) noteUnanswered(settings map[string]string) {
	ofAlias, ofLua := s.applier.aliases.countComputed()
	unfit := unanswered(settings, ofAlias, ofLua)
	s.reviewed.update(func(f *findings) {
		if len(unfit) > 0 && len(f.unanswered) == 0 {
			s.Log.Warn().Strs("settings", unfit).Msg("PowerDNS runs with settings that keep it from answering some records")
		}
		f.unanswered = unfit
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
