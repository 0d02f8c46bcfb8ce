package checkpoint

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// world is a primary, a broker that may be broken in, and a secondary, in a bubble of synctest.
type world struct {
	t      *testing.T
	random *rand.Rand
	tasks  []func()
	publisher
	delivering
	consumer
}

type publisher struct {
	key      zone.SignKey
	ledger   *zone.Ledger
	serials  map[zone.Name]uint32
	dates    map[zone.Name]time.Time
	skew     time.Duration // of the primary's clock
	partial  bool          // the primary has not compared everything
	lastSign time.Time
}

type delivering struct {
	sent     []delivery
	feed     map[zone.Name]*zone.State // the newest state of each zone that has arrived and was not taken
	order    []zone.Name               // of taking them
	lag      time.Duration
	hold     time.Duration                     // the broker delivers this often only
	held     time.Time                         // when it last did
	withhold func(*zone.State) (withheld bool) // by the broker
	quiet    bool                              // the broker withholds checkpoints
}

type consumer struct {
	capacity int                       // states a second that the secondary takes
	credit   float64                   // of these
	stock    map[zone.Name]*zone.State // the secondary's store
	judge    *Judge
	local    Local
	lastLook time.Time
}

type delivery struct {
	state   *zone.State
	arrives time.Time
}

const step = 20 * time.Millisecond

func newWorld(t *testing.T) *world {
	key, err := zone.NewSignKey()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, random: rand.New(rand.NewPCG(1, 1)),
		publisher: publisher{
			key: key, ledger: zone.NewLedger(time.Now().Add(-time.Hour)), serials: map[zone.Name]uint32{}, dates: map[zone.Name]time.Time{},
		},
		delivering: delivering{feed: map[zone.Name]*zone.State{}, lag: 50 * time.Millisecond},
		consumer:   consumer{capacity: 1000, local: Local{Connected: true, PowerDNS: true}},
	}
	w.newSecondary()
	return w
}

func (w *world) newSecondary() {
	w.judge = NewJudge([]zone.TrustedKey{w.key.Public()}, 16)
	w.stock = map[zone.Name]*zone.State{}
}

func named(n int) zone.Name { return zone.MustParseName(fmt.Sprintf("z%d.example", n)) }

// publish has the primary publish a new version of a zone, or that it is gone.
func (w *world) publish(n int, gone bool) {
	name := named(n)
	at := time.Now().Add(w.skew).Truncate(time.Millisecond).UTC()
	if before := w.dates[name]; !at.After(before) {
		at = before.Add(time.Millisecond)
	}
	w.dates[name] = at
	w.serials[name]++
	s := &zone.State{Name: name, Gone: gone, Published: at}
	if !gone {
		s.Serial, s.Stored = w.serials[name], w.serials[name]
	}
	w.ledger.Note(s.Version(), time.Now().Add(w.skew))
	w.offer(s)
}

// offer has the broker deliver a state, a lag later.
func (w *world) offer(s *zone.State) {
	if w.withhold == nil || !w.withhold(s) {
		w.sent = append(w.sent, delivery{s, time.Now().Add(w.lag/2 + time.Duration(w.random.Int64N(int64(w.lag))))})
	}
}

// take has the secondary take what has arrived, as fast as it can. Of what waits for that, a newer state replaces an
// older one.
func (w *world) take() {
	delivers := time.Since(w.held) >= w.hold
	if delivers {
		w.held = time.Now()
	}
	var underway []delivery
	for _, d := range w.sent {
		switch before := w.feed[d.state.Name]; {
		case !delivers || d.arrives.After(time.Now()):
			underway = append(underway, d)
		case before == nil:
			w.order = append(w.order, d.state.Name)
			w.feed[d.state.Name] = d.state
		case d.state.Published.After(before.Published):
			w.feed[d.state.Name] = d.state
		}
	}
	w.sent = underway
	w.credit = min(w.credit+float64(w.capacity)*step.Seconds(), float64(w.capacity))
	n := min(int(w.credit), len(w.order))
	for _, name := range w.order[:n] {
		if before := w.stock[name]; before == nil || w.feed[name].Published.After(before.Published) {
			w.stock[name] = w.feed[name]
			w.judge.Stored(w.feed[name])
		}
		delete(w.feed, name)
	}
	w.credit, w.order = w.credit-float64(n), w.order[n:]
	w.occupy(len(w.order))
}

