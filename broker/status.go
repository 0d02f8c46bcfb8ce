package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// StatusMsg is what a node last said of itself. Which role it has the subject says, to which no other key may publish.
type StatusMsg struct {
	Role Role
	Data []byte
	At   time.Time // when the broker stored it, or, for one that has just come in, when it came in
}

// PublishStatus stores this node's status for two minutes; publish it more often than that to be present.
func (c *Conn) PublishStatus(ctx context.Context, data []byte) error {
	if _, err := c.publish(ctx, statusStream, notice(c.self.subject(statusPrefix), data)); err != nil {
		return fmt.Errorf("publish status of node %s: %w", c.self.Node, err)
	}
	return nil
}

// ForgetStatus removes what is stored of a node. CORE account.
func (c *Conn) ForgetStatus(ctx context.Context, node string) error {
	if err := CheckNodeID(node); err != nil {
		return err
	}
	err := c.ask(ctx, func(ctx context.Context) error {
		stream, err := c.js.Stream(ctx, statusStream)
		if err != nil {
			return err
		}
		return stream.Purge(ctx, jetstream.WithPurgeSubject(statusPrefix+"*."+node))
	})
	if err != nil {
		return fmt.Errorf("forget status of node %s: %w", node, err)
	}
	return nil
}

// Statuses returns the stored status of each node, at most 1,024 of them (a limit of NATS). Not for secondaries.
func (c *Conn) Statuses(ctx context.Context) (statuses map[string]StatusMsg, err error) {
	return c.readStatuses(ctx, statusPrefix+"*.*")
}

// BrokerStatuses returns what brokers say of themselves. A health role asks for it, because an accounts.conf of an
// earlier version does not pass it on as it comes in. Not for secondaries.
func (c *Conn) BrokerStatuses(ctx context.Context) (statuses map[string]StatusMsg, err error) {
	return c.readStatuses(ctx, statusPrefix+string(RoleBroker)+".*")
}

func (c *Conn) readStatuses(ctx context.Context, subjects string) (statuses map[string]StatusMsg, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = c.ask(ctx, func(ctx context.Context) error {
		statuses, err = c.statuses(ctx, subjects)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read statuses: %w", err)
	}
	return statuses, nil
}

// Now is the broker's time, by which the times of statuses are to be read: this host's clock may be another one. CORE
// account.
func (c *Conn) Now(ctx context.Context) (now time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = c.ask(ctx, func(ctx context.Context) error {
		stream, err := c.js.Stream(ctx, statusStream)
		if err == nil {
			now = stream.CachedInfo().TimeStamp.UTC()
		}
		return err
	})
	if err != nil {
		return now, fmt.Errorf("ask the broker for its time: %w", err)
	}
	return now, nil
}

// maxStatuses is how many answers a nats-server gives (2.14).
const maxStatuses = 1024

// statuses makes a batched Direct Get (ADR-31): one request, one answer per subject, and one with status 204 at the
// end.
func (c *Conn) statuses(ctx context.Context, subjects string) (map[string]StatusMsg, error) {
	inbox := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is closed
	question := []byte(`{"multi_last":["` + subjects + `"]}`)
	if err := c.nc.PublishRequest(c.apiPrefix+".DIRECT.GET."+statusStream, inbox, question); err != nil {
		return nil, err
	}
	found := make(map[string]StatusMsg)
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, err
		}
		switch msg.Header.Get("Status") {
		case "":
			if err := addStatus(found, msg.Header, msg.Data); err != nil {
				return nil, err
			}
			if len(found) > maxStatuses {
				return nil, fmt.Errorf("the broker gives more than %d nodes", maxStatuses)
			}
		case "204", "404":
			return found, nil
		default:
			return nil, directError(msg)
		}
	}
}

func addStatus(found map[string]StatusMsg, header nats.Header, data []byte) error {
	if len(data) > maxStatus {
		return nil
	}
	from, err1 := wholeSender(statusPrefix, header.Get(jetstream.SubjectHeader))
	at, err2 := parseTime(header.Get(jetstream.TimeStampHeaer))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	found[from.Node] = StatusMsg{Role: from.Role, Data: data, At: at}
	return nil
}

// maxStatusPending is how many bytes of statuses may wait to be looked at: who floods others must not fill their
// memory.
const maxStatusPending = 16 << 20

// WatchStatuses calls fn for the stored statuses at each connection, and for each status as it comes in, one call after
// the other; some twice. Of a node that falls silent nothing comes: look at the time. Not for secondaries. A proxy
// receives those of secondaries and proxies alone as they come in. It returns nil when ctx has ended, and ErrClosed
// when the connection was closed.
func (c *Conn) WatchStatuses(ctx context.Context, fn func(node string, status StatusMsg)) error {
	incoming := make(chan *nats.Msg)
	sub, err := c.nc.Subscribe(statusPrefix+"*.*", func(msg *nats.Msg) {
		if len(msg.Data) > maxStatus {
			return
		}
		select {
		case incoming <- msg:
		case <-ctx.Done():
		case <-c.done:
		}
	})
	if err == nil {
		err = sub.SetPendingLimits(-1, maxStatusPending)
	}
	if err != nil {
		return fmt.Errorf("watch statuses: %w", explain(err))
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is closed
	connected, stop := c.Connections()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.done:
			return ErrClosed
		case <-connected:
			c.tellStatuses(ctx, fn)
		case msg := <-incoming:
			if from, err := wholeSender(statusPrefix, msg.Subject); err == nil && genuine(msg) {
				fn(from.Node, StatusMsg{Role: from.Role, Data: msg.Data, At: time.Now()})
			}
		}
	}
}

// tellStatuses doesn't insist: without the stored ones a node becomes known with its next status. Their times are the
// broker's, which need not be this host's: how old each is counts from the newest, which somebody has just stored.
func (c *Conn) tellStatuses(ctx context.Context, fn func(string, StatusMsg)) {
	statuses, err := c.Statuses(ctx)
	if err != nil {
		c.log.Warn().Err(err).Msg("statuses will come in one by one")
	}
	now, newest := time.Now(), time.Time{}
	for _, status := range statuses {
		if status.At.After(newest) {
			newest = status.At
		}
	}
	for node, status := range statuses {
		status.At = now.Add(status.At.Sub(newest))
		fn(node, status)
	}
}
