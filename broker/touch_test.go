package broker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

func TestTouchesCollapse(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	proxy := b.Connect("proxy1")
	for i := range 100 {
		_, err := proxy.PublishTouch(t.Context(), zone.MustParseName("example.com"), shown(uint32(i)))
		must.OK(t, err)
	}
	must.OK(t, proxy.PublishSweep(t.Context()))
	must.OK(t, proxy.PublishSweep(t.Context()))
	touch(t, primary, "example.com") // of another sender
	got, _ := touches(t, primary, nil)
	if m := receive(t, got); m.Zone != zone.MustParseName("example.com") || m.Serial == nil || *m.Serial != 99 || m.Sweep || m.From != proxy.Self() {
		t.Errorf("got %+v", m)
	}
	if m := receive(t, got); !m.Sweep || m.Zone != "" || m.From != proxy.Self() {
		t.Errorf("got %+v", m)
	}
	if m := receive(t, got); m.Zone != zone.MustParseName("example.com") || m.Again != "sec1" || m.From != primary.Self() {
		t.Errorf("got %+v", m)
	}
}

// Whoever floods the queue of touches fills that alone, and states have all of the disk besides.
func TestTouchesAreBounded(t *testing.T) {
	b, primary := start(t)
	stream, err := primary.JetStream().Stream(t.Context(), "PDNS_TOUCH")
	must.OK(t, err)
	config := stream.CachedInfo().Config
	if config.MaxBytes <= 0 || config.MaxBytes > 1<<30 {
		t.Errorf("it may have %d bytes", config.MaxBytes)
	}
	config.MaxBytes = 64 << 10
	_, err = primary.JetStream().UpdateStream(t.Context(), config)
	must.OK(t, err)
	proxy := b.Connect("proxy1")
	touch(t, proxy, "first.example")
	for n := 0; err == nil; n++ {
		if n == 1000 {
			t.Fatal("it takes everything")
		}
		_, err = proxy.PublishTouch(t.Context(), zone.MustParseName(fmt.Sprintf("z%d.example", n)), broker.Touch{Cause: broker.Changed})
	}
	got, _ := touches(t, primary, nil)
	if m := receive(t, got); m.Zone != zone.MustParseName("first.example") {
		t.Errorf("the first touch was lost: got %+v", m)
	}
	publish(t, primary, "first.example", "state")
}

func TestTouchCarries(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC)
	term, err := broker.ParseTerm("1790000000000000000-17")
	must.OK(t, err)
	most := uint32(1<<32 - 1)
	proxy, health := b.Connect("proxy1"), b.Connect("health1")
	got, _ := touches(t, primary, nil)
	for _, c := range []struct {
		who  *broker.Conn
		want broker.Touch
	}{
		{proxy, broker.Touch{Cause: broker.Changed, At: at}},
		{proxy, broker.Touch{Cause: broker.Changed, At: at, Serial: &most}},
		{proxy, broker.Touch{Cause: broker.Changed, At: at, Serial: new(uint32)}},
		{proxy, broker.Touch{Cause: broker.Deleted, At: at}},
		{health, broker.Touch{Cause: broker.Ordered, At: at, Again: broker.ToAll, Term: term}},
		{health, broker.Touch{Cause: broker.Ordered, At: at, Again: strings.Repeat("s", 63)}},
		{primary, broker.Touch{Cause: broker.Ordered, At: at, Again: "sec2", Term: term}},
	} {
		seq, err := c.who.PublishTouch(t.Context(), zone.Root, c.want)
		must.OK(t, err)
		m := receive(t, got)
		if m.Zone != zone.Root || !reflect.DeepEqual(m.Touch, c.want) || m.NumDelivered != 1 || m.From != c.who.Self() || m.Seq != seq || m.Sweep {
			t.Errorf("got %+v, want %+v of %s", m, c.want, c.who.Self())
		}
	}
}

