package roles

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func TestIndexKeepsTheNewest(t *testing.T) {
	x, name := newIndex(), named("a")
	zoneOf := func(serial uint32) broker.StateHeader {
		return broker.StateHeader{Kind: broker.KindZone, Serial: serial}
	}
	want := func(seq uint64, serial uint32, published, existing int) {
		t.Helper()
		p := x.get(name)
		if p.seq != seq || p.header.Serial != serial || x.count() != published || len(x.existing()) != existing {
			t.Errorf("%+v, %d published, %d exist; want sequence %d, serial %d, %d, %d", p, x.count(), len(x.existing()), seq, serial, published, existing)
		}
	}
	want(0, 0, 0, 0)
	x.set(name, 7, zoneOf(70))
	x.set(name, 6, zoneOf(60)) // late
	want(7, 70, 1, 1)
	x.replace(name, 5, zoneOf(50)) // what the broker says now
	want(5, 50, 1, 1)
	x.set(name, 8, broker.StateHeader{Kind: broker.KindGone, Serial: 80})
	want(8, 80, 0, 0)
	x.set(name, 9, zoneOf(90))
	x.reset() // secondaries still have it, and how new it was is not forgotten
	want(0, 90, 0, 1)
	x.set(name, 1, zoneOf(91)) // sequences begin anew
	want(1, 91, 1, 1)
}

// Zones that were deleted are forgotten when their tombstones are, and those that are there never.
func TestIndexForgetsGraves(t *testing.T) {
	x := newIndex()
	x.set(named("there"), 1, broker.StateHeader{Kind: broker.KindZone, Published: noon})
	x.set(named("gone"), 2, broker.StateHeader{Kind: broker.KindGone, Published: noon})
	for _, test := range []struct {
		before time.Time
		graves int
	}{{noon, 1}, {noon.Add(time.Second), 0}} {
		x.reset()
		x.forget(test.before)
		if x.get(named("there")).header.Kind != broker.KindZone || len(x.buried()) != test.graves {
			t.Errorf("before %s: %d graves are known, want %d", test.before, len(x.buried()), test.graves)
		}
	}
}

// What PowerDNS is not seen to have is not ours, whatever the broker says of it.
func TestIndexKeepsWhatIsOurs(t *testing.T) {
	x, name := newIndex(), named("a")
	there, gone := broker.StateHeader{Kind: broker.KindZone}, broker.StateHeader{Kind: broker.KindGone}
	for step, test := range []struct {
		do   func()
		ours bool
	}{
		{func() { x.own(name, true) }, false}, // it is not published
		{func() { x.set(name, 1, there) }, false},
		{func() { x.own(name, true) }, true},
		{func() { x.set(name, 2, there) }, true},
		{func() { x.replace(name, 3, there) }, true},
		{func() { x.reset() }, true},
		{func() { x.set(name, 1, gone) }, false},
		{func() { x.own(name, true) }, false}, // a listing that is older than its deletion
		{func() { x.set(name, 2, there) }, false},
		{func() { x.own(name, true) }, true},
		{func() { x.own(name, false) }, false},
	} {
		if test.do(); x.get(name).ours != test.ours {
			t.Errorf("step %d: ours is %v", step, !test.ours)
		}
	}
}

// Asking the broker for a zone that nobody has heard of leaves nothing behind.
func TestIndexForgetsStrangers(t *testing.T) {
	x := newIndex()
	x.replace(named("a"), 0, x.get(named("a")).header)
	if len(x.zones) != 0 || !x.get(named("a")).unheard() {
		t.Errorf("%d are known", len(x.zones))
	}
	x.set(named("a"), 1, broker.StateHeader{Kind: broker.KindGone})
	x.replace(named("a"), 0, x.get(named("a")).header)
	if p := x.get(named("a")); !p.buried() {
		t.Errorf("the deletion is forgotten: %+v", p)
	}
}

