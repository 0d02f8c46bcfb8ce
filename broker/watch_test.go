package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// startWatch has a health role follow the states.
func startWatch(t *testing.T) (b *brokertest.Broker, primary, health *broker.Conn, ch <-chan watched) {
	t.Helper()
	b, primary = start(t)
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
	health = b.Connect("health1")
	return b, primary, health, watch(t, health)
}

// expectStates wants these zones to be told, in this order, and nothing else.
func expectStates(t *testing.T, ch <-chan watched, zones ...string) {
	t.Helper()
	for _, name := range zones {
		if s := expectEvent(t, ch, "state").state; s.Zone != zone.MustParseName(name) || s.Data != nil {
			t.Fatalf("told %+v, want %s", s, name)
		}
	}
}

// A health role waits until a primary has made its watch, and then is told of everything once, as a primary is.
func TestHealthWatches(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	publish(t, primary, "a.example", "content")
	health := b.Connect("health1")
	ch, flow := make(chan watched, 1000), make(chan error, 100)
	stop := background(t, func(ctx context.Context) error {
		return health.WatchStates(ctx, broker.StateWatcher{
			State: func(s broker.StateMsg) { ch <- watched{"state", s} }, CaughtUp: func() { ch <- watched{event: "caught up"} }, Flow: func(err error) { flow <- err },
		})
	})
	if err := receive(t, flow); !errors.Is(err, broker.ErrGone) {
		t.Errorf("before it is provisioned, flow is told %v", err)
	}
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1")) // again
	expectStates(t, ch, "a.example")
	expectEvent(t, ch, "caught up")
	publish(t, primary, "b.example", "content")
	expectStates(t, ch, "b.example")
	must.OK(t, health.NATS().ForceReconnect())
	publish(t, primary, "c.example", "content")
	expectStates(t, ch, "c.example")
	stop()
	again := watch(t, health) // a new process
	expectStates(t, again, "a.example", "b.example", "c.example")
	expectEvent(t, again, "caught up")
	feeds, err := primary.Feeds(t.Context())
	if err != nil || len(feeds) != 0 {
		t.Errorf("feeds are %+v, %v", feeds, err)
	}
	if err := primary.ProvisionWatch(t.Context(), "health.1"); !errors.Is(err, broker.ErrSubject) {
		t.Error(err)
	}
}

// What is published while a health role is away comes when it is back, once and in order, however often the connection
// is lost.
func TestHealthWatchMissesNothing(t *testing.T) {
	b, primary, health, ch := startWatch(t)
	expectEvent(t, ch, "caught up")
	var want []string
	for i := range 200 {
		name := fmt.Sprintf("z%d.example", i)
		publish(t, primary, name, "")
		want = append(want, name)
		if i%40 == 20 {
			must.OK(t, health.NATS().ForceReconnect())
		}
	}
	expectStates(t, ch, want...)
	restart(t, stopAndStart(b), primary, health)
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1")) // it is in memory alone
	publish(t, primary, "restarted.example", "")
	expectStates(t, ch, "restarted.example")
}

// A pull of a process that was killed takes states for as long as the broker takes it for alive. Nothing is lost by
// that, and nobody is told that all has come.
func TestHealthWatchAfterKill(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	for name, kill := range map[string]func(*nats.Conn){"in the moment that it pulls": func(nc *nats.Conn) { nc.Close() }, "later": func(nc *nats.Conn) {
		_ = nc.Flush()
		nc.Close()
	}, "still there": func(*nats.Conn) {}} {
		t.Run(name, func(t *testing.T) {
			b, primary := start(t)
			must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
			publish(t, primary, "a.example", "")
			publish(t, primary, "b.example", "")
			killed := b.Connect("health1").NATS()
			_, err := killed.SubscribeSync("_INBOX_health1.killed")
			must.OK(t, err)
			must.OK(t, killed.PublishRequest("P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.WATCH_health1", "_INBOX_health1.killed", []byte(`{"batch":100,"expires":2000000000}`)))
			kill(killed)
			ch := watch(t, b.Connect("health1"))
			expectStates(t, ch, "a.example", "b.example")
			expectEvent(t, ch, "caught up")
			publish(t, primary, "c.example", "")
			expectStates(t, ch, "c.example")
		})
	}
}

