package work_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// Each round looks at each zone once, within the period where that can be done, and no slower than it must.
func TestScrub(t *testing.T) {
	for _, test := range []struct {
		about  string
		zones  int
		look   time.Duration // of one
		period time.Duration
		round  time.Duration // in the end
		late   bool
	}{
		{"few zones take a second each", 10, 0, 24 * time.Hour, 10 * time.Second, false},
		{"large zones take a twentieth of the time", 10, 2 * time.Second, 24 * time.Hour, 420 * time.Second, false},
		{"many zones take the period", 200_000, 10 * time.Millisecond, 24 * time.Hour, 24 * time.Hour, false},
		{"large zones take no longer than the period", 10, 2 * time.Second, time.Minute, time.Minute, false},
		{"too many zones take what they take", 1000, time.Second, time.Minute, 1000 * time.Second, true},
	} {
		t.Run(test.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var log bytes.Buffer
				var ends []time.Duration
				looks := map[zone.Name]int{}
				begin := time.Now()
				err := work.Scrub{
					Period: test.period, Log: zerolog.New(&log),
					Zones: func() (names []zone.Name) {
						for i := range test.zones {
							names = append(names, zone.MustParseName(fmt.Sprintf("z%d", i)))
						}
						return names
					},
					Look: func(_ context.Context, name zone.Name) {
						looks[name]++
						time.Sleep(test.look)
					},
					Ended: func(at time.Time) {
						if ends = append(ends, at.Sub(begin)); len(ends) == 2 {
							cancel()
						}
					},
				}.Run(ctx)
				if err != nil || len(looks) != test.zones {
					t.Fatalf("error %v after %d zones", err, len(looks))
				}
				for name, n := range looks {
					if n != 2 {
						t.Errorf("%s was looked at %d times in two rounds", name, n)
					}
				}
				for i, end := range ends {
					want := time.Duration(i+1) * test.round
					if off := end - want; off.Abs() > test.round/100 {
						t.Errorf("round %d ended after %s, not %s", i, end, want)
					}
				}
				says := strings.Count(log.String(), "takes longer than scrub_period")
				if says > 1 || (says == 1) != test.late {
					t.Errorf("it says %d times that rounds are late: %s", says, log.String())
				}
			})
		})
	}
}

// The first zone of a process is any, and without a period none is looked at.
func TestScrubBegins(t *testing.T) {
	names := []zone.Name{zone.MustParseName("a"), zone.MustParseName("b")}
	firsts := map[zone.Name]bool{}
	for len(firsts) < len(names) { // ends but for a chance of nothing
		ctx, cancel := context.WithCancel(t.Context())
		_ = work.Scrub{
			Period: time.Hour, Zones: func() []zone.Name { return names }, Ended: func(time.Time) {},
			Look: func(_ context.Context, name zone.Name) {
				firsts[name] = true
				cancel()
			},
		}.Run(ctx)
	}
	if err := (work.Scrub{}).Run(t.Context()); err != nil {
		t.Error(err)
	}
}