// Zones that nobody has heard of get tombstones, because a primary may not remember, but not without end.
func TestMayBeServed(t *testing.T) {
	const budget = 2 // of five
	there, gone := broker.StateHeader{Kind: broker.KindZone}, broker.StateHeader{Kind: broker.KindGone}
	deleted, changed := errand{reason: proxy.ReasonDelete}, errand{reason: proxy.ReasonChange}
	again, led := errand{reason: reasonResync, again: "ns1"}, errand{reason: reasonHealth, again: "ns1", led: true}
	for what, test := range map[string]struct {
		before published
		e      errand
		want   int // of five
	}{
		"published":                  {published{seq: 1, header: there}, changed, 5},
		"published before a wipe":    {published{header: there}, changed, 5},
		"gone before a wipe":         {published{header: gone}, changed, 5},
		"gone":                       {published{seq: 1, header: gone}, deleted, 0},
		"gone, to be told again":     {published{seq: 1, header: gone}, again, 5},
		"unheard of":                 {published{}, changed, 0},
		"unheard of, deleted":        {published{}, deleted, budget},
		"unheard of, told again":     {published{}, again, budget},
		"unheard of, health's order": {published{}, led, 5},
	} {
		p := &Primary{node: &node{each: zerolog.Nop()}, unheard: rate.NewLimiter(0, budget*unheardPrice)}
		got := 0
		for range 5 {
			if p.mayBeServed(named("a"), test.before, test.e) {
				got++
			}
		}
		if got != test.want {
			t.Errorf("%s: %d of 5 may be served, want %d", what, got, test.want)
		}
	}
}

// Zones that looked old once and were not looked at again are forgotten.
func TestLaggingForgets(t *testing.T) {
	l := lagging{zones: map[zone.Name]lag{}}
	for n := range 100 {
		if err := l.suspect(noon, zoneOf(n), "it was created, and is not there"); !errors.Is(err, errLagging) {
			t.Error(err)
		}
	}
	later := noon.Add(3 * lagPatience)
	if err := l.suspect(later, zoneOf(7), "it was created, and is not there"); !errors.Is(err, errLagging) || len(l.zones) != 1 {
		t.Errorf("%v, %d zones are suspected", err, len(l.zones))
	}
}

func TestFailuresAreBounded(t *testing.T) {
	f := newFailures(prometheus.NewRegistry())
	long := errors.New(strings.Repeat("x", 10_000))
	for n := range maxFailing {
		if attempts := f.add(zoneOf(n), long); attempts != 1 {
			t.Fatalf("zone %d: attempt %d", n, attempts)
		}
	}
	if attempts := f.add(named("more"), long); attempts != attemptsUnknown || f.len() != maxFailing || f.has(named("more")) {
		t.Errorf("one more: attempt %d, %d zones", attempts, f.len())
	}
	if attempts := f.add(zoneOf(1), long); attempts != 2 {
		t.Errorf("one that is known: attempt %d", attempts)
	}
	f.clear(zoneOf(1))
	if attempts := f.add(named("more"), long); attempts != 1 || len(f.zones[named("more")].Reason) > 500 {
		t.Errorf("in the place of another: attempt %d", attempts)
	}
}

func TestPublishedTimesOnlyGrow(t *testing.T) {
	before := published{header: broker.StateHeader{Published: noon}}
	for what, test := range map[string]struct{ now, want time.Time }{
		"later":          {noon.Add(time.Second), noon.Add(time.Second)},
		"at once":        {noon, noon.Add(time.Millisecond)},
		"within the ms":  {noon.Add(time.Microsecond), noon.Add(time.Millisecond)},
		"clock set back": {noon.Add(-time.Hour), noon.Add(time.Millisecond)},
	} {
		if got := before.after(test.now); !got.Equal(test.want) {
			t.Errorf("%s: %s, want %s", what, got, test.want)
		}
	}
	if got := (published{}).after(noon); !got.Equal(noon) {
		t.Errorf("the first: %s, want %s", got, noon)
	}
}