// occupy has the judge know how many workers are busy until the next step.
func (w *world) occupy(waiting int) {
	for _, done := range w.tasks {
		done()
	}
	w.tasks = nil
	for range min(waiting, 16) {
		w.tasks = append(w.tasks, w.judge.Working())
	}
}

func (w *world) checkpoint() []byte {
	at := time.Now().Add(w.skew)
	c := zone.Checkpoint{At: at}
	if !w.partial {
		c = w.ledger.Checkpoint(at)
	}
	return w.key.SignCheckpoint(c)
}

// run goes on for a time, with so many changes a second of so many zones; each is called every second with what the
// secondary finds.
func (w *world) run(d time.Duration, rate float64, zones int, each func(Verdict)) {
	w.t.Helper()
	changes := 0.0
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(step) {
		changed := false
		for changes += rate * step.Seconds(); changes >= 1; changes-- {
			w.publish(w.random.IntN(zones), w.random.IntN(50) == 0)
			changed = true
		}
		w.take()
		if since := time.Since(w.lastSign); !w.quiet && (since >= 5*time.Second || changed && since >= 500*time.Millisecond) {
			w.lastSign = time.Now()
			if err := w.judge.Receive(w.checkpoint()); err != nil {
				w.t.Fatal(err)
			}
		}
		if time.Since(w.lastLook) >= time.Second {
			w.lastLook = time.Now()
			v := w.judge.Judge(w.local)
			if each != nil {
				each(v)
			}
		}
	}
}

// good demands that nothing is said to be wrong.
func (w *world) good(when string) func(Verdict) {
	return func(v Verdict) {
		if v.Incomplete != "" || v.Silent != "" {
			w.t.Fatalf("%s: %+v", when, v)
		}
	}
}

// complete demands that the secondary knows that it has everything.
func (w *world) complete() {
	w.t.Helper()
	if v := w.judge.Judge(w.local); !v.Since.IsZero() || v.Here != v.Signed || v.At.IsZero() || v.Filling {
		w.t.Fatalf("it does not know that it has everything: %+v", v)
	}
}

// raised runs until it is said that something is wrong.
func (w *world) raised(within time.Duration, rate float64, zones int) {
	w.t.Helper()
	is := false
	for end := time.Now().Add(within); !is; {
		if time.Now().After(end) {
			w.t.Fatalf("after %s nothing is said to be wrong: %+v", within, w.judge.Verdict())
		}
		w.run(time.Second, rate, zones, func(v Verdict) { is = v.Incomplete != "" })
	}
	if what := w.judge.Verdict().Incomplete; !strings.Contains(what, "withholds or rolls back") {
		w.t.Errorf("it says %q", what)
	}
}

var loads = map[string]struct {
	rate     float64
	zones    int
	lag      time.Duration
	capacity int
	skew     time.Duration
	d        time.Duration
}{
	"no changes":                 {0, 100, 50 * time.Millisecond, 1000, 0, time.Minute},
	"one zone all the time":      {20, 1, 200 * time.Millisecond, 1000, 0, time.Minute},
	"few changes, clock ahead":   {1, 100, 50 * time.Millisecond, 1000, 40 * time.Second, time.Minute},
	"few changes, clock behind":  {1, 100, 50 * time.Millisecond, 1000, -40 * time.Second, time.Minute},
	"100 a second":               {100, 1000, 300 * time.Millisecond, 1000, 0, time.Minute},
	"100 a second of few zones":  {100, 50, time.Second, 1000, 0, time.Minute},
	"1,000 a second":             {1000, 5000, time.Second, 2000, time.Second, 20 * time.Second},
	"1,000 a second of few":      {1000, 300, time.Second, 2000, 0, 25 * time.Second},
	"more than it can take":      {100, 2000, 100 * time.Millisecond, 40, 0, 3 * time.Minute},
	"more of few than it can":    {100, 100, 100 * time.Millisecond, 20, 0, 3 * time.Minute},
	"slow, but as fast as it is": {10, 1000, 2 * time.Second, 1000, 0, time.Minute},
}

