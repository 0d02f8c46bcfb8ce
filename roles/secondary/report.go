package secondary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// applied is the notice that PowerDNS serves the state, or that the zone is gone, since that time.
func applied(state *zone.State, at time.Time) health.Applied {
	a := health.Applied{Zone: state.Name, Gone: state.Gone, Published: state.Published, At: at.UTC()}
	if !state.Gone {
		a.Serial, a.Expires = state.Serial, state.Expires
		a.Digest, a.Stable = fmt.Sprintf("%x", state.Digest), fmt.Sprintf("%x", state.Stable)
	}
	return a
}

// report publishes a notice, which says whether the zone had to be repaired for it, at whichever attempt. One that is
// lost is sent again to whoever asks.
func (s *Secondary) report(a health.Applied) {
	a.Repaired = s.held.hadLost(a.Zone, a.Published)
	if err := s.publishApplied(a); err != nil {
		s.Log.Debug().Err(err).Stringer("zone", a.Zone).Msg("failed to publish that a state is applied")
	}
}

func (s *Secondary) publishApplied(a health.Applied) error {
	notice, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return s.Conn.PublishApplied(notice)
}

// answer reports what PowerDNS is proven to answer with. Of a zone that is on its way nothing is reported until it is
// there: a state that waits, or is being applied, counts as known, whatever the store has.
func (s *Secondary) answer(ctx context.Context, name zone.Name) error {
	if !s.powerdns.IsUp() {
		return fmt.Errorf("%w: PowerDNS is away", powerdns.ErrUnavailable)
	}
	state, err := s.store.State(name)
	if errors.Is(err, store.ErrNotFound) {
		return s.answerGone(ctx, name)
	}
	if err != nil {
		return err
	}
	held, err := s.prove(ctx, state)
	if err != nil {
		return err
	}
	if s.jobs.Has(name) {
		return onItsWay(name)
	}
	s.report(applied(state, held.since))
	return nil
}

// answerGone reports that the zone is gone, and since which tombstone: of a later one, which may not be here yet,
// that says nothing.
func (s *Secondary) answerGone(ctx context.Context, name zone.Name) error {
	newest, err := s.store.Newest(name)
	if err != nil {
		return err
	}
	if err := transfer.ProveGone(ctx, s.applier.dns, name); err != nil {
		return err
	}
	if s.jobs.Has(name) {
		return onItsWay(name)
	}
	return s.publishApplied(applied(zone.NewTombstone(name, newest), time.Now()))
}

func onItsWay(name zone.Name) error {
	return fmt.Errorf("%w: a state of zone %s is on its way", transfer.ErrNotServed, name)
}