// Another process of the node pulls while this one watches, which takes turns with it. What the other one got is read
// again.
func TestHealthWatchBesideAnother(t *testing.T) {
	b, primary, _, ch := startWatch(t)
	expectEvent(t, ch, "caught up")
	other := b.Connect("health1").NATS()
	taken, err := other.SubscribeSync("_INBOX_health1.other")
	must.OK(t, err)
	must.OK(t, other.PublishRequest("P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.WATCH_health1", "_INBOX_health1.other", []byte(`{"batch":3,"expires":60000000000}`)))
	must.OK(t, other.Flush())
	var want []string
	for i := range 20 {
		name := fmt.Sprintf("z%d.example", i)
		publish(t, primary, name, "")
		want = append(want, name)
	}
	expectStates(t, ch, want...)
	if n, _, _ := taken.Pending(); n == 0 {
		t.Error("the other one got nothing: this test proves nothing")
	}
}

func TestHealthWatchAfterWipe(t *testing.T) {
	t.Parallel()
	b, primary, health, ch := startWatch(t)
	publish(t, primary, "a.example", "")
	publish(t, primary, "b.example", "")
	// Whether it had caught up before the first is a matter of luck.
	want := []zone.Name{zone.MustParseName("a.example"), zone.MustParseName("b.example")}
	if got := []zone.Name{expectNext(t, ch).Zone, expectNext(t, ch).Zone}; !slices.Equal(got, want) {
		t.Fatalf("told of %v", got)
	}
	restart(t, b.Wipe, primary, health)
	ensure(t, primary)
	publish(t, primary, "c.example", "") // with a sequence that the watch has already seen
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
	awaitReset(t, ch)
	if s := expectNext(t, ch); s.Zone != zone.MustParseName("c.example") {
		t.Errorf("told %+v", s)
	}
}

// awaitReset skips "caught up", which may not have been told before.
func awaitReset(t *testing.T, ch <-chan watched) {
	t.Helper()
	w := receive(t, ch)
	if w.event == "caught up" {
		w = receive(t, ch)
	}
	if w.event != "reset" {
		t.Fatalf("told %+v, want reset", w)
	}
}

// A broker that goes back to an earlier copy of its store gives sequences again that the watch has seen of other
// states.
func TestHealthWatchOfBrokerThatGoesBack(t *testing.T) {
	b, primary, health, ch := startWatch(t)
	expectEvent(t, ch, "caught up")
	publish(t, primary, "a.example", "")
	expectStates(t, ch, "a.example")
	var back func()
	restart(t, func() {
		b.Stop()
		back = b.Copy()
		b.Start()
	}, primary, health)
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
	for i := range 3 {
		publish(t, primary, fmt.Sprintf("lost%d.example", i), "")
	}
	expectStates(t, ch, "lost0.example", "lost1.example", "lost2.example")
	restart(t, func() {
		b.Stop()
		back()
		b.Start()
	}, primary, health)
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
	awaitReset(t, ch)
	if s := expectNext(t, ch); s.Zone != zone.MustParseName("a.example") {
		t.Errorf("told %+v", s)
	}
	publish(t, primary, "new.example", "")
	if s := expectNext(t, ch); s.Zone != zone.MustParseName("new.example") {
		t.Errorf("told %+v", s)
	}
}

