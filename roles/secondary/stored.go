package secondary

import (
	"slices"

	"pdns-distribute/powerdns/zone"
)

// What the own store says of a state, and what it is to keep of one whose content it has.

// stored reports whether the store has the state's content, in the zone's newest state.
func (s *Secondary) stored(state *zone.State) bool {
	held, err := s.store.State(state.Name)
	return err == nil && !state.Gone && held.Digest == state.Digest && held.Stable == state.Stable
}

// storedHigher reports whether the store has the zone with a higher serial: it was deleted and made again.
func (s *Secondary) storedHigher(state *zone.State) bool {
	held, err := s.store.State(state.Name)
	return err == nil && zone.SerialNewer(held.Serial, state.Serial)
}

// before returns what PowerDNS serves now, nil when that is not sure.
func (s *Secondary) before(name zone.Name) *zone.Zone {
	if _, is := s.held.get(name); !is {
		return nil
	}
	z, err := s.store.Zone(name)
	if err != nil {
		return nil
	}
	return z
}

// confirmStored notes that the store's content is that of a newer state.
func (s *Secondary) confirmStored(state *zone.State) error {
	newest, err := s.store.Newest(state.Name)
	if err != nil || !state.Published.After(newest) {
		return err
	}
	return s.store.Confirm(state)
}

// republished has the store keep a state with the content that it has. Where another primary packed that differently
// the store keeps the former state: it has only the chunks of that one.
func (s *Secondary) republished(state *zone.State, z *zone.Zone) error {
	held, err := s.store.State(state.Name)
	if err != nil {
		return err
	}
	if !slices.Equal(held.Chunks(), state.Chunks()) {
		return s.confirmStored(state)
	}
	return s.store.Put(state, z, nil)
}
