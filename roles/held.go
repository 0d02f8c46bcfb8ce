package roles

import (
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
)

// holding is a version that PowerDNS was proven, or said, to have.
type holding struct {
	digest    zone.Digest
	stable    zone.StableDigest // covers what the digest leaves out: the apex ZONEMD
	serial    uint32
	published time.Time
	since     time.Time
	proven    bool         // over DNS, by this process; else PowerDNS only says the same serial
	place     broker.Place // zero when it was not applied by this process
}

func (h holding) is(state *zone.State) bool {
	return h.digest == state.Digest && h.stable == state.Stable
}

func (s *Secondary) holds(state *zone.State) bool {
	_, ok := s.holding(state)
	return ok
}

func (s *Secondary) holding(state *zone.State) (holding, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.held[state.Name]
	return h, ok && h.is(state)
}

// proveAnew takes nothing for proven any more.
func (s *Secondary) proveAnew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, h := range s.held {
		h.proven = false
		s.held[name] = h
	}
}

// proves tells whether this process has proven that PowerDNS serves the state.
func (s *Secondary) proves(state *zone.State) bool {
	h, ok := s.holding(state)
	return ok && h.proven
}

func (s *Secondary) stored(state *zone.State) bool {
	held, err := s.store.State(state.Name)
	return err == nil && !state.Gone && held.Digest == state.Digest && held.Stable == state.Stable
}

// confirmed notes that the store's content is that of a newer state.
func (s *Secondary) confirmed(state *zone.State) error {
	newest, err := s.store.Newest(state.Name)
	if err != nil || !state.Published.After(newest) {
		return err
	}
	return s.store.Confirm(state)
}

// outdated tells whether a newer state than this one has been applied. That this one was published later the primary's key
// says for sure; how the broker counts only the broker says.
func (s *Secondary) outdated(state *zone.State, m *broker.FeedMsg) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.held[state.Name]
	later := len(s.trusted) > 0 && state.Published.After(h.published)
	return ok && !later && h.place.Newer(m.Place())
}

func (s *Secondary) served(state *zone.State, place broker.Place) {
	h := holding{digest: state.Digest, stable: state.Stable, serial: state.Serial, published: state.Published, since: time.Now(), proven: true, place: place}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[state.Name] = h
	s.lastAt, s.lastZone = h.since.UTC(), state.Name
}

// unsure forgets what PowerDNS serves: an attempt that failed may have left either version.
func (s *Secondary) unsure(name zone.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, name)
}

func (s *Secondary) zones() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}
