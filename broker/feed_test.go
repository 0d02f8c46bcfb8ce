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

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
)

func TestFeed(t *testing.T) {
	b, primary := start(t)
	sec := b.Connect("sec1")
	publish(t, primary, "a.example", "a")
	flow := make(chan error, 100)
	got, stop := feed(t, sec, func(err error) { flow <- err })
	if err := receive(t, flow); !errors.Is(err, broker.ErrGone) {
		t.Errorf("before it is provisioned, flow is told %v", err)
	}
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
	must(t, receive(t, flow))
	must(t, primary.ProvisionFeed(t.Context(), "sec1")) // again
	a := receive(t, got)
	if a.Zone != zone.MustParseName("a.example") || string(a.Data) != "a" || a.Seq != 1 || a.NumDelivered != 1 || a.Header.Kind != broker.KindZone {
		t.Errorf("got %+v", a)
	}
	must(t, a.Nak(time.Millisecond))
	a = receive(t, got)
	if a.NumDelivered != 2 {
		t.Errorf("got %+v", a)
	}
	must(t, a.InProgress())
	must(t, a.Ack())
	publish(t, primary, "b.example", "b")
	must(t, receive(t, got).Ack())

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
	must(t, err)
	if len(feeds) != 1 || feeds[0].Node != node {
		t.Fatalf("feeds are %+v", feeds)
	}
	return feeds[0]
}

func TestFeedsLeavesOutWatches(t *testing.T) {
	_, primary := start(t)
	expectEvent(t, watch(t, primary), "caught up")
	feeds, err := primary.Feeds(t.Context())
	must(t, err)
	if len(feeds) != 0 {
		t.Errorf("feeds are %+v", feeds)
	}
	s, err := primary.JetStream().Stream(t.Context(), "PDNS_ZONE")
	must(t, err)
	if n := s.CachedInfo().State.Consumers; n != 1 {
		t.Errorf("the watch takes %d consumers", n)
	}
}

func TestFeedInOrder(t *testing.T) {
	b, primary := start(t)
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
	got, _ := feed(t, b.Connect("sec1"), nil)
	for i := range 500 {
		publish(t, primary, fmt.Sprintf("z%d.example", i), "")
	}
	for i := range 500 {
		m := receive(t, got)
		if m.Seq != uint64(i+1) {
			t.Fatalf("message %d is %+v", i, m)
		}
		must(t, m.Ack())
	}
}

func TestFeedHandedBackAtTheEnd(t *testing.T) {
	b, primary := start(t)
	sec := b.Connect("sec1")
	for i := range 40 {
		publish(t, primary, fmt.Sprintf("z%d.example", i), "")
	}
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
	before := sec.NATS().Stats().InMsgs
	stop := background(t, func(ctx context.Context) error {
		calls := 0
		return sec.Feed(ctx, func(m broker.FeedMsg) {
			if calls++; calls > 1 {
				t.Error("called though the context has ended")
			}
			<-ctx.Done()
			must(t, m.Nak(time.Second))
		}, func(broker.FeedInfo) {}, nil)
	})
	eventually(t, func() bool { return sec.NATS().Stats().InMsgs > before+40 }) // all, and the answer to the lookup
	stop()
	got, _ := feed(t, sec, nil)
	for range 40 {
		must(t, receive(t, got).Ack()) // at once, not a minute later
	}
}

func TestFeedSurvivesRestart(t *testing.T) {
	b, primary := start(t)
	sec := b.Connect("sec1")
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
	got, _ := feed(t, sec, nil)
	publish(t, primary, "a.example", "")
	must(t, receive(t, got).Ack())
	created := feedOf(t, primary, "sec1").Created
	for i := range 3 {
		restart(t, stopAndStart(b), primary)
		publish(t, primary, fmt.Sprintf("z%d.example", i), "")
		m := receive(t, got)
		if m.Zone != zone.MustParseName(fmt.Sprintf("z%d.example", i)) {
			t.Errorf("got %+v", m)
		}
		must(t, m.Ack())
		if now := feedOf(t, primary, "sec1").Created; !now.Equal(created) { // that tells a restart from a wipe
			t.Errorf("created %v, and after a restart %v", created, now)
		}
	}
}

func TestFeedResumesAfterWipe(t *testing.T) {
	b, primary := start(t)
	sec := b.Connect("sec1")
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
	flow := make(chan error, 100)
	got, _ := feed(t, sec, func(err error) { flow <- err })
	must(t, receive(t, flow))
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
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
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
	b, primary := start(t)
	sec := b.Connect("sec1")
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
	publish(t, primary, "a.example", "")
	flow := make(chan error, 100)
	got, _ := feed(t, sec, func(err error) { flow <- err })
	must(t, receive(t, flow))
	must(t, receive(t, got).Ack())
	must(t, primary.RemoveFeed(t.Context(), "sec1"))
	if err := receive(t, flow); !errors.Is(err, broker.ErrGone) {
		t.Errorf("flow is told %v", err)
	}
	must(t, primary.RemoveFeed(t.Context(), "sec1")) // again
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
	must(t, receive(t, flow))
	if m := receive(t, got); m.Seq != 1 { // from the beginning
		t.Errorf("got %+v", m)
	}
}

