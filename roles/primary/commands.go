package primary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"pdns-distribute/broker"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/status"
)

// serveCommands answers what operators ask of a primary.
func (p *Primary) serveCommands(ctx context.Context) error {
	stopConfirm, err := p.Conn.ServeConfirm(ctx, p.answerConfirm)
	if err != nil {
		return err
	}
	defer stopConfirm()
	stopForget, err := p.Conn.ServeForget(ctx, p.answerForget)
	if err != nil {
		return err
	}
	defer stopForget()
	<-ctx.Done()
	return nil
}

// answerConfirm answers nothing to what is for another primary, and else how many deletions are held, or why the
// confirmation does not count.
func (p *Primary) answerConfirm(_ context.Context, from broker.Sender, text []byte) []byte {
	var to broker.Confirmation
	unreadable := json.Unmarshal(text, &to)
	if unreadable == nil && to.Node != p.ID {
		return nil
	}
	answer := status.HeldAnswer{Held: p.held()}
	if unreadable != nil || to.Count != 0 {
		if err := p.confirm(from, text); err != nil {
			p.Each.Warn().Err(err).Stringer("from", from).Msg("confirmation of deletions refused")
			answer.Fault = err.Error()
		}
	}
	reply, err := json.Marshal(answer)
	if err != nil {
		p.Log.Error().Err(err).Msg("failed to encode an answer")
	}
	return reply
}

func (p *Primary) confirm(from broker.Sender, text []byte) error {
	if !p.replication.acts() {
		return errDeposed
	}
	return p.deletions.confirm(from, text)
}

// answerForget removes all that the broker keeps of a node, unless that is there: else whoever may ask could cut off a
// secondary. It answers an empty text, or why it was not done.
func (p *Primary) answerForget(ctx context.Context, from broker.Sender, text []byte) []byte {
	forgotten := string(text)
	if err := p.forget(ctx, forgotten); err != nil {
		return []byte(err.Error())
	}
	p.Each.Info().Str("forgotten", forgotten).Stringer("from", from).Msg("node deregistered")
	return []byte{}
}

// forgetAge is how long a node must be silent: as long as health.inactive_after is at least.
const forgetAge = 2 * node.PresenceInterval

func (p *Primary) forget(ctx context.Context, id string) error {
	if err := broker.CheckNodeID(id); err != nil {
		return err
	}
	statuses, err := p.Conn.Statuses(ctx)
	if err != nil {
		return err
	}
	now, err := p.Conn.Now(ctx)
	if err != nil {
		return err
	}
	if s, is := statuses[id]; is && now.Sub(s.At) < forgetAge {
		return fmt.Errorf("%s %s is active: stop it first, and wait until status shows it as inactive", s.Role, id)
	}
	return errors.Join(p.Conn.RemoveFeed(ctx, id), p.Conn.ForgetStatus(ctx, id), p.Conn.PublishForgotten(id))
}
