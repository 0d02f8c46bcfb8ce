package broker

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		stamp time.Time
		want  Clock
	}{
		"equal":             {noon.Add(time.Millisecond), Clock{Known: true}},
		"within the answer": {noon.Add(2 * time.Second), Clock{Known: true}},
		"ours is ahead":     {noon.Add(-time.Minute), Clock{Known: true, Ahead: time.Minute}},
		"ours is behind":    {noon.Add(time.Minute), Clock{Known: true, Ahead: 2*time.Second - time.Minute}},
		"no stamp":          {time.Time{}, Clock{}},
	} {
		if got := newClock(noon, c.stamp, noon.Add(2*time.Second)); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		version string
		want    bool
	}{{"2.15.2", false}, {"2.14.3", false}, {"2.14.2", true}, {"2.9.25", true}, {"3.0.0-beta.1", false}, {"2.14.3-RC.2", false}} {
		if got := older(c.version, oldestServer); got != c.want {
			t.Errorf("%s: %v", c.version, got)
		}
	}
}
