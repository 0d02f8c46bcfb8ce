package health

import (
	"fmt"
	"strings"
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

func TestDeletionLimit(t *testing.T) {
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
			l := NewDeletionLimit(test.percent, time.Hour)
			for _, a := range test.asks {
				held := 0
				if !a.want {
					held = a.n
				}
				err := l.Allow(noon.Add(a.after), zones(a.n), 0, a.total)
				if (err == nil) != a.want || l.Held() != held {
					t.Errorf("%+v: %v, %d are held", a, err, l.Held())
				}
				l.Only(nil) // those that are asked for next are others
			}
		})
	}
}

func TestDeletionLimitSaysWhy(t *testing.T) {
	l := NewDeletionLimit(10, time.Hour)
	if err := l.Allow(noon, zones(4), 0, 100); err != nil {
		t.Fatal(err)
	}
	want := "20 of 96 zones (limit 9 within 1h0m0s and never all, 4 used)"
	if err := l.Allow(noon, zones(20), 0, 96); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A deletion that is tried again counts once, while the window lasts.
func TestDeletionLimitCountsOnce(t *testing.T) {
	l := NewDeletionLimit(10, time.Hour)
	gone := zones(3)
	for _, after := range []time.Duration{0, time.Minute, time.Hour} {
		if err := l.Allow(noon.Add(after), gone, 0, 10); err != nil {
			t.Errorf("after %s: %v", after, err)
		}
	}
	if l.Allow(noon.Add(time.Hour), append(gone, zones(1)...), 0, 10) == nil {
		t.Error("one more was allowed")
	}
}

func TestConfirmedDeletions(t *testing.T) {
	l := NewDeletionLimit(10, time.Hour)
	all := zones(1000)
	if l.Allow(noon, all, 0, 1000) == nil {
		t.Fatal("all at once")
	}
	l.Confirm(noon, 10*time.Minute, 1100)
	if err := l.Allow(noon.Add(10*time.Minute-1), all, 0, 1000); err != nil || l.Held() != 0 {
		t.Errorf("%d are held after the operator confirmed: %v", l.Held(), err)
	}
	if l.Allow(noon.Add(10*time.Minute), zones(1000), 0, 1000) == nil {
		t.Error("the operator confirmed holds for ever")
	}
	l.Only(nil)
	if err := l.Allow(noon.Add(10*time.Minute), zones(100), 0, 1000); err != nil {
		t.Errorf("deletions under the operator confirmed were counted: %v", err)
	}
}

// A confirmation is for so many zones, and a deletion that is tried again does not use it up twice.
func TestConfirmationCounts(t *testing.T) {
	l := NewDeletionLimit(10, time.Hour)
	first, second := zones(20), zones(21)
	l.Confirm(noon, 10*time.Minute, 40)
	for range 2 {
		if err := l.Allow(noon, first, 0, 100); err != nil {
			t.Error(err)
		}
	}
	if l.Allow(noon, second, 0, 100) == nil {
		t.Error("21 were allowed, and 20 were left")
	}
	l.Only(second[:20])
	if err := l.Allow(noon, second[:20], 0, 100); err != nil {
		t.Error(err)
	}
	if l.Allow(noon.Add(time.Minute), zones(11), 0, 100) == nil {
		t.Error("more than was confirmed was allowed")
	}
	l.Only(nil)
	if err := l.Allow(noon.Add(time.Minute), zones(10), 0, 100); err != nil {
		t.Errorf("what needs no confirmation: %v", err)
	}
}

// What was allowed before is not held because others are.
func TestAllowedBesideHeld(t *testing.T) {
	l := NewDeletionLimit(10, time.Hour)
	allowed := zones(10)
	for _, again := range []bool{false, true} {
		if err := l.Allow(noon, allowed, 0, 100); err != nil {
			t.Fatalf("again %v: %v", again, err)
		}
		if l.Allow(noon, zones(1), 0, 90) == nil {
			t.Fatal("an eleventh of 100 was allowed")
		}
	}
	if l.Held() != 2 {
		t.Errorf("%d are held", l.Held())
	}
}

// What one primary holds another one does not let pass, unless an operator confirms it there.
func TestHeldElsewhere(t *testing.T) {
	l := NewDeletionLimit(10, time.Hour)
	gone := zones(2)
	l.HeldElsewhere(noon.Add(time.Minute))
	if err := l.Allow(noon, gone, 0, 100); err == nil || !strings.Contains(err.Error(), "another primary holds deletions") {
		t.Errorf("let pass: %v", err)
	}
	l.Confirm(noon, time.Minute, 1)
	if l.Allow(noon, gone, 0, 100) == nil {
		t.Error("a confirmation for one let two pass")
	}
	l.Confirm(noon, time.Minute, 2)
	if err := l.Allow(noon, gone, 0, 100); err != nil {
		t.Errorf("confirmed: %v", err)
	}
	if l.Allow(noon, zones(1), 0, 98) == nil {
		t.Error("one more was let pass")
	}
	if err := l.Allow(noon.Add(time.Minute), zones(1), 0, 98); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestHeldZones(t *testing.T) {
	l := NewDeletionLimit(10, time.Hour)
	gone := zones(50)
	if l.Allow(noon, gone, 0, 100) == nil {
		t.Fatal("50 of 100")
	}
	for _, one := range [][]zone.Name{gone[:1], gone[7:8], zones(1)} {
		if l.Allow(noon, one, 0, 100) == nil {
			t.Fatal("one by one what is held is let pass")
		}
	}
	l.Only(gone)
	for after, want := range map[time.Duration]bool{0: false, 14 * time.Second: false, 15 * time.Second: true, time.Hour: true, time.Hour + 1: false} {
		if got := l.Holds(noon.Add(after), gone[0], 15*time.Second); got != want {
			t.Errorf("after %s: %v", after, got)
		}
	}
	l.Allow(noon.Add(50*time.Minute), gone[:40], 0, 100) // refused again, and since then as before
	if !l.Holds(noon.Add(2*time.Hour-11*time.Minute), gone[0], time.Hour) {
		t.Error("a zone that is refused again and again is not held")
	}
	l.Only(gone[1:40])
	l.Release(gone[39])
	if l.Holds(noon.Add(51*time.Minute), gone[0], 0) || l.Holds(noon.Add(51*time.Minute), gone[39], 0) || l.Held() != 38 {
		t.Errorf("a zone that is there is held, or %d are", l.Held())
	}
	l.Confirm(noon.Add(52*time.Minute), time.Minute, 40)
	if err := l.Allow(noon.Add(52*time.Minute), gone[:40], 0, 100); err != nil || l.Holds(noon.Add(53*time.Minute), gone[1], 0) {
		t.Errorf("a zone that may be deleted is held: %v", err)
	}
}

func TestOrderLimit(t *testing.T) {
	o := NewOrderLimit(3, 10, time.Hour)
	few, many := zones(4), zones(30)
	for i, name := range few {
		if got, want := o.Allow(noon, "p1", name, 20), i < 3; got != want {
			t.Errorf("deletion %d of 20 zones: %v", i+1, got)
		}
	}
	if !o.Allow(noon, "p1", few[0], 20) {
		t.Error("the same deletion again does not count")
	}
	if !o.Allow(noon, "p2", few[3], 20) {
		t.Error("another proxy has a limit of its own")
	}
	for i, name := range many {
		if got, want := o.Allow(noon, "p3", name, 200), i < 20; got != want {
			t.Errorf("deletion %d of 200 zones: %v", i+1, got)
		}
	}
	if !o.Allow(noon.Add(time.Hour+expirePause), "p1", few[3], 20) {
		t.Error("the limit is for an hour")
	}
}