func TestTouchSupersededInFlight(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	got, _ := touches(t, primary, nil)
	name := zone.MustParseName("example.com")
	_, err := primary.PublishTouch(t.Context(), name, order("first"))
	must.OK(t, err)
	first := receive(t, got)
	_, err = primary.PublishTouch(t.Context(), name, order("second"))
	must.OK(t, err)
	second := receive(t, got) // though the first is in hand
	if second.Again != "second" || second.NumDelivered != 1 {
		t.Errorf("got %+v", second)
	}
	must.OK(t, first.Ack())
	must.OK(t, second.Nak(time.Millisecond))
	again := receive(t, got) // the late acknowledgement of the first didn't count for the second
	if again.Again != "second" || again.NumDelivered != 2 {
		t.Errorf("got %+v", again)
	}
	must.OK(t, again.InProgress())
	must.OK(t, again.Ack())
	awaitEmpty(t, primary, "PDNS_TOUCH")
}

func TestTouchUnreadableIsDropped(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	got, _ := touches(t, primary, nil)
	order := nats.Header{"Pdns-Cause": {"ordered"}, "Pdns-Again": {"sec1"}}
	_, err := primary.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: "pdns.touch.primary.primary1.NOZONE", Header: order})
	must.OK(t, err)
	touch(t, primary, "example.com")
	m := receive(t, got)
	if m.Zone != zone.MustParseName("example.com") {
		t.Errorf("got %+v", m)
	}
	must.OK(t, m.Ack())
	awaitEmpty(t, primary, "PDNS_TOUCH")
}

// awaitEmpty waits until the acknowledgements sent have taken effect.
func awaitEmpty(t *testing.T, c *broker.Conn, stream string) {
	t.Helper()
	eventually(t, func() bool {
		s, err := c.JetStream().Stream(t.Context(), stream)
		must.OK(t, err)
		return s.CachedInfo().State.Msgs == 0
	})
}

// eventually is for what the broker tells no one about.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	must.Eventually(t, func() error {
		if !cond() {
			return errors.New("it does not come about")
		}
		return nil
	})
}

func TestTouchesSurviveRestart(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	touch(t, primary, "before.example")
	got, _ := touches(t, primary, nil)
	before := receive(t, got)
	restart(t, func() {
		b.Stop()
		_, err := primary.PublishTouch(t.Context(), zone.MustParseName("away.example"), order("sec1"))
		if !errors.Is(err, broker.ErrDisconnected) {
			t.Errorf("publishing to a broker that is away: %v", err)
		}
		b.Start()
	}, primary)
	must.OK(t, before.Ack()) // taken before the restart, and the queue is the same
	touch(t, primary, "after.example")
	if m := receive(t, got); m.Zone != zone.MustParseName("after.example") {
		t.Errorf("got %+v", m)
	} else {
		must.OK(t, m.Ack())
	}
	awaitEmpty(t, primary, "PDNS_TOUCH")
}

func TestTouchesHandedBackAtTheEnd(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	for i := range 50 {
		touch(t, primary, fmt.Sprintf("z%d.example", i))
	}
	before := primary.NATS().Stats().InMsgs
	stop := background(t, func(ctx context.Context) error {
		calls := 0
		return primary.Touches(ctx, func(m broker.TouchMsg) {
			if calls++; calls > 1 {
				t.Error("called though the context has ended")
			}
			<-ctx.Done()
			must.OK(t, m.Nak(time.Second))
		}, nil)
	})
	eventually(t, func() bool { return primary.NATS().Stats().InMsgs > before+50 }) // all, and the answer to the lookup
	stop()
	got, _ := touches(t, primary, nil)
	for range 50 {
		must.OK(t, receive(t, got).Ack()) // at once, not a minute later
	}
}