// Whoever alters a feed or a watch keeps its node from states for as long as nobody looks. When somebody does, the node
// gets all of them, also those published meanwhile; feeds that are as they should be are left alone.
func TestRepairFeeds(t *testing.T) {
	t.Parallel()
	past, later := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		update, create func(*jetstream.ConsumerConfig) // what an update does not take it is made with
		setting        string
	}{
		"filter":         {update: func(c *jetstream.ConsumerConfig) { c.FilterSubject = "pdns.zone.nothing" }, setting: "filter_subjects"},
		"filters":        {update: func(c *jetstream.ConsumerConfig) { c.FilterSubjects = []string{"pdns.zone.x", "pdns.zone.y"} }, setting: "filter_subjects"},
		"in hand":        {update: func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 1 }, setting: "max_ack_pending"},
		"once":           {update: func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 1 }, setting: "max_deliver"},
		"headers":        {update: func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true }, setting: "headers_only"},
		"slow again":     {update: func(c *jetstream.ConsumerConfig) { c.AckWait = time.Hour }, setting: "ack_wait"},
		"small pulls":    {update: func(c *jetstream.ConsumerConfig) { c.MaxRequestBatch = 1 }, setting: "max_batch"},
		"short pulls":    {update: func(c *jetstream.ConsumerConfig) { c.MaxRequestExpires = time.Second }, setting: "max_expires"},
		"few bytes":      {update: func(c *jetstream.ConsumerConfig) { c.MaxRequestMaxBytes = 100 }, setting: "max_bytes"},
		"paused":         {create: func(c *jetstream.ConsumerConfig) { c.PauseUntil = &later }, setting: "pause_until"},
		"new ones":       {create: func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverNewPolicy }, setting: "deliver_policy"},
		"no word":        {create: func(c *jetstream.ConsumerConfig) { c.AckPolicy = jetstream.AckNonePolicy; c.MaxAckPending = 0 }, setting: "ack_policy"},
		"as it was sent": {create: func(c *jetstream.ConsumerConfig) { c.ReplayPolicy = jetstream.ReplayOriginalPolicy }, setting: "replay_policy"},
		"groups": {create: func(c *jetstream.ConsumerConfig) {
			c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyPinned, []string{"evil"}
		}, setting: "priority_policy"},
		"nothing":          {update: func(c *jetstream.ConsumerConfig) { c.Description = "mine" }},
		"a pause that was": {create: func(c *jetstream.ConsumerConfig) { c.PauseUntil = &past }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, primary := start(t)
			js := primary.JetStream()
			for _, id := range []string{"sec1", "sec2"} {
				must.OK(t, primary.ProvisionFeed(t.Context(), id))
			}
			must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
			consumer, err := js.Consumer(t.Context(), "PDNS_ZONE", "sec1")
			must.OK(t, err)
			cfg := consumer.CachedInfo().Config
			if c.update != nil {
				c.update(&cfg)
				_, err = js.UpdateConsumer(t.Context(), "PDNS_ZONE", cfg)
			} else {
				publish(t, primary, "early.example", "early")
				must.OK(t, primary.RemoveFeed(t.Context(), "sec1"))
				c.create(&cfg)
				_, err = js.CreateConsumer(t.Context(), "PDNS_ZONE", cfg)
			}
			must.OK(t, err)
			before := created(t, primary)
			got, _ := feed(t, b.Connect("sec1"), nil)
			for i := range 5 {
				publish(t, primary, fmt.Sprintf("z%d.example", i), "content")
			}
			found, err := primary.RepairFeeds(t.Context())
			must.OK(t, err)
			after := created(t, primary)
			if c.setting == "" {
				if len(found) != 0 || !after["sec1"].Equal(before["sec1"]) {
					t.Errorf("repaired without need: %v", found)
				}
				return
			}
			if len(found) == 0 || found[0].Object != "consumer sec1 of stream PDNS_ZONE" || !slices.ContainsFunc(found, func(d broker.Deviation) bool { return d.Setting == c.setting }) {
				t.Errorf("found %v", found)
			}
			for id, at := range after {
				if (id == "sec1") == at.Equal(before[id]) {
					t.Errorf("%s was made at %v, and is of %v", id, before[id], at)
				}
			}
			awaitAll(t, got, 5)
			if again, err := primary.RepairFeeds(t.Context()); err != nil || len(again) != 0 {
				t.Errorf("again: %v, %v", again, err)
			}
		})
	}
}

