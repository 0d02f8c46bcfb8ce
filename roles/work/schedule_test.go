package work

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/roletest"
)

func TestSchedule(t *testing.T) {
	a := NewSchedule()
	take := func(now time.Time, want ...zone.Name) {
		t.Helper()
		got := a.Take(now)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("due are %v, want %v", got, want)
		}
	}
	take(roletest.Noon)
	a.Add(roletest.Named("a"), roletest.Noon)
	a.Add(roletest.Named("b"), roletest.Noon.Add(time.Minute))
	if len(a.Added) != 1 {
		t.Error("who waits for it is not told")
	}
	take(roletest.Noon.Add(-1))
	take(roletest.Noon, roletest.Named("a"))
	take(roletest.Noon)
	take(roletest.Noon.Add(time.Minute), roletest.Named("b"))
	a.Add(roletest.Named("a"), roletest.Noon) // its attempt failed
	take(roletest.Noon.Add(time.Minute), roletest.Named("a"))
	a.Suggest(roletest.Named("b"), roletest.Noon) // taken and not done: it is being worked on
	take(roletest.Noon.Add(time.Hour))
	a.Done(roletest.Named("a"))
	a.Done(roletest.Named("b"))
	a.Suggest(roletest.Named("b"), roletest.Noon)
	a.Suggest(roletest.Named("b"), roletest.Noon.Add(time.Hour))
	take(roletest.Noon, roletest.Named("b"))
	a.Add(roletest.Named("c"), roletest.Noon)
	a.Done(roletest.Named("c")) // before it was due
	take(roletest.Noon.Add(time.Hour))
}

func TestHastenedSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewSchedule()
		a.Add(roletest.Named("taken"), time.Now())
		a.Take(time.Now())
		a.Add(roletest.Named("later"), time.Now().Add(time.Hour))
		a.Hasten()
		if due := a.Take(time.Now()); !slices.Equal(due, []zone.Name{roletest.Named("later")}) {
			t.Errorf("due are %v", due)
		}
	})
}

func TestTakeOne(t *testing.T) {
	a, now := NewSchedule(), time.Now()
	a.Add(roletest.Named("later"), now.Add(time.Second))
	a.Add(roletest.Named("now"), now)
	if name, ok := a.TakeOne(now); !ok || name != roletest.Named("now") {
		t.Errorf("took %q, %v", name, ok)
	}
	if name, ok := a.TakeOne(now); ok {
		t.Errorf("took %s, which is not due", name)
	}
	if name, ok := a.TakeOne(now.Add(time.Second)); !ok || name != roletest.Named("later") {
		t.Errorf("took %q, %v", name, ok)
	}
}

// What is added is seen at once, and what becomes due within a tick.
func TestWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewSchedule()
		ctx, stop := context.WithCancel(t.Context())
		due := make(chan zone.Name, 2)
		go a.WhenDue(ctx, a.TakeAway, func(name zone.Name) { due <- name })
		want := func(names ...zone.Name) {
			t.Helper()
			synctest.Wait()
			for _, name := range names {
				if len(due) == 0 || <-due != name {
					t.Errorf("%s is not due", name)
				}
			}
			if len(due) > 0 {
				t.Errorf("%s is due too early", <-due)
			}
		}
		a.Add(roletest.Named("later"), time.Now().Add(5*time.Second))
		a.Suggest(roletest.Named("now"), time.Now())
		want(roletest.Named("now"))
		time.Sleep(4 * time.Second)
		want()
		time.Sleep(2 * time.Second)
		want(roletest.Named("later"))
		stop()
		synctest.Wait()
	})
}
