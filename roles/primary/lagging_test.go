package primary

import (
	"errors"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/roletest"
)

// Zones that looked old once and were not looked at again are forgotten.
func TestLaggingForgets(t *testing.T) {
	l := newLagging()
	for n := range 100 {
		if err := l.suspect(roletest.Noon, roletest.Numbered(n), "it was created, and is not there"); !errors.Is(err, errLagging) {
			t.Error(err)
		}
	}
	later := roletest.Noon.Add(3 * lagPatience)
	if err := l.suspect(later, roletest.Numbered(7), "it was created, and is not there"); !errors.Is(err, errLagging) || len(l.zones) != 1 {
		t.Errorf("%v, %d zones are suspected", err, len(l.zones))
	}
}

func TestLowerSerialIsBelievedAfterAWhile(t *testing.T) {
	l, name := newLagging(), roletest.Named("a")
	at10 := index.Published{Seq: 5, Header: broker.StateHeader{Kind: broker.KindZone, Serial: 10}}
	at11 := index.Published{Seq: 6, Header: broker.StateHeader{Kind: broker.KindZone, Serial: 11}}
	gone := index.Published{Seq: 7, Header: broker.StateHeader{Kind: broker.KindGone, Serial: 10}}
	for _, step := range []struct {
		what    string
		after   time.Duration
		serial  uint32
		before  index.Published
		created bool
		believe bool
	}{
		{"newer", 0, 11, at10, false, true},
		{"the same", 0, 10, at10, false, true},
		{"wrapped around", 0, 10, index.Published{Seq: 1, Header: broker.StateHeader{Kind: broker.KindZone, Serial: 1<<32 - 1}}, false, true},
		{"lower", 0, 9, at10, false, false},
		{"lower for long", lagPatience - 1, 9, at10, false, false},
		{"caught up", lagPatience, 10, at10, false, true},
		{"lower anew", lagPatience, 9, at10, false, false},
		{"lower and created", lagPatience, 9, at10, true, true},
		{"lower after that", 2 * lagPatience, 9, at10, false, false},
		{"lower for long enough", 3 * lagPatience, 9, at10, false, true},
		{"lower, forgotten", 3 * lagPatience, 9, at10, false, false},
		{"lower than another version", time.Hour, 9, at11, false, false},
		{"lower than that for long enough", time.Hour + lagPatience, 9, at11, false, true},
		{"lower than what was deleted", time.Hour, 9, gone, false, true},
		{"never published", time.Hour, 9, index.Published{}, false, true},
	} {
		j := job{cause: causeChanged}
		if step.created {
			j.shown = &step.serial
		}
		err := l.check(roletest.Noon.Add(step.after), name, step.serial, step.before, j)
		if (err == nil) != step.believe || err != nil && !errors.Is(err, errLagging) {
			t.Errorf("%s: %v, want it believed: %v", step.what, err, step.believe)
		}
	}
}
