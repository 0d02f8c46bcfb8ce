package roles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// Who waits for a change hears from the primary which state its touch has led to, and from each secondary when PowerDNS
// answers with it. Both tell unasked when it happens, and again when they are asked.

// askLimit is how many questions may wait; more are dropped, and asked again by whoever waits.
const (
	askLimit   = 1024
	askWorkers = 4
)

// answerAsks has answer called for each zone that is asked about.
func (n *node) answerAsks(ctx context.Context, answer func(context.Context, zone.Name) error) error {
	asked := make(chan zone.Name, askLimit)
	stop, err := n.conn.SubscribeAsk(ctx, func(name zone.Name) {
		select {
		case asked <- name:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range askWorkers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case name := <-asked:
					if err := answer(ctx, name); err != nil && ctx.Err() == nil {
						n.log.Debug().Err(err).Stringer("zone", name).Msg("a question about it was not answered")
					}
				}
			}
		})
	}
	return nil
}

// settled tells that a touch is done with.
func (p *Primary) settled(name zone.Name, touch uint64) {
	s := newSettled(name, p.index.get(name))
	s.Touch = touch
	if err := p.tell(s); err != nil {
		p.log.Debug().Err(err).Stringer("zone", name).Msg("that its touch is done with was not told")
	}
}

// answer tells what the zone is settled at. Another primary may have published it: the broker knows better than the index.
func (p *Primary) answer(ctx context.Context, name zone.Name) error {
	pending, last, err := p.conn.PendingTouch(ctx, name)
	if err != nil {
		return err
	}
	now := published{}
	state, err := p.conn.LastState(ctx, name)
	switch {
	case err == nil:
		now = published{seq: state.Seq, header: state.Header}
	case !errors.Is(err, broker.ErrNotFound):
		return err
	}
	s := newSettled(name, now)
	s.Touch, s.Pending = last, pending
	return p.tell(s)
}

// newSettled says which state a zone is at.
func newSettled(name zone.Name, now published) health.Settled {
	h := now.header
	return health.Settled{
		Zone: name, Gone: !now.remembered(), Again: h.Again != "",
		Serial: h.Serial, Digest: h.Digest, Stable: h.Stable, Expires: h.Expires, Published: h.Published,
	}
}

func (p *Primary) tell(s health.Settled) error {
	notice, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return p.conn.PublishSettled(notice)
}

// tell reports the state as applied at that time; mended says that PowerDNS had lost or altered it.
func (s *Secondary) tell(state *zone.State, at time.Time, mended bool) {
	a := health.Applied{Zone: state.Name, Gone: state.Gone, Published: state.Published, At: at.UTC(), Mended: mended}
	if !state.Gone {
		a.Serial, a.Expires, a.Digest, a.Stable = state.Serial, state.Expires, fmt.Sprintf("%x", state.Digest), fmt.Sprintf("%x", state.Stable)
	}
	if err := s.tellApplied(a); err != nil {
		s.log.Debug().Err(err).Stringer("zone", state.Name).Msg("the notice of a state being applied was not sent")
	}
}

func (s *Secondary) tellApplied(a health.Applied) error {
	notice, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return s.conn.PublishApplied(notice)
}

// answer tells what PowerDNS is proven to answer with. Of a zone that is on its way nothing is told until it is there.
func (s *Secondary) answer(ctx context.Context, name zone.Name) error {
	if !s.powerdns.isHere() {
		return fmt.Errorf("%w: PowerDNS is away", powerdns.ErrUnavailable)
	}
	state, err := s.store.State(name)
	if errors.Is(err, store.ErrNotFound) {
		if err := transfer.ProveGone(ctx, s.apply.dns, name); err != nil {
			return err
		}
		return s.tellApplied(health.Applied{Zone: name, Gone: true, At: time.Now().UTC()})
	}
	if err != nil {
		return err
	}
	h, err := s.prove(ctx, state)
	if err != nil {
		return err
	}
	s.tell(state, h.since, false)
	return nil
}

// prove returns the holding of the state, once PowerDNS has answered with it to this process.
func (s *Secondary) prove(ctx context.Context, state *zone.State) (holding, error) {
	h, ok := s.holding(state)
	if !ok || h.proven {
		return h, notHeld(state, ok)
	}
	apex, err := s.store.Apex(state.Name)
	if err != nil {
		return h, err
	}
	if err := transfer.ProveSOA(ctx, s.apply.dns, state.Name, apex); err != nil {
		return h, err
	}
	if state.Expires == 0 { // without signatures the SOA need not tell versions apart
		if err := s.proveContent(ctx, state); err != nil && !errors.Is(err, transfer.ErrRefused) {
			return h, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok = s.held[state.Name]
	if ok = ok && h.is(state); ok {
		h.proven = true
		s.held[state.Name] = h
	}
	return h, notHeld(state, ok)
}

func (s *Secondary) proveContent(ctx context.Context, state *zone.State) error {
	z, err := s.store.Zone(state.Name)
	if err != nil {
		return err
	}
	return transfer.ProveContent(ctx, s.apply.dns, z)
}

// confirm is prove and, if thorough, a look at all of the content.
func (s *Secondary) confirm(ctx context.Context, state *zone.State, thorough bool) (holding, error) {
	h, err := s.prove(ctx, state)
	if err != nil || !thorough {
		return h, err
	}
	z, err := s.store.Zone(state.Name)
	if err == nil {
		err = transfer.ProveContent(ctx, s.apply.dns, z)
	}
	if errors.Is(err, transfer.ErrRefused) { // transfers are not allowed, or there is no such zone
		if apex := z.Apex(); transfer.ProveSOA(ctx, s.apply.dns, state.Name, apex) != nil {
			err = fmt.Errorf("%w: %w", transfer.ErrNotServed, err)
		}
	}
	if err == nil {
		return h, s.republished(state, z)
	}
	if errors.Is(err, transfer.ErrNotServed) {
		s.metrics.mended.Inc()
	}
	s.each.Info().Err(err).Stringer("zone", state.Name).Msg("the zone is taken again")
	s.unsure(state.Name)
	return h, err
}

// republished has the store keep a state with the content that it has. Where another primary packed that differently the store
// keeps the former state: it has only the chunks of that one.
func (s *Secondary) republished(state *zone.State, z *zone.Zone) error {
	held, err := s.store.State(state.Name)
	if err != nil {
		return err
	}
	if !slices.Equal(held.Chunks(), state.Chunks()) {
		return s.confirmed(state)
	}
	return s.store.Put(state, z, nil, false)
}

func notHeld(state *zone.State, ok bool) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: zone %s, serial %d, is on its way", transfer.ErrNotServed, state.Name, state.Serial)
}