func TestTouchesResumeAfterWipe(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	flow := make(chan error, 100)
	got, _ := touches(t, primary, func(err error) { flow <- err })
	must.OK(t, receive(t, flow))
	touch(t, primary, "old.example")
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
	touch(t, primary, "new.example")
	m := receive(t, got)
	if m.Zone != zone.MustParseName("new.example") {
		t.Errorf("got %+v", m)
	}
	// Both have sequence 1; the old one's acknowledgement must not be taken for the new one's.
	if err := old.Ack(); !errors.Is(err, broker.ErrGone) {
		t.Errorf("acknowledging across a wipe: %v", err)
	}
	must.OK(t, m.Nak(0))
	if m = receive(t, got); m.NumDelivered != 2 {
		t.Errorf("got %+v", m)
	}
}

func TestTouchesResumeAfterDeletion(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	_, primary := start(t)
	flow := make(chan error, 100)
	got, _ := touches(t, primary, func(err error) { flow <- err })
	must.OK(t, receive(t, flow))
	for _, remove := range []func() error{
		func() error { return primary.JetStream().DeleteConsumer(t.Context(), "PDNS_TOUCH", "primary") },
		func() error { return primary.JetStream().DeleteStream(t.Context(), "PDNS_TOUCH") },
	} {
		must.OK(t, remove())
		if err := receive(t, flow); !errors.Is(err, broker.ErrGone) {
			t.Errorf("flow is told %v", err)
		}
		ensure(t, primary)
		must.OK(t, receive(t, flow))
		touch(t, primary, "example.com")
		must.OK(t, receive(t, got).Ack())
	}
}

func TestPublishTouchWithoutStream(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	must.OK(t, primary.JetStream().DeleteStream(t.Context(), "PDNS_TOUCH"))
	for id, what := range map[string]broker.Touch{"primary1": order("sec1"), "proxy1": shown(1), "health1": order("sec1")} {
		_, err := b.Connect(id).PublishTouch(t.Context(), zone.Root, what)
		if !errors.Is(err, broker.ErrGone) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// An order stands back behind one of the same sender that waits or is in hand: that one may know more. It replaces
// nobody else's touch.
func TestTouchYields(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	name := zone.MustParseName("example.com")
	order := broker.Touch{Cause: broker.Ordered, Again: "sec1", Yields: true}
	_, err := b.Connect("proxy1").PublishTouch(t.Context(), name, broker.Touch{Cause: broker.Deleted})
	must.OK(t, err)
	_, err = primary.PublishTouch(t.Context(), name, broker.Touch{Cause: broker.Ordered, Again: "sec2"})
	must.OK(t, err)
	if _, err := primary.PublishTouch(t.Context(), name, order); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("while a touch waits: %v", err)
	}
	got, _ := touches(t, primary, nil)
	deleted, m := receive(t, got), receive(t, got)
	if deleted.Cause != broker.Deleted || m.Again != "sec2" {
		t.Errorf("%+v waited, and %+v", deleted, m)
	}
	if _, err := primary.PublishTouch(t.Context(), name, order); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("while a touch is in hand: %v", err)
	}
	must.OK(t, m.Ack())
	for { // the acknowledgement is on its way
		if _, err := primary.PublishTouch(t.Context(), name, order); err == nil {
			break
		} else if !errors.Is(err, broker.ErrConflict) {
			t.Fatal(err)
		}
	}
	if m := receive(t, got); m.Cause != broker.Ordered || m.Again != "sec1" {
		t.Errorf("%+v", m)
	}
}

