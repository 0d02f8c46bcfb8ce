package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

var example = zone.MustParseName("example.com")

func TestStateCompareAndSet(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	ctx := t.Context()
	if _, err := primary.LastState(ctx, example); !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("reading nothing: %v", err)
	}
	hdr := broker.StateHeader{
		Kind: broker.KindZone, Serial: 4294967295, Stored: 7, Digest: "aabb", Stable: "ccdd", NSEC: true, Background: true,
		Published: time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC),
	}
	first, err := primary.PublishState(ctx, example, []byte("one"), hdr, 0)
	must.OK(t, err)
	if _, err := primary.PublishState(ctx, example, []byte("two"), hdr, 0); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("publishing a second first state: %v", err)
	}
	publish(t, primary, "example.org", "other zone") // doesn't count
	second, err := primary.PublishState(ctx, example, []byte("two"), hdr, first)
	must.OK(t, err)
	if _, err := primary.PublishState(ctx, example, []byte("late"), hdr, first); !errors.Is(err, broker.ErrConflict) {
		t.Errorf("publishing late: %v", err)
	}
	last, err := primary.LastState(ctx, example)
	must.OK(t, err)
	if last.Zone != example || last.Seq != second || last.Header != hdr || string(last.Data) != "two" {
		t.Errorf("read %+v", last)
	}
}

func TestStateOneWriterWins(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	other := b.Connect("primary2")
	results := make(chan error, 20)
	var group sync.WaitGroup
	for i := range cap(results) {
		writer := []*broker.Conn{primary, other}[i%2]
		group.Go(func() {
			_, err := writer.PublishState(t.Context(), example, nil, broker.StateHeader{}, 0)
			results <- err
		})
	}
	group.Wait()
	close(results)
	wins := 0
	for err := range results {
		if err == nil {
			wins++
		} else if !errors.Is(err, broker.ErrConflict) {
			t.Error(err)
		}
	}
	if wins != 1 {
		t.Errorf("%d writers won", wins)
	}
}

func TestTombstoneEnds(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	hdr := broker.StateHeader{Kind: broker.KindGone, TTL: time.Second}
	seq, err := primary.PublishState(t.Context(), example, nil, hdr, 0)
	must.OK(t, err)
	last, err := primary.LastState(t.Context(), example)
	must.OK(t, err)
	if last.Header.Kind != broker.KindGone || last.Header.TTL != time.Second || last.Seq != seq {
		t.Errorf("read %+v", last)
	}
	eventually(t, func() bool {
		_, err := primary.LastState(t.Context(), example)
		return errors.Is(err, broker.ErrNotFound)
	})
	publish(t, primary, "example.com", "again") // as the first of its zone
}

func TestStateSizes(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	big := bytes.Repeat([]byte{1}, 512<<10)
	publish(t, primary, "example.com", string(big))
	last, err := primary.LastState(t.Context(), example)
	must.OK(t, err)
	if !bytes.Equal(last.Data, big) {
		t.Error("content differs")
	}
	_, err = primary.PublishState(t.Context(), zone.Root, bytes.Repeat([]byte{1}, 700<<10), broker.StateHeader{}, 0)
	if err == nil {
		t.Error("700 KB were taken")
	}
}

// watched is what a watch told, in order.
type watched struct {
	event string // "state", "caught up", "reset"
	state broker.StateMsg
}

func watch(t *testing.T, c *broker.Conn) <-chan watched {
	t.Helper()
	ch := make(chan watched, 10_000)
	background(t, func(ctx context.Context) error {
		return c.WatchStates(ctx, broker.StateWatcher{
			State:    func(s broker.StateMsg) { ch <- watched{"state", s} },
			CaughtUp: func() { ch <- watched{event: "caught up"} },
			Reset:    func() { ch <- watched{event: "reset"} },
		})
	})
	return ch
}

func expectEvent(t *testing.T, ch <-chan watched, event string) watched {
	t.Helper()
	w := receive(t, ch)
	if w.event != event {
		t.Fatalf("told %+v, want %s", w, event)
	}
	return w
}

// A state that cannot be read keeps nobody from publishing the zone again, nor from knowing that it is to be published.
func TestUnreadableStateIsReplaced(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	name := zone.MustParseName("a.example")
	for what, header := range map[string]nats.Header{
		"none": nil, "other": {"X": {"y"}}, "long": {"Pdns-Serial": {strings.Repeat("1", 10_000)}}, "time": {"Pdns-Published": {"10000-01-01T00:00:00Z"}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := primary.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: "pdns.zone.example.a", Header: header, Data: []byte("?")})
			must.OK(t, err)
			last, err := primary.LastState(t.Context(), name)
			must.OK(t, err)
			if last.Zone != name || last.Header != (broker.StateHeader{Kind: broker.KindZone}) {
				t.Errorf("%+v", last)
			}
			if seen := expectEvent(t, watch(t, primary), "state").state; seen.Seq != last.Seq || seen.Header != last.Header {
				t.Errorf("seen as %+v", seen)
			}
			_, err = primary.PublishState(t.Context(), name, []byte("true"), broker.StateHeader{Kind: broker.KindZone, Serial: 1}, last.Seq)
			must.OK(t, err)
		})
	}
}

func TestWatchStates(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	for i := range 3000 {
		publish(t, primary, fmt.Sprintf("z%d.example", i), "content")
	}
	ch := watch(t, primary)
	for i := range 3000 {
		s := expectEvent(t, ch, "state").state
		if s.Zone != zone.MustParseName(fmt.Sprintf("z%d.example", i)) || s.Data != nil || s.Header.Kind != broker.KindZone {
			t.Fatalf("told %+v", s)
		}
	}
	expectEvent(t, ch, "caught up")
	live := publish(t, primary, "live.example", "")
	if s := expectEvent(t, ch, "state").state; s.Seq != live {
		t.Errorf("told %+v", s)
	}
	// A restart: nothing again, nothing left out.
	restart(t, stopAndStart(b), primary)
	live = publish(t, primary, "restarted.example", "")
	if s := expectEvent(t, ch, "state").state; s.Seq != live {
		t.Errorf("told %+v", s)
	}
}

func TestWatchStatesAfterWipe(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	publish(t, primary, "a.example", "")
	publish(t, primary, "b.example", "")
	ch := watch(t, primary)
	expectEvent(t, ch, "state")
	expectEvent(t, ch, "state")
	expectEvent(t, ch, "caught up")
	restart(t, b.Wipe, primary)
	ensure(t, primary)
	expectEvent(t, ch, "reset")
	expectEvent(t, ch, "caught up")
	publish(t, primary, "c.example", "") // with a sequence the watch has already seen
	if s := expectEvent(t, ch, "state").state; s.Zone != zone.MustParseName("c.example") {
		t.Errorf("told %+v", s)
	}
}

func TestWatchStatesStreamMadeAnew(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	publish(t, primary, "a.example", "")
	ch := watch(t, primary)
	expectEvent(t, ch, "state")
	expectEvent(t, ch, "caught up")
	must.OK(t, primary.JetStream().DeleteStream(t.Context(), "PDNS_ZONE"))
	ensure(t, primary)
	publish(t, primary, "b.example", "")
	expectEvent(t, ch, "reset")
	if s := expectNext(t, ch); s.Zone != zone.MustParseName("b.example") {
		t.Errorf("told %+v", s)
	}
}

// expectNext skips "caught up", which comes before or after.
func expectNext(t *testing.T, ch <-chan watched) broker.StateMsg {
	t.Helper()
	w := receive(t, ch)
	if w.event == "caught up" {
		w = receive(t, ch)
	}
	return w.state
}
