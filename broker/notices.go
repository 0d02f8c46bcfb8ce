package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns/zone"
)

// Notices are told to whoever listens. Nothing is stored and no one answers, so each says something that can be learnt
// otherwise, too.

// maxNotice is how many bytes a notice about a zone has at most: two digests and a name. Longer ones are not heard.
const maxNotice = 8 << 10

// PublishApplied tells what this node has applied. A notice that is lost is made good by asking, see PublishAsk.
func (c *Conn) PublishApplied(notice []byte) error { return c.tell(appliedPrefix+c.node, notice) }

// SubscribeApplied calls fn for each such notice, one call after the other, through reconnections, until stop is called;
// stop waits for a running fn. If there is a connection, notices sent after it has returned are received. CORE and
// API accounts.
func (c *Conn) SubscribeApplied(ctx context.Context, fn func(node string, notice []byte)) (stop func(), err error) {
	return c.listen(ctx, appliedPrefix+"*", func(msg *nats.Msg) {
		if node, err := subjectNode(appliedPrefix, msg.Subject); err == nil && len(msg.Data) <= maxNotice {
			fn(node, msg.Data)
		}
	})
}

// PublishSettled tells which state a touch has led to. A notice that is lost is made good by asking. CORE account.
func (c *Conn) PublishSettled(notice []byte) error { return c.tell(settledSubject, notice) }

// SubscribeSettled is SubscribeApplied for these. CORE and API accounts.
func (c *Conn) SubscribeSettled(ctx context.Context, fn func(notice []byte)) (stop func(), err error) {
	return c.listen(ctx, settledSubject, func(msg *nats.Msg) {
		if len(msg.Data) <= maxNotice {
			fn(msg.Data)
		}
	})
}

// PublishAsk asks all nodes to tell again what they know of the zone: the primaries which state it is settled at, the
// secondaries which one they have applied. Answers come as these notices, to everybody who listens. CORE and API accounts.
func (c *Conn) PublishAsk(name zone.Name) error { return c.tell(askSubject, []byte(name)) }

// SubscribeAsk is SubscribeApplied for questions. CORE and SEC accounts.
func (c *Conn) SubscribeAsk(ctx context.Context, fn func(zone.Name)) (stop func(), err error) {
	return c.listenForZones(ctx, askSubject, fn)
}

// PublishComing tells the secondaries that a new state of the zone is probably on its way, so that they can get ready
// for it while it is made. Word that is lost costs some milliseconds, one too many a transfer. CORE account.
func (c *Conn) PublishComing(name zone.Name) error { return c.tell(comingSubject, []byte(name)) }

// SubscribeComing is SubscribeApplied for such word. CORE and SEC accounts.
func (c *Conn) SubscribeComing(ctx context.Context, fn func(zone.Name)) (stop func(), err error) {
	return c.listenForZones(ctx, comingSubject, fn)
}

// PublishCheck puts a question of a check to one secondary. Questions and answers are notices, too: who gets no answer asks
// again. CORE account.
func (c *Conn) PublishCheck(node string, question []byte) error {
	if err := CheckNodeID(node); err != nil {
		return err
	}
	return c.tell(questionPrefix+node, question)
}

// SubscribeCheck is SubscribeApplied for the questions to this node.
func (c *Conn) SubscribeCheck(ctx context.Context, fn func(question []byte)) (stop func(), err error) {
	return c.listen(ctx, questionPrefix+c.node, func(msg *nats.Msg) { fn(msg.Data) })
}

// PublishChecked answers a question of a check.
func (c *Conn) PublishChecked(answer []byte) error { return c.tell(answerPrefix+c.node, answer) }

// SubscribeChecked is SubscribeApplied for these answers; node is who it was that answered. CORE account.
func (c *Conn) SubscribeChecked(ctx context.Context, fn func(node string, answer []byte)) (stop func(), err error) {
	return c.listen(ctx, answerPrefix+"*", func(msg *nats.Msg) {
		if node, err := subjectNode(answerPrefix, msg.Subject); err == nil {
			fn(node, msg.Data)
		}
	})
}

// AskLeader puts a request to the node that holds the lease, and returns its answer; ErrNoLeader if there is none. It
// waits until ctx ends. CORE account.
func (c *Conn) AskLeader(ctx context.Context, request []byte) (answer []byte, err error) {
	err = c.ask(ctx, func(ctx context.Context) error {
		msg, err := c.nc.RequestWithContext(ctx, leaderSubject, request)
		if err == nil {
			answer = msg.Data
		}
		return err
	})
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, ErrNoLeader
	}
	if err != nil {
		return nil, fmt.Errorf("ask the leading health role: %w", err)
	}
	return answer, nil
}

// maxLeaderRequests is how many are answered at a time. More are not heard.
const maxLeaderRequests = 64

// ServeLeader answers such requests, each in a goroutine of its own, until stop is called, which waits for them.
func (c *Conn) ServeLeader(ctx context.Context, answer func(ctx context.Context, request []byte) []byte) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var requests errgroup.Group
	requests.SetLimit(maxLeaderRequests)
	unsubscribe, err := c.listen(ctx, leaderSubject, func(msg *nats.Msg) {
		requests.TryGo(func() error {
			if err := msg.Respond(answer(ctx, msg.Data)); err != nil {
				c.log.Debug().Err(err).Msg("a request was not answered")
			}
			return nil
		})
	})
	return func() {
		cancel()
		if err == nil {
			unsubscribe()
		}
		_ = requests.Wait() // none returns an error
	}, err
}

// PublishForget tells all who remember a node to forget it. CORE account.
func (c *Conn) PublishForget(node string) error { return c.tell(forgetSubject, []byte(node)) }

// SubscribeForget is SubscribeApplied for this. CORE account.
func (c *Conn) SubscribeForget(ctx context.Context, fn func(node string)) (stop func(), err error) {
	return c.listen(ctx, forgetSubject, func(msg *nats.Msg) { fn(string(msg.Data)) })
}

func (c *Conn) tell(subject string, data []byte) error {
	if err := c.nc.Publish(subject, data); err != nil {
		return fmt.Errorf("publish %s: %w", subject, explain(err))
	}
	return nil
}

func (c *Conn) listenForZones(ctx context.Context, subject string, fn func(zone.Name)) (stop func(), err error) {
	return c.listen(ctx, subject, func(msg *nats.Msg) {
		if name, err := zone.NameFromWire(msg.Data); err == nil {
			fn(name)
		}
	})
}

// listen calls fn for each message on the subject until stop is called, which waits for a running fn. When it returns
// the broker knows of the subscription, if there is a connection.
func (c *Conn) listen(ctx context.Context, subject string, fn nats.MsgHandler) (stop func(), err error) {
	sub, err := c.nc.Subscribe(subject, func(msg *nats.Msg) {
		if !diverted(msg) {
			fn(msg)
		}
	})
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

// diverted tells of an answer of the broker that a node of the same account had sent here: nats-server lets a client name
// any subject for it. What nodes tell has none of these headers, and all answers whose content somebody can choose have.
func diverted(msg *nats.Msg) bool {
	for _, header := range []string{jetstream.StreamHeader, kindHeader, "Status"} {
		if msg.Header.Get(header) != "" {
			return true
		}
	}
	return false
}

// settle waits until the broker knows of a new subscription. Without a connection it will when there is one.
func (c *Conn) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.ask(ctx, c.nc.FlushWithContext); err != nil {
		c.log.Debug().Err(err).Msg("subscription waits for the connection")
	}
}
