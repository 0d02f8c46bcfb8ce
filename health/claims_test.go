package health

import (
	"testing"
	"time"

	"pdns-distribute/powerdns/zone"
)

// What a primary says to be published and the stream does not have is found, and nothing else.
func TestClaims(t *testing.T) {
	begin, name := time.Now(), zone.MustParseName("a.example")
	at := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Second) }
	state := func(n int) Settled { return Settled{Zone: name, Digest: "d", Published: at(n)} }
	gone, none := Settled{Zone: name, Gone: true, Published: at(3)}, Settled{Zone: name, Gone: true}
	for what, test := range map[string]struct {
		says, first, then Settled
		unfounded         bool
	}{
		"it is there":              {state(1), state(1), state(1), false},
		"it comes a moment later":  {state(1), state(0), state(1), false},
		"a newer one":              {state(1), state(0), state(2), false},
		"it never comes":           {state(1), state(0), state(0), true},
		"the stream has nothing":   {state(1), none, none, true},
		"gone, and it is":          {gone, gone, gone, false},
		"gone, and never was":      {none, none, none, false},
		"gone, and it is there":    {gone, state(1), state(1), true},
		"gone, and made again":     {gone, gone, state(5), false},
		"a touch is still pending": {Settled{Zone: name, Pending: true, Published: at(1)}, none, none, false},
	} {
		c := NewClaims()
		c.Note(at(10), test.says, test.first)
		has := test.then
		look := func(zone.Name) Settled { return has }
		if early := c.Missing(at(19), look); len(early) != 0 {
			t.Errorf("%s: after 9 s", what)
		}
		c.Note(at(20), test.says, has) // said again, which does not make it younger
		if found := c.Missing(at(21), look); (len(found) == 1) != test.unfounded {
			t.Errorf("%s: %+v", what, found)
		}
		has = state(60)
		c.Missing(at(61), look)
		if found := c.Missing(at(90), look); len(found) != 0 {
			t.Errorf("%s, and it was published then: %+v", what, found)
		}
	}
}
