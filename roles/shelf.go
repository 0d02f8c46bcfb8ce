package roles

import (
	"errors"
	"fmt"
	"sync"

	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// shelf is where the loopback server finds zones: first the versions that are being applied, then the store.
type shelf struct {
	store *store.Store

	mu     sync.Mutex
	offers map[zone.Name]*offer
}

// offer is one version on its way into PowerDNS.
type offer struct {
	zone  *zone.Zone
	apex  zone.Apex
	begun chan struct{} // gets a value when PowerDNS begins to take it
	sent  chan error    // gets a value when it has taken all, or has not
}

func newShelf(s *store.Store) *shelf { return &shelf{store: s, offers: map[zone.Name]*offer{}} }

// offer puts z in front until withdraw is called. There is one offer per zone at a time: the lanes see to that.
func (s *shelf) offer(z *zone.Zone) (o *offer, withdraw func()) {
	o = &offer{zone: z, apex: z.Apex(), begun: make(chan struct{}, 1), sent: make(chan error, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers[z.Name()] = o
	return o, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.offers, z.Name())
	}
}

func (s *shelf) offered(name zone.Name) *offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offers[name]
}

// SOA implements transfer.Source.
func (s *shelf) SOA(name zone.Name) (zone.Record, []zone.Record, error) {
	apex, err := zone.Apex(nil), error(nil)
	if o := s.offered(name); o != nil {
		apex = o.apex
	} else if apex, err = s.store.Apex(name); err != nil {
		return nil, nil, held(err)
	}
	soa, signatures := apex.SOA()
	return soa, signatures, nil
}

// Zone implements transfer.Source.
func (s *shelf) Zone(name zone.Name) (*zone.Zone, error) {
	if o := s.offered(name); o != nil {
		notify(o.begun, struct{}{})
		return o.zone, nil
	}
	z, err := s.store.Zone(name)
	return z, held(err)
}

func held(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %w", transfer.ErrNotHeld, err)
	}
	return err
}

// transferred tells the offer that PowerDNS took, or failed to take, its version.
func (s *shelf) transferred(t transfer.Sent) {
	if o := s.offered(t.Zone); o != nil && o.zone == t.Version {
		notify(o.sent, t.Err)
	}
}

// notify leaves v in a channel of capacity one, in place of what nobody has read.
func notify[T any](ch chan T, v T) {
	for {
		select {
		case ch <- v:
			return
		default:
		}
		select {
		case <-ch:
		default:
		}
	}
}
