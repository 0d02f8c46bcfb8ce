package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns/zone"
)

// Notices go to whoever subscribes. Nothing is stored and nobody answers, so each says something that can be learnt
// otherwise, too.

// maxNotice is how many bytes a notice about a zone has at most: two digests and a name. Longer ones are dropped.
const maxNotice = 8 << 10

// PublishApplied publishes what this node has applied. A notice that is lost is made good by asking, see PublishAsk.
func (c *Conn) PublishApplied(notice []byte) error {
	return c.publishNotice(appliedPrefix+c.self.Node, notice)
}

// SubscribeApplied calls fn for each such notice, one call after the other, through reconnections, until stop is
// called; stop waits for a running fn. If there is a connection, notices sent after it has returned are received. CORE
// and API accounts.
func (c *Conn) SubscribeApplied(ctx context.Context, fn func(node string, notice []byte)) (stop func(), err error) {
	return c.listen(ctx, appliedPrefix+"*", func(msg *nats.Msg) {
		if node, err := subjectNode(appliedPrefix, msg.Subject); err == nil && len(msg.Data) <= maxNotice {
			fn(node, msg.Data)
		}
	})
}

// PublishSettled publishes which state a touch has led to. A notice that is lost is made good by asking. Primaries.
func (c *Conn) PublishSettled(notice []byte) error {
	return c.publishNotice(settledPrefix+c.self.Node, notice)
}

// SubscribeSettled is SubscribeApplied for these. CORE and API accounts.
func (c *Conn) SubscribeSettled(ctx context.Context, fn func(notice []byte)) (stop func(), err error) {
	return c.listen(ctx, settledPrefix+"*", func(msg *nats.Msg) {
		if _, err := subjectNode(settledPrefix, msg.Subject); err == nil && len(msg.Data) <= maxNotice {
			fn(msg.Data)
		}
	})
}

// PublishAsk asks all nodes to publish again what they know of the zone: the primaries which state it is settled at,
// the secondaries which one they have applied. Answers come as these notices, to everybody who listens. Not for
// secondaries.
func (c *Conn) PublishAsk(name zone.Name) error {
	return c.publishNotice(c.self.subject(askPrefix), []byte(name))
}

// SubscribeAsk is SubscribeApplied for questions. Primaries and secondaries.
func (c *Conn) SubscribeAsk(ctx context.Context, fn func(zone.Name)) (stop func(), err error) {
	return c.listenForZones(ctx, askPrefix+"*.*", fn)
}

// PublishComing announces to the secondaries that a new state of the zone is probably on its way, so that they can get
// ready for it while it is made. A lost notice costs some milliseconds, one too many costs a transfer. Primaries.
func (c *Conn) PublishComing(name zone.Name) error {
	return c.publishNotice(comingPrefix+c.self.Node, []byte(name))
}

// SubscribeComing is SubscribeApplied for these announcements. Secondaries.
func (c *Conn) SubscribeComing(ctx context.Context, fn func(zone.Name)) (stop func(), err error) {
	return c.listenForZones(ctx, comingPrefix+"*", fn)
}

// PublishPublished tells the secondaries that somebody may wait for the zone's state with this sequence. Who is still
// behind with its feed need not wait for its turn there, see [Conn.FetchState]. Primaries.
func (c *Conn) PublishPublished(name zone.Name, seq uint64) error {
	return c.publishNotice(publishedPrefix+c.self.Node, append(binary.BigEndian.AppendUint64(nil, seq), name...))
}

// SubscribePublished is SubscribeApplied for these notices. Secondaries.
func (c *Conn) SubscribePublished(ctx context.Context, fn func(name zone.Name, seq uint64)) (stop func(), err error) {
	return c.listen(ctx, publishedPrefix+"*", func(msg *nats.Msg) {
		if len(msg.Data) < 8 {
			return
		}
		if name, err := zone.NameFromWire(msg.Data[8:]); err == nil {
			fn(name, binary.BigEndian.Uint64(msg.Data))
		}
	})
}

// PublishCheckpoint publishes this primary's signed checkpoint to the secondaries. One that is lost the next one makes
// good. Primaries.
func (c *Conn) PublishCheckpoint(signed []byte) error {
	return c.publishNotice(checkpointPrefix+c.self.Node, signed)
}

// SubscribeCheckpoint is SubscribeApplied for the checkpoints of all primaries. Secondaries.
func (c *Conn) SubscribeCheckpoint(ctx context.Context, fn func(node string, signed []byte)) (stop func(), err error) {
	return c.listen(ctx, checkpointPrefix+"*", func(msg *nats.Msg) {
		if node, err := subjectNode(checkpointPrefix, msg.Subject); err == nil && len(msg.Data) <= maxNotice {
			fn(node, msg.Data)
		}
	})
}

