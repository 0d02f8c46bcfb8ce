package roles

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// What came of a state.
const (
	resultApplied = "applied"
	resultRemoved = "removed"
	resultHeld    = "held"
)

// deliver makes PowerDNS serve what the state says, whatever that takes.
func (s *Secondary) deliver(ctx context.Context, name zone.Name, d delivery) (result string, err error) {
	if d.msg == nil {
		return s.refill(ctx, name)
	}
	state, err := s.read(name, d.msg)
	if err != nil {
		return "", err
	}
	if s.outdated(state, d.msg) {
		return resultHeld, nil
	}
	if !s.stored(state) { // what is stored already cannot be a step back
		if err := s.checkAge(state); err != nil {
			return "", err
		}
		if state.Gone {
			return resultRemoved, s.remove(ctx, state)
		}
		return resultApplied, s.take(ctx, state, d.msg, false)
	}
	to := d.msg.Header.Again
	h, err := s.confirm(ctx, state, to == s.id || to == broker.ToAll)
	if err == nil {
		s.tell(state, h.since, false)
		return resultHeld, s.confirmed(state)
	}
	return resultApplied, s.take(ctx, state, d.msg, errors.Is(err, transfer.ErrNotServed))
}

// take fetches and verifies the content, has PowerDNS serve it, and then has the store keep it: in this order, because
// the store's disk would be in PowerDNS's way. A crash in between leaves the state unacknowledged. What PowerDNS does not
// take is kept as parked, to be tried from there.
func (s *Secondary) take(ctx context.Context, state *zone.State, m *broker.FeedMsg, mended bool) error {
	z, fresh, err := s.content(ctx, state)
	if err != nil {
		return err
	}
	if !s.shelf.expects(state.Name) && s.serves(state.Name) {
		s.apply.prime(ctx, state.Name)
	}
	o, withdraw := s.shelf.offer(z)
	defer withdraw()    // when the store has it
	if s.lower(state) { // after a crash in between, a review would take the new version for the older one
		if err := s.store.Put(state, z, fresh, true); err != nil {
			return err
		}
	}
	err = s.bring(ctx, state, o)
	switch {
	case err == nil:
		s.served(state, m.Place())
		s.tell(state, time.Now(), mended)
		return s.store.Put(state, z, fresh, false)
	case ctx.Err() != nil:
		return err
	}
	s.unsure(state.Name)
	if storing := s.store.Put(state, z, fresh, true); storing != nil {
		return errors.Join(err, storing)
	}
	return parkedError{err}
}

// parkedError is why PowerDNS did not take a state that the store keeps for it: the broker need not.
type parkedError struct{ error }

func (e parkedError) Unwrap() error { return e.error }

// lower tells whether the store has the zone with a higher serial: it was deleted and made again.
func (s *Secondary) lower(state *zone.State) bool {
	held, err := s.store.State(state.Name)
	return err == nil && zone.SerialNewer(held.Serial, state.Serial)
}

func (s *Secondary) serves(name zone.Name) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is := s.held[name]
	return is
}

// before is the apex of what PowerDNS serves now, nil when that is not sure.
func (s *Secondary) before(name zone.Name) zone.Apex {
	if !s.serves(name) {
		return nil
	}
	apex, err := s.store.Apex(name)
	if err != nil {
		return nil
	}
	return apex
}

// fetchers is how many chunks of one zone are fetched at a time.
const fetchers = 8

// content rebuilds the zone out of the chunks that the store has and those that it lacks, which it returns.
func (s *Secondary) content(ctx context.Context, state *zone.State) (*zone.Zone, map[zone.Chunk][]byte, error) {
	fresh, err := s.fetch(ctx, state)
	if err != nil {
		return nil, nil, err
	}
	z, err := state.Zone(func(c zone.Chunk) ([]byte, error) {
		if data, ok := fresh[c]; ok {
			return data, nil
		}
		return s.store.Chunk(state.Name, c)
	})
	return z, fresh, err
}

// fetch gets the chunks that the store lacks from the broker.
func (s *Secondary) fetch(ctx context.Context, state *zone.State) (map[zone.Chunk][]byte, error) {
	var mu sync.Mutex
	fresh := map[zone.Chunk][]byte{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchers)
	for _, c := range state.Chunks() {
		if _, err := s.store.Chunk(state.Name, c); err == nil {
			continue
		}
		g.Go(func() error {
			data, err := s.conn.GetBlob(ctx, c.Hash)
			mu.Lock()
			defer mu.Unlock()
			fresh[c] = data
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("zone %s: fetch its content: %w", state.Name, err)
	}
	return fresh, nil
}

// remove has PowerDNS and the store forget the zone. What cannot be removed now is parked as a tombstone.
func (s *Secondary) remove(ctx context.Context, state *zone.State) error {
	if err := s.apply.remove(ctx, state.Name); err != nil {
		if ctx.Err() != nil {
			return err
		}
		s.unsure(state.Name)
		if storing := s.store.Put(state, nil, nil, true); storing != nil {
			return errors.Join(err, storing)
		}
		return parkedError{err}
	}
	if err := s.store.Bury(state); err != nil {
		return err
	}
	s.unsure(state.Name)
	s.tell(state, time.Now(), false)
	return nil
}

// refill gives PowerDNS again what the store holds.
func (s *Secondary) refill(ctx context.Context, name zone.Name) (string, error) {
	state, err := s.store.State(name)
	if errors.Is(err, store.ErrNotFound) {
		return resultHeld, nil // deleted meanwhile
	}
	if err != nil {
		return "", err
	}
	if state.Gone {
		return resultRemoved, s.remove(ctx, state)
	}
	if s.holds(state) {
		return resultHeld, s.store.Unpark(name)
	}
	z, err := s.store.Zone(name)
	if err != nil {
		return "", err
	}
	s.apply.prime(ctx, name)
	o, withdraw := s.shelf.offer(z)
	defer withdraw()
	if err := s.apply.apply(ctx, o, nil); err != nil {
		return "", err
	}
	s.served(state, broker.Place{})
	return resultApplied, s.store.Unpark(name)
}
