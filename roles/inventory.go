package roles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/zone"
)

// answerChecks answers the questions of the health role about what this secondary has. take takes stock; all questions of
// one check are answered from the stock that its first one had taken.
func answerChecks(ctx context.Context, conn *broker.Conn, take func(context.Context) (*health.Inventory, error)) error {
	asked := make(chan health.Question, 64) // more are dropped, and asked again
	stop, err := conn.SubscribeCheck(ctx, func(question []byte) {
		var q health.Question
		if json.Unmarshal(question, &q) != nil {
			return
		}
		select {
		case asked <- q:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	var (
		stock *health.Inventory
		check string
	)
	for {
		var q health.Question
		select {
		case <-ctx.Done():
			return nil
		case q = <-asked:
		}
		answer := health.Answer{Question: q}
		if q.Check != check && q.Depth == 0 {
			if stock, err = take(ctx); err == nil {
				check = q.Check
			}
		}
		switch {
		case err != nil:
			answer.Fault, err = err.Error(), nil
		case q.Check != check:
			answer.Fault = "another check has begun"
		default:
			answer = stock.Answer(q)
		}
		if text, err := json.Marshal(answer); err == nil {
			_ = conn.PublishChecked(text) // lost: it is asked again
		}
	}
}

// inventory is what PowerDNS is known to serve, and what it has besides.
func (s *Secondary) inventory(ctx context.Context) (*health.Inventory, error) {
	if !s.powerdns.isHere() {
		return nil, errors.New("PowerDNS is away")
	}
	s.mu.Lock()
	held, extra := maps.Clone(s.held), maps.Clone(s.extra)
	s.mu.Unlock()
	stock := &health.Inventory{}
	for name, h := range held {
		stock.Add(health.Entry{Zone: name, Version: health.VersionOf(name, h.digest, h.stable), Serial: h.serial})
	}
	for name, serial := range extra {
		if _, is := held[name]; !is && s.isExtra(ctx, name) {
			stock.Add(health.Entry{Zone: name, Serial: serial})
		}
	}
	return stock, nil
}

// isExtra looks again: the zone may have been published, or deleted, since PowerDNS was asked for its list.
func (s *Secondary) isExtra(ctx context.Context, name zone.Name) bool {
	if s.shelf.offered(name) != nil {
		return false
	}
	if _, err := s.store.State(name); !errors.Is(err, store.ErrNotFound) {
		return false
	}
	info, err := s.apply.api.Zone(ctx, name)
	return err == nil && (s.apply.clean || s.apply.owns(info))
}

// desired is what all secondaries should have. It is made anew only when something has changed.
func (x *index) desired() (*health.Inventory, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stock != nil && x.stockAt == x.changes {
		return x.stock, nil
	}
	stock := &health.Inventory{}
	for name, p := range x.zones {
		if !p.stands() {
			continue
		}
		v, err := p.version(name)
		if err != nil {
			return nil, err
		}
		stock.Add(health.Entry{Zone: name, Version: v, Serial: p.header.Serial})
	}
	x.stock, x.stockAt = stock, x.changes
	return stock, nil
}

func (p published) version(name zone.Name) (health.Version, error) {
	digest, err1 := zone.ParseDigest(p.header.Digest)
	stable, err2 := zone.ParseStableDigest(p.header.Stable)
	if err := errors.Join(err1, err2); err != nil {
		return health.Version{}, fmt.Errorf("zone %s is published with digests that cannot be read: %w", name, err)
	}
	return health.VersionOf(name, digest, stable), nil
}
