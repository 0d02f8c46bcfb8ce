package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Inspected is a stream or consumer as EnsureStreams would find it.
type Inspected struct {
	Object     string // "stream PDNS_ZONE"
	Missing    bool   // EnsureStreams would make it
	Deviations []Deviation
}

// Clock is how this host's clock stands to the broker's, as an answer of the broker shows it.
type Clock struct {
	Known bool
	Ahead time.Duration // negative where this host's is behind; the time that the answer took counts in its favour
}

// newClock compares the stamp of an answer with when it was asked for and when it came.
func newClock(sent, stamp, received time.Time) Clock {
	switch {
	case stamp.IsZero():
		return Clock{}
	case stamp.Before(sent):
		return Clock{Known: true, Ahead: sent.Sub(stamp)}
	case stamp.After(received):
		return Clock{Known: true, Ahead: received.Sub(stamp)}
	}
	return Clock{Known: true}
}

// InspectStreams looks at all that EnsureStreams makes and compares, and changes nothing. With replicas 0 any number of
// them will do. CORE account only.
func (c *Conn) InspectStreams(ctx context.Context, replicas int) (found []Inspected, clock Clock, err error) {
	err = c.ask(ctx, func(ctx context.Context) error {
		found, clock, err = c.inspectStreams(ctx, replicas)
		return err
	})
	return found, clock, err
}

func (c *Conn) inspectStreams(ctx context.Context, replicas int) (found []Inspected, clock Clock, err error) {
	for _, want := range wantedStreams(replicas) {
		one := Inspected{Object: "stream " + want.Name}
		sent := time.Now()
		stream, err := c.js.Stream(ctx, want.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			one.Missing = true
		case err != nil:
			return nil, Clock{}, fmt.Errorf("inspect %s: %w", one.Object, explain(err))
		default:
			clock = newClock(sent, stream.CachedInfo().TimeStamp, time.Now())
			is := stream.CachedInfo().Config
			if replicas == 0 {
				want.Replicas = is.Replicas
			}
			one.Deviations = deviations(one.Object, streamSettings, is, want)
		}
		found = append(found, one)
	}
	leases, err := c.inspectLeases(ctx)
	if err != nil {
		return nil, Clock{}, err
	}
	queue, err := c.inspectConsumer(ctx, touchStream, touchConsumer())
	return append(found, leases, queue), clock, err
}

func (c *Conn) inspectLeases(ctx context.Context) (Inspected, error) {
	one := Inspected{Object: "bucket " + leaseBucket}
	bucket, err := c.js.KeyValue(ctx, leaseBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		one.Missing = true
		return one, nil
	}
	if err != nil {
		return one, fmt.Errorf("inspect %s: %w", one.Object, explain(err))
	}
	one.Deviations, err = leaseDeviations(ctx, bucket)
	return one, err
}

func (c *Conn) inspectConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) (Inspected, error) {
	one := Inspected{Object: consumerObject(stream, want)}
	consumer, err := c.js.Consumer(ctx, stream, want.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		one.Missing = true
	case err != nil:
		return one, fmt.Errorf("inspect %s: %w", one.Object, explain(err))
	default:
		one.Deviations = deviations(one.Object, consumerSettings, consumer.CachedInfo().Config, want)
	}
	return one, nil
}

// InspectFeed looks at this node's own feed. ErrGone while it is not provisioned.
func (c *Conn) InspectFeed(ctx context.Context) (feed FeedInfo, clock Clock, err error) {
	err = c.ask(ctx, func(ctx context.Context) error {
		sent := time.Now()
		consumer, err := c.js.Consumer(ctx, stateStream, c.self.Node)
		if err != nil {
			return err
		}
		feed, clock = newFeedInfo(consumer.CachedInfo()), newClock(sent, consumer.CachedInfo().TimeStamp, time.Now())
		return nil
	})
	if err != nil {
		return FeedInfo{}, Clock{}, fmt.Errorf("look up feed of node %s: %w", c.self.Node, err)
	}
	return feed, clock, nil
}