// Whatever the load, a secondary that is given everything says of nothing that it is missing, and knows it when it is
// quiet.
func TestHonestBroker(t *testing.T) {
	for name, load := range loads {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.lag, w.capacity, w.skew = load.lag, load.capacity, load.skew
				for n := range load.zones {
					w.publish(n, false)
				}
				keepsUp := load.lag <= time.Second && !strings.HasPrefix(name, "more")
				w.run(load.d, load.rate, load.zones, func(v Verdict) {
					w.good("under load")(v)
					if keepsUp && !v.Since.IsZero() && time.Since(v.Since) > 6*time.Second {
						t.Fatalf("what is on its way is a difference for long: %+v", v)
					}
				})
				w.run(4*time.Minute, 0, 1, w.good("afterwards"))
				w.complete()
			})
		})
	}
}

// Under any load that the secondary can take, what is withheld is known within seconds; and that it is there again.
func TestWithheld(t *testing.T) {
	for attack, gone := range map[string]bool{"change": false, "deletion": true} {
		for name, load := range loads {
			if load.zones < 50 || strings.HasPrefix(name, "more") {
				continue
			}
			t.Run(attack+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.lag, w.capacity, w.skew = load.lag, load.capacity, load.skew
					for n := range load.zones {
						w.publish(n, false)
					}
					w.run(30*time.Second, min(load.rate, 100), load.zones, w.good("before"))
					w.withhold = func(s *zone.State) bool { return s.Name == named(0) }
					w.publish(0, gone)
					w.raised(45*time.Second, min(load.rate, 100), load.zones)
					w.withhold = nil
					w.publish(0, gone)
					w.run(15*time.Second, 0, 1, nil)
					w.complete()
				})
			})
		}
	}
}

// A new secondary says how far it is; when the last states do not come, that is known; and so is what comes in an old
// version.
func TestNewSecondary(t *testing.T) {
	const zones = 3000
	for name, withhold := range map[string]func(*zone.State) bool{
		"honest":   nil,
		"missing":  func(s *zone.State) bool { return s.Name == named(7) },
		"half":     func(s *zone.State) bool { return s.Serial > 0 && zone.Bucket(s.Name)%2 == 0 },
		"old":      nil,
		"nothing":  func(*zone.State) bool { return true },
		"deletion": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish(7, false)
				before := *w.sent[0].state
				for n := range zones {
					w.publish(n, false)
				}
				if name == "deletion" {
					w.publish(7, true)
				}
				w.run(time.Minute, 0, 1, w.good("the first one"))
				w.complete()
				all := w.stock
				w.newSecondary()
				w.capacity, w.withhold = 50, withhold
				for _, s := range all {
					if s.Name == named(7) && (name == "old" || name == "deletion") {
						s = &before
					}
					w.offer(s)
				}
				filled := false
				w.run(40*time.Second, 0, 1, func(v Verdict) {
					filled = filled || v.Filling && v.Here > 100 && v.Here < v.Signed
					if name != "nothing" {
						w.good("while it is filled")(v)
					}
				})
				if !filled && name != "nothing" {
					t.Errorf("it was not said how far it was: %+v", w.judge.Verdict())
				}
				if name == "honest" {
					w.run(time.Minute, 0, 1, w.good("when it is filled"))
					w.complete()
					return
				}
				w.raised(time.Minute, 0, 1)
				w.withhold = nil
				for _, s := range all {
					w.offer(s)
				}
				w.run(90*time.Second, 0, 1, nil)
				w.complete()
			})
		})
	}
}

// All zones are published anew, more of them than the secondary takes within the patience for what is late; and before
// that the primary begins anew, and does not know everything.
func TestPublishedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const zones = 8000
		w := newWorld(t)
		for n := range zones {
			w.publish(n, false)
		}
		w.run(30*time.Second, 0, 1, w.good("before"))
		w.complete()
		w.capacity = 20
		w.partial = true
		w.run(40*time.Second, 0, 1, w.good("the primary begins anew"))
		w.partial = false
		for n := range zones {
			w.publish(n, false)
			if n%100 == 99 {
				w.run(500*time.Millisecond, 0, 1, w.good("published anew"))
			}
		}
		w.run(8*time.Minute, 0, 1, w.good("published anew"))
		w.complete()
	})
}