func TestProvisionFeedRefuses(t *testing.T) {
	_, primary := start(t)
	if err := primary.ProvisionFeed(t.Context(), "a.b"); !errors.Is(err, broker.ErrSubject) {
		t.Error(err)
	}
	must(t, primary.JetStream().DeleteStream(t.Context(), "PDNS_ZONE"))
	if err := primary.ProvisionFeed(t.Context(), "sec1"); !errors.Is(err, broker.ErrGone) {
		t.Error(err)
	}
}

// TestLeastPrivilege tries what a stolen secondary or proxy could try. Violations show as no effect.
func TestLeastPrivilege(t *testing.T) {
	b, primary := start(t)
	publish(t, primary, "a.example", "a")
	publish(t, primary, "c.example", "c")
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
	must(t, primary.ProvisionFeed(t.Context(), "sec2"))
	sec := b.Connect("sec1")
	proxy := b.Connect("proxy1")
	got, _ := feed(t, sec, nil)
	m := receive(t, got)
	coming := make(chan zone.Name, 10)
	stop, err := b.Connect("sec2").SubscribeComing(t.Context(), func(name zone.Name) { coming <- name })
	must(t, err)
	defer stop()

	forged := make(chan string, 10)
	stop, err = primary.SubscribeChecked(t.Context(), func(node string, answer []byte) { forged <- node + " answers " + string(answer) })
	must(t, err)
	defer stop()
	stop, err = primary.SubscribeForget(t.Context(), func(node string) { forged <- "forget " + node })
	must(t, err)
	defer stop()
	stop, err = primary.ServeLeader(t.Context(), func(_ context.Context, request []byte) []byte {
		forged <- "ask the leader " + string(request)
		return nil
	})
	must(t, err)
	defer stop()

	attempts := []struct {
		who            *broker.Conn
		subject, reply string
		data           string
	}{
		{sec, "pdns.zone.example.a", "", "forged"},
		{sec, "pdns.touch.example.a", "", ""},
		{sec, "pdns.sweep", "", ""},
		{sec, "pdns.blob." + broker.HashOf(nil).String(), "", ""},
		{sec, "pdns.status.sec2", "", "forged"},
		{sec, "pdns.applied.sec2", "", "forged"},
		{sec, "pdns.coming", "", string(zone.MustParseName("a.example"))},
		{sec, "pdns.checked.sec2", "", "forged"},
		{sec, "pdns.check.sec2", "", "forged"},
		{sec, "pdns.leader", "", "forged"},
		{sec, "pdns.forget", "", "sec2"},
		{sec, "$KV.pdns_lease.health", "", "forged"},
		{proxy, "pdns.leader", "", "forged"},
		{proxy, "pdns.confirm", "", ""},
		{sec, "pdns.confirm", "", ""},
		{proxy, "pdns.forget", "", "sec2"},
		{proxy, "pdns.checked.sec2", "", "forged"},
		{proxy, "$KV.pdns_lease.health", "", "forged"},
		{sec, "$JS.API.STREAM.DELETE.PDNS_ZONE", "", ""},
		{sec, "P.API.STREAM.DELETE.PDNS_ZONE", "", ""},
		{sec, "P.API.STREAM.PURGE.PDNS_ZONE", "", ""},
		{sec, "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec2", "", "1"},
		{sec, "P.API.CONSUMER.DELETE.PDNS_ZONE.sec2", "", ""},
		{sec, "$JS.ACK.PDNS_ZONE.sec2.1.1.1.1.1", "", "+ACK"},
		// The server doesn't check what answers are addressed to.
		{sec, "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec1", "pdns.zone.example.a", "1"},
		{sec, "$JS.ACK.PDNS_ZONE.sec1.1.1.1.1.1", "$JS.API.STREAM.DELETE.PDNS_ZONE", "+ACK"},
		{sec, "P.API.DIRECT.GET.PDNS_BLOB.pdns.blob." + broker.HashOf(nil).String(), "pdns.zone.example.a", ""},
		{sec, "pdns.status.sec1", "pdns.zone.example.a", "forged"},
		{proxy, "pdns.zone.example.a", "", "forged"},
		{proxy, "pdns.status.sec1", "", "forged"},
		{proxy, "pdns.applied.sec1", "", "forged"},
		{proxy, "pdns.coming", "", string(zone.MustParseName("a.example"))},
		{proxy, "pdns.touch.example.a", "pdns.zone.example.a", "forged"},
		{proxy, "P.API.STREAM.DELETE.PDNS_ZONE", "", ""},
	}
	for _, a := range attempts {
		must(t, a.who.NATS().PublishMsg(&nats.Msg{Subject: a.subject, Reply: a.reply, Data: []byte(a.data)}))
	}
	for _, c := range []*broker.Conn{sec, proxy} {
		must(t, c.NATS().Flush())
	}
	// One last legal word from each makes sure that the broker is through with the others.
	must(t, sec.PublishStatus(t.Context(), []byte("true")))
	must(t, proxy.PublishStatus(t.Context(), []byte("true")))
	must(t, m.InProgress())

	for name, want := range map[string]string{"a.example": "a", "c.example": "c"} {
		s, err := primary.LastState(t.Context(), zone.MustParseName(name))
		if err != nil || string(s.Data) != want {
			t.Errorf("state of %s is now %q (%v)", name, s.Data, err)
		}
	}
	if s := ensure(t, primary); s.New {
		t.Error("a stream was deleted")
	}
	must(t, primary.NATS().Flush())
	select {
	case what := <-forged:
		t.Errorf("somebody could make it hear: %s", what)
	default:
	}
	queue, err := primary.JetStream().Stream(t.Context(), "PDNS_TOUCH")
	must(t, err)
	if word, err := queue.GetLastMsgForSubject(t.Context(), "pdns.confirm"); err == nil {
		t.Errorf("a word to the brake: %v", word)
	}
	bucket, err := primary.JetStream().KeyValue(t.Context(), "pdns_lease")
	must(t, err)
	if lease, err := bucket.Get(t.Context(), "health"); err == nil {
		t.Errorf("the lease is %q", lease.Value())
	}
	must(t, primary.PublishComing(zone.MustParseName("c.example")))
	if name := receive(t, coming); name != zone.MustParseName("c.example") {
		t.Errorf("word of %s was forged", name)
	}
	statuses, err := primary.Statuses(t.Context())
	must(t, err)
	for node, s := range statuses {
		if string(s.Data) == "forged" && node != "sec1" || len(statuses) != 2 {
			t.Errorf("status of %s is %q", node, s.Data)
		}
	}
	feeds, err := primary.Feeds(t.Context())
	must(t, err)
	for _, f := range feeds {
		if f.Node == "sec2" && (f.InHand != 0 || f.AckFloor != 0 || f.Pending != 2) || len(feeds) != 2 {
			t.Errorf("feed of sec2 is %+v", f)
		}
	}
}

