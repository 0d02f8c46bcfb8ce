package health

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pdns-distribute/powerdns/zone"
)

var ns1, ns2 = "ns1", "ns2"

// following is a test of Events by a clock of its own.
type following struct {
	t      *testing.T
	events *Events
	now    time.Time
	stage  map[string]Stage // of secondaries that the state still waits for
}

func follow(t *testing.T) *following {
	return &following{t: t, events: NewEvents(20 * time.Second), now: noon, stage: map[string]Stage{}}
}

func (f *following) publish(name string, digest string, seq uint64) Settled {
	s := Settled{Zone: zone.MustParseName(name), Digest: digest, Published: f.now}
	f.events.Published(f.now, seq, s, true)
	return s
}

func (f *following) applied(node string, s Settled) {
	f.events.Applied(f.now, node, Applied{Zone: s.Zone, Digest: s.Digest, Published: s.Published, Gone: s.Gone})
}

func (f *following) active() (active []Active) {
	for _, node := range []string{ns1, ns2} {
		active = append(active, Active{Node: node, Stage: func(uint64) Stage { return f.stage[node] }})
	}
	return active
}

// after lets time pass, second by second, and returns what was ordered, as texts.
func (f *following) after(d time.Duration) (ordered []string) {
	for end := f.now.Add(d); f.now.Before(end); {
		f.now = f.now.Add(time.Second)
		f.events.Retire(f.now, f.active())
		o := f.events.Due(f.now, f.active())
		for _, name := range o.Ask {
			ordered = append(ordered, "ask "+name.String())
		}
		for name, nodes := range o.Retake {
			ordered = append(ordered, fmt.Sprint("retake ", name, nodes))
		}
	}
	return ordered
}

func (f *following) want(got []string, want ...string) {
	f.t.Helper()
	if !slices.Equal(got, want) {
		f.t.Errorf("ordered %q, want %q", got, want)
	}
}

func TestServedEverywhere(t *testing.T) {
	f := follow(t)
	s := f.publish("a.example", "d1", 1)
	f.applied(ns1, s)
	f.applied(ns2, s)
	f.want(f.after(time.Hour))
	if f.events.Open() != 0 || !f.events.Settled(s.Zone) {
		t.Error("it is followed for ever")
	}
}

// A secondary that has not reported is asked, then the zone is published again, with growing pauses, and shown.
func TestPublishedAgain(t *testing.T) {
	f := follow(t)
	s := f.publish("a.example", "d1", 1)
	f.applied(ns1, s)
	f.want(f.after(19 * time.Second))
	f.want(f.after(time.Second), "ask a.example.")
	f.want(f.after(3*time.Second), "retake a.example.[ns2]")
	if late := f.events.Late(f.now, f.active()); len(late) != 0 {
		t.Errorf("shown too soon: %+v", late)
	}
	f.events.Published(f.now, 2, s, true) // the primary did so
	f.want(f.after(20*time.Second), "ask a.example.")
	late := f.events.Late(f.now, f.active())
	if len(late) != 1 || late[0].Node != ns2 || !late[0].Since.Equal(noon) || late[0].Attempts != 1 {
		t.Errorf("%+v", late)
	}
	f.want(f.after(3*time.Second), "retake a.example.[ns2]")
	f.want(f.after(39 * time.Second))
	f.want(f.after(time.Second), "ask a.example.")
	pauses := len(f.after(24*time.Hour)) / 2
	if pauses < 24*4-10 || pauses > 24*4+10 {
		t.Errorf("%d times in a day", pauses)
	}
	f.applied(ns2, s)
	if late := f.events.Late(f.now, f.active()); len(late) != 0 {
		t.Errorf("it serves it, and is shown: %+v", late)
	}
	f.want(f.after(time.Hour))
}

// What still waits for a secondary at the broker comes by itself.
func TestBehindIsNotLost(t *testing.T) {
	f := follow(t)
	f.publish("a.example", "d1", 1)
	f.stage[ns1], f.stage[ns2] = Queued, Queued
	f.want(f.after(10 * time.Minute))
	f.stage[ns1] = Delivered
	f.want(f.after(20*time.Second+3*time.Second), "ask a.example.", "retake a.example.[ns1]")
}

// What is in hand for too long is asked for: another zone may keep the broker from telling that it is acknowledged.
func TestInHandIsAskedFor(t *testing.T) {
	f := follow(t)
	f.publish("a.example", "d1", 1)
	f.stage[ns1], f.stage[ns2] = InHand, InHand
	f.want(f.after(99 * time.Second))
	f.want(f.after(4*time.Second), "ask a.example.", "retake a.example.[ns1 ns2]")
}

