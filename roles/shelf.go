package roles

import (
	"errors"
	"fmt"
	"sync"
	"time"

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
	there chan struct{} // closed when zone and apex are set, or never will be
	ahead bool          // its transfer was ordered before it was there
	begun chan struct{} // gets a value when PowerDNS begins to take it
	sent  chan error    // gets a value when it has taken all, or has not
}

func newShelf(s *store.Store) *shelf { return &shelf{store: s, offers: map[zone.Name]*offer{}} }

func newOffer() *offer {
	return &offer{there: make(chan struct{}), begun: make(chan struct{}, 1), sent: make(chan error, 1)}
}

// offer puts z in front until withdraw is called. There is one offer per zone at a time: the lanes see to that.
func (s *shelf) offer(z *zone.Zone) (o *offer, withdraw func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o = s.offers[z.Name()]
	if o == nil {
		o = newOffer()
		s.offers[z.Name()] = o
	}
	o.zone, o.apex = z, z.Apex()
	close(o.there)
	return o, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.offers, z.Name())
	}
}

// expect makes room for a version that is said to come. Until it is there, but no longer than patience, PowerDNS waits
// for its transfer. False when something is on its way already: PowerDNS has two threads for transfers by default, and
// only one may be kept waiting.
func (s *shelf) expect(name zone.Name, patience time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.offers) > 0 {
		return false
	}
	o := newOffer()
	o.ahead = true
	s.offers[name] = o
	time.AfterFunc(patience, func() { s.expire(o, name) })
	return true
}

// expects tells whether the zone's next version is expected.
func (s *shelf) expects(name zone.Name) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.offers[name]
	return o != nil && o.ahead
}

// expire ends the wait for a version that did not come.
func (s *shelf) expire(o *offer, name zone.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.zone == nil {
		delete(s.offers, name)
		close(o.there)
	}
}

// offered is the zone's offer, nil when there is none.
func (s *shelf) offered(name zone.Name) *offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offers[name]
}

func (o *offer) isThere() bool {
	select {
	case <-o.there:
		return o.zone != nil
	default:
		return false
	}
}

// SOA implements transfer.Source.
func (s *shelf) SOA(name zone.Name) (zone.Record, []zone.Record, error) {
	apex, err := zone.Apex(nil), error(nil)
	if o := s.offered(name); o != nil && o.isThere() {
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
		if <-o.there; o.zone != nil {
			notify(o.begun, struct{}{})
			return o.zone, nil
		}
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
	if o := s.offered(t.Zone); o != nil && o.isThere() && o.zone == t.Version {
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
