package work

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/roletest"
)

// bench is a queue of texts whose work waits until it is told to go on. For bubbles of synctest.
type bench struct {
	*Queue[string]
	t    *testing.T
	stop context.CancelFunc

	mu        sync.Mutex
	begun     []string // jobs, in order
	abandoned []string
	proceed   chan struct{}
	ended     chan error
}

func startQueue(t *testing.T, workers, limit int) *bench {
	b := &bench{t: t, proceed: make(chan struct{}), ended: make(chan error, 1)}
	b.Queue = NewQueue(workers, limit, b.work, func(waiting, newer string) string { return waiting + "+" + newer },
		func(_ zone.Name, job string) { b.abandoned = append(b.abandoned, job) })
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	go func() { b.ended <- b.Run(ctx) }()
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
func (b *bench) submits(name, job string, priority Priority) {
	b.t.Helper()
	if done := b.submitting(name, job, priority); len(done) == 0 || !<-done {
		b.t.Errorf("job %s is not taken at once", job)
	}
}

// submitting submits a job and returns where the answer is, once it is given.
func (b *bench) submitting(name, job string, priority Priority) chan bool {
	done := make(chan bool, 1)
	go func() { done <- b.Submit(b.t.Context(), roletest.Named(name), job, priority) }()
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
		b := startQueue(t, 4, 10)
		b.submits("a", "a1", Live)
		b.submits("a", "a2", Live)
		b.submits("b", "b1", Live)
		b.wantBegun("a1", "b1")
		b.finish(2)
		b.wantBegun("a1", "b1", "a2")
	})
}

func TestWaitingJobsOfAZoneAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startQueue(t, 1, 10)
		b.submits("a", "a1", Live)
		for _, job := range []string{"a2", "a3", "a4"} {
			b.submits("a", job, Live)
		}
		b.submits("b", "b1", Live)
		b.submits("b", "b2", Live)
		b.finish(3)
		b.wantBegun("a1", "b1+b2", "a2+a3+a4")
	})
}

func TestLiveJobsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startQueue(t, 1, 10)
		b.submits("busy", "busy", Live)
		b.submits("a", "a1", Background)
		b.submits("b", "b1", Background)
		b.submits("c", "c1", Live)
		b.submits("b", "b2", Live) // raises b
		b.submits("c", "c2", Background)
		b.finish(4)
		b.wantBegun("busy", "c1+c2", "b1+b2", "a1")
	})
}

// Who waits for a zone does not care what else waits there, nor that the zone is in work.
func TestLiveJobsRaiseBackgroundOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startQueue(t, 1, 10)
		b.submits("a", "a1", Background) // runs
		b.submits("b", "b1", Background)
		b.submits("a", "a2", Background)
		b.submits("a", "a3", Live)
		b.submits("c", "c1", Background)
		b.submits("c", "c2", Live)
		b.submits("c", "c3", Background) // and does not lower it
		b.finish(4)
		b.wantBegun("a1", "c1+c2+c3", "a2+a3", "b1")
	})
}

func TestBackgroundJobsLeaveWorkersFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startQueue(t, 4, 10)
		for _, name := range []string{"a", "b", "c"} {
			b.submits(name, name, Background)
		}
		b.wantBegun("a", "b")
		b.submits("d", "d", Live)
		b.submits("e", "e", Live)
		b.wantBegun("a", "b", "d", "e")
		b.submits("f", "f", Live)
		b.finish(4)
		b.wantBegun("a", "b", "d", "e", "f", "c")
	})
}

// Who changes a zone that is served does not wait until all those are made that somebody imports; and whoever imports
// some does not wait for ever.
func TestCreationsStandBackForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startQueue(t, 1, 10)
		b.submits("busy", "busy", Live)
		b.submits("n1", "n1", Creation)
		b.submits("n2", "n2", Creation)
		b.submits("n3", "n3", Background)
		b.submits("n3", "n3", Creation) // raised
		b.submits("a", "a", Live)
		b.submits("b", "b", Live)
		b.finish(2)
		b.wantBegun("busy", "a", "b")
		time.Sleep(creationPatience + 1)
		b.submits("c", "c", Live)
		b.submits("d", "d", Live)
		b.submits("e", "e", Background)
		b.finish(5)
		b.wantBegun("busy", "a", "b", "n1", "c", "n2", "d", "n3+n3")
		b.finish(1)
		b.wantBegun("busy", "a", "b", "n1", "c", "n2", "d", "n3+n3", "e")
	})
}

func TestCreationsLeaveAWorkerFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startQueue(t, 3, 10)
		for _, name := range []string{"a", "b", "c"} {
			b.submits(name, name, Creation)
		}
		b.wantBegun("a", "b")
		b.submits("d", "d", Live)
		b.wantBegun("a", "b", "d")
		b.finish(1)
	})
}

