package roles

import (
	"cmp"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
)

// patience is longer than anything takes on a busy machine.
const patience = 30 * time.Second

func TestMergedReason(t *testing.T) {
	p := &Primary{node: &node{log: zerolog.Nop()}}
	touch := &broker.TouchMsg{}
	touched := func(reason string) errand { return errand{reason: reason, msg: touch, hidden: true, live: true} }
	ordered := errand{reason: reasonHealth, msg: touch, hidden: true, again: "ns1", led: true}
	own := func(reason string) errand { return errand{reason: reason, thorough: true} }
	for what, test := range map[string]struct {
		waiting, newer errand
		reason         string
	}{
		"own ideas":            {own(reasonSweep), own(reasonRetry), reasonSweep},
		"touch after own idea": {own(reasonSweep), touched(proxy.ReasonChange), proxy.ReasonChange},
		"own idea after touch": {touched(proxy.ReasonDelete), own(reasonSweep), proxy.ReasonDelete},
		"change after create":  {touched(proxy.ReasonCreate), touched(proxy.ReasonChange), proxy.ReasonCreate},
		"notify after create":  {touched(proxy.ReasonCreate), touched(proxy.ReasonNotify), proxy.ReasonCreate},
		"delete after create":  {touched(proxy.ReasonCreate), touched(proxy.ReasonDelete), proxy.ReasonDelete},
		"order after delete":   {touched(proxy.ReasonDelete), ordered, proxy.ReasonDelete},
		"order after change":   {touched(proxy.ReasonChange), ordered, reasonHealth},
		"create after delete":  {touched(proxy.ReasonDelete), touched(proxy.ReasonCreate), proxy.ReasonCreate},
	} {
		w, n := test.waiting, test.newer
		want := errand{reason: test.reason, msg: cmp.Or(n.msg, w.msg), hidden: w.hidden || n.hidden, thorough: w.thorough || n.thorough, live: w.live || n.live, again: n.again, led: n.led}
		if got := p.mergeErrands(w, n); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
}

func startBroker(t *testing.T) (primary, secondary *broker.Conn) {
	t.Helper()
	b := brokertest.Start(t, brokertest.Options{Core: []string{"primary1"}, Secondaries: []string{"ns1"}})
	primary = b.Connect("primary1")
	_, err := primary.EnsureStreams(t.Context(), 1)
	must(t, err)
	must(t, primary.ProvisionFeed(t.Context(), "ns1"))
	return primary, b.Connect("ns1")
}

// inHand gives the messages of a loop that calls back for each, until the test ends.
func inHand[M any](t *testing.T, loop func(context.Context, func(M)) error) <-chan M {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	messages, ended := make(chan M, 100), make(chan error, 1)
	go func() { ended <- loop(ctx, func(m M) { messages <- m }) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
	return messages
}

func touchesOf(c *broker.Conn) func(context.Context, func(broker.TouchMsg)) error {
	return func(ctx context.Context, fn func(broker.TouchMsg)) error { return c.Touches(ctx, fn, nil) }
}

func feedOf(c *broker.Conn) func(context.Context, func(broker.FeedMsg)) error {
	return func(ctx context.Context, fn func(broker.FeedMsg)) error {
		return c.Feed(ctx, fn, func(broker.FeedInfo) {}, nil)
	}
}

func receive[M any](t *testing.T, messages <-chan M) M {
	t.Helper()
	select {
	case m := <-messages:
		return m
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// A message that is delivered twice is one: merging both must not acknowledge it. The delivery that waits is the one
// that could be, so it is the second here: the client takes no second word about the first.
func TestMergingDeliveriesOfOneMessage(t *testing.T) {
	primary, secondary := startBroker(t)
	name := named("twice")

	touches := inHand(t, touchesOf(primary))
	_, err := primary.PublishTouch(t.Context(), name, broker.Touch{Reason: proxy.ReasonChange})
	must(t, err)
	touch1 := receive(t, touches)
	must(t, touch1.Nak(0))
	touch2 := receive(t, touches)
	p := &Primary{node: &node{log: zerolog.Nop()}}
	p.mergeErrands(errand{msg: &touch2}, errand{msg: &touch1})
	must(t, touch2.Nak(0))
	if again := receive(t, touches); again.Zone != name || again.NumDelivered != 3 {
		t.Errorf("delivery %d of %s came", again.NumDelivered, again.Zone)
	}

	feed := inHand(t, feedOf(secondary))
	publishState(t, primary, name)
	state1 := receive(t, feed)
	must(t, state1.Nak(0))
	state2 := receive(t, feed)
	s := &Secondary{node: &node{log: zerolog.Nop()}}
	s.mergeDeliveries(delivery{&state2}, delivery{&state1})
	must(t, state2.Nak(0))
	if again := receive(t, feed); again.Zone != name || again.NumDelivered != 3 {
		t.Errorf("delivery %d of %s came", again.NumDelivered, again.Zone)
	}
}

// Merging acknowledges the message that the other covers, and keeps the other. They are of two zones here, because the
// broker drops the older message of a zone by itself.
func TestMergingAcknowledgesTheOlderMessage(t *testing.T) {
	primary, secondary := startBroker(t)
	names := []zone.Name{named("a"), named("b")}

	touches := inHand(t, touchesOf(primary))
	for _, name := range names {
		_, err := primary.PublishTouch(t.Context(), name, broker.Touch{})
		must(t, err)
	}
	older, newer := receive(t, touches), receive(t, touches)
	p := &Primary{node: &node{log: zerolog.Nop()}}
	if merged := p.mergeErrands(errand{msg: &older}, errand{msg: &newer}); merged.msg != &newer {
		t.Errorf("the touch of %s is kept", merged.msg.Zone)
	}
	wantAcknowledged(t, older.Message)
	must(t, newer.Nak(0))
	if again := receive(t, touches); again.Zone != names[1] {
		t.Errorf("the touch of %s came again", again.Zone)
	}

	feed := inHand(t, feedOf(secondary))
	for _, order := range []string{"older first", "newer first"} {
		for i := range names {
			names[i] = named(order[:5] + fmt.Sprint(i))
			publishState(t, primary, names[i])
		}
		old, young := receive(t, feed), receive(t, feed)
		waiting, next := &old, &young
		if order == "newer first" { // the older one is delivered again
			waiting, next = next, waiting
		}
		s := &Secondary{node: &node{log: zerolog.Nop()}}
		if merged := s.mergeDeliveries(delivery{waiting}, delivery{next}); merged.msg != &young {
			t.Errorf("%s: the state of %s is kept", order, merged.msg.Zone)
		}
		for _, refill := range [][2]delivery{{{}, {&young}}, {{&young}, {}}} {
			if merged := s.mergeDeliveries(refill[0], refill[1]); merged.msg != &young {
				t.Errorf("%s: a refill took the place of a state", order)
			}
		}
		wantAcknowledged(t, old.Message)
		must(t, young.Nak(0))
		if again := receive(t, feed); again.Zone != names[1] {
			t.Errorf("%s: the state of %s came again", order, again.Zone)
		} else {
			must(t, again.Ack())
		}
	}
}

// wantAcknowledged makes use of the broker's client, which takes no second word about a message.
func wantAcknowledged(t *testing.T, m broker.Message) {
	t.Helper()
	if m.Nak(0) == nil {
		t.Error("the older message was not acknowledged")
	}
}

func publishState(t *testing.T, c *broker.Conn, name zone.Name) {
	t.Helper()
	_, err := c.PublishState(t.Context(), name, []byte("a state"), broker.StateHeader{Kind: broker.KindZone}, 0)
	must(t, err)
}

// Whoever floods the queue with orders to sweep has no more remembered; one that is delivered again takes no second place.
func TestSweepOrdersAreBounded(t *testing.T) {
	primary, _ := startBroker(t)
	for n := range maxSweepOrders + 1 {
		_, err := primary.PublishTouch(t.Context(), zoneOf(n), broker.Touch{})
		must(t, err)
	}
	orders := inHand(t, touchesOf(primary))
	var o sweepOrders
	var last broker.TouchMsg
	for n := range maxSweepOrders {
		last = receive(t, orders)
		if !o.add(last) {
			t.Errorf("there is no room for order %d", n)
		}
	}
	beyond := receive(t, orders)
	if o.add(beyond) || !o.add(last) {
		t.Error("one more is kept, or one that is known is not")
	}
	if taken := o.take(); len(taken) != maxSweepOrders || !o.add(beyond) {
		t.Errorf("%d orders were taken", len(taken))
	}
}