// Nothing is taken for served while nobody is there to report.
func TestNobodyIsThere(t *testing.T) {
	f := follow(t)
	s := f.publish("a.example", "d1", 1)
	if served := f.events.Retire(f.now.Add(time.Minute), nil); len(served) != 0 {
		t.Errorf("%v", served)
	}
	if served := f.events.Retire(f.now.Add(2*time.Hour), nil); len(served) != 1 || served[0] != s.Zone {
		t.Errorf("followed for ever: %v", served)
	}
}

// Of a zone that changes again the newest state is what counts, and the time since the first that was not served; who
// serves a later state than the one that is waited for is right, too.
func TestNewerState(t *testing.T) {
	f := follow(t)
	old := f.publish("a.example", "d1", 1)
	f.want(f.after(15 * time.Second))
	newer := f.publish("a.example", "d2", 2)
	f.applied(ns1, old)
	f.applied(ns2, old)
	f.want(f.after(4 * time.Second))
	f.want(f.after(time.Second), "ask a.example.")
	f.applied(ns1, newer)
	f.events.Applied(f.now, ns2, Applied{Zone: newer.Zone, Digest: "d3", Published: newer.Published.Add(time.Second)})
	f.want(f.after(time.Hour))
}

// A zone that changes each time that it is published again, as one whose serial ticks, is shown as late.
func TestEachTimeAnother(t *testing.T) {
	f := follow(t)
	retakes := 0
	for n := range 3600 {
		if n%20 == 0 {
			f.applied(ns1, f.publish("a.example", fmt.Sprint(n), uint64(n+1)))
		}
		for _, order := range f.after(time.Second) {
			if strings.HasPrefix(order, "retake") {
				retakes++
			}
		}
	}
	if late := f.events.Late(f.now, f.active()); len(late) != 1 || late[0].Node != ns2 || retakes > 10 {
		t.Errorf("%+v after %d orders in an hour", late, retakes)
	}
}

// Whoever may name secondaries may name many: those that report a state are remembered, up to a bound.
func TestReportersAreBounded(t *testing.T) {
	f := follow(t)
	s := f.publish("a.example", "d", 1)
	for n := range 2 * MaxNodes {
		f.applied(fmt.Sprintf("ns%d", n), s)
	}
	if n := len(f.events.open[s.Zone].reports); n != MaxNodes {
		t.Errorf("%d are remembered", n)
	}
}

// A burst costs what it holds; questions are put some at a time.
func TestBurst(t *testing.T) {
	f := follow(t)
	for n := range 10_000 {
		s := f.publish(fmt.Sprintf("z%d.example", n), "d", uint64(n+1))
		f.applied(ns1, s)
		if n%2 == 0 {
			f.applied(ns2, s)
		}
	}
	most := 0
	for range 60 {
		f.now = f.now.Add(time.Second)
		f.events.Retire(f.now, f.active())
		o := f.events.Due(f.now, f.active())
		most = max(most, len(o.Ask))
	}
	if most != askMost || f.events.Open() != 5000 {
		t.Errorf("%d questions at once, %d open", most, f.events.Open())
	}
}

// A zone is followed for some time after all serve it: the next change of it is no older for that. Who lacks two
// changes lacks the older one.
func TestOldestUnserved(t *testing.T) {
	f := follow(t)
	check := func(node string, changes int, since time.Time) {
		t.Helper()
		if u := f.events.Oldest([]string{ns1, ns2})[node]; u.Changes != changes || !u.Since.Equal(since) {
			t.Errorf("%s lacks %d changes since %s, want %d since %s", node, u.Changes, u.Since, changes, since)
		}
	}
	check(ns1, 0, time.Time{})
	first := f.now
	s := f.publish("a.example", "d1", 1)
	check(ns1, 1, first)
	f.applied(ns1, s)
	check(ns1, 0, time.Time{})
	check(ns2, 1, first)
	f.now = f.now.Add(5 * time.Second)
	second := f.now
	f.publish("a.example", "d2", 2)
	f.publish("b.example", "d", 3)
	check(ns1, 2, second)
	check(ns2, 2, first)
	f.now = f.now.Add(5 * time.Second)
	f.applied(ns2, f.publish("a.example", "d3", 4))
	check(ns1, 2, second)
	check(ns2, 1, second)
}

func TestServedAfter(t *testing.T) {
	f := follow(t)
	var took []string
	f.events.Served = func(node string, after time.Duration) { took = append(took, node+" "+after.String()) }
	s := f.publish("a.example", "d1", 1)
	f.now = f.now.Add(time.Second)
	f.applied(ns1, s)
	f.applied(ns1, s)
	s = f.publish("a.example", "d2", 2)
	f.now = f.now.Add(3 * time.Second)
	f.applied(ns1, s)
	background := Settled{Zone: zone.MustParseName("b.example"), Digest: "d", Published: f.now}
	f.events.Published(f.now, 3, background, false)
	f.applied(ns2, background)
	if want := []string{ns1 + " 1s", ns1 + " 3s"}; !slices.Equal(took, want) {
		t.Errorf("%q, want %q", took, want)
	}
}