// A broker that delays everything so that what it withholds does not show gains minutes, and is known then: be it that
// it gives each state late, or many at a time.
func TestDelayed(t *testing.T) {
	for name, delay := range map[string]func(w *world){
		"each": func(w *world) { w.lag = 10 * time.Second },
		"many": func(w *world) { w.hold = 14 * time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for n := range 100 {
					w.publish(n, false)
				}
				w.run(30*time.Second, 2, 100, w.good("before"))
				delay(w)
				w.capacity = 100
				w.withhold = func(s *zone.State) bool { return s.Name == named(0) }
				w.publish(0, false)
				w.raised(latePatience+time.Minute, 2, 100)
			})
		})
	}
}

// A broker that cuts the connection again and again does not hide what it withholds, nor that it withholds
// checkpoints.
func TestCut(t *testing.T) {
	for name, quiet := range map[string]bool{"states": false, "checkpoints": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for n := range 100 {
					w.publish(n, false)
				}
				w.run(30*time.Second, 1, 100, w.good("before"))
				w.quiet = quiet
				w.withhold = func(s *zone.State) bool { return s.Name == named(0) }
				w.publish(0, false)
				is := false
				for n := 0; !is; n++ {
					if n == 10 {
						t.Fatalf("after %d times nothing is said to be wrong: %+v", n, w.judge.Verdict())
					}
					w.run(8*time.Second, 1, 100, func(v Verdict) { is = v.Incomplete != "" || quiet && v.Silent != "" })
					w.local.Connected = false
					w.run(3*time.Second, 0, 1, nil)
					w.local.Connected = true
				}
			})
		})
	}
}

// A broker that fills a new secondary more slowly than it could is known, too.
func TestDripped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withhold = func(*zone.State) bool { return true }
		for n := range 1000 {
			w.publish(n, false)
		}
		w.run(10*time.Second, 0, 1, w.good("at first"))
		w.withhold = nil
		is := false
		for n := 0; !is; n++ {
			if n == 60 {
				t.Fatalf("after %d states nothing is said to be wrong: %+v", n, w.judge.Verdict())
			}
			w.offer(&zone.State{Name: named(n), Published: w.dates[named(n)], Serial: 1, Stored: 1})
			w.run(10*time.Second, 0, 1, func(v Verdict) { is = v.Incomplete != "" })
		}
	})
}

// What this node itself does not get done is not the broker's fault.
func TestOwnFault(t *testing.T) {
	for name, fault := range map[string]func(w *world) (over func()){
		"PowerDNS is away": func(w *world) func() {
			w.local.PowerDNS = false
			return func() { w.local.PowerDNS = true }
		},
		"no connection": func(w *world) func() {
			w.local.Connected = false
			return func() { w.local.Connected = true }
		},
		"a large zone": func(w *world) func() { return w.judge.Working() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for n := range 100 {
					w.publish(n, false)
				}
				w.run(30*time.Second, 0, 1, w.good("before"))
				over := fault(w)
				w.withhold = func(s *zone.State) bool { return s.Name == named(0) }
				w.publish(0, false)
				w.run(time.Minute, 0, 1, w.good("meanwhile"))
				over()
				w.raised(time.Minute, 0, 1)
			})
		})
	}
}

// A large zone whose content comes in, however slowly, is on its way: it is not stored before it is whole. The broker
// gains nothing by what it gives of other zones, or gives no more of.
func TestLargeZoneComesIn(t *testing.T) {
	for name, c := range map[string]struct {
		of    int // the zone whose content comes in
		fault bool
	}{
		"its own content": {0, false}, "that of a zone that is here": {1, true}, "nothing": {-1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for n := range 2 {
					w.publish(n, false)
				}
				w.run(30*time.Second, 0, 1, w.good("before"))
				w.withhold = func(s *zone.State) bool { return s.Name == named(0) }
				w.publish(0, false)
				is := false
				for end := time.Now().Add(2 * time.Minute); time.Now().Before(end) && !is; {
					if c.of >= 0 {
						w.judge.Fetched(&zone.State{Name: named(c.of), Published: w.dates[named(c.of)]}, 64<<10)
					}
					w.run(5*time.Second, 0, 1, func(v Verdict) { is = v.Incomplete != "" })
				}
				if is != c.fault {
					t.Errorf("it is said to be incomplete: %v", is)
				}
				if c.of == 0 {
					w.raised(time.Minute, 0, 1)
				}
			})
		})
	}
}

func TestNoCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish(1, false)
		w.run(20*time.Second, 0, 1, w.good("before"))
		w.quiet = true
		w.run(20*time.Second, 0, 1, w.good("at first"))
		w.run(20*time.Second, 0, 1, nil)
		if v := w.judge.Verdict(); !strings.Contains(v.Silent, "no signed checkpoint for 30s") || v.Incomplete != "" {
			t.Errorf("%+v", v)
		}
		w.quiet = false
		w.run(10*time.Second, 0, 1, nil)
		w.complete()
		w.local.Connected, w.quiet = false, true
		w.run(time.Minute, 0, 1, w.good("without a connection"))
	})
}

// A primary that never comes to know all is no one to go by: a broker that is wiped again and again makes it so.
func TestNeverCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish(1, false)
		w.run(20*time.Second, 0, 1, w.good("before"))
		w.partial = true
		w.run(unproven-time.Minute, 0, 1, w.good("for a while"))
		w.run(2*time.Minute, 0, 1, nil)
		if v := w.judge.Verdict(); !strings.Contains(v.Silent, "no primary has compared all zones") {
			t.Errorf("%+v", v)
		}
		w.partial = false
		w.run(10*time.Second, 0, 1, nil)
		w.complete()
	})
}

// A broker that has the primary compare everything anew, again and again, does not hide what it withholds.
func TestComparedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for n := range 100 {
			w.publish(n, false)
		}
		w.run(30*time.Second, 1, 100, w.good("before"))
		w.withhold = func(s *zone.State) bool { return s.Name == named(0) }
		w.publish(0, false)
		is := false
		for n := 0; !is; n++ {
			if n == 10 {
				t.Fatalf("after %d times nothing is said to be wrong: %+v", n, w.judge.Verdict())
			}
			w.partial = false
			w.run(10*time.Second, 0, 1, func(v Verdict) { is = v.Incomplete != "" })
			w.partial = true
			w.run(6*time.Second, 0, 1, nil)
		}
		w.run(time.Minute, 0, 1, func(v Verdict) {
			if v.Incomplete == "" {
				t.Fatal("what was wrong got right without any state")
			}
		})
		w.withhold, w.partial = nil, false
		w.publish(0, false)
		w.run(20*time.Second, 0, 1, nil)
		w.complete()
	})
}

// What is published anew after the broker lost its store is not withheld, though a change was on its way at that
// moment.
func TestBrokerFilledAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for n := range 1000 {
			w.publish(n, false)
		}
		w.run(30*time.Second, 0, 1, w.good("before"))
		w.withhold = func(s *zone.State) bool { return s.Name == named(0) } // it is lost with the store
		w.publish(0, false)
		w.run(10*time.Second, 0, 1, w.good("as the store is lost"))
		w.withhold, w.partial = nil, true
		for n := range 1000 {
			w.publish(n, false)
			w.run(step, 0, 1, w.good("as it is filled"))
		}
		w.run(time.Minute, 0, 1, w.good("as it is compared"))
		w.partial = false
		w.run(time.Minute, 0, 1, w.good("afterwards"))
		w.complete()
	})
}

// What is no new checkpoint of a trusted key is refused, and is none.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish(1, false)
		w.run(20*time.Second, 0, 1, w.good("before"))
		foreign, err := zone.NewSignKey()
		if err != nil {
			t.Fatal(err)
		}
		genuine := w.checkpoint()
		if err := w.judge.Receive(genuine); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		altered := append([]byte{}, genuine...)
		altered[100] ^= 1
		for name, test := range map[string]struct {
			signed []byte
			want   error
		}{
			"replayed":      {genuine, errReplayed},
			"older":         {w.key.SignCheckpoint(zone.Checkpoint{At: now.Add(-time.Second)}), errReplayed},
			"foreign":       {foreign.SignCheckpoint(zone.Checkpoint{At: now.Add(time.Second)}), zone.ErrUnverified},
			"altered":       {altered, zone.ErrUnverified},
			"unsigned":      {genuine[64:], zone.ErrCorrupt},
			"ahead":         {w.key.SignCheckpoint(zone.Checkpoint{At: now.Add(2 * time.Minute)}), errClock},
			"from long ago": {w.key.SignCheckpoint(zone.Checkpoint{At: now.Add(-time.Hour)}), errClock},
			"nothing":       {nil, zone.ErrCorrupt},
		} {
			if err := w.judge.Receive(test.signed); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
		}
		w.quiet = true
		for range 40 {
			_ = w.judge.Receive(genuine)
			w.run(time.Second, 0, 1, nil)
		}
		if v := w.judge.Verdict(); !strings.Contains(v.Silent, "replays it") {
			t.Errorf("%+v", v)
		}
	})
}

