package roles

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/zone"
)

// answerChecks answers the questions of the health role about what this secondary has. All questions of one check are
// answered from the stock that was taken for its first one.
func (s *Secondary) answerChecks(ctx context.Context) error {
	asked := make(chan health.Question, 64) // more are dropped, and asked again
	stop, err := s.conn.SubscribeCheck(ctx, func(question []byte) {
		q, ok := readQuestion(question)
		if !ok {
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
	stock := takenStock{s: s}
	for {
		select {
		case <-ctx.Done():
			return nil
		case q := <-asked:
			if text, err := json.Marshal(stock.answer(ctx, q)); err == nil {
				_ = s.conn.PublishChecked(text) // lost: it is asked again
			}
		}
	}
}

// readQuestion refuses what belongs to no check: a stolen secondary can have the broker send some of its own answers here,
// and a question of another check ends the one that is under way.
func readQuestion(text []byte) (q health.Question, ok bool) {
	err := json.Unmarshal(text, &q)
	return q, err == nil && q.Check != ""
}

// takenStock is what a secondary had when a check began.
type takenStock struct {
	s     *Secondary
	check string
	stock *health.Inventory
}

func (t *takenStock) answer(ctx context.Context, q health.Question) health.Answer {
	if q.Depth == 0 && q.Check != t.check {
		if !t.s.powerdns.isHere() {
			return health.Answer{Question: q, Fault: "PowerDNS is away"}
		}
		t.check, t.stock = q.Check, t.s.inventory()
	}
	if q.Check != t.check {
		return health.Answer{Question: q, Fault: "another check has begun"}
	}
	answer := t.stock.Answer(q)
	answer.Zones = slices.DeleteFunc(slices.Clone(answer.Zones), func(e health.Entry) bool {
		return e.Version == health.Version{} && !t.s.isExtra(ctx, e.Zone)
	})
	return answer
}

// inventory is what PowerDNS is known to serve, and, without a version, what it had besides at the last review.
func (s *Secondary) inventory() *health.Inventory {
	s.mu.Lock()
	defer s.mu.Unlock()
	stock := &health.Inventory{}
	for name, h := range s.held {
		stock.Add(health.Entry{Zone: name, Version: health.VersionOf(name, h.digest, h.stable), Serial: h.serial})
	}
	for name, serial := range s.extra {
		if _, is := s.held[name]; !is {
			stock.Add(health.Entry{Zone: name, Serial: serial})
		}
	}
	return stock
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

// desired is what all secondaries should have. It is made anew only when something has changed. A zone whose digests
// cannot be read has no version, and so none that anybody serves: that shows.
func (x *index) desired() *health.Inventory {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stock != nil && x.stockAt == x.changes {
		return x.stock
	}
	stock := &health.Inventory{}
	for name, p := range x.zones {
		if !p.stands() {
			continue
		}
		stock.Add(health.Entry{Zone: name, Version: p.version(name), Serial: p.header.Serial})
	}
	x.stock, x.stockAt = stock, x.changes
	return stock
}

func (p published) version(name zone.Name) health.Version {
	digest, err1 := zone.ParseDigest(p.header.Digest)
	stable, err2 := zone.ParseStableDigest(p.header.Stable)
	if err1 != nil || err2 != nil {
		return health.Version{}
	}
	return health.VersionOf(name, digest, stable)
}
