package primary

import (
	"context"
	"encoding/json"
	"errors"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
)

// settle says that all touches of the zone up to this one have led to what is published of it by now, but for those of
// proxies whose databases may have parted.
func (p *Primary) settle(name zone.Name, touch uint64) {
	s := index.NewSettled(name, p.index.Get(name))
	s.Touch, s.Except = touch, p.replication.unwitnessed(name)
	if err := p.publishSettled(s); err != nil {
		p.Log.Debug().Err(err).Stringer("zone", name).Msg("failed to publish that a touch is settled")
	}
}

// answerAsk says what the zone is settled at. Another primary may have published it: the broker knows better than the
// index.
func (p *Primary) answerAsk(ctx context.Context, name zone.Name) error {
	pending, last, err := p.Conn.PendingTouch(ctx, name)
	if err != nil {
		return err
	}
	now := index.Published{}
	state, err := p.Conn.LastState(ctx, name)
	switch {
	case err == nil:
		now = index.Published{Seq: state.Seq, Header: state.Header}
	case !errors.Is(err, broker.ErrNotFound):
		return err
	}
	s := index.NewSettled(name, now)
	s.Touch, s.Pending = last, pending
	return p.publishSettled(s)
}

func (p *Primary) publishSettled(s health.Settled) error {
	notice, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return p.Conn.PublishSettled(notice)
}