func TestLowerSerialIsBelievedAfterAWhile(t *testing.T) {
	l, name := lagging{zones: map[zone.Name]lag{}}, named("a")
	at10 := published{seq: 5, header: broker.StateHeader{Kind: broker.KindZone, Serial: 10}}
	at11 := published{seq: 6, header: broker.StateHeader{Kind: broker.KindZone, Serial: 11}}
	gone := published{seq: 7, header: broker.StateHeader{Kind: broker.KindGone, Serial: 10}}
	for _, step := range []struct {
		what    string
		after   time.Duration
		serial  uint32
		before  published
		created bool
		believe bool
	}{
		{"newer", 0, 11, at10, false, true},
		{"the same", 0, 10, at10, false, true},
		{"wrapped around", 0, 10, published{seq: 1, header: broker.StateHeader{Kind: broker.KindZone, Serial: 1<<32 - 1}}, false, true},
		{"lower", 0, 9, at10, false, false},
		{"lower for long", lagPatience - 1, 9, at10, false, false},
		{"caught up", lagPatience, 10, at10, false, true},
		{"lower anew", lagPatience, 9, at10, false, false},
		{"lower and created", lagPatience, 9, at10, true, true},
		{"lower after that", 2 * lagPatience, 9, at10, false, false},
		{"lower for long enough", 3 * lagPatience, 9, at10, false, true},
		{"lower, forgotten", 3 * lagPatience, 9, at10, false, false},
		{"lower than another version", time.Hour, 9, at11, false, false},
		{"lower than that for long enough", time.Hour + lagPatience, 9, at11, false, true},
		{"lower than what was deleted", time.Hour, 9, gone, false, true},
		{"never published", time.Hour, 9, published{}, false, true},
	} {
		reason := proxy.ReasonChange
		if step.created {
			reason = proxy.ReasonCreate
		}
		err := l.check(noon.Add(step.after), name, step.serial, step.before, reason)
		if (err == nil) != step.believe || err != nil && !errors.Is(err, errLagging) {
			t.Errorf("%s: %v, want it believed: %v", step.what, err, step.believe)
		}
	}
}

func TestFailures(t *testing.T) {
	f := newFailures(prometheus.NewRegistry())
	for _, name := range []string{"b", "a", "c", "b"} {
		f.add(named(name), errors.New("first trouble of "+name))
	}
	if attempts := f.add(named("b"), errors.New("still in trouble")); attempts != 3 {
		t.Errorf("%d attempts, want 3", attempts)
	}
	list, total := f.list(2)
	if len(list) != 2 || total != 3 || list[0].Zone != named("b") || list[0].Attempts != 3 || list[0].Reason != "still in trouble" {
		t.Errorf("%d of %d: %+v", len(list), total, list)
	}
	if list, _ := f.list(9); !slices.IsSortedFunc(list, byAge) || len(list) != 3 {
		t.Errorf("not the oldest first: %+v", list)
	}
	if !f.clear(named("b")) || f.clear(named("b")) || f.len() != 2 {
		t.Errorf("%d are left of 3 - 1", f.len())
	}
	if attempts := f.add(named("b"), errors.New("again")); attempts != 1 {
		t.Errorf("%d attempts after it was over, want 1", attempts)
	}
}

func TestRetryPause(t *testing.T) {
	for attempts, least := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 9: 256 * time.Second,
		10: 5 * time.Minute, 17: 5 * time.Minute, 1000: 5 * time.Minute, 1 << 40: 5 * time.Minute,
	} {
		different := map[time.Duration]bool{}
		for range 100 {
			pause := retryPause(attempts)
			if pause < least || pause >= least+least/10 {
				t.Errorf("%d attempts: %s, want %s and at most a tenth more", attempts, pause, least)
			}
			different[pause] = true
		}
		if len(different) < 10 {
			t.Errorf("%d attempts: %d different pauses: zones that failed together stay together", attempts, len(different))
		}
	}
}

func TestAgenda(t *testing.T) {
	a := newAgenda()
	take := func(now time.Time, want ...zone.Name) {
		t.Helper()
		got := a.take(now)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("due are %v, want %v", got, want)
		}
	}
	take(noon)
	a.add(named("a"), noon)
	a.add(named("b"), noon.Add(time.Minute))
	if len(a.added) != 1 {
		t.Error("who waits for it is not told")
	}
	take(noon.Add(-1))
	take(noon, named("a"))
	take(noon)
	take(noon.Add(time.Minute), named("b"))
	a.add(named("a"), noon) // its attempt failed
	take(noon.Add(time.Minute), named("a"))
	a.suggest(named("b"), noon) // taken and not done: it is being worked on
	take(noon.Add(time.Hour))
	a.done(named("a"))
	a.done(named("b"))
	a.suggest(named("b"), noon)
	a.suggest(named("b"), noon.Add(time.Hour))
	take(noon, named("b"))
	a.add(named("c"), noon)
	a.done(named("c")) // before it was due
	take(noon.Add(time.Hour))
}

func TestHastenedAgenda(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgenda()
		a.add(named("taken"), time.Now())
		a.take(time.Now())
		a.add(named("later"), time.Now().Add(time.Hour))
		a.hasten()
		if due := a.take(time.Now()); !slices.Equal(due, []zone.Name{named("later")}) {
			t.Errorf("due are %v", due)
		}
	})
}

func byAge(a, b health.Failure) int { return a.Since.Compare(b.Since) }
