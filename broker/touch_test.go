package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
)

func TestTouchesCollapse(t *testing.T) {
	b, primary := start(t)
	proxy := b.Connect("proxy1")
	for i := range 100 {
		touch(t, proxy, "example.com", fmt.Sprint("edit ", i))
	}
	must(t, proxy.PublishSweep(t.Context(), broker.Touch{Reason: "lost"}))
	got, _ := touches(t, primary, nil)
	if m := receive(t, got); m.Zone != zone.MustParseName("example.com") || m.Reason != "edit 99" || m.Sweep {
		t.Errorf("got %+v", m)
	}
	if m := receive(t, got); !m.Sweep || m.Zone != "" || m.Reason != "lost" {
		t.Errorf("got %+v", m)
	}
}

// Whoever floods the queue of touches fills that alone, and states have all of the disk besides.
func TestTouchesAreBounded(t *testing.T) {
	b, primary := start(t)
	stream, err := primary.JetStream().Stream(t.Context(), "PDNS_TOUCH")
	must(t, err)
	config := stream.CachedInfo().Config
	if config.MaxBytes <= 0 || config.MaxBytes > 1<<30 {
		t.Errorf("it may have %d bytes", config.MaxBytes)
	}
	config.MaxBytes = 64 << 10
	_, err = primary.JetStream().UpdateStream(t.Context(), config)
	must(t, err)
	proxy := b.Connect("proxy1")
	touch(t, proxy, "first.example", "edited")
	for n := 0; err == nil; n++ {
		if n == 1000 {
			t.Fatal("it takes everything")
		}
		_, err = proxy.PublishTouch(t.Context(), zone.MustParseName(fmt.Sprintf("z%d.example", n)), broker.Touch{Reason: "flood"})
	}
	got, _ := touches(t, primary, nil)
	if m := receive(t, got); m.Zone != zone.MustParseName("first.example") {
		t.Errorf("the first touch was lost: got %+v", m)
	}
	publish(t, primary, "first.example", "state")
}

func TestTouchCarries(t *testing.T) {
	b, primary := start(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC)
	want := broker.Touch{Reason: strings.Repeat("r", 256), At: at, Again: "request 1"}
	sent := want
	sent.Reason += "cut off"
	_, err := b.Connect("proxy1").PublishTouch(t.Context(), zone.Root, sent)
	must(t, err)
	got, _ := touches(t, primary, nil)
	m := receive(t, got)
	if m.Zone != zone.Root || m.Touch != want || m.NumDelivered != 1 {
		t.Errorf("got %+v", m)
	}
}

func TestTouchSupersededInFlight(t *testing.T) {
	_, primary := start(t)
	got, _ := touches(t, primary, nil)
	touch(t, primary, "example.com", "first")
	first := receive(t, got)
	touch(t, primary, "example.com", "second")
	second := receive(t, got) // though the first is in hand
	if second.Reason != "second" || second.NumDelivered != 1 {
		t.Errorf("got %+v", second)
	}
	must(t, first.Ack())
	must(t, second.Nak(time.Millisecond))
	again := receive(t, got) // the late acknowledgement of the first didn't count for the second
	if again.Reason != "second" || again.NumDelivered != 2 {
		t.Errorf("got %+v", again)
	}
	must(t, again.InProgress())
	must(t, again.Ack())
	awaitEmpty(t, primary, "PDNS_TOUCH")
}

func TestTouchUnreadableIsDropped(t *testing.T) {
	_, primary := start(t)
	got, _ := touches(t, primary, nil)
	_, err := primary.JetStream().Publish(t.Context(), "pdns.touch.NOZONE", nil)
	must(t, err)
	touch(t, primary, "example.com", "")
	m := receive(t, got)
	if m.Zone != zone.MustParseName("example.com") {
		t.Errorf("got %+v", m)
	}
	must(t, m.Ack())
	awaitEmpty(t, primary, "PDNS_TOUCH")
}

// awaitEmpty waits until the acknowledgements sent have taken effect.
func awaitEmpty(t *testing.T, c *broker.Conn, stream string) {
	t.Helper()
	eventually(t, func() bool {
		s, err := c.JetStream().Stream(t.Context(), stream)
		must(t, err)
		return s.CachedInfo().State.Msgs == 0
	})
}

// eventually is for what the broker tells no one about.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it doesn't come about")
		}
	}
}

func TestTouchesSurviveRestart(t *testing.T) {
	b, primary := start(t)
	touch(t, primary, "before.example", "")
	got, _ := touches(t, primary, nil)
	before := receive(t, got)
	restart(t, func() {
		b.Stop()
		_, err := primary.PublishTouch(t.Context(), zone.MustParseName("away.example"), broker.Touch{})
		if !errors.Is(err, broker.ErrDisconnected) {
			t.Errorf("publishing to a broker that is away: %v", err)
		}
		b.Start()
	}, primary)
	must(t, before.Ack()) // taken before the restart, and the queue is the same
	touch(t, primary, "after.example", "")
	if m := receive(t, got); m.Zone != zone.MustParseName("after.example") {
		t.Errorf("got %+v", m)
	} else {
		must(t, m.Ack())
	}
	awaitEmpty(t, primary, "PDNS_TOUCH")
}

