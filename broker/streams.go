package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	touchStream  = "PDNS_TOUCH"
	stateStream  = "PDNS_ZONE"
	blobStream   = "PDNS_BLOB"
	statusStream = "PDNS_STATUS"

	// touchDurable is the one consumer of the touch queue, shared by all primaries.
	touchDurable = "primary"
)

const (
	maxContent = 640 << 10        // bytes of a state or blob with its headers; the program makes them up to 512 KB
	maxNote    = 4 << 10          // bytes of a touch
	maxTouches = 512 << 20        // bytes of all: more than a million of them, and no proxy can fill the disk that states need
	maxStatus  = 256 << 10        // bytes of a status
	statusAge  = 2 * time.Minute  // a node silent for longer is not present
	ackWait    = 15 * time.Second // a message not acknowledged in this time is delivered again: so long a killed role is missed

	// dedupWindow is short since nothing relies on Nats-Msg-Id, and the broker keeps a table of the window.
	dedupWindow = time.Second
)

// Streams is what EnsureStreams found or made.
type Streams struct {
	// Created is when the stream of states was created. A value that changes says that the broker was wiped and
	// everything has to be published anew.
	Created time.Time
	// New is true if this call created it.
	New bool
}

// EnsureStreams creates the streams and the touch queue's consumer where they are missing, kept on the given number
// of brokers (1, 3 or 5). Of what exists only the subjects are set right, which an earlier version named otherwise:
// other settings that endanger the guarantees are reported (ErrDeviates), each with stream, setting, value and wanted
// value. Call it at each connection. Primaries.
func (c *Conn) EnsureStreams(ctx context.Context, replicas int) (found Streams, err error) {
	err = c.ask(ctx, func(ctx context.Context) error {
		found, err = c.ensureStreams(ctx, replicas)
		return err
	})
	return found, err
}

func (c *Conn) ensureStreams(ctx context.Context, replicas int) (found Streams, err error) {
	var faults []error
	heard := true // of the streams before
	for _, want := range wantedStreams(replicas) {
		info, isNew, err := c.ensureStream(ctx, want)
		if want.Name == statusStream && c.lostTheirLeader(err, heard) {
			info, isNew, err = c.remakeStatuses(ctx, want)
		}
		heard = heard && !Silent(err)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if want.Name == stateStream {
			found = Streams{Created: info.Created, New: isNew}
		}
		faults = append(faults, joined(deviations("stream "+want.Name, streamSettings, info.Config, want)))
	}
	faults = append(faults, c.ensureLeases(ctx, replicas))
	if err := errors.Join(faults...); err != nil {
		return found, err
	}
	return found, c.ensureConsumer(ctx, touchStream, touchConsumer())
}

// leaderless is how long nobody may answer for the statuses while others answer for the rest.
const leaderless = 20 * time.Second

// lostTheirLeader reports whether nobody has answered for the statuses for a while (err is the answer now) while the
// other streams were heard of. The statuses are in memory: where two of three brokers were started
// anew, nats-server (2.15) elects no leader before the third is back, be it gone for good, and none at all where the
// third, too, was started anew before the two had caught up.
func (c *Conn) lostTheirLeader(err error, heard bool) bool {
	connected := c.Connected()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || !heard || !connected || !Silent(err) {
		c.statusesMute = time.Time{}
		return false
	}
	if c.statusesMute.IsZero() {
		c.statusesMute = time.Now()
	}
	return time.Since(c.statusesMute) > leaderless
}

// remakeStatuses begins the statuses anew, which every node publishes again within seconds.
func (c *Conn) remakeStatuses(ctx context.Context, want jetstream.StreamConfig) (*jetstream.StreamInfo, bool, error) {
	c.log.Warn().Str("stream", want.Name).Dur("after", leaderless).
		Msg("stream has no leader while the others have one, creating it again (it holds presences only)")
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.js.DeleteStream(ctx, want.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, false, fmt.Errorf("make stream %s anew: %w", want.Name, explain(err))
	}
	return c.ensureStream(ctx, want)
}

