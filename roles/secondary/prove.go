package secondary

import (
	"context"
	"errors"
	"fmt"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// prove returns the holding of the state, once PowerDNS has answered with it to this process, and nobody gets from
// its cache what was answered before: the process before may have ended in between.
func (s *Secondary) prove(ctx context.Context, state *zone.State) (holding, error) {
	held, err := s.held.of(state)
	if err != nil || held.proven {
		return held, err
	}
	z, err := s.store.Zone(state.Name)
	if err != nil {
		return held, err
	}
	if err := s.proveSample(ctx, state, z); err != nil {
		return held, err
	}
	if err := s.applier.purge(ctx, state.Name, nil); err != nil {
		return held, err
	}
	return s.held.prove(state)
}

// proveSample proves what nothing is known of: the SOA, what it stands for where it need not tell versions apart, and
// a sample of the answers.
func (s *Secondary) proveSample(ctx context.Context, state *zone.State, z *zone.Zone) error {
	dns := s.applier.dns
	if err := transfer.ProveSOA(ctx, dns, z.Name(), z.Apex()); err != nil {
		return err
	}
	if state.Expires == 0 { // without signatures
		if err := transfer.ProveContent(ctx, dns, z); err != nil && !errors.Is(err, transfer.ErrRefused) {
			return err
		}
	}
	return transfer.ProveAnswers(ctx, dns, z, z.Sample(0, z.Len()/askedAtLeast, askedAtLeast))
}

// proveAll proves what one answer does not show: what PowerDNS obeys of the zone, its records, its chain of denial, and
// answers to questions: a transfer does not show all that these depend on.
func (s *Secondary) proveAll(ctx context.Context, z *zone.Zone, questions []zone.Question) error {
	if err := s.applier.proveState(ctx, z); err != nil {
		return err
	}
	refused := transfer.ProveAll(ctx, s.applier.dns, z)
	if refused != nil && !errors.Is(refused, transfer.ErrRefused) {
		return refused
	}
	if err := transfer.ProveAnswers(ctx, s.applier.dns, z, questions); err != nil {
		return err
	}
	return refused
}

// proveContent is prove and a look at all of the content, and at what the zone is in PowerDNS. It has the store keep a state that is proven so, and
// forgets the holding of one that is not.
func (s *Secondary) proveContent(ctx context.Context, state *zone.State) (holding, error) {
	held, err := s.prove(ctx, state)
	if err != nil {
		return held, err
	}
	z, err := s.store.Zone(state.Name)
	if err == nil {
		err = s.proveAll(ctx, z, z.Sample(0, z.Len()/askedOf(z), askedOf(z)))
	}
	if errors.Is(err, transfer.ErrRefused) { // transfers are not allowed, or there is no such zone
		if apex := z.Apex(); transfer.ProveSOA(ctx, s.applier.dns, state.Name, apex) != nil {
			err = fmt.Errorf("%w: %w", transfer.ErrNotServed, err)
		}
	}
	if err == nil {
		return held, s.republished(state, z)
	}
	if errors.Is(err, transfer.ErrNotServed) {
		s.metrics.repaired.Inc()
	}
	s.Each.Info().Err(err).Stringer("zone", state.Name).
		Msg("PowerDNS does not serve the zone as published, transferring it again")
	s.held.forget(state.Name)
	s.applier.forget(state.Name)
	return held, err
}
