package proxy

import (
	"sync"
	"testing"
	"time"
)

func TestDeletionsWithinAnHour(t *testing.T) {
	d := newDeletions()
	now := time.Now()
	d.now = func() time.Time { return now }
	for range 2 {
		if undo, wait := d.reserve("a", 2); undo == nil || wait != 0 {
			t.Fatalf("refused: wait %s", wait)
		}
		now = now.Add(20 * time.Minute)
	}
	if undo, wait := d.reserve("a", 2); undo != nil || wait != 20*time.Minute {
		t.Errorf("a third one within the hour: wait %s", wait)
	}
	undo, _ := d.reserve("b", 1)
	if undo == nil {
		t.Fatal("another key is refused")
	}
	undo()
	if undo, _ := d.reserve("b", 1); undo == nil {
		t.Error("what was not deleted counts")
	}
	now = now.Add(20*time.Minute + 1)
	if undo, _ := d.reserve("a", 2); undo == nil {
		t.Error("what is more than an hour ago counts")
	}
	if undo, wait := d.reserve("a", 1); undo != nil || wait <= 0 || wait > time.Hour {
		t.Errorf("a limit that became smaller: wait %s", wait)
	}
	if undo, wait := d.reserve("c", 0); undo != nil || wait != time.Hour {
		t.Errorf("none allowed: wait %s", wait)
	}
	d.retain(func(key string) bool { return key == "b" })
	if len(d.made) != 1 {
		t.Errorf("%d keys are remembered", len(d.made))
	}
}

func TestDeletionsAtOnce(t *testing.T) {
	d := newDeletions()
	var got sync.Map
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			undo, _ := d.reserve("a", 10)
			if undo != nil && i%2 == 0 {
				undo()
			} else if undo != nil {
				got.Store(i, true)
			}
		})
	}
	all.Wait()
	n := 0
	got.Range(func(any, any) bool { n++; return true })
	if n > 10 || len(d.made["a"]) != n {
		t.Errorf("%d at once, %d are counted", n, len(d.made["a"]))
	}
}
