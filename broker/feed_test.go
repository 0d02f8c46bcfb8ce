package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

func TestFeed(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	sec := b.Connect("sec1")
	publish(t, primary, "a.example", "a")
	flow := make(chan error, 100)
	got, stop := feed(t, sec, func(err error) { flow <- err })
	if err := receive(t, flow); !errors.Is(err, broker.ErrGone) {
		t.Errorf("before it is provisioned, flow is told %v", err)
	}
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	must.OK(t, receive(t, flow))
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1")) // again
	a := receive(t, got)
	if a.Zone != zone.MustParseName("a.example") || string(a.Data) != "a" || a.Seq != 1 || a.NumDelivered != 1 || a.Header.Kind != broker.KindZone {
		t.Errorf("got %+v", a)
	}
	must.OK(t, a.Nak(time.Millisecond))
	a = receive(t, got)
	if a.NumDelivered != 2 {
		t.Errorf("got %+v", a)
	}
	must.OK(t, a.InProgress())
	must.OK(t, a.Ack())
	publish(t, primary, "b.example", "b")
	must.OK(t, receive(t, got).Ack())

	eventually(t, func() bool { return feedOf(t, primary, "sec1").Behind() == 0 && feedOf(t, primary, "sec1").Pulling })
	info := feedOf(t, primary, "sec1")
	if info.AckFloor != 2 || time.Since(info.LastActive) > time.Minute || info.Created.IsZero() {
		t.Errorf("feed is %+v", info)
	}
	stop()
	publish(t, primary, "c.example", "c")
	eventually(t, func() bool { return !feedOf(t, primary, "sec1").Pulling })
	if info := feedOf(t, primary, "sec1"); info.Pending != 1 || info.Behind() != 1 {
		t.Errorf("feed is %+v", info)
	}
	got, _ = feed(t, sec, nil)
	if c := receive(t, got); c.Zone != zone.MustParseName("c.example") {
		t.Errorf("a feed that starts again begins with %+v", c)
	}
}

func feedOf(t *testing.T, c *broker.Conn, node string) broker.FeedInfo {
	t.Helper()
	feeds, err := c.Feeds(t.Context())
	must.OK(t, err)
	if len(feeds) != 1 || feeds[0].Node != node {
		t.Fatalf("feeds are %+v", feeds)
	}
	return feeds[0]
}

func TestFeedsLeavesOutWatches(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	expectEvent(t, watch(t, primary), "caught up")
	feeds, err := primary.Feeds(t.Context())
	must.OK(t, err)
	if len(feeds) != 0 {
		t.Errorf("feeds are %+v", feeds)
	}
	s, err := primary.JetStream().Stream(t.Context(), "PDNS_ZONE")
	must.OK(t, err)
	if n := s.CachedInfo().State.Consumers; n != 1 {
		t.Errorf("the watch takes %d consumers", n)
	}
}

