package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A stream is proven by what nobody else notices. Chunks, statuses and the lease's bucket take a message of the
// prober's own, which is read back, the chunk's through a consumer. Touches and states would be delivered to others:
// there a message is offered that the stream has to look at and must refuse, and the last one that it holds is read.

// proveTimeout is how long all of a proof may take: whoever waits longer waits in vain.
const proveTimeout = 4 * time.Second

// StreamCount is what a stream holds.
type StreamCount struct {
	Name     string
	Messages uint64
	Last     uint64 // the last sequence
	Created  time.Time
	Lost     int `json:"-"` // messages that nats-server itself found unreadable
}

// ProveStreams returns what the streams fail to do, nil if nothing. Primaries.
func (c *Conn) ProveStreams(ctx context.Context) error {
	if err := c.lost(c.link.now()); err != nil {
		return err
	}
	faults, _ := c.proveStreams(ctx)
	var all []error
	for _, f := range faults {
		all = append(all, f)
	}
	return errors.Join(all...)
}

// streamFault is what a stream does not do.
type streamFault struct {
	stream string
	err    error
}

func (f streamFault) Error() string { return "stream " + f.stream + ": " + f.err.Error() }

func (f streamFault) Unwrap() error { return f.err }

// proveStreams returns what each of the streams fails to do, by stream, and what they hold. Streams that are not
// made yet prove nothing. Only a broker may write to the lease's bucket.
func (c *Conn) proveStreams(ctx context.Context) (faults []streamFault, counts []StreamCount) {
	ctx, cancel := context.WithTimeout(ctx, proveTimeout)
	defer cancel()
	type stream struct {
		name string
		try  func(context.Context) error
	}
	streams := []stream{
		{stateStream, func(ctx context.Context) error { return c.proveRefusal(ctx, stateStream, statePrefix+noZone) }},
		{touchStream, func(ctx context.Context) error {
			return c.proveRefusal(ctx, touchStream, c.self.subject(touchPrefix)+"."+noZone)
		}},
		{blobStream, c.proveDelivery},
	}
	if c.self.Role == RoleBroker {
		streams = append(streams, stream{leaseStream, func(ctx context.Context) error {
			return c.proveStored(ctx, leaseStream, probeLease(c.self))
		}})
	}
	var wg sync.WaitGroup
	found, held := make([]error, len(streams)), make([]StreamCount, len(streams))
	for i, s := range streams {
		wg.Go(func() {
			var missing bool
			held[i], missing, found[i] = c.proveReading(ctx, s.name)
			if found[i] == nil && !missing {
				found[i] = s.try(ctx)
			}
		})
	}
	wg.Wait()
	for i, s := range streams {
		if found[i] != nil {
			faults = append(faults, streamFault{s.name, found[i]})
		}
		if held[i].Name != "" {
			counts = append(counts, held[i])
		}
	}
	return faults, counts
}

// codeStreamNotFound is what the server says of a stream that is not there.
const codeStreamNotFound = jetstream.JSErrCodeStreamNotFound

// proveReading asks for the stream and reads its last message.
func (c *Conn) proveReading(ctx context.Context, name string) (count StreamCount, missing bool, err error) {
	var info struct {
		Created time.Time `json:"created"`
		State   struct {
			Messages uint64 `json:"messages"`
			LastSeq  uint64 `json:"last_seq"`
			Lost     *struct {
				Msgs []uint64 `json:"msgs"`
			} `json:"lost"`
		} `json:"state"`
	}
	err = c.call(ctx, "STREAM.INFO."+name, struct{}{}, &info)
	if hasCode(err, codeStreamNotFound) {
		return count, true, nil
	}
	if err != nil {
		return count, false, fmt.Errorf("does not report its state: %w", err)
	}
	count = StreamCount{Name: name, Messages: info.State.Messages, Last: info.State.LastSeq, Created: info.Created}
	if info.State.Lost != nil {
		count.Lost = len(info.State.Lost.Msgs)
	}
	if info.State.Messages == 0 {
		return count, false, nil
	}
	if _, err := c.messageAt(ctx, name, info.State.LastSeq); err != nil && !errors.Is(explain(err), ErrNotFound) { // removed since
		return count, false, fmt.Errorf("message %d cannot be read: %w", info.State.LastSeq, err)
	}
	return count, false, nil
}

