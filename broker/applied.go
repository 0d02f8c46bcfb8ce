package broker

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// PublishApplied tells whoever listens what this node has applied. Nothing is stored and no one answers: a notice that
// is lost is made good by the next status.
func (c *Conn) PublishApplied(notice []byte) error {
	if err := c.nc.Publish(appliedPrefix+c.node, notice); err != nil {
		return fmt.Errorf("publish applied notice: %w", explain(err))
	}
	return nil
}

// SubscribeApplied calls fn for each notice, one call after the other, through reconnections, until stop is called;
// stop waits for a running fn. If there is a connection, notices sent after it has returned are received. CORE and
// API accounts.
func (c *Conn) SubscribeApplied(ctx context.Context, fn func(node string, notice []byte)) (stop func(), err error) {
	return c.listen(ctx, appliedPrefix+"*", func(msg *nats.Msg) {
		if node, err := subjectNode(appliedPrefix, msg.Subject); err == nil {
			fn(node, msg.Data)
		}
	})
}

// listen calls fn for each message on the subject until stop is called, which waits for a running fn. When it returns
// the broker knows of the subscription, if there is a connection.
func (c *Conn) listen(ctx context.Context, subject string, fn nats.MsgHandler) (stop func(), err error) {
	sub, err := c.nc.Subscribe(subject, fn)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, explain(err))
	}
	ended := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(ended) })
	c.settle(ctx)
	return func() {
		_ = sub.Unsubscribe() // fails if the connection is closed, which ends it too
		<-ended
	}, nil
}

// settle waits until the broker knows of a new subscription. Without a connection it will when there is one.
func (c *Conn) settle(ctx context.Context) {
	ctx, cancel := within(ctx, requestTimeout)
	defer cancel()
	if err := c.ask(ctx, c.nc.FlushWithContext); err != nil {
		c.log.Debug().Err(err).Msg("subscription waits for the connection")
	}
}