// PublishCheck puts a question of a check to one secondary or primary. Questions and answers are notices, too: who gets
// no answer asks again. Health roles.
func (c *Conn) PublishCheck(node string, question []byte) error {
	if err := CheckNodeID(node); err != nil {
		return err
	}
	return c.publishNotice(questionPrefix+c.self.Node+"."+node, question)
}

// SubscribeCheck is SubscribeApplied for the questions to this node. Secondaries and primaries.
func (c *Conn) SubscribeCheck(ctx context.Context, fn func(question []byte)) (stop func(), err error) {
	return c.listen(ctx, questionPrefix+"*."+c.self.Node, func(msg *nats.Msg) { fn(msg.Data) })
}

// PublishChecked answers a question of a check.
func (c *Conn) PublishChecked(answer []byte) error {
	return c.publishNotice(answerPrefix+c.self.Node, answer)
}

// SubscribeChecked is SubscribeApplied for these answers; node is who it was that answered. CORE account.
func (c *Conn) SubscribeChecked(ctx context.Context, fn func(node string, answer []byte)) (stop func(), err error) {
	return c.listen(ctx, answerPrefix+"*", func(msg *nats.Msg) {
		if node, err := subjectNode(answerPrefix, msg.Subject); err == nil {
			fn(node, msg.Data)
		}
	})
}

// AskLeader puts a request to the node that holds the lease, and returns its answer; ErrNoLeader if there is none. It
// waits until ctx ends. Health roles and primaries.
func (c *Conn) AskLeader(ctx context.Context, request []byte) (answer []byte, err error) {
	answer, err = c.inquire(ctx, c.self.subject(leaderPrefix), request)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, ErrNoLeader
	}
	if err != nil {
		return nil, fmt.Errorf("ask the leading health role: %w", err)
	}
	return answer, nil
}

// inquire puts a request to whoever serves the subject.
func (c *Conn) inquire(ctx context.Context, subject string, request []byte) (answer []byte, err error) {
	err = c.ask(ctx, func(ctx context.Context) error {
		msg, err := c.nc.RequestMsgWithContext(ctx, notice(subject, request))
		if err == nil {
			answer = msg.Data
		}
		return err
	})
	return answer, err
}

// maxRequests is how many of one kind are answered at a time. More are dropped.
const maxRequests = 64

// ServeLeader answers such requests, each in a goroutine of its own, until stop is called, which waits for them. An
// answer of nil is none.
func (c *Conn) ServeLeader(ctx context.Context, answer func(ctx context.Context, request []byte) []byte) (stop func(), err error) {
	return c.serve(ctx, leaderPrefix, func(ctx context.Context, _ Sender, request []byte) []byte { return answer(ctx, request) })
}

func (c *Conn) serve(ctx context.Context, prefix string, answer func(context.Context, Sender, []byte) []byte) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var requests errgroup.Group
	requests.SetLimit(maxRequests)
	unsubscribe, err := c.listen(ctx, prefix+"*.*", func(msg *nats.Msg) {
		from, err := wholeSender(prefix, msg.Subject)
		if err != nil || len(msg.Data) > maxNotice {
			return
		}
		requests.TryGo(func() error {
			if text := answer(ctx, from, msg.Data); text != nil {
				if err := msg.Respond(text); err != nil {
					c.log.Debug().Err(err).Stringer("from", from).Msg("failed to answer a request")
				}
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

// PublishForgotten publishes that a node was deregistered. Primaries.
func (c *Conn) PublishForgotten(node string) error {
	return c.publishNotice(forgottenPrefix+c.self.Node, []byte(node))
}

// SubscribeForgotten is SubscribeApplied for this. Health roles.
func (c *Conn) SubscribeForgotten(ctx context.Context, fn func(node string)) (stop func(), err error) {
	return c.listen(ctx, forgottenPrefix+"*", func(msg *nats.Msg) {
		if node := string(msg.Data); CheckNodeID(node) == nil {
			fn(node)
		}
	})
}

func (c *Conn) publishNotice(subject string, data []byte) error {
	if err := c.nc.PublishMsg(notice(subject, data)); err != nil {
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
		if genuine(msg) {
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

// noticeHeader marks what a node publishes or asks: no answer of a broker has it, unless it brings what a node has
// stored.
const noticeHeader = "Pdns-Notice"

func notice(subject string, data []byte) *nats.Msg {
	return &nats.Msg{Subject: subject, Header: nats.Header{noticeHeader: {yes}}, Data: data}
}

// genuine reports whether a node has published the message to its subject, as permissions let it. An answer of the
// broker may come here instead, because nats-server lets a client name any subject of its account for it.
func genuine(msg *nats.Msg) bool {
	return msg.Header.Get(noticeHeader) == yes && msg.Header.Get(jetstream.StreamHeader) == ""
}

// settle waits until the broker knows of a new subscription. Without a connection it will when there is one.
func (c *Conn) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.ask(ctx, c.nc.FlushWithContext); err != nil {
		c.log.Debug().Err(err).Msg("subscription waits for the connection")
	}
}
