package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/powerdns/zone"
)

// FeedMsg is a state delivered to a secondary.
type FeedMsg struct {
	Message
	StateMsg
}

// Place orders the states of one zone. It is small, and holds on to nothing.
type Place struct {
	generation int64 // of the feed
	seq        uint64
	published  time.Time
}

// Place is where the state stands among all of its zone.
func (m FeedMsg) Place() Place { return Place{m.hold.from, m.Seq, m.Header.Published} }

// Newer reports whether a state stands after another one. What came before the feed was provisioned anew is older than
// all that came after. A broker that went back to an earlier copy of its store gives sequences again: then the time of
// publishing, which never goes back within a zone, says that the lower sequence is the newer one.
func (p Place) Newer(other Place) bool {
	if p.generation != other.generation {
		return p.generation > other.generation
	}
	return p.seq > other.seq && !other.published.After(p.published)
}

// Feed calls fn for the newest state of every zone, and then for each as it is published, in stream order, one call
// after the other. What is acknowledged is not delivered again, also not to a restarted process. fn should hand over
// and return: the messages waiting behind it are delivered again after AckWait, and so is what isn't acknowledged.
// States that arrive as ctx ends are handed back, half a second later. Up to 1,000 can be in hand at a time.
//
// It waits until ProvisionFeed was called for this node, and again when the feed was removed or the broker wiped; flow
// (may be nil) is called, see [Flow]. A feed provisioned anew begins with all states. It returns nil when ctx has
// ended, and ErrClosed when the connection was closed.
//
// opened is called before messages come, each time that the feed was found.
func (c *Conn) Feed(ctx context.Context, fn func(FeedMsg), opened func(FeedInfo), flow Flow) error {
	f := follower{
		conn: c, object: "feed " + c.self.Node, flow: flow, durable: true,
		limit: jetstream.PullMaxMessagesWithBytesLimit(64, 8<<20),
		look:  c.looker(stateStream, c.self.Node),
		open: func(ctx context.Context) (jetstream.Consumer, error) {
			consumer, err := c.js.Consumer(ctx, stateStream, c.self.Node)
			if err == nil {
				opened(newFeedInfo(consumer.CachedInfo()))
			}
			return consumer, err
		},
		handle: func(ctx context.Context, d delivery) {
			if m, ok := take(ctx, c, d, newFeedMsg); ok {
				fn(m)
			}
		},
	}
	return f.run(ctx)
}

func newFeedMsg(d delivery) (FeedMsg, error) {
	hold, meta, err := newMessage(d)
	if err != nil {
		return FeedMsg{}, err
	}
	state, err := newState(d.Subject(), meta.Sequence.Stream, d.Headers(), d.Data())
	if errors.Is(err, errHeader) { // the zone is known, and whoever takes the state sees that its header belongs to no other
		err = nil
	}
	return FeedMsg{Message: hold, StateMsg: state}, err
}

// How often a replica that has not got a state yet is asked again, and after which pause.
const (
	fetchAttempts = 10
	fetchPause    = 20 * time.Millisecond
)

// FetchState reads a zone's newest state past the feed, which was created then; it has at least the sequence.
// ErrNotFound: there is none, or no replica had it within 200 ms. It is no delivery: there is nothing to acknowledge,
// and the feed delivers the state in its turn. Secondaries.
func (c *Conn) FetchState(ctx context.Context, name zone.Name, seq uint64, feed time.Time) (m FeedMsg, err error) {
	subject, err := zoneSubject(statePrefix, name)
	if err != nil {
		return FeedMsg{}, err
	}
	for range fetchAttempts {
		m, err = c.fetchState(ctx, subject)
		if err == nil && m.Seq >= seq {
			m.seq, m.hold.from = m.Seq, feed.UnixNano()
			return m, nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			break
		}
		err = ErrNotFound
		select {
		case <-ctx.Done():
			return FeedMsg{}, context.Cause(ctx)
		case <-time.After(fetchPause):
		}
	}
	return FeedMsg{}, fmt.Errorf("fetch state of zone %s: %w", name, err)
}