func (c *Conn) ensureStream(ctx context.Context, want jetstream.StreamConfig) (*jetstream.StreamInfo, bool, error) {
	asking, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := c.js.Stream(asking, want.Name)
	isNew := errors.Is(err, jetstream.ErrStreamNotFound)
	if isNew {
		stream, err = c.js.CreateStream(ctx, want)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // someone else was faster, with other settings
		stream, err = c.js.Stream(ctx, want.Name)
		isNew = false
	}
	if err != nil {
		return nil, false, fmt.Errorf("ensure stream %s: %w", want.Name, explain(err))
	}
	if isNew {
		c.log.Info().Str("stream", want.Name).Msg("created stream on broker")
		return stream.CachedInfo(), isNew, nil
	}
	if leads := stream.CachedInfo().Cluster; leads != nil && leads.Leader == "" {
		return nil, false, fmt.Errorf("ensure stream %s: %w", want.Name, errNoLeader)
	}
	info, err := c.resubject(ctx, stream.CachedInfo(), want.Subjects)
	return info, isNew, err
}

// resubject gives an existing stream the subjects of this version. What it holds under former ones stays, and is
// dropped as unreadable when it is taken: a sweep makes good what it was about.
func (c *Conn) resubject(ctx context.Context, is *jetstream.StreamInfo, subjects []string) (*jetstream.StreamInfo, error) {
	if slices.Equal(is.Config.Subjects, subjects) {
		return is, nil
	}
	c.log.Warn().Str("stream", is.Config.Name).Strs("were", is.Config.Subjects).Strs("subjects", subjects).
		Msg("stream had other subjects, corrected")
	config := is.Config
	config.Subjects = subjects
	stream, err := c.js.UpdateStream(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("give stream %s its subjects: %w", is.Config.Name, explain(err))
	}
	return stream.CachedInfo(), nil
}

// ensureConsumer creates a durable consumer, or checks the one that is there.
func (c *Conn) ensureConsumer(ctx context.Context, stream string, want jetstream.ConsumerConfig) error {
	object := consumerObject(stream, want)
	consumer, err := c.js.CreateConsumer(ctx, stream, want)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		consumer, err = c.js.Consumer(ctx, stream, want.Durable)
	}
	if err != nil {
		return fmt.Errorf("ensure %s: %w", object, explain(err))
	}
	return joined(deviations(object, consumerSettings, consumer.CachedInfo().Config, want))
}

func consumerObject(stream string, c jetstream.ConsumerConfig) string {
	return "consumer " + c.Durable + " of stream " + stream
}

func wantedStreams(replicas int) []jetstream.StreamConfig {
	streams := []jetstream.StreamConfig{{
		// One pending touch per zone and sender: a newer one replaces an older one, whatever becomes of that.
		Name: touchStream, Description: "zones that may have changed",
		Subjects: []string{touchPrefix + "*.*.>", sweepPrefix + "*.*"},
		// What does not fit is refused, and waits at the proxy: nothing that was taken is dropped.
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
		MaxMsgsPerSubject: 1, MaxMsgSize: maxNote, MaxBytes: maxTouches,
		Metadata: about("proxies, health roles, commands", "primaries", "the next sweep finds what was touched"),
	}, {
		// DiscardNew: a full store must be an error, not a zone that silently vanishes.
		Name: stateStream, Description: "newest published state of each zone",
		Subjects: []string{statePrefix + ">"},
		Discard:  jetstream.DiscardNew, MaxMsgsPerSubject: 1, MaxMsgSize: maxContent,
		AllowDirect: true, AllowMsgTTL: true, MaxConsumers: maxConsumers,
		Metadata: about("primaries", "secondaries, each by a consumer with its id, and health roles",
			"primaries publish all zones anew"),
	}, {
		Name: blobStream, Description: "content of large zone states, by SHA-256",
		Subjects: []string{blobPrefix + "*"},
		Discard:  jetstream.DiscardNew, MaxMsgsPerSubject: 1, MaxMsgSize: maxContent,
		AllowDirect: true,
		Metadata:    about("primaries", "secondaries", "primaries publish the content anew"),
	}, {
		Name: statusStream, Description: "nodes that are present",
		Subjects: []string{statusPrefix + "*.*"}, Storage: jetstream.MemoryStorage,
		Discard: jetstream.DiscardOld, MaxMsgsPerSubject: 1, MaxMsgSize: maxStatus, MaxAge: statusAge,
		AllowDirect: true,
		Metadata:    about("all nodes", "all but secondaries", "each node reports again within seconds"),
	}}
	for i := range streams {
		s := &streams[i]
		s.Replicas, s.Duplicates = max(replicas, 1), dedupWindow
		s.MaxMsgs, s.MaxBytes, s.MaxConsumers = -1, cmp.Or(s.MaxBytes, -1), cmp.Or(s.MaxConsumers, -1)
	}
	return streams
}

func touchConsumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: touchDurable, Description: "hands touches to the primary that acts",
		Metadata:      map[string]string{metaRole: string(RolePrimary)},
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxDeliver: -1,
		MaxAckPending: 65536, // touches that wait for their next attempt count, and must not hold up the others
	}
}

