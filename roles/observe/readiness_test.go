package observe_test

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/roles/observe"
)

func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().UTC()
		ready := observe.NewReadiness("powerdns", "broker")
		time.Sleep(time.Minute)
		ready.Set("powerdns", "401 from the API")
		ready.Set("state", "disk full")
		want := []observe.Reason{
			{What: "broker", Why: "starting", Since: start},
			{What: "powerdns", Why: "401 from the API", Since: start},
			{What: "state", Why: "disk full", Since: start.Add(time.Minute)},
		}
		if got := ready.Reasons(); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}

		for _, what := range []string{"broker", "powerdns", "state", "never set"} {
			ready.Clear(what)
		}
		if got := ready.Reasons(); len(got) != 0 {
			t.Errorf("got %v", got)
		}
		ready.Set("broker", "lost")
		if got := ready.Reasons()[0].Since; !got.Equal(start.Add(time.Minute)) {
			t.Errorf("since %v: not counted anew", got)
		}
	})
}

func TestReadinessIsSafeForConcurrentUse(t *testing.T) {
	ready := observe.NewReadiness()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 100 {
				ready.Set(fmt.Sprint(i), "why")
				ready.Reasons()
				ready.Clear(fmt.Sprint(i))
			}
		})
	}
	group.Wait()
	if got := ready.Reasons(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