func (c *Conn) fetchState(ctx context.Context, subject string) (FeedMsg, error) {
	msg, err := c.request(ctx, "DIRECT.GET."+stateStream+"."+subject, nil)
	if err == nil {
		err = directError(msg)
	}
	if err != nil {
		return FeedMsg{}, err
	}
	seq, err := strconv.ParseUint(msg.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return FeedMsg{}, fmt.Errorf("%w: sequence of %s", ErrCorrupt, subject)
	}
	state, err := newState(msg.Header.Get(jetstream.SubjectHeader), seq, msg.Header, msg.Data)
	if errors.Is(err, errHeader) {
		err = nil // as newFeedMsg
	}
	return FeedMsg{StateMsg: state}, err
}

// ProvisionFeed makes a secondary's feed unless it exists, with as many replicas as the states have. One that exists
// is left as it is; ErrDeviates if it has other settings. CORE account only: who may create consumers could read
// and delete anything.
func (c *Conn) ProvisionFeed(ctx context.Context, node string) error {
	if err := CheckNodeID(node); err != nil {
		return err
	}
	return c.ask(ctx, func(ctx context.Context) error {
		return c.ensureConsumer(ctx, stateStream, feedConsumer(node))
	})
}

// ProvisionWatch makes the consumer by which a health role follows the headers of all states, see WatchStates. As
// ProvisionFeed.
func (c *Conn) ProvisionWatch(ctx context.Context, node string) error {
	if err := CheckNodeID(node); err != nil {
		return err
	}
	return c.ask(ctx, func(ctx context.Context) error {
		return c.ensureConsumer(ctx, stateStream, watchConsumer(node))
	})
}

// watchName is no node id, so that no feed has it.
func watchName(node string) string { return "WATCH_" + node }

func watchConsumer(node string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: watchName(node), Description: "what health role " + node + " knows to be published",
		Metadata:      aboutNode(RoleHealth, node),
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy,
		MaxDeliver: -1, HeadersOnly: true,
	}
}

// RepairFeeds makes each feed and watch anew whose settings are not as they were made: it may have missed states, so
// all are delivered again. It returns what was wrong. Primaries.
func (c *Conn) RepairFeeds(ctx context.Context) (found []Deviation, err error) {
	var infos []*jetstream.ConsumerInfo
	err = c.ask(ctx, func(ctx context.Context) error {
		infos, err = c.consumers(ctx)
		return err
	})
	for _, info := range infos {
		want, node := feedConsumer(info.Name), info.Name
		if id, is := strings.CutPrefix(info.Name, watchName("")); is {
			want, node = watchConsumer(id), id
		}
		if CheckNodeID(node) != nil || info.Config.Durable == "" {
			continue // of those who made it, and no feed
		}
		wrong := deviations(consumerObject(stateStream, want), consumerSettings, info.Config, want)
		if len(wrong) == 0 {
			continue
		}
		found = append(found, wrong...)
		if renewing := c.renew(ctx, want, info.Created); renewing != nil {
			err = errors.Join(err, fmt.Errorf("make %s anew: %w", wrong[0].Object, renewing))
		}
	}
	return found, err
}

func feedConsumer(node string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: node, Description: "feed of secondary " + node,
		Metadata: aboutNode(RoleSecondary, node),
		// The stream holds one state per zone, so all of it is the newest of each.
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxDeliver: -1, MaxAckPending: 1000,
	}
}

// RenewFeed provisions a secondary's feed anew, so that it delivers all states again, if it still is the one that was
// created at the given time. Primaries.
func (c *Conn) RenewFeed(ctx context.Context, node string, created time.Time) error {
	if err := CheckNodeID(node); err != nil {
		return err
	}
	if err := c.renew(ctx, feedConsumer(node), created); err != nil {
		return fmt.Errorf("renew feed of node %s: %w", node, err)
	}
	return nil
}