// What nobody of ours sends is dropped, the first of it with a line in the log, and the rest goes on.
func TestUnreadableTouchesAreQuiet(t *testing.T) {
	t.Parallel()
	b, _ := start(t)
	var log logBuffer
	primary, err := broker.Connect(b.Config("primary1"), broker.Options{Node: "primary1", Role: broker.RolePrimary, Log: zerolog.New(&log)})
	must.OK(t, err)
	t.Cleanup(func() { must.OK(t, primary.Close(context.Background())) }) // when nothing is taken any more
	reconnect(t, primary)
	proxy := b.Connect("proxy1")
	for n := range 100 {
		msg := nats.NewMsg(fmt.Sprintf("pdns.touch.proxy.proxy1.example.z%d", n))
		msg.Header.Set("Pdns-Cause", "changed")
		msg.Header.Set("Pdns-At", "yesterday")
		_, err := proxy.JetStream().PublishMsg(t.Context(), msg)
		must.OK(t, err)
	}
	name := zone.MustParseName("good.example")
	_, err = proxy.PublishTouch(t.Context(), name, broker.Touch{Cause: broker.Changed})
	must.OK(t, err)
	got, _ := touches(t, primary, nil)
	if m := receive(t, got); m.Zone != name {
		t.Errorf("%s came", m.Zone)
	}
	if n := strings.Count(log.all(), "unreadable message dropped"); n == 0 || n > 10 {
		t.Errorf("%d lines tell of it", n)
	}
}

// What a touch may not say is dropped, whoever may publish to that subject, and what the sender says next of that zone,
// and others say of it, is as if nobody had said it.
func TestTouchesThatSayTooMuchAreDropped(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	proxy, health := b.Connect("proxy1"), b.Connect("health1")
	got, _ := touches(t, primary, nil)
	name := zone.MustParseName("a.example")
	ordered := nats.Header{"Pdns-Cause": {"ordered"}, "Pdns-Again": {"sec1"}}
	for _, c := range []struct {
		who  *broker.Conn
		says []nats.Header
	}{
		{proxy, []nats.Header{
			nil, {"Pdns-Cause": {""}}, {"Pdns-Cause": {"gone"}}, {"Pdns-Cause": {"delete"}}, {"Pdns-Cause": {"sweep"}}, {"Pdns-Cause": {"Changed"}}, {"Pdns-Cause": {"CHANGED"}},
			{"Pdns-Cause": {"changed;"}}, {"Pdns-Cause": {"changed,deleted"}}, {"Pdns-Cause": {"changed", "deleted"}}, {"Pdns-Cause": {"deleted", "deleted"}}, {"pdns-cause": {"changed"}},
			{"Pdns-Reason": {"gone"}}, ordered, {"Pdns-Cause": {"ordered"}}, {"Pdns-Cause": {"ordered"}, "Pdns-Again": {"*"}},
			{"Pdns-Cause": {"changed"}, "Pdns-Again": {"*"}}, {"Pdns-Cause": {"deleted"}, "Pdns-Again": {"sec1"}},
			{"Pdns-Cause": {"changed"}, "Pdns-Shown-Serial": {"4294967296"}}, {"Pdns-Cause": {"changed"}, "Pdns-Shown-Serial": {"-1"}},
			{"Pdns-Cause": {"changed"}, "Pdns-Shown-Serial": {"1e3"}}, {"Pdns-Cause": {"changed"}, "Pdns-Shown-Serial": {"1", "2"}},
			{"Pdns-Cause": {"deleted"}, "Pdns-Shown-Serial": {"1"}}, {"Pdns-Cause": {"changed"}, "Pdns-Term": {"1790000000000000000-17"}},
			{"Pdns-Cause": {"changed"}, "Pdns-At": {"2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"}}, {"Pdns-Cause": {"changed"}, "Pdns-At": {"now"}},
		}},
		{health, []nats.Header{
			nil, {"Pdns-Cause": {"deleted"}}, {"Pdns-Cause": {"changed"}}, {"Pdns-Cause": {"gone"}}, {"Pdns-Cause": {"ordered"}}, {"Pdns-Cause": {"Ordered"}, "Pdns-Again": {"sec1"}},
			{"Pdns-Cause": {"ordered"}, "Pdns-Again": {"sec1", "*"}}, {"Pdns-Cause": {"ordered"}, "Pdns-Again": {"sec1.x"}}, {"Pdns-Cause": {"ordered"}, "Pdns-Again": {">"}},
			{"Pdns-Cause": {"ordered", "deleted"}, "Pdns-Again": {"sec1"}}, {"Pdns-Cause": {"ordered"}, "Pdns-Again": {"sec1"}, "Pdns-Shown-Serial": {"1"}},
			{"Pdns-Cause": {"ordered"}, "Pdns-Again": {"sec1"}, "Pdns-Term": {"1"}}, {"Pdns-Cause": {"deleted"}, "Pdns-Again": {"sec1"}},
		}},
		{primary, []nats.Header{nil, {"Pdns-Cause": {"deleted"}}, {"Pdns-Cause": {"changed"}}, {"Pdns-Cause": {"gone"}}}},
	} {
		as := string(c.who.Self().Role) + "." + c.who.Self().Node
		for _, header := range c.says {
			_, err := c.who.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: "pdns.touch." + as + ".example.a", Header: header})
			must.OK(t, err)
			_, err = proxy.PublishTouch(t.Context(), name, shown(17))
			must.OK(t, err)
			m := receive(t, got)
			if m.Zone != name || m.Cause != broker.Changed || m.Serial == nil || *m.Serial != 17 || m.NumDelivered != 1 || m.From != proxy.Self() {
				t.Errorf("%s says %v, and %+v comes", as, header, m)
			}
			must.OK(t, m.Ack())
			awaitEmpty(t, primary, "PDNS_TOUCH") // the dropped one is gone, too
		}
	}
}