// setting is one property that is compared; its value is compared as it is printed.
type setting[C any] struct {
	name string
	of   func(C) any
}

type (
	sc = jetstream.StreamConfig
	cc = jetstream.ConsumerConfig
)

// streamSettings are those that the guarantees rest on. Others, such as a store limit on the states, compression or
// placement, are the operator's.
var streamSettings = []setting[sc]{
	{"subjects", func(c sc) any { return c.Subjects }},
	{"retention", func(c sc) any { return c.Retention }},
	{"storage", func(c sc) any { return c.Storage }},
	{"discard", func(c sc) any { return c.Discard }},
	{"discard_new_per_subject", func(c sc) any { return c.DiscardNewPerSubject }},
	{"max_msgs_per_subject", func(c sc) any { return c.MaxMsgsPerSubject }},
	{"max_age", func(c sc) any { return c.MaxAge }},
	{"max_msgs", func(c sc) any { return evicting(c, c.MaxMsgs) }},
	{"max_bytes", func(c sc) any { return evicting(c, c.MaxBytes) }},
	{"max_msg_size", func(c sc) any { return c.MaxMsgSize }},
	{"num_replicas", func(c sc) any { return c.Replicas }},
	{"no_ack", func(c sc) any { return c.NoAck }},
	{"sealed", func(c sc) any { return c.Sealed }},
	{"deny_delete", func(c sc) any { return c.DenyDelete }},
	{"allow_direct", func(c sc) any { return c.AllowDirect }},
	{"allow_msg_ttl", func(c sc) any { return c.AllowMsgTTL }},
}

// evicting gives a limit where reaching it removes messages, and nothing where it refuses new ones.
func evicting(c sc, limit int64) any {
	if c.Discard == jetstream.DiscardOld {
		return limit
	}
	return nil
}

var consumerSettings = []setting[cc]{
	{"deliver_policy", func(c cc) any { return c.DeliverPolicy }},
	{"ack_policy", func(c cc) any { return c.AckPolicy }},
	{"ack_wait", func(c cc) any { return c.AckWait }},
	{"max_deliver", func(c cc) any { return c.MaxDeliver }},
	{"max_ack_pending", func(c cc) any { return c.MaxAckPending }},
	{"headers_only", func(c cc) any { return c.HeadersOnly }},
	{"filter_subjects", func(c cc) any { return strings.Join(append(c.FilterSubjects, c.FilterSubject), " ") }},
	{"rate_limit", func(c cc) any { return c.RateLimit }},
	{"deliver_subject", func(c cc) any { return c.DeliverSubject }},
	{"replay_policy", func(c cc) any { return c.ReplayPolicy }},
	{"priority_policy", func(c cc) any { return c.PriorityPolicy }},
	{"max_batch", func(c cc) any { return c.MaxRequestBatch }},
	{"max_expires", func(c cc) any { return c.MaxRequestExpires }},
	{"max_bytes", func(c cc) any { return c.MaxRequestMaxBytes }},
	{"pause_until", func(c cc) any { return paused(c.PauseUntil, time.Now()) }},
}

// paused is until when nothing is delivered, "" if that is over.
func paused(until *time.Time, now time.Time) string {
	if until == nil || !until.After(now) {
		return ""
	}
	return until.UTC().Format(time.RFC3339)
}

// Deviation is a setting that endangers the guarantees; it is an ErrDeviates.
type Deviation struct {
	Object, Setting string // "stream PDNS_ZONE", "max_msgs_per_subject"
	Is, ShouldBe    string
}

func (d Deviation) Error() string {
	return fmt.Sprintf("%v: %s: %s is %s, should be %s; %s",
		ErrDeviates, d.Object, d.Setting, d.Is, d.ShouldBe, d.Remedy())
}

func (d Deviation) Unwrap() error { return ErrDeviates }

// Remedy is what an operator does about it.
func (d Deviation) Remedy() string {
	return "edit it with the nats tool, or delete it and have it made anew"
}

func deviations[C any](object string, settings []setting[C], is, want C) (found []Deviation) {
	for _, s := range settings {
		if a, b := fmt.Sprint(s.of(is)), fmt.Sprint(s.of(want)); a != b {
			found = append(found, Deviation{Object: object, Setting: s.name, Is: a, ShouldBe: b})
		}
	}
	return found
}

func joined(found []Deviation) error {
	var faults []error
	for _, d := range found {
		faults = append(faults, d)
	}
	return errors.Join(faults...)
}
