package secondary

import (
	"context"
	"errors"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/zone"
)

// scheduleParked has what the process before could not give to PowerDNS tried again.
func (s *Secondary) scheduleParked() error {
	parked, err := s.store.Parked()
	for _, name := range parked {
		s.refills.Add(name, time.Now())
	}
	return err
}

// refillDue submits the zones that PowerDNS must be given again when they are due.
func (s *Secondary) refillDue(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, name := range s.refills.Take(time.Now()) {
			s.jobs.Add(ctx, name, job{})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.refills.Added:
		case <-tick.C:
		}
	}
}

// refill gives PowerDNS again what the store holds.
func (s *Secondary) refill(ctx context.Context, name zone.Name) (result string, err error) {
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
	if _, err := s.held.of(state); err == nil {
		return resultHeld, s.store.Unpark(name)
	}
	z, err := s.store.Zone(name)
	if err != nil {
		return "", err
	}
	version, withdraw := s.source.stage(z)
	defer withdraw()
	version.bulk = s.mayWait(name, job{})
	if err := s.applier.transfer(ctx, version, nil); err != nil {
		return "", s.applier.reasons.Explain(ctx, name, err)
	}
	if err := s.applier.purge(ctx, name, nil); err != nil {
		return "", err
	}
	s.source.committed(z)
	s.held.apply(state, broker.Place{})
	return resultApplied, s.store.Unpark(name)
}
