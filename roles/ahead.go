package roles

import (
	"context"
	"time"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
)

// To order a transfer takes PowerDNS about as long as the transfer itself, so the order goes ahead: as soon as the
// primary begins to read a zone, idle secondaries order it, and the loopback server lets PowerDNS wait for the version to
// arrive. Nothing depends on it: where the word is lost or comes to nothing, the order follows the state as usual, and
// PowerDNS takes the version that it has again.

// announce tells secondaries that the zone was changed. Large zones are fetched and edited otherwise.
func (p *Primary) announce(name zone.Name, e errand) {
	before := p.index.get(name)
	if !e.live || e.reason == proxy.ReasonDelete || !before.stands() || before.header.Chunks > 0 {
		return
	}
	if err := p.conn.PublishComing(name); err != nil {
		p.log.Debug().Err(err).Stringer("zone", name).Msg("its coming was not announced")
	}
}

// aheadPatience is how long PowerDNS is left waiting for a version: many times what a primary takes for a small zone.
const aheadPatience = 250 * time.Millisecond

// orderAhead orders transfers of what is said to come, one at a time.
func (s *Secondary) orderAhead(ctx context.Context) error {
	coming := make(chan zone.Name, 1)
	stop, err := s.conn.SubscribeComing(ctx, func(name zone.Name) {
		select {
		case coming <- name:
		default: // a crowd
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
	if err != nil || held.Gone || len(held.Chunks()) > 0 || held.Records >= editFrom || !s.proves(held) || !s.apply.isOurs(name) {
		return
	}
	s.apply.prime(ctx, name)
	if !s.shelf.expect(name, aheadPatience) {
		return
	}
	s.metrics.ahead.Inc()
	if err := s.apply.order(ctx, name); err != nil {
		s.log.Debug().Err(err).Stringer("zone", name).Msg("its transfer was not ordered ahead")
	}
}
