package secondary

import (
	"context"
	"time"

	"pdns-distribute/powerdns/zone"
)

// aheadPatience is how long PowerDNS is left waiting for a version: many times what a primary takes for a small zone.
const aheadPatience = 250 * time.Millisecond

// orderAhead orders transfers of states that primaries announce, one at a time.
func (s *Secondary) orderAhead(ctx context.Context) error {
	coming := make(chan zone.Name, 1)
	stop, err := s.Conn.SubscribeComing(ctx, func(name zone.Name) {
		select {
		case coming <- name:
		default: // too many at a time
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case name := <-coming:
			s.orderOne(ctx, name)
		}
	}
}

func (s *Secondary) orderOne(ctx context.Context, name zone.Name) {
	held, err := s.store.State(name)
	if err != nil || held.Gone || len(held.Chunks()) > 0 || held.Records >= editFrom || !s.held.proves(held) {
		return
	}
	if !s.applier.isOurs(name) || !s.source.expect(name, aheadPatience) {
		return
	}
	s.metrics.ahead.Inc()
	if err := s.applier.order(ctx, name); err != nil {
		s.Log.Debug().Err(err).Stringer("zone", name).Msg("failed to order the transfer of an upcoming state")
	}
}