// TestNoEavesdropping makes sure that a secondary can't listen to anyone else.
func TestNoEavesdropping(t *testing.T) {
	b, _ := start(t)
	var log logBuffer
	sec, err := broker.Connect(b.Config("sec1"), broker.Options{Node: "sec1", Log: zerolog.New(&log)})
	must(t, err)
	defer func() { must(t, sec.Close(context.Background())) }()
	reconnect(t, sec)
	for _, subject := range []string{">", "_INBOX_sec2.>", "pdns.status.*", "pdns.applied.*", "pdns.zone.>", "$JS.>"} {
		_, err := sec.NATS().SubscribeSync(subject)
		must(t, err)
		refusal := fmt.Sprintf(`Permissions Violation for Subscription to \"%s\"`, subject)
		eventually(t, func() bool { return log.contains(refusal) })
	}
}

// A feed that is renewed begins with all states again; one that was renewed already is left alone.
func TestRenewFeed(t *testing.T) {
	_, primary := start(t)
	publish(t, primary, "a.example", "")
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
	created := func() time.Time {
		feeds, err := primary.Feeds(t.Context())
		must(t, err)
		if len(feeds) != 1 {
			t.Fatalf("%d feeds, want 1", len(feeds))
		}
		return feeds[0].Created
	}
	first := created()
	must(t, primary.RenewFeed(t.Context(), "sec1", first))
	second := created()
	if !second.After(first) {
		t.Error("the feed is still the old one")
	}
	must(t, primary.RenewFeed(t.Context(), "sec1", first))
	if !created().Equal(second) {
		t.Error("a feed that was renewed already was renewed again")
	}
}

// There is room for more secondaries than nats-server allows by itself, and for watches beside them. A broker that lists
// consumers without end is listened to for a while, and leaves nothing running.
func TestManyFeeds(t *testing.T) {
	_, primary := start(t)
	stream, err := primary.JetStream().Stream(t.Context(), "PDNS_ZONE")
	must(t, err)
	consumers := func(n int) {
		for range n {
			_, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{MemoryStorage: true})
			must(t, err)
		}
	}
	consumers(1100)
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
	if feeds, err := primary.Feeds(t.Context()); err != nil || len(feeds) != 1 || feeds[0].Node != "sec1" {
		t.Errorf("%+v, %v", feeds, err)
	}

	without := stream.CachedInfo().Config
	without.MaxConsumers = 5000
	_, err = primary.JetStream().UpdateStream(t.Context(), without)
	must(t, err)
	consumers(1400)
	_, err = primary.Feeds(t.Context())
	must(t, err)
	eventually(t, func() bool {
		var stacks bytes.Buffer
		must(t, pprof.Lookup("goroutine").WriteTo(&stacks, 1))
		return !strings.Contains(stacks.String(), "ListConsumers")
	})
}