// A word to the whole queue, or to another stream, that rides on a touch, a request to sweep, or a status.
func TestOrdersToStreamsInTouches(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	for _, id := range []string{"proxy1", "health1"} {
		c := b.Connect(id)
		as := string(c.Self().Role) + "." + id
		must.OK(t, c.PublishStatus(t.Context(), []byte("here")))
		_, err := primary.PublishTouch(t.Context(), zone.MustParseName("kept.example"), order("sec1"))
		must.OK(t, err)
		for _, subject := range []string{"pdns.touch." + as + ".example.a", "pdns.status." + as} {
			for _, header := range orders {
				msg := &nats.Msg{Subject: subject, Header: maps.Clone(header), Reply: c.NATS().NewInbox()}
				must.OK(t, c.NATS().PublishMsg(msg))
			}
		}
		must.OK(t, c.PublishStatus(t.Context(), []byte("here"))) // after these
		queue, err := primary.JetStream().Stream(t.Context(), "PDNS_TOUCH")
		must.OK(t, err)
		if _, err := queue.GetLastMsgForSubject(t.Context(), "pdns.touch.primary.primary1.example.kept"); err != nil {
			t.Errorf("%s purged what others had queued: %v", id, err)
		}
	}
	if statuses, err := primary.Statuses(t.Context()); err != nil || len(statuses) != 2 {
		t.Errorf("%v, %v", statuses, err)
	}
}

// Whatever a subject or a zone is called, a touch comes of it only if it is the one spelling of a zone.
func TestTouchesWithWildcards(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	proxy := b.Connect("proxy1")
	header := nats.Header{"Pdns-Cause": {"changed"}}
	for _, rest := range []string{"*", ">", "example.*", "example.>", "*.a", "example.a.>", "EXAMPLE.a", "example.=61", "=.example", "example.a=", "=2a.>"} {
		must.OK(t, proxy.NATS().PublishMsg(&nats.Msg{Subject: "pdns.touch.proxy.proxy1." + rest, Header: header}))
	}
	touch(t, proxy, "last.example")
	got, _ := touches(t, primary, nil)
	if m := receive(t, got); m.Zone != zone.MustParseName("last.example") {
		t.Errorf("%+v comes", m)
	} else {
		must.OK(t, m.Ack())
	}
	awaitEmpty(t, primary, "PDNS_TOUCH")
}
