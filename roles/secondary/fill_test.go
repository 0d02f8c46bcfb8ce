package secondary

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/roletest"
	"pdns-distribute/roles/work"
)

// A fill begins with many zones, says how far it is and how fast it goes now, and ends with the last one.
func TestFill(t *testing.T) {
	left := 0
	f := newFill(func() int { return left })
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	after := func(pause time.Duration, taken int) *health.Fill {
		now = now.Add(pause)
		for range taken {
			f.taken()
		}
		left -= taken
		return f.report(now)
	}
	left = fillFrom - 1
	if got := after(time.Second, 10); got != nil {
		t.Fatalf("a few zones are %+v", got)
	}
	left = 10_000
	for _, step := range []struct {
		pause time.Duration
		taken int
		want  health.Fill
		left  time.Duration
	}{
		{0, 0, health.Fill{Done: 0, Zones: 10_000}, 0},
		{10 * time.Second, 1000, health.Fill{Done: 1000, Zones: 10_000, Rate: 100}, 90 * time.Second},
		{20 * time.Second, 2000, health.Fill{Done: 3000, Zones: 10_000, Rate: 100}, 70 * time.Second},
		{30 * time.Second, 300, health.Fill{Done: 3300, Zones: 10_000, Rate: 10}, 670 * time.Second}, // slower by now
		{time.Second, 6690, health.Fill{Done: 9990, Zones: 10_000, Rate: 6990. / 31}, 44 * time.Millisecond},
	} {
		got := after(step.pause, step.taken)
		if got == nil || *got != step.want || got.Left().Round(time.Millisecond) != step.left {
			t.Errorf("after %d more zones: %+v, %s left; want %+v, %s", step.taken, got, got.Left(), step.want, step.left)
		}
	}
	if got := after(time.Second, 10); got != nil {
		t.Errorf("in the end: %+v", got)
	}
	left = 200
	if got := after(time.Second, 0); got == nil || *got != (health.Fill{Zones: 200}) {
		t.Errorf("the next fill is %+v", got)
	}
}

// Zones on their way in batches are left, though they wait in no queue.
func TestBatchesAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const zones = 20
		s := &Secondary{Node: &node.Node{Failures: &node.Failures{}}, refills: work.NewSchedule()}
		rest := func(ctx context.Context, name zone.Name, _ job) {
			_, resume := s.jobs.Rest(ctx, name)
			<-ctx.Done()
			resume()
		}
		merge := func(_, newer job) job { return newer }
		s.jobs = &work.Runner[job]{Queue: work.NewQueue(1, zones, rest, merge, func(zone.Name, job) {})}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.jobs.Run(ctx) }()
		for i := range zones {
			s.jobs.Submit(ctx, roletest.Numbered(i), job{}, work.Background)
		}
		synctest.Wait()
		if left := s.waiting(); left != zones {
			t.Errorf("%d zones are left of %d", left, zones)
		}
		stop()
		must.OK(t, <-ended)
	})
}
