package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrUnread means that the broker gives no more of what it says that it has.
var ErrUnread = errors.New("the broker does not deliver what it holds")

const (
	readBatch    = 1024
	readPatience = 3 * time.Second // without a message; the broker has them all at hand
)

// ReadStates reads the headers of all states that the broker has at this moment, from the first to the last, by a
// consumer of its own that ends with it: what is there, whatever anybody remembers. It calls fn for each. ErrUnread:
// some cannot be had. Primaries.
func (c *Conn) ReadStates(ctx context.Context, fn func(StateMsg)) error {
	err := c.ask(ctx, func(ctx context.Context) error {
		stream, err := c.js.Stream(ctx, stateStream)
		if err != nil {
			return err
		}
		state := stream.CachedInfo().State
		if state.Msgs == 0 {
			return nil
		}
		consumer, err := stream.CreateConsumer(ctx, c.ephemeral(state.FirstSeq))
		if err != nil {
			return err
		}
		defer c.discard(ctx, consumer)
		return c.readTo(ctx, consumer, state.LastSeq, fn)
	})
	if err != nil {
		return fmt.Errorf("read all states: %w", err)
	}
	return nil
}

// discard ends a consumer that nobody reads any more; else it would end by itself after a minute.
func (c *Conn) discard(ctx context.Context, consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookup)
	defer cancel()
	_ = c.js.DeleteConsumer(ctx, stateStream, consumer.CachedInfo().Name)
}

// readTo reads up to a sequence, or to what is the end by now: the state that had the sequence may have been replaced.
func (c *Conn) readTo(ctx context.Context, consumer jetstream.Consumer, last uint64, fn func(StateMsg)) error {
	at, left := uint64(0), consumer.CachedInfo().NumPending
	for left > 0 && at < last {
		batch, err := consumer.Fetch(readBatch, jetstream.FetchMaxWait(readPatience))
		if err != nil {
			return err
		}
		got := 0
		for msg := range batch.Messages() {
			got++
			meta, err := msg.Metadata()
			if err != nil {
				return err
			}
			at, left = meta.Sequence.Stream, meta.NumPending
			if state, err := c.replaceable(msg.Subject(), at, msg.Headers(), nil); err == nil {
				fn(state)
			}
			if left == 0 || at >= last {
				return nil // what is asked for beyond ends with the consumer
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case got == 0:
			return fmt.Errorf("%w: nothing comes behind sequence %d, and the stream ends with %d", ErrUnread, at, last)
		}
	}
	return nil
}

// QueueInfo says how the touch queue stands.
type QueueInfo struct {
	Touches uint64        // that wait or are in hand
	Waiting uint64        // of those, that were not given to a primary yet
	Oldest  time.Duration // how long the oldest has been there, by the broker's clock
	Gone    uint64        // touches that are there no more, of all that ever were: done with, or replaced
	Given   uint64        // how often one was given to a primary
	Pulling bool          // a primary asks for more
}

// Queue looks at the touch queue. Primaries and health roles.
func (c *Conn) Queue(ctx context.Context) (q QueueInfo, err error) {
	err = c.ask(ctx, func(ctx context.Context) error {
		stream, err := c.js.Stream(ctx, touchStream)
		if err != nil {
			return err
		}
		consumer, err := c.js.Consumer(ctx, touchStream, touchDurable)
		if err != nil {
			return err
		}
		q = newQueueInfo(stream.CachedInfo(), consumer.CachedInfo())
		return nil
	})
	if err != nil {
		return q, fmt.Errorf("look at the touch queue: %w", err)
	}
	return q, nil
}

func newQueueInfo(s *jetstream.StreamInfo, c *jetstream.ConsumerInfo) QueueInfo {
	q := QueueInfo{
		Touches: s.State.Msgs, Waiting: c.NumPending, Gone: s.State.LastSeq - min(s.State.LastSeq, s.State.Msgs),
		Given: c.Delivered.Consumer, Pulling: c.NumWaiting > 0,
	}
	if q.Touches > 0 && !s.TimeStamp.IsZero() {
		q.Oldest = max(0, s.TimeStamp.Sub(s.State.FirstTime))
	}
	return q
}
