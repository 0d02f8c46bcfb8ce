package broker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Flow is called when messages can flow (nil), and when they cannot, with the reason: the connection is lost
// (ErrDisconnected) or the consumer isn't there yet or any more (ErrGone). It is called by the consuming goroutine,
// once per change.
type Flow func(reason error)

const (
	firstPause = 100 * time.Millisecond // before a consumer that isn't there is looked for again
	lastPause  = 2 * time.Second        // the pauses double up to this
	lookup     = 2 * time.Second        // for an answer of the broker to that

	heartbeat  = 5 * time.Second  // the broker says that often that a pull is alive; two missing ones are an error
	pullExpiry = 10 * time.Second // then it is renewed; short, because the pull of a client that was killed may linger
)

// follower keeps a pull consumer running through lost connections, through the consumer being deleted, and through
// the whole broker being wiped. A pull request is outstanding at all times, so a message is delivered as it is stored.
type follower struct {
	conn   *Conn
	object string // for the log
	limit  jetstream.PullConsumeOpt
	flow   Flow // may be nil

	// open finds or makes the consumer; its failure is retried.
	open func(context.Context) (jetstream.Consumer, error)
	// durable consumers outlive a lost connection; others are opened anew.
	durable bool
	// look asks the broker for the consumer, before its inbox ends, see end; nil if nobody else can take its pulls.
	look func(context.Context) error
	// handle gets the messages one after the other.
	handle func(context.Context, delivery)
	// reopen has the consumer opened anew; nil if nothing but the broker does.
	reopen <-chan struct{}

	generation atomic.Int64 // when the consumer was created
	reported   bool
	stopped    error // what flow was last called with
}

// delivery is a message and the generation of the consumer it came from. Sequences begin anew when the broker is
// wiped, so an acknowledgement must not reach another generation: it would be taken for another message.
type delivery struct {
	jetstream.Msg
	from    int64
	current *atomic.Int64
}

// stale reports whether the consumer that this message came from is gone.
func (d delivery) stale() bool { return d.from != d.current.Load() }

func generation(c jetstream.Consumer) int64 { return c.CachedInfo().Created.UnixNano() }

// run returns nil when ctx ends, and ErrClosed when the connection is closed.
func (f *follower) run(ctx context.Context) error {
	connected, stop := f.conn.Connections()
	defer stop()
	for {
		consumer, err := f.await(ctx, connected)
		if err == nil {
			err = f.consume(ctx, consumer, connected)
		}
		if err == nil {
			err = f.pause(ctx, connected, firstPause) // whatever ends at once and for ever must not spin
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// await opens the consumer as soon as that is possible.
func (f *follower) await(ctx context.Context, connected <-chan struct{}) (jetstream.Consumer, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		select {
		case <-connected: // it is this connection that is used now
		default:
		}
		consumer, err := f.tryOpen(ctx)
		if err == nil {
			f.generation.Store(generation(consumer))
			f.report(nil)
			return consumer, nil
		}
		f.report(err)
		if err := f.pause(ctx, connected, pause); err != nil {
			return nil, err
		}
	}
}

func (f *follower) tryOpen(ctx context.Context) (consumer jetstream.Consumer, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	err = f.conn.ask(ctx, func(ctx context.Context) error {
		consumer, err = f.open(ctx)
		return err
	})
	return consumer, err
}

func (f *follower) pause(ctx context.Context, connected <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.conn.done:
		return ErrClosed
	case <-connected:
	case <-timer.C:
	}
	return nil
}

// consume returns when the consumer has to be opened again (nil), or never will be (error). No call of handle is
// running when it returns.
func (f *follower) consume(ctx context.Context, consumer jetstream.Consumer, connected <-chan struct{}) error {
	broken := make(chan error, 1)
	from := generation(consumer)
	drained := make(chan struct{})
	running, err := consumer.Consume(
		func(msg jetstream.Msg) {
			f.handle(ctx, delivery{msg, from, &f.generation})
			if ctx.Err() != nil {
				<-drained // or more might be pulled, see end
			}
		},
		f.limit,
		jetstream.PullHeartbeat(heartbeat),
		jetstream.PullExpiry(pullExpiry),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			select {
			case broken <- err:
			default: // one is enough to have a look
			}
		}))
	if err != nil {
		f.report(explain(err))
		return nil
	}
	ended := running.Closed()
	defer func() {
		f.end(ctx, running)
		close(drained)
		<-ended
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.conn.done:
			return ErrClosed
		case <-ended:
			return nil
		case <-f.reopen:
			return nil
		case err := <-broken:
			f.conn.log.Debug().Err(err).Str("object", f.object).Msg("consumer was interrupted, consuming again")
		case <-connected:
		}
		if !f.same(ctx, from) {
			return nil
		}
	}
}