func (c *Conn) renew(ctx context.Context, want jetstream.ConsumerConfig, created time.Time) error {
	return c.ask(ctx, func(ctx context.Context) error {
		consumer, err := c.js.Consumer(ctx, stateStream, want.Durable)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return explain(err)
		}
		if err == nil && consumer.CachedInfo().Created.Equal(created) {
			if err := c.js.DeleteConsumer(ctx, stateStream, want.Durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				return explain(err)
			}
		}
		return c.ensureConsumer(ctx, stateStream, want)
	})
}

// RemoveFeed removes the feed of a secondary, or the watch of a health role, that is no more. Removing one that isn't
// there is no error.
func (c *Conn) RemoveFeed(ctx context.Context, node string) error {
	var faults []error
	for _, name := range []string{node, watchName(node)} {
		err := c.ask(ctx, func(ctx context.Context) error { return c.js.DeleteConsumer(ctx, stateStream, name) })
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			faults = append(faults, fmt.Errorf("remove feed of node %s: %w", node, err))
		}
	}
	return errors.Join(faults...)
}

// FeedInfo says how far a secondary's feed is.
type FeedInfo struct {
	Node        string
	Created     time.Time
	Pending     uint64    // states not yet delivered
	InHand      int       // delivered and not yet acknowledged
	Redelivered int       // of those, delivered more than once
	Pulling     bool      // the secondary is connected and asks for more
	Delivered   uint64    // the highest sequence that was delivered
	AckFloor    uint64    // all states up to this sequence are acknowledged, or were gone before the feed was made
	Used        bool      // something that it delivered was acknowledged
	LastActive  time.Time // last delivery or acknowledgement; zero if there was none
}

// Behind is the number of states that the secondary has still to confirm.
func (f FeedInfo) Behind() uint64 { return f.Pending + uint64(f.InHand) }

// Feeds lists all provisioned feeds, which are also the secondaries that are expected. CORE account only.
func (c *Conn) Feeds(ctx context.Context) (feeds []FeedInfo, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = c.ask(ctx, func(ctx context.Context) error {
		feeds, err = c.feeds(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list feeds: %w", err)
	}
	return feeds, nil
}

// maxConsumers is how many the states have: a feed for each node that can be known, and as many watches. nats-server
// 2.15 allows 1,000 to a stream that does not say how many; more than these a broker would make up.
const maxConsumers = 2 * maxStatuses

func (c *Conn) feeds(ctx context.Context) (feeds []FeedInfo, err error) {
	infos, err := c.consumers(ctx)
	for _, info := range infos {
		if info.Config.Durable != "" && CheckNodeID(info.Name) == nil { // watches aren't, nor what others make
			feeds = append(feeds, newFeedInfo(info))
		}
	}
	return feeds, err
}

// consumers lists those of the states, as many as there may be.
func (c *Conn) consumers(ctx context.Context) (infos []*jetstream.ConsumerInfo, err error) {
	stream, err := c.js.Stream(ctx, stateStream)
	if err != nil {
		return nil, err
	}
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	list, listed := stream.ListConsumers(ctx), 0
	for info := range list.Info() { // to its end: nats.go 1.55 goes on sending to whoever stops listening
		if listed++; listed > maxConsumers {
			enough()
			continue
		}
		infos = append(infos, info)
	}
	if listed > maxConsumers {
		return infos, nil
	}
	return infos, list.Err()
}

func newFeedInfo(info *jetstream.ConsumerInfo) FeedInfo {
	return FeedInfo{
		Node: info.Name, Created: info.Created,
		Pending: info.NumPending, InHand: info.NumAckPending, Redelivered: info.NumRedelivered,
		Pulling: info.NumWaiting > 0, Delivered: info.Delivered.Stream, AckFloor: info.AckFloor.Stream,
		Used:       info.AckFloor.Consumer > 0,
		LastActive: latest(info.Delivered.Last, info.AckFloor.Last),
	}
}

func latest(times ...*time.Time) (last time.Time) {
	for _, t := range times {
		if t != nil && t.After(last) {
			last = *t
		}
	}
	return last
}