// While a job rests its worker does others, and it goes on before others are begun.
func TestRestingJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what)
		}
		var q *Queue[string]
		made, done := make(chan struct{}), make(chan struct{})
		q = NewQueue(1, 10, func(ctx context.Context, name zone.Name, job string) {
			note("begin " + job)
			if job == "a" || job == "b" {
				raised, resume := q.Rest(ctx, name)
				select {
				case <-made:
				case <-raised:
					note("raise " + job)
					<-made
				}
				resume()
				note("resume " + job)
				<-done
			}
		}, func(_, newer string) string { return newer }, func(zone.Name, string) {})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- q.Run(ctx) }()
		for i, job := range []string{"a", "b"} {
			q.Submit(ctx, roletest.Numbered(i), job, Background)
			synctest.Wait()
		}
		if q.Idle() {
			t.Error("a queue with resting jobs is idle")
		}
		q.Submit(ctx, roletest.Numbered(0), "last", Background)
		q.Submit(ctx, roletest.Numbered(1), "created", Creation)
		synctest.Wait()
		if len(order) != 3 || order[2] != "raise b" {
			t.Errorf("a job that must not wait comes behind a resting one: %q", order)
		}
		close(made)
		synctest.Wait()
		q.Submit(ctx, roletest.Numbered(2), "last", Background)
		synctest.Wait()
		resumed := order[3:]
		if len(resumed) != 1 { // one worker, and it has a job
			t.Errorf("with one worker, %q", order)
		}
		close(done)
		synctest.Wait()
		before := order[:slices.Index(order, "begin last")]
		if len(order) != 8 || !slices.Contains(before, "resume a") || !slices.Contains(before, "resume b") {
			t.Errorf("others of its priority go before a job that rested: %q", order)
		}
		if !q.Idle() {
			t.Error("a queue without jobs is not idle")
		}
		stop()
		must.OK(t, <-ended)
	})
}

// What rests does not become more and more.
func TestManyRestingJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 3
		var q *Queue[string]
		var begun atomic.Int64
		made := make(chan struct{})
		q = NewQueue(1, limit, func(ctx context.Context, name zone.Name, _ string) {
			begun.Add(1)
			_, resume := q.Rest(ctx, name)
			<-made
			resume()
		}, func(_, newer string) string { return newer }, func(zone.Name, string) {})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- q.Run(ctx) }()
		go func() {
			for i := range 4 * limit {
				q.Submit(ctx, roletest.Numbered(i), "job", Background)
			}
		}()
		synctest.Wait()
		if n := begun.Load(); n != 2*limit {
			t.Errorf("%d jobs rest at a time", n)
		}
		close(made)
		synctest.Wait()
		if n := begun.Load(); n != 4*limit || !q.Idle() {
			t.Errorf("%d jobs were begun, and the queue is idle: %t", n, q.Idle())
		}
		stop()
		must.OK(t, <-ended)
	})
}

func TestOneWorkerDoesBackgroundJobsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startQueue(t, 1, 10)
		b.submits("a", "a", Background)
		b.submits("b", "b", Background)
		b.finish(1)
		b.wantBegun("a", "b")
	})
}

func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startQueue(t, 2, 2)
		for _, name := range []string{"a", "b", "c", "d"} {
			b.submits(name, name, Live)
		}
		blocked := b.submitting("e", "e", Live)
		if len(blocked) > 0 {
			t.Fatal("more jobs wait than may")
		}
		b.submits("c", "c2", Live)      // of a zone that waits
		b.submits("f", "f", Background) // the other priority has room
		b.finish(1)
		if len(blocked) == 0 || !<-blocked {
			t.Fatal("the job is not taken though there is room")
		}
		b.finish(5)
		b.wantBegun("a", "b", "c+c2", "d", "e", "f")
	})
}

func TestFullQueueAndACallerThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startQueue(t, 1, 1)
		b.submits("a", "a", Live)
		b.submits("b", "b", Live)
		ctx, cancel := context.WithCancel(context.Background())
		gave := make(chan bool, 1)
		go func() { gave <- b.Submit(ctx, roletest.Named("c"), "c", Live) }()
		synctest.Wait()
		cancel()
		if <-gave {
			t.Error("the job of a caller that gave up was taken")
		}
		if b.Submit(ctx, roletest.Named("b"), "b2", Live) {
			t.Error("a job was taken for a caller that had given up before")
		}
		b.finish(2)
		b.wantBegun("a", "b")
	})
}

func TestEndOfQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startQueue(t, 1, 2)
		b.submits("a", "a1", Live)
		b.submits("a", "a2", Live)
		b.submits("b", "b1", Live)
		b.submits("c", "c1", Background)
		b.submits("d", "d1", Live)
		blocked := b.submitting("e", "e1", Live)
		b.stop()
		synctest.Wait()
		if len(blocked) == 0 || <-blocked {
			t.Error("a caller that waits for room is not sent away")
		}
		if len(b.ended) > 0 {
			t.Error("ended before the job in hand")
		}
		b.finish(1)
		must.OK(t, <-b.ended)
		slices.Sort(b.abandoned)
		if want := []string{"a2", "b1", "c1", "d1"}; !slices.Equal(b.abandoned, want) {
			t.Errorf("abandoned are %q, want %q", b.abandoned, want)
		}
		if b.wantBegun("a1"); b.Submit(t.Context(), roletest.Named("z"), "z", Live) {
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
	q := NewQueue(4, 5, work, func(waiting, newer int) int {
		open.Done()
		return max(waiting, newer)
	}, func(zone.Name, int) { t.Error("a job was abandoned") })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()

	var submitting sync.WaitGroup
	for s := range submitters {
		submitting.Go(func() {
			for n := range jobs {
				name, job := roletest.Numbered(rand.N(zones)), 1+n*submitters+s
				mu.Lock()
				newest[name] = max(newest[name], job)
				mu.Unlock()
				open.Add(1)
				if !q.Submit(ctx, name, job, Priority(min(rand.N(3), 1))) {
					t.Error("a job was refused")
				}
			}
		})
	}
	submitting.Wait()
	open.Wait()
	stop()
	must.OK(t, <-ended)
	for name, job := range newest {
		if ran[name] != job {
			t.Errorf("zone %s: the newest job run is %d, want %d", name, ran[name], job)
		}
	}
	if len(q.zones) != 0 || q.running != [priorities]int{} {
		t.Errorf("%d zones are left, %v jobs seem to run", len(q.zones), q.running)
	}
}
