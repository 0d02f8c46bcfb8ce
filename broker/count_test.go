package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// readStates are the zones that the broker gives states of.
func readStates(t *testing.T, c *broker.Conn) (zones []string) {
	t.Helper()
	must.OK(t, c.ReadStates(t.Context(), func(s broker.StateMsg) { zones = append(zones, s.Zone.String()) }))
	return zones
}

// What is read is what is there, whatever was published before and whatever others remember.
func TestStatesAreReadAnew(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	_, primary := start(t)
	if zones := readStates(t, primary); zones != nil {
		t.Errorf("of an empty stream: %q", zones)
	}
	var want []string
	for n := range 3000 { // more than one batch
		name := fmt.Sprintf("z%04d.example.", n)
		publish(t, primary, name, "content")
		want = append(want, name)
	}
	seq := publish(t, primary, "last.example.", "content")
	want = append(want, "last.example.")
	remove := func(name string) {
		t.Helper()
		subject, err := broker.StateSubject(zone.MustParseName(name))
		must.OK(t, err)
		stream, err := primary.JetStream().Stream(t.Context(), "PDNS_ZONE")
		must.OK(t, err)
		msg, err := stream.GetLastMsgForSubject(t.Context(), subject)
		must.OK(t, err)
		must.OK(t, stream.DeleteMsg(t.Context(), msg.Sequence))
		want = slices.DeleteFunc(want, func(w string) bool { return w == name })
	}
	remove("z0000.example.")
	remove("z0017.example.")
	remove("z2999.example.")
	remove("last.example.") // the stream's end
	if zones := readStates(t, primary); !slices.Equal(zones, want) {
		t.Errorf("%d zones are read, want %d", len(zones), len(want))
	}
	last, err := primary.PublishState(t.Context(), zone.MustParseName("z0500.example."), nil, broker.StateHeader{Kind: broker.KindZone}, 501)
	must.OK(t, err)
	if last != seq+1 {
		t.Errorf("published as %d", last)
	}
	if zones := readStates(t, primary); len(zones) != len(want) || zones[len(zones)-1] != "z0500.example." {
		t.Errorf("%d zones are read after a change", len(zones))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := primary.ReadStates(ctx, func(broker.StateMsg) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Whoever watches can have all states told anew.
func TestWatchBeginsAnew(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
	publish(t, primary, "a.example", "content")
	publish(t, primary, "b.example", "content")
	for _, id := range []string{"health1", "primary1"} {
		events, again := make(chan string, 100), make(chan struct{}, 1)
		conn := b.Connect(id)
		background(t, func(ctx context.Context) error {
			return conn.WatchStates(ctx, broker.StateWatcher{
				State: func(s broker.StateMsg) { events <- s.Zone.String() }, Again: again,
				Reset: func() { events <- "reset" }, CaughtUp: func() { events <- "caught up" },
			})
		})
		expect := func(want ...string) {
			t.Helper()
			for _, w := range want {
				if got := receive(t, events); got != w {
					t.Fatalf("%s is told %s, want %s", id, got, w)
				}
			}
		}
		expect("a.example.", "b.example.", "caught up")
		again <- struct{}{}
		expect("reset", "a.example.", "b.example.", "caught up")
	}
}

// The queue says whether touches are taken and done with.
func TestQueue(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	look := func() broker.QueueInfo {
		t.Helper()
		q, err := b.Connect("health1").Queue(t.Context())
		must.OK(t, err)
		return q
	}
	if q := look(); q != (broker.QueueInfo{}) {
		t.Errorf("an empty one: %+v", q)
	}
	for _, name := range []string{"a.example", "b.example", "c.example", "a.example"} {
		_, err := b.Connect("proxy1").PublishTouch(t.Context(), zone.MustParseName(name), broker.Touch{Cause: broker.Changed})
		must.OK(t, err)
	}
	if q := look(); q.Touches != 3 || q.Waiting != 3 || q.Gone != 1 || q.Given != 0 || q.Pulling || q.Oldest <= 0 {
		t.Errorf("nobody takes them: %+v", q)
	}
	taken, stop := touches(t, primary, nil)
	must.OK(t, receive(t, taken).Ack())
	receive(t, taken)
	receive(t, taken)
	stop()
	if q := look(); q.Touches != 2 || q.Waiting != 0 || q.Gone != 2 || q.Given != 3 {
		t.Errorf("they are in hand: %+v", q)
	}
}
