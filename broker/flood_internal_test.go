package broker

import (
	"testing"
	"time"
)

// A flood is told from a stream that hangs: requests are done with. Only then the server is not started anew.
func TestFlood(t *testing.T) {
	now := time.Now()
	before := apiLoad{at: now, done: 1000}
	for name, c := range map[string]struct {
		load  apiLoad
		flood bool
	}{
		"cheap requests":          {apiLoad{now.Add(5 * time.Second), 20_000, 3}, true},
		"dear requests":           {apiLoad{now.Add(5 * time.Second), 1_010, 9_000}, true},
		"a fleet":                 {apiLoad{now.Add(5 * time.Second), 1_500, 3}, false},
		"all hang":                {apiLoad{now.Add(5 * time.Second), 1_000, 9_000}, false},
		"one hangs":               {apiLoad{now.Add(5 * time.Second), 1_100, 4}, false},
		"the server began anew":   {apiLoad{now.Add(5 * time.Second), 10, 9_000}, false},
		"the server is not asked": {apiLoad{}, false},
	} {
		if flood := c.load.flood(before); (flood != "") != c.flood {
			t.Errorf("%s: %q", name, flood)
		}
	}
	if flood := before.flood(apiLoad{}); flood != "" {
		t.Errorf("at first: %q", flood)
	}
}