// The checkpoints of each primary count: one that was started anew may have been given an old state, and the other
// knows better.
func TestTwoPrimaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		second, err := zone.NewSignKey()
		if err != nil {
			t.Fatal(err)
		}
		w.judge = NewJudge([]zone.TrustedKey{w.key.Public(), second.Public()}, 16)
		other := zone.NewLedger(time.Now().Add(-time.Hour))
		for n := range 100 {
			w.publish(n, false)
		}
		for _, d := range w.sent {
			other.Note(d.state.Version(), time.Now())
		}
		both := func(d time.Duration, each func(Verdict)) {
			for range d / (2 * time.Second) {
				w.run(2*time.Second, 0, 1, each)
				if err := w.judge.Receive(second.SignCheckpoint(other.Checkpoint(time.Now().Add(-time.Second)))); err != nil {
					t.Fatal(err)
				}
			}
		}
		both(time.Minute, w.good("both say the same"))
		w.complete()
		newer := &zone.State{Name: named(0), Published: time.Now(), Serial: 99, Stored: 99}
		other.Note(newer.Version(), time.Now()) // the first one does not know of it
		both(time.Minute, nil)
		if w.judge.Verdict().Incomplete == "" {
			t.Errorf("what only one primary signed is not missed: %+v", w.judge.Verdict())
		}
		w.run(time.Minute, 0, 1, nil) // the second one is gone
		w.complete()
	})
}

// A primary that signs no more, since another one acts, may have signed last while a change was on its way: nothing is
// said to be wrong by that. What is withheld is, by the next checkpoint of whoever signs.
func TestLastCheckpoint(t *testing.T) {
	for name, withheld := range map[string]bool{"on its way": false, "withheld": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first := w.key
				second, err := zone.NewSignKey()
				must.OK(t, err)
				w.judge = NewJudge([]zone.TrustedKey{first.Public(), second.Public()}, 16)
				for n := range 100 {
					w.publish(n, false)
				}
				w.run(30*time.Second, 0, 1, w.good("before"))
				w.withhold = func(s *zone.State) bool { return withheld && s.Name == named(0) }
				w.lag = 20 * time.Second
				w.publish(0, false)
				w.run(8*time.Second, 0, 1, w.good("a checkpoint shows the change"))
				if w.judge.Verdict().Since.IsZero() {
					t.Fatal("there is no difference yet")
				}
				w.key = second
				w.run(10*time.Second, 0, 1, w.good("the other one has taken over"))
				if withheld {
					w.raised(15*time.Second, 0, 1)
					return
				}
				w.run(2*time.Minute, 0, 1, w.good("afterwards"))
				w.complete()
			})
		})
	}
}

// A broker that lets the one checkpoint through that shows what it withholds, and none after it, is known by their
// silence; and by the next one, whenever it comes.
func TestCheckpointsEndWithADifference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for n := range 100 {
			w.publish(n, false)
		}
		w.run(30*time.Second, 0, 1, w.good("before"))
		w.withhold = func(s *zone.State) bool { return s.Name == named(0) }
		w.publish(0, false)
		for w.judge.Verdict().Since.IsZero() {
			w.run(time.Second, 0, 1, w.good("before a checkpoint shows it"))
		}
		w.quiet = true
		w.run(silence-time.Second, 0, 1, w.good("at first"))
		w.run(2*time.Second, 0, 1, nil)
		if v := w.judge.Verdict(); v.Silent == "" {
			t.Errorf("nothing is wrong without checkpoints: %+v", v)
		}
		must.OK(t, w.judge.Receive(w.checkpoint()))
		w.run(2*time.Second, 0, 1, nil)
		if v := w.judge.Verdict(); v.Incomplete == "" {
			t.Errorf("what two checkpoints show is not withheld: %+v", v)
		}
	})
}