func TestTouchesHandedBackAtTheEnd(t *testing.T) {
	_, primary := start(t)
	for i := range 50 {
		touch(t, primary, fmt.Sprintf("z%d.example", i), "")
	}
	before := primary.NATS().Stats().InMsgs
	stop := background(t, func(ctx context.Context) error {
		calls := 0
		return primary.Touches(ctx, func(m broker.TouchMsg) {
			if calls++; calls > 1 {
				t.Error("called though the context has ended")
			}
			<-ctx.Done()
			must(t, m.Nak(time.Second))
		}, nil)
	})
	eventually(t, func() bool { return primary.NATS().Stats().InMsgs > before+50 }) // all, and the answer to the lookup
	stop()
	got, _ := touches(t, primary, nil)
	for range 50 {
		must(t, receive(t, got).Ack()) // at once, not a minute later
	}
}

func TestTouchesResumeAfterWipe(t *testing.T) {
	b, primary := start(t)
	flow := make(chan error, 100)
	got, _ := touches(t, primary, func(err error) { flow <- err })
	must(t, receive(t, flow))
	touch(t, primary, "old.example", "")
	old := receive(t, got)
	restart(t, b.Wipe, primary)
	for err := receive(t, flow); !errors.Is(err, broker.ErrGone); {
		err = receive(t, flow)
	}
	if !ensure(t, primary).New {
		t.Error("nobody noticed that the broker was wiped")
	}
	for receive(t, flow) != nil {
	}
	touch(t, primary, "new.example", "")
	m := receive(t, got)
	if m.Zone != zone.MustParseName("new.example") {
		t.Errorf("got %+v", m)
	}
	// Both have sequence 1; the old one's acknowledgement must not be taken for the new one's.
	if err := old.Ack(); !errors.Is(err, broker.ErrGone) {
		t.Errorf("acknowledging across a wipe: %v", err)
	}
	must(t, m.Nak(0))
	if m = receive(t, got); m.NumDelivered != 2 {
		t.Errorf("got %+v", m)
	}
}

func TestTouchesResumeAfterDeletion(t *testing.T) {
	_, primary := start(t)
	flow := make(chan error, 100)
	got, _ := touches(t, primary, func(err error) { flow <- err })
	must(t, receive(t, flow))
	for _, remove := range []func() error{
		func() error { return primary.JetStream().DeleteConsumer(t.Context(), "PDNS_TOUCH", "primary") },
		func() error { return primary.JetStream().DeleteStream(t.Context(), "PDNS_TOUCH") },
	} {
		must(t, remove())
		if err := receive(t, flow); !errors.Is(err, broker.ErrGone) {
			t.Errorf("flow is told %v", err)
		}
		ensure(t, primary)
		must(t, receive(t, flow))
		touch(t, primary, "example.com", "")
		must(t, receive(t, got).Ack())
	}
}

func TestPublishTouchWithoutStream(t *testing.T) {
	b, primary := start(t)
	must(t, primary.JetStream().DeleteStream(t.Context(), "PDNS_TOUCH"))
	for _, id := range []string{"primary1", "proxy1"} {
		_, err := b.Connect(id).PublishTouch(t.Context(), zone.Root, broker.Touch{})
		if !errors.Is(err, broker.ErrGone) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// An order stands back behind a touch that waits or is in hand: that one may know more.
func TestTouchYields(t *testing.T) {
	_, primary := start(t)
	name := zone.MustParseName("example.com")
	order := broker.Touch{Reason: "order", Again: "sec1", Yields: true}
	touch(t, primary, "example.com", "delete")
	if _, err := primary.PublishTouch(t.Context(), name, order); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("while a touch waits: %v", err)
	}
	got, _ := touches(t, primary, nil)
	m := receive(t, got)
	if m.Reason != "delete" {
		t.Errorf("the touch that waited was %q", m.Reason)
	}
	if _, err := primary.PublishTouch(t.Context(), name, order); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("while a touch is in hand: %v", err)
	}
	must(t, m.Ack())
	for { // the acknowledgement is on its way
		if _, err := primary.PublishTouch(t.Context(), name, order); err == nil {
			break
		} else if !errors.Is(err, broker.ErrConflict) {
			t.Fatal(err)
		}
	}
	if m := receive(t, got); m.Reason != "order" || m.Again != "sec1" {
		t.Errorf("%+v", m)
	}
}

// What nobody of ours sends is dropped, the first of it with a line in the log, and the rest goes on.
func TestUnreadableTouchesAreQuiet(t *testing.T) {
	b, _ := start(t)
	var log logBuffer
	primary, err := broker.Connect(b.Config("primary1"), broker.Options{Node: "primary1", Log: zerolog.New(&log)})
	must(t, err)
	t.Cleanup(func() { must(t, primary.Close(context.Background())) }) // when nothing is taken any more
	reconnect(t, primary)
	proxy := b.Connect("proxy1")
	for n := range 100 {
		msg := nats.NewMsg(fmt.Sprintf("pdns.touch.example.z%d", n))
		msg.Header.Set("Pdns-At", "yesterday")
		_, err := proxy.JetStream().PublishMsg(t.Context(), msg)
		must(t, err)
	}
	name := zone.MustParseName("good.example")
	_, err = proxy.PublishTouch(t.Context(), name, broker.Touch{Reason: "good"})
	must(t, err)
	got, _ := touches(t, primary, nil)
	if m := receive(t, got); m.Zone != name {
		t.Errorf("%s came", m.Zone)
	}
	if n := strings.Count(log.all(), "unreadable message dropped"); n == 0 || n > 10 {
		t.Errorf("%d lines tell of it", n)
	}
}