// messageAt reads a message from the stream's leader.
func (c *Conn) messageAt(ctx context.Context, stream string, seq uint64) (data []byte, err error) {
	var answer struct {
		Message struct {
			Data []byte `json:"data"`
		} `json:"message"`
	}
	err = c.call(ctx, "STREAM.MSG.GET."+stream, map[string]uint64{"seq": seq}, &answer)
	return answer.Message.Data, err
}

// proveRefusal offers a message that fits no state of the stream: whoever refuses it for that has looked at it.
func (c *Conn) proveRefusal(ctx context.Context, stream, subject string) error {
	_, err := c.publish(ctx, stream, notice(subject, nil), jetstream.WithExpectLastSequence(maxSequence))
	switch {
	case errors.Is(explain(err), ErrConflict):
		return nil
	case err == nil:
		return errors.New("stored a message that it had to refuse")
	}
	return fmt.Errorf("takes no message: %w", err)
}

// proveStored publishes and reads back.
func (c *Conn) proveStored(ctx context.Context, stream, subject string) error {
	content := []byte(strconv.FormatInt(time.Now().UnixNano(), 36))
	seq, err := c.publish(ctx, stream, notice(subject, content))
	if err != nil {
		return fmt.Errorf("takes no message: %w", err)
	}
	data, err := c.messageAt(ctx, stream, seq)
	if err == nil && string(data) != string(content) {
		err = errors.New("it is another one")
	}
	if err != nil {
		return fmt.Errorf("does not give back the message that it has just taken: %w", err)
	}
	return nil
}

// proveDelivery publishes a chunk and has it delivered by a consumer. That is kept by one broker only, and ends with
// it: another one is made then.
func (c *Conn) proveDelivery(ctx context.Context) error {
	consumer, err := c.probeConsumer(ctx)
	if err != nil {
		return fmt.Errorf("makes no consumer: %w", err)
	}
	seq, err := c.publish(ctx, blobStream, &nats.Msg{Subject: probeBlob(c.self).subject(), Data: probeContent(c.self)})
	if err != nil {
		return fmt.Errorf("takes no message: %w", err)
	}
	for { // what an earlier probe left is delivered before
		msg, err := consumer.Next(jetstream.FetchContext(ctx))
		if err != nil {
			c.prober.Store(nil)
			return fmt.Errorf("does not deliver the message that it has just taken: %w", err)
		}
		if meta, err := msg.Metadata(); err == nil && meta.Sequence.Stream >= seq {
			return nil
		}
	}
}

func (c *Conn) probeConsumer(ctx context.Context) (jetstream.Consumer, error) {
	if known := c.prober.Load(); known != nil {
		if _, err := (*known).Info(ctx); err == nil {
			return *known, nil
		}
	}
	consumer, err := c.js.CreateOrUpdateConsumer(ctx, blobStream, jetstream.ConsumerConfig{
		Name: "PROBE_" + c.self.Node + "_" + rand.Text(), Description: "proves that the stream delivers",
		Metadata: aboutNode(c.self.Role, c.self.Node), FilterSubject: probeBlob(c.self).subject(),
		DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	c.prober.Store(&consumer)
	return consumer, nil
}

// leaseStream is what nats.go calls the stream of the leases' bucket.
const leaseStream = "KV_" + leaseBucket

// probeContent is a chunk that no zone has. It is named as all chunks are, and collected as all are that nobody needs.
func probeContent(s Sender) []byte {
	return []byte("the chunk by which " + s.String() + " proves itself")
}

func probeBlob(s Sender) Hash { return HashOf(probeContent(s)) }

func probeLease(s Sender) string { return "$KV." + leaseBucket + ".probe_" + s.Node }