// created is when each consumer of the states was made.
func created(t *testing.T, c *broker.Conn) map[string]time.Time {
	t.Helper()
	stream, err := c.JetStream().Stream(t.Context(), "PDNS_ZONE")
	must.OK(t, err)
	times := map[string]time.Time{}
	list := stream.ListConsumers(t.Context())
	for info := range list.Info() {
		times[info.Name] = info.Created
	}
	must.OK(t, list.Err())
	return times
}

// awaitAll waits until a feed has delivered the zones z0 to zn, with content, in whatever order and how often.
func awaitAll(t *testing.T, got <-chan broker.FeedMsg, n int) {
	t.Helper()
	missing := map[zone.Name]bool{}
	for i := range n {
		missing[zone.MustParseName(fmt.Sprintf("z%d.example", i))] = true
	}
	for len(missing) > 0 {
		m := receive(t, got)
		if string(m.Data) == "content" {
			delete(missing, m.Zone)
		}
		_ = m.Ack() // of a feed that is gone, perhaps
	}
}

// A watch whose filter somebody rewrote is made anew, too, and its health role is told of all that it had not seen.
func TestRepairWatch(t *testing.T) {
	t.Parallel()
	_, primary, _, ch := startWatch(t)
	expectEvent(t, ch, "caught up")
	publish(t, primary, "a.example", "")
	expectStates(t, ch, "a.example")
	js := primary.JetStream()
	consumer, err := js.Consumer(t.Context(), "PDNS_ZONE", "WATCH_health1")
	must.OK(t, err)
	cfg := consumer.CachedInfo().Config
	cfg.FilterSubject = "pdns.zone.nothing"
	_, err = js.UpdateConsumer(t.Context(), "PDNS_ZONE", cfg)
	must.OK(t, err)
	publish(t, primary, "b.example", "")
	found, err := primary.RepairFeeds(t.Context())
	must.OK(t, err)
	if len(found) != 1 || found[0].Setting != "filter_subjects" || found[0].Object != "consumer WATCH_health1 of stream PDNS_ZONE" {
		t.Errorf("found %v", found)
	}
	expectStates(t, ch, "b.example")
	publish(t, primary, "c.example", "")
	expectStates(t, ch, "c.example")
}

// Consumers that are neither feeds nor watches are none of it.
func TestRepairLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	expectEvent(t, watch(t, primary), "caught up") // a primary's own
	stream, err := primary.JetStream().Stream(t.Context(), "PDNS_ZONE")
	must.OK(t, err)
	_, err = stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "Backup", FilterSubject: "pdns.zone.x", AckPolicy: jetstream.AckExplicitPolicy})
	must.OK(t, err)
	before := created(t, primary)
	found, err := primary.RepairFeeds(t.Context())
	after := created(t, primary)
	if err != nil || len(found) != 0 || len(after) != len(before) || !after["Backup"].Equal(before["Backup"]) {
		t.Errorf("%v, %v; there were %v, there are %v", found, err, before, after)
	}
}

func TestZoneNames(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	want := []zone.Name{zone.Root}
	_, err := primary.PublishState(t.Context(), zone.Root, nil, broker.StateHeader{Kind: broker.KindGone}, 0)
	must.OK(t, err)
	for i := range 300 {
		name := fmt.Sprintf(`z\046%d.example`, i)
		publish(t, primary, name, "")
		want = append(want, zone.MustParseName(name))
	}
	_, err = primary.JetStream().Publish(t.Context(), "pdns.zone.NOZONE", nil)
	must.OK(t, err)
	slices.Sort(want)
	for _, c := range []*broker.Conn{primary, b.Connect("health1")} {
		got, err := c.ZoneNames(t.Context())
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %d zones, %v", c.Self(), len(got), err)
		}
	}
}
