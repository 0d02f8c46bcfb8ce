package roles

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"pdns-distribute/powerdns/zone"
)

func numbered(n int) zone.Name { return zone.MustParseName(fmt.Sprintf("z%d.example", n)) }

func named(s string) zone.Name { return zone.MustParseName(s + ".example") }

// bench is lanes of texts whose work waits until it is told to go on. For bubbles of synctest.
type bench struct {
	*lanes[string]
	t    *testing.T
	stop context.CancelFunc

	mu        sync.Mutex
	begun     []string // jobs, in order
	abandoned []string
	proceed   chan struct{}
	ended     chan error
}

func startLanes(t *testing.T, workers, limit int) *bench {
	b := &bench{t: t, proceed: make(chan struct{}), ended: make(chan error, 1)}
	b.lanes = newLanes(workers, limit, b.work, func(waiting, newer string) string { return waiting + "+" + newer })
	b.abandon = func(job string) { b.abandoned = append(b.abandoned, job) }
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	go func() { b.ended <- b.run(ctx) }()
	t.Cleanup(func() {
		stop()
		close(b.proceed)
		synctest.Wait()
	})
	return b
}

func (b *bench) work(_ context.Context, _ zone.Name, job string) {
	b.mu.Lock()
	b.begun = append(b.begun, job)
	b.mu.Unlock()
	<-b.proceed
}

// submits wants the job to be taken without waiting.
func (b *bench) submits(name, job string, live bool) {
	b.t.Helper()
	if done := b.submitting(name, job, live); len(done) == 0 || !<-done {
		b.t.Errorf("job %s is not taken at once", job)
	}
}

// submitting submits a job and returns where the answer is, once it is given.
func (b *bench) submitting(name, job string, live bool) chan bool {
	done := make(chan bool, 1)
	go func() { done <- b.submit(b.t.Context(), named(name), job, live) }()
	synctest.Wait()
	return done
}

// finish lets n jobs end.
func (b *bench) finish(n int) {
	for range n {
		b.proceed <- struct{}{}
	}
	synctest.Wait()
}

func (b *bench) wantBegun(want ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.begun, want) {
		b.t.Errorf("begun are %q, want %q", b.begun, want)
	}
}

func TestOneJobOfAZoneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startLanes(t, 4, 10)
		b.submits("a", "a1", true)
		b.submits("a", "a2", true)
		b.submits("b", "b1", true)
		b.wantBegun("a1", "b1")
		b.finish(2)
		b.wantBegun("a1", "b1", "a2")
	})
}

func TestWaitingJobsOfAZoneAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startLanes(t, 1, 10)
		b.submits("a", "a1", true)
		for _, job := range []string{"a2", "a3", "a4"} {
			b.submits("a", job, true)
		}
		b.submits("b", "b1", true)
		b.submits("b", "b2", true)
		b.finish(3)
		b.wantBegun("a1", "b1+b2", "a2+a3+a4")
	})
}

func TestLiveJobsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startLanes(t, 1, 10)
		b.submits("busy", "busy", true)
		b.submits("a", "a1", false)
		b.submits("b", "b1", false)
		b.submits("c", "c1", true)
		b.submits("b", "b2", true) // raises b
		b.submits("c", "c2", false)
		b.finish(4)
		b.wantBegun("busy", "c1+c2", "b1+b2", "a1")
	})
}

// Who waits for a zone does not care what else waits there, nor that the zone is in work.
func TestLiveJobsRaiseBackgroundOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startLanes(t, 1, 10)
		b.submits("a", "a1", false) // runs
		b.submits("b", "b1", false)
		b.submits("a", "a2", false)
		b.submits("a", "a3", true)
		b.submits("c", "c1", false)
		b.submits("c", "c2", true)
		b.submits("c", "c3", false) // and does not lower it
		b.finish(4)
		b.wantBegun("a1", "c1+c2+c3", "a2+a3", "b1")
	})
}

func TestBackgroundJobsLeaveWorkersFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startLanes(t, 4, 10)
		for _, name := range []string{"a", "b", "c"} {
			b.submits(name, name, false)
		}
		b.wantBegun("a", "b")
		b.submits("d", "d", true)
		b.submits("e", "e", true)
		b.wantBegun("a", "b", "d", "e")
		b.submits("f", "f", true)
		b.finish(4)
		b.wantBegun("a", "b", "d", "e", "f", "c")
	})
}

func TestOneWorkerDoesBackgroundJobsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startLanes(t, 1, 10)
		b.submits("a", "a", false)
		b.submits("b", "b", false)
		b.finish(1)
		b.wantBegun("a", "b")
	})
}

func TestFullLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startLanes(t, 2, 2)
		for _, name := range []string{"a", "b", "c", "d"} {
			b.submits(name, name, true)
		}
		blocked := b.submitting("e", "e", true)
		if len(blocked) > 0 {
			t.Fatal("more jobs wait than may")
		}
		b.submits("c", "c2", true) // into a lane that is there
		b.submits("f", "f", false) // the other class has room
		b.finish(1)
		if len(blocked) == 0 || !<-blocked {
			t.Fatal("the job is not taken though there is room")
		}
		b.finish(5)
		b.wantBegun("a", "b", "c+c2", "d", "e", "f")
	})
}

func TestFullLanesAndACallerThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startLanes(t, 1, 1)
		b.submits("a", "a", true)
		b.submits("b", "b", true)
		ctx, cancel := context.WithCancel(context.Background())
		gave := make(chan bool, 1)
		go func() { gave <- b.submit(ctx, named("c"), "c", true) }()
		synctest.Wait()
		cancel()
		if <-gave {
			t.Error("the job of a caller that gave up was taken")
		}
		if b.submit(ctx, named("b"), "b2", true) {
			t.Error("a job was taken for a caller that had given up before")
		}
		b.finish(2)
		b.wantBegun("a", "b")
	})
}

func TestEndOfLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startLanes(t, 1, 2)
		b.submits("a", "a1", true)
		b.submits("a", "a2", true)
		b.submits("b", "b1", true)
		b.submits("c", "c1", false)
		b.submits("d", "d1", true)
		blocked := b.submitting("e", "e1", true)
		b.stop()
		synctest.Wait()
		if len(blocked) == 0 || <-blocked {
			t.Error("a caller that waits for room is not sent away")
		}
		if len(b.ended) > 0 {
			t.Error("ended before the job in hand")
		}
		b.finish(1)
		must(t, <-b.ended)
		slices.Sort(b.abandoned)
		if want := []string{"a2", "b1", "c1", "d1"}; !slices.Equal(b.abandoned, want) {
			t.Errorf("abandoned are %q, want %q", b.abandoned, want)
		}
		if b.wantBegun("a1"); b.submit(t.Context(), named("z"), "z", true) {
			t.Error("a job was taken after the end")
		}
	})
}

// Many goroutines submit to few zones: no two jobs of a zone run at once, each job is run or merged into one that is,
// and each zone's newest is run.
func TestNoJobIsLost(t *testing.T) {
	const zones, submitters, jobs = 20, 8, 2000
	var mu sync.Mutex
	newest, ran, running := map[zone.Name]int{}, map[zone.Name]int{}, map[zone.Name]bool{}
	var open sync.WaitGroup // jobs that are neither run nor merged
	work := func(_ context.Context, name zone.Name, job int) {
		mu.Lock()
		if running[name] {
			t.Errorf("two jobs of %s at once", name)
		}
		running[name] = true
		mu.Unlock()
		if job%7 == 0 {
			for range rand.N(1000) {
				rand.Int()
			}
		}
		mu.Lock()
		running[name], ran[name] = false, max(ran[name], job)
		mu.Unlock()
		open.Done()
	}
	l := newLanes(4, 5, work, func(waiting, newer int) int {
		open.Done()
		return max(waiting, newer)
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx) }()

	var submitting sync.WaitGroup
	for s := range submitters {
		submitting.Go(func() {
			for n := range jobs {
				name, job := numbered(rand.N(zones)), 1+n*submitters+s
				mu.Lock()
				newest[name] = max(newest[name], job)
				mu.Unlock()
				open.Add(1)
				if !l.submit(ctx, name, job, rand.N(3) > 0) {
					t.Error("a job was refused")
				}
			}
		})
	}
	submitting.Wait()
	open.Wait()
	stop()
	must(t, <-ended)
	for name, job := range newest {
		if ran[name] != job {
			t.Errorf("zone %s: the newest job run is %d, want %d", name, ran[name], job)
		}
	}
	if len(l.lanes) != 0 || l.slow != 0 {
		t.Errorf("%d lanes are left, %d background jobs seem to run", len(l.lanes), l.slow)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
