package node

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/health"
)

// A count is as fresh as is asked for, where that takes no more than its share of the time, and else says how old it
// is.
func TestStock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *Stock
		var counts atomic.Int64
		takes := 100 * time.Millisecond
		s = NewStock(20, func() {
			begin := time.Now()
			go func() {
				time.Sleep(takes)
				counts.Add(1)
				s.Put(&health.Inventory{}, begin, nil)
			}()
		})
		get := func(fresh, oldest time.Duration, n int64) {
			t.Helper()
			zones, age, err := s.Get(t.Context(), fresh)
			if err != nil || zones == nil || age > oldest || counts.Load() != n {
				t.Errorf("%s old, and counted %d times, want at most %s and %d: %v", age, counts.Load(), oldest, n, err)
			}
		}
		get(0, takes, 1) // the first
		time.Sleep(time.Minute)
		get(0, time.Minute+takes, 1) // any will do
		get(time.Hour, time.Minute+takes, 1)
		get(time.Millisecond, takes, 2)
		get(time.Millisecond, takes, 3) // it waits for its share of the time
		takes = 10 * time.Second
		time.Sleep(time.Minute)
		get(time.Millisecond, 3*time.Minute, 3) // which takes too long to be waited for
		time.Sleep(time.Minute)
		if counts.Load() != 4 {
			t.Errorf("%d counts", counts.Load())
		}
		get(time.Millisecond, 3*time.Minute, 4) // and does not come again so soon
		s.Put(nil, time.Now(), errors.New("away"))
		if _, _, err := s.Get(t.Context(), 0); err == nil {
			t.Error("a count that failed is taken for one")
		}
	})
}