func TestFeedInOrder(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	got, _ := feed(t, b.Connect("sec1"), nil)
	const states = 500
	var published errgroup.Group // while they are received: what waits for longer than AckWait is delivered again
	published.Go(func() error {
		for i := range states {
			name := zone.MustParseName(fmt.Sprintf("z%d.example", i))
			if _, err := primary.PublishState(t.Context(), name, nil, broker.StateHeader{Kind: broker.KindZone}, 0); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range states {
		m := receive(t, got)
		if m.Seq != uint64(i+1) {
			t.Fatalf("message %d is %+v", i, m)
		}
		must.OK(t, m.Ack())
	}
	must.OK(t, published.Wait())
}

// A state can be had before its turn; the feed delivers it in its turn all the same, as the same one.
func TestFetchState(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	sec := b.Connect("sec1")
	info, err := primary.Feeds(t.Context())
	must.OK(t, err)
	created := info[0].Created
	publish(t, primary, "a.example", "first")
	publish(t, primary, "sub.b.example", "second")
	name := zone.MustParseName("sub.b.example")
	news, err := sec.FetchState(t.Context(), name, 2, created)
	must.OK(t, err)
	if news.Zone != name || news.Seq != 2 || string(news.Data) != "second" || news.Delivered() {
		t.Errorf("fetched %+v", news)
	}
	must.OK(t, news.Ack())
	must.OK(t, news.Nak(0))
	got, _ := feed(t, sec, nil)
	if first := receive(t, got); first.Seq != 1 || !news.Place().Newer(first.Place()) {
		t.Errorf("first came %+v", first)
	}
	delivered := receive(t, got)
	if !delivered.Same(news.Message) || delivered.Header != news.Header || news.Place() != delivered.Place() {
		t.Errorf("delivered is %+v, fetched was %+v", delivered, news)
	}
	for _, missing := range []struct {
		name string
		seq  uint64
	}{{"no.example", 0}, {"a.example", 7}} {
		if m, err := sec.FetchState(t.Context(), zone.MustParseName(missing.name), missing.seq, created); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("%s from %d: %+v, %v", missing.name, missing.seq, m, err)
		}
	}
}

func TestFeedHandedBackAtTheEnd(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	sec := b.Connect("sec1")
	for i := range 40 {
		publish(t, primary, fmt.Sprintf("z%d.example", i), "")
	}
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	before := sec.NATS().Stats().InMsgs
	stop := background(t, func(ctx context.Context) error {
		calls := 0
		return sec.Feed(ctx, func(m broker.FeedMsg) {
			if calls++; calls > 1 {
				t.Error("called though the context has ended")
			}
			<-ctx.Done()
			must.OK(t, m.Nak(time.Second))
		}, func(broker.FeedInfo) {}, nil)
	})
	eventually(t, func() bool { return sec.NATS().Stats().InMsgs > before+40 }) // all, and the answer to the lookup
	stop()
	got, _ := feed(t, sec, nil)
	for range 40 {
		must.OK(t, receive(t, got).Ack()) // at once, not a minute later
	}
}

func TestFeedSurvivesRestart(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	sec := b.Connect("sec1")
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	got, _ := feed(t, sec, nil)
	publish(t, primary, "a.example", "")
	must.OK(t, receive(t, got).Ack())
	created := feedOf(t, primary, "sec1").Created
	for i := range 3 {
		restart(t, stopAndStart(b), primary)
		publish(t, primary, fmt.Sprintf("z%d.example", i), "")
		m := receive(t, got)
		if m.Zone != zone.MustParseName(fmt.Sprintf("z%d.example", i)) {
			t.Errorf("got %+v", m)
		}
		must.OK(t, m.Ack())
		if now := feedOf(t, primary, "sec1").Created; !now.Equal(created) { // that tells a restart from a wipe
			t.Errorf("created %v, and after a restart %v", created, now)
		}
	}
}

func TestFeedResumesAfterWipe(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	sec := b.Connect("sec1")
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	flow := make(chan error, 100)
	got, _ := feed(t, sec, func(err error) { flow <- err })
	must.OK(t, receive(t, flow))
	publish(t, primary, "other.example", "")
	other := receive(t, got)
	publish(t, primary, "old.example", "")
	old := receive(t, got)
	if !old.Place().Newer(other.Place()) || other.Place().Newer(old.Place()) || old.Place().Newer(old.Place()) {
		t.Error("the order of publishing is lost")
	}
	restart(t, b.Wipe, primary)
	for err := receive(t, flow); !errors.Is(err, broker.ErrGone); {
		err = receive(t, flow)
	}
	ensure(t, primary)
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	for receive(t, flow) != nil {
	}
	publish(t, primary, "new.example", "")
	m := receive(t, got)
	if m.Zone != zone.MustParseName("new.example") || m.Seq != 1 {
		t.Errorf("got %+v", m)
	}
	if !m.Place().Newer(old.Place()) || old.Place().Newer(m.Place()) {
		t.Error("a state from before the wipe is taken for newer")
	}
}

func TestFeedRemovedWhileConnected(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	sec := b.Connect("sec1")
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	publish(t, primary, "a.example", "")
	flow := make(chan error, 100)
	got, _ := feed(t, sec, func(err error) { flow <- err })
	must.OK(t, receive(t, flow))
	must.OK(t, receive(t, got).Ack())
	must.OK(t, primary.RemoveFeed(t.Context(), "sec1"))
	if err := receive(t, flow); !errors.Is(err, broker.ErrGone) {
		t.Errorf("flow is told %v", err)
	}
	must.OK(t, primary.RemoveFeed(t.Context(), "sec1")) // again
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	must.OK(t, receive(t, flow))
	if m := receive(t, got); m.Seq != 1 { // from the beginning
		t.Errorf("got %+v", m)
	}
}

func TestProvisionFeedRefuses(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	if err := primary.ProvisionFeed(t.Context(), "a.b"); !errors.Is(err, broker.ErrSubject) {
		t.Error(err)
	}
	must.OK(t, primary.JetStream().DeleteStream(t.Context(), "PDNS_ZONE"))
	if err := primary.ProvisionFeed(t.Context(), "sec1"); !errors.Is(err, broker.ErrGone) {
		t.Error(err)
	}
}

// TestLeastPrivilege tries what a stolen secondary, proxy or health role could try. Violations show as no effect.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	publish(t, primary, "a.example", "a")
	publish(t, primary, "c.example", "c")
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec2"))
	sec, proxy, health := b.Connect("sec1"), b.Connect("proxy1"), b.Connect("health1")
	got, _ := feed(t, sec, nil)
	m := receive(t, got)
	coming, forged := listenToForgery(t, b, primary)

	emptyBlob := "pdns.blob." + broker.HashOf(nil).String()
	type attempt struct{ subject, reply, data string }
	for who, attempts := range map[*broker.Conn][]attempt{
		sec: {
			{"pdns.touch.secondary.sec1.example.a", "", ""}, {"pdns.sweep.secondary.sec1", "", ""}, {"pdns.ask.secondary.sec1", "", "\x00"},
			{"$JS.ACK.PDNS_ZONE.sec2.1.1.1.1.1", "", "+ACK"},
			// The server doesn't check what answers are addressed to.
			{"P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec1", "pdns.zone.example.a", "1"},
			{"$JS.ACK.PDNS_ZONE.sec1.1.1.1.1.1", "$JS.API.STREAM.DELETE.PDNS_ZONE", "+ACK"},
			{"P.API.DIRECT.GET.PDNS_BLOB." + emptyBlob, "pdns.zone.example.a", ""},
			{"pdns.status.secondary.sec1", "pdns.zone.example.a", "forged"},
		},
		proxy: {
			{"pdns.status.proxy.sec1", "", "forged"}, {"pdns.applied.proxy1", "", "forged"},
			{"pdns.touch.proxy.proxy1.example.a", "pdns.zone.example.a", "forged"},
		},
		health: {
			{"pdns.sweep.health.health1", "", ""}, {"pdns.applied.health1", "", "forged"}, {"pdns.settled.health1", "", "forged"},
			{"pdns.touch.health.health1.example.a", "pdns.zone.example.a", "forged"},
			{"P.API.STREAM.INFO.PDNS_ZONE", "pdns.zone.example.a", "forged"},
		},
	} {
		for _, subject := range []string{
			"pdns.zone.example.a", emptyBlob, "pdns.status.secondary.sec2", "pdns.status.primary.primary1", "pdns.applied.sec2", "pdns.checked.sec2",
			"pdns.check.sec2", "pdns.check.health2.sec2", "pdns.coming", "pdns.coming.primary1", "pdns.published.primary1", "pdns.checkpoint.primary1", "pdns.leader", "pdns.leader.primary.primary1", "pdns.leader.health.health2",
			"pdns.forget.primary.primary1", "pdns.forget.health.health2", "pdns.confirm.primary.primary1", "pdns.confirm.health.health2", "pdns.forgotten.primary1",
			"pdns.touch.primary.primary1.example.a", "pdns.touch.proxy.proxy2.example.a", "pdns.touch.health.health2.example.a", "$KV.pdns_lease.health",
			"$JS.API.STREAM.DELETE.PDNS_ZONE", "P.API.STREAM.DELETE.PDNS_ZONE", "P.API.STREAM.PURGE.PDNS_ZONE",
			"P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec2", "P.API.CONSUMER.DELETE.PDNS_ZONE.sec2", "P.API.CONSUMER.RESET.PDNS_ZONE.sec2",
		} {
			attempts = append(attempts, attempt{subject, "", string(zone.MustParseName("a.example"))})
		}
		for _, a := range attempts {
			must.OK(t, who.NATS().PublishMsg(&nats.Msg{Subject: a.subject, Reply: a.reply, Data: []byte(a.data)}))
		}
		// One last legal word makes sure that the broker is through with the others.
		must.OK(t, who.PublishStatus(t.Context(), []byte("true")))
	}
	must.OK(t, m.InProgress())

	wantNothingDone(t, primary)
	must.OK(t, primary.PublishComing(zone.MustParseName("c.example")))
	if name := receive(t, coming); name != zone.MustParseName("c.example") {
		t.Errorf("word of %s was forged", name)
	}
	must.OK(t, health.NATS().Flush())
	must.OK(t, primary.NATS().Flush())
	select {
	case what := <-forged:
		t.Errorf("somebody could make it hear: %s", what)
	default:
	}
}

// listenToForgery has all listen who act on what they are told.
func listenToForgery(t *testing.T, b *brokertest.Broker, primary *broker.Conn) (<-chan zone.Name, <-chan string) {
	t.Helper()
	coming, forged := make(chan zone.Name, 10), make(chan string, 100)
	listens := func(stop func(), err error) {
		t.Helper()
		must.OK(t, err)
		t.Cleanup(stop)
	}
	serve := func(what string) func(context.Context, broker.Sender, []byte) []byte {
		return func(_ context.Context, from broker.Sender, request []byte) []byte {
			forged <- fmt.Sprintf("%s asks to %s %q", from, what, request)
			return nil
		}
	}
	sec2, health := b.Connect("sec2"), b.Connect("health1")
	listens(sec2.SubscribeComing(t.Context(), func(name zone.Name) { coming <- name }))
	listens(sec2.SubscribeCheck(t.Context(), func(question []byte) { forged <- "check: " + string(question) }))
	listens(health.SubscribeChecked(t.Context(), func(node string, answer []byte) { forged <- node + " answers " + string(answer) }))
	listens(health.SubscribeForgotten(t.Context(), func(node string) { forged <- "forgotten: " + node }))
	listens(health.ServeLeader(t.Context(), func(ctx context.Context, request []byte) []byte {
		return serve("lead")(ctx, broker.Sender{}, request)
	}))
	listens(primary.ServeForget(t.Context(), serve("forget")))
	listens(primary.ServeConfirm(t.Context(), serve("confirm")))
	return coming, forged
}

// wantNothingDone looks for traces of what TestLeastPrivilege tries.
func wantNothingDone(t *testing.T, primary *broker.Conn) {
	t.Helper()
	for name, want := range map[string]string{"a.example": "a", "c.example": "c"} {
		s, err := primary.LastState(t.Context(), zone.MustParseName(name))
		if err != nil || string(s.Data) != want {
			t.Errorf("state of %s is now %q (%v)", name, s.Data, err)
		}
	}
	if s := ensure(t, primary); s.New {
		t.Error("a stream was deleted")
	}
	queue, err := primary.JetStream().Stream(t.Context(), "PDNS_TOUCH")
	must.OK(t, err)
	info, err := queue.Info(t.Context(), jetstream.WithSubjectFilter(">"))
	must.OK(t, err)
	for subject := range info.State.Subjects {
		if subject != "pdns.touch.proxy.proxy1.example.a" && subject != "pdns.touch.health.health1.example.a" {
			t.Errorf("in the queue: %s", subject)
		}
	}
	bucket, err := primary.JetStream().KeyValue(t.Context(), "pdns_lease")
	must.OK(t, err)
	if lease, err := bucket.Get(t.Context(), "health"); err == nil {
		t.Errorf("the lease is %q", lease.Value())
	}
	statuses, err := primary.Statuses(t.Context())
	must.OK(t, err)
	if len(statuses) != 3 {
		t.Errorf("statuses of %v", statuses)
	}
	feeds, err := primary.Feeds(t.Context())
	must.OK(t, err)
	for _, f := range feeds {
		if f.Node == "sec2" && (f.InHand != 0 || f.AckFloor != 0 || f.Pending != 2) || len(feeds) != 2 {
			t.Errorf("feed of sec2 is %+v", f)
		}
	}
}

// TestNoEavesdropping makes sure that a secondary can't listen to anyone else.
func TestNoEavesdropping(t *testing.T) {
	t.Parallel()
	b, _ := start(t)
	var log logBuffer
	sec, err := broker.Connect(b.Config("sec1"), broker.Options{Node: "sec1", Role: broker.RoleSecondary, Log: zerolog.New(&log)})
	must.OK(t, err)
	defer func() { must.OK(t, sec.Close(context.Background())) }()
	reconnect(t, sec)
	for _, subject := range []string{">", "_INBOX_sec2.>", "pdns.status.*.*", "pdns.status.secondary.*", "pdns.applied.*", "pdns.check.*.*", "pdns.zone.>", "$JS.>"} {
		_, err := sec.NATS().SubscribeSync(subject)
		must.OK(t, err)
		refusal := fmt.Sprintf(`Permissions Violation for Subscription to \"%s\"`, subject)
		eventually(t, func() bool { return log.contains(refusal) })
	}
}

// A feed that is renewed begins with all states again; one that was renewed already is left alone.
func TestRenewFeed(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	publish(t, primary, "a.example", "")
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	created := func() time.Time {
		feeds, err := primary.Feeds(t.Context())
		must.OK(t, err)
		if len(feeds) != 1 {
			t.Fatalf("%d feeds, want 1", len(feeds))
		}
		return feeds[0].Created
	}
	first := created()
	must.OK(t, primary.RenewFeed(t.Context(), "sec1", first))
	second := created()
	if !second.After(first) {
		t.Error("the feed is still the old one")
	}
	must.OK(t, primary.RenewFeed(t.Context(), "sec1", first))
	if !created().Equal(second) {
		t.Error("a feed that was renewed already was renewed again")
	}
}

// There is room for more secondaries than nats-server allows by itself, and for watches beside them. A broker that
// lists consumers without end is listened to for a while, and leaves nothing running.
func TestManyFeeds(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	_, primary := start(t)
	stream, err := primary.JetStream().Stream(t.Context(), "PDNS_ZONE")
	must.OK(t, err)
	consumers := func(n int) {
		for range n {
			_, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{MemoryStorage: true})
			must.OK(t, err)
		}
	}
	consumers(1100)
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	if feeds, err := primary.Feeds(t.Context()); err != nil || len(feeds) != 1 || feeds[0].Node != "sec1" {
		t.Errorf("%+v, %v", feeds, err)
	}

	without := stream.CachedInfo().Config
	without.MaxConsumers = 5000
	_, err = primary.JetStream().UpdateStream(t.Context(), without)
	must.OK(t, err)
	consumers(1400)
	_, err = primary.Feeds(t.Context())
	must.OK(t, err)
	eventually(t, func() bool {
		var stacks bytes.Buffer
		must.OK(t, pprof.Lookup("goroutine").WriteTo(&stacks, 1))
		return !strings.Contains(stacks.String(), "ListConsumers")
	})
}
