package health

import (
	"fmt"
	"testing"
	"time"

	"pdns-distribute/powerdns/zone"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// zones are n that no other call names.
func zones(n int) (names []zone.Name) {
	for range n {
		named++
		names = append(names, zone.MustParseName(fmt.Sprintf("z%d.example", named)))
	}
	return names
}

var named int

// ask is one request for leave, and whether it must be granted.
type ask struct {
	after    time.Duration // since noon
	n, total int
	want     bool
}

func TestBrake(t *testing.T) {
	for what, test := range map[string]struct {
		percent int
		asks    []ask
	}{
		"percent of all zones":                {10, []ask{{0, 100, 1000, true}, {0, 1, 900, false}}},
		"more at once than allowed":           {10, []ask{{0, 101, 1000, false}, {0, 100, 1000, true}}},
		"all or none":                         {10, []ask{{0, 60, 1000, true}, {0, 60, 1000, false}, {0, 40, 1000, true}}},
		"three of few":                        {10, []ask{{0, 3, 5, true}, {0, 1, 5, false}}},
		"none with no percent":                {0, []ask{{0, 1, 1000, false}}},
		"all of few":                          {10, []ask{{0, 2, 2, false}, {0, 1, 1, false}}},
		"all, whatever the percent":           {100, []ask{{0, 1000, 1000, false}, {0, 999, 1000, true}}},
		"of zones that are not published now": {10, []ask{{0, 2, 0, false}, {0, 2, 1, false}}},
		"again after the window":              {10, []ask{{0, 100, 1000, true}, {time.Hour, 1, 1000, false}, {time.Hour + 1, 100, 1000, true}}},
		"one by one out of the window": {1, []ask{
			{0, 1, 50, true}, {20 * time.Minute, 2, 50, true}, {30 * time.Minute, 1, 50, false},
			{61 * time.Minute, 1, 50, true}, {62 * time.Minute, 1, 50, false}, {81 * time.Minute, 2, 50, true}}},
		"what was refused is not counted": {10, []ask{{0, 1000, 10_000, true}, {0, 50, 100, false}, {61 * time.Minute, 10, 100, true}}},
		"nothing":                         {10, []ask{{0, 0, 100, true}}},
	} {
		t.Run(what, func(t *testing.T) {
			b := NewBrake(test.percent, time.Hour)
			for _, a := range test.asks {
				held := 0
				if !a.want {
					held = a.n
				}
				err := b.Allow(noon.Add(a.after), zones(a.n), 0, a.total)
				if (err == nil) != a.want || b.Held() != held {
					t.Errorf("%+v: %v, %d are held", a, err, b.Held())
				}
			}
		})
	}
}

func TestBrakeTellsWhy(t *testing.T) {
	b := NewBrake(10, time.Hour)
	if err := b.Allow(noon, zones(4), 0, 100); err != nil {
		t.Fatal(err)
	}
	want := "20 of 96; at most 9 may be within 1h0m0s, never all, and 4 were"
	if err := b.Allow(noon, zones(20), 0, 96); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A deletion that is tried again counts once, while the window lasts.
func TestBrakeCountsOnce(t *testing.T) {
	b := NewBrake(10, time.Hour)
	gone := zones(3)
	for _, after := range []time.Duration{0, time.Minute, time.Hour} {
		if err := b.Allow(noon.Add(after), gone, 0, 10); err != nil {
			t.Errorf("after %s: %v", after, err)
		}
	}
	if b.Allow(noon.Add(time.Hour), append(gone, zones(1)...), 0, 10) == nil {
		t.Error("one more was allowed")
	}
}

func TestReleasedBrake(t *testing.T) {
	b := NewBrake(10, time.Hour)
	if b.Allow(noon, zones(1000), 0, 1000) == nil {
		t.Fatal("all at once")
	}
	b.Release(noon, 10*time.Minute)
	if err := b.Allow(noon.Add(10*time.Minute-1), zones(1000), 0, 1000); err != nil || b.Held() != 0 {
		t.Errorf("%d are held after the operator's word: %v", b.Held(), err)
	}
	if b.Allow(noon.Add(10*time.Minute), zones(1000), 0, 1000) == nil {
		t.Error("the operator's word holds for ever")
	}
	if err := b.Allow(noon.Add(10*time.Minute), zones(100), 0, 1000); err != nil {
		t.Errorf("deletions under the operator's word were counted: %v", err)
	}
}