// end lets handle see the messages that are already here, so that it can hand them back. Without a connection it
// can't, and the end would be waited for in vain.
//
// A pull from another account that the broker reads after its inbox has ended is taken for alive (nats-server 2.15.2):
// it swallows messages until it expires, and those come again only after ackWait. So the last pull must have been read
// before the inbox ends, which the answer to a lookup shows.
func (f *follower) end(ctx context.Context, running jetstream.ConsumeContext) {
	if f.look != nil && f.conn.Connected() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookup)
		defer cancel()
		_ = f.conn.ask(ctx, f.look) // that it was answered matters, not what
	}
	if !f.durable || !f.conn.Connected() {
		running.Stop()
		return
	}
	running.Drain()
}

// same reports whether the consumer is still there after a reconnection or an error.
func (f *follower) same(ctx context.Context, from int64) bool {
	if !f.durable {
		return false
	}
	consumer, err := f.tryOpen(ctx)
	return err == nil && generation(consumer) == from
}

// report reports a change to the log and to flow.
func (f *follower) report(reason error) {
	if f.reported && (reason == nil) == (f.stopped == nil) && sentinel(reason) == sentinel(f.stopped) {
		return
	}
	f.reported, f.stopped = true, reason
	if reason != nil {
		f.conn.log.Warn().Err(reason).Str("object", f.object).Msg("no messages can be received, waiting")
	} else {
		f.conn.log.Info().Str("object", f.object).Msg("messages are received again")
	}
	if f.flow != nil {
		f.flow(reason)
	}
}

// Message is the broker's hold on a message: until it is acknowledged it is delivered again, AckWait after it was
// delivered or last said to be in progress. The methods send without waiting; if one fails, or what it sent gets
// lost, the message is delivered again. They do nothing (ErrGone) when the broker was wiped since.
type Message struct {
	NumDelivered uint64 // 1 for the first delivery
	NumPending   uint64 // messages that were waiting behind this one when it was delivered
	seq          uint64
	hold         delivery
}

// AckWait is how long a message may be in hand without a sign of work before it is delivered again.
const AckWait = ackWait

// Same reports whether both are deliveries of one message, which acknowledging either does away with.
func (m Message) Same(other Message) bool {
	return m.seq == other.seq && m.hold.from == other.hold.from
}

func newMessage(d delivery) (Message, *jetstream.MsgMetadata, error) {
	meta, err := d.Metadata()
	if err != nil {
		return Message{}, nil, err
	}
	return Message{NumDelivered: meta.NumDelivered, NumPending: meta.NumPending, seq: meta.Sequence.Stream, hold: d}, meta, nil
}

// Ack says that the message is done with.
func (m Message) Ack() error { return m.reply(delivery.Ack) }

// Nak asks for the message to be delivered again after the pause.
func (m Message) Nak(pause time.Duration) error {
	return m.reply(func(d delivery) error { return d.NakWithDelay(pause) })
}

// InProgress asks for another AckWait.
func (m Message) InProgress() error { return m.reply(delivery.InProgress) }

// Delivered reports whether the broker waits for an acknowledgement.
func (m Message) Delivered() bool { return m.hold.Msg != nil }

func (m Message) reply(send func(delivery) error) error {
	if !m.Delivered() {
		return nil
	}
	if m.hold.stale() {
		return ErrGone
	}
	return explain(send(m.hold))
}

// ephemeral is the configuration of a consumer that only reads, headers without bodies, from a sequence on.
func (c *Conn) ephemeral(from uint64) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Description: "reads headers for " + c.self.String(), Metadata: aboutNode(c.self.Role, c.self.Node),
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1),
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	}
}
