package page

import (
	"fmt"
	"slices"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

const (
	// changesKept bounds the changes that are followed and shown.
	changesKept = 2000

	// announced is how old a state may be that a secondary serves before this role has heard that it is published.
	announced = time.Minute
)

// Change is one published state, and how far it has come.
type Change struct {
	Zone       zone.Name `json:"zone"`
	At         time.Time `json:"at"` // when it was published, by the primary's clock
	Serial     uint32    `json:"serial"`
	Gone       bool      `json:"gone,omitempty"`
	Background bool      `json:"background,omitempty"` // nobody waits for it
	Cause      string    `json:"cause,omitempty"`      // why the primary looked at the zone
	By         string    `json:"by,omitempty"`         // who reported that the zone has changed

	Expected int           `json:"expected"`        // secondaries that were active
	Served   int           `json:"served"`          // how many serve it
	After    time.Duration `json:"after,omitempty"` // from its publication until the last one of these did
	Replaced bool          `json:"replaced,omitempty"`

	by nodeSet // who serves it
}

// Done reports whether all serve it.
func (c Change) Done() bool { return c.Served >= c.Expected && c.Served > 0 }

// causes are those of primaries, in words.
var causes = map[string]string{
	"": "changed", "changed": "changed", "deleted": "deleted", "gone": "found missing", "ordered": "ordered again",
	"sweep": "found by a sweep", "notify": "changed, by NOTIFY", "retry": "tried again", "scrub": "found by a scrub",
	"renew": "signatures renewed", "alias": "ALIAS target moved",
}

// What says what has changed.
func (c Change) What() string {
	text, known := causes[c.Cause]
	switch {
	case !known:
		text = c.Cause
	case c.Cause == "" && c.Background:
		text = "in the background"
	}
	if c.Gone && c.Cause != "deleted" && c.Cause != "gone" {
		return "deleted"
	}
	return text
}

// Key tells changes apart.
func (c Change) Key() string { return c.Zone.String() + c.At.UTC().Format(time.RFC3339Nano) }

// Progress says how far the change has come.
func (c Change) Progress() string {
	switch {
	case c.Done():
		return fmt.Sprintf("at %d in %s", c.Served, short(c.After))
	case c.Replaced:
		return "replaced by a later one"
	case c.Expected == 0:
		return "no active secondary"
	}
	return fmt.Sprintf("at %d of %d", c.Served, c.Expected)
}

// overdue is after what time a change that not all serve is shown as bad.
const overdue = time.Minute

// Level is how bad that is.
func (c Change) Level() string {
	switch {
	case c.Done():
		return good.String()
	case c.Replaced:
		return unknown.String()
	case time.Since(c.At) > overdue && !c.Background:
		return bad.String()
	}
	return fair.String()
}

// nodeSet is a set of nodes by their numbers.
type nodeSet [health.MaxNodes / 64]uint64

// add reports whether the node was not in the set.
func (s *nodeSet) add(n int) bool {
	word, bit := &s[n/64], uint64(1)<<(n%64)
	had := *word&bit != 0
	*word |= bit
	return !had
}

// fill puts all nodes into the set.
func (s *nodeSet) fill() {
	for i := range s {
		s[i] = ^uint64(0)
	}
}

// changes are the last ones, in a ring. Who locks a History may use it.
type changes struct {
	ring    []Change
	next    int               // where the next one goes
	newest  map[zone.Name]int // in the ring
	numbers map[string]int    // of nodes
}

func newChanges() changes { return changes{newest: map[zone.Name]int{}, numbers: map[string]int{}} }

// published takes a state. It may be known already, by a secondary that was faster.
func (l *changes) published(c Change, expected int) {
	if at, known := l.newest[c.Zone]; known {
		before := &l.ring[at]
		switch {
		case before.At.After(c.At):
			return
		case before.At.Equal(c.At):
			before.Cause, before.By, before.Background, before.Serial = c.Cause, c.By, c.Background, c.Serial
			return
		}
		before.Replaced = !before.Done()
	}
	c.Expected = expected
	l.add(c)
}

func (l *changes) add(c Change) {
	if len(l.ring) < changesKept {
		l.ring = append(l.ring, c)
		l.newest[c.Zone] = len(l.ring) - 1
		return
	}
	if oldest := l.ring[l.next]; l.newest[oldest.Zone] == l.next {
		delete(l.newest, oldest.Zone)
	}
	l.ring[l.next], l.newest[c.Zone] = c, l.next
	l.next = (l.next + 1) % changesKept
}

// served takes what a node serves. first reports whether that is news, live whether it is of a change that somebody may
// have waited for.
func (l *changes) served(node string, a health.Applied, after time.Duration, expected int) (live, first bool) {
	at, known := l.newest[a.Zone]
	if !known || l.ring[at].At.Before(a.Published) {
		if after > announced {
			return false, false // it is being filled, or was asked
		}
		l.published(Change{Zone: a.Zone, At: a.Published, Serial: a.Serial, Gone: a.Gone}, expected)
		at = l.newest[a.Zone]
	}
	c := &l.ring[at]
	number, is := l.number(node)
	if !is || !c.At.Equal(a.Published) || !c.by.add(number) {
		return false, false
	}
	c.Served++
	c.After = max(c.After, after)
	return !c.Background, true
}

func (l *changes) number(node string) (n int, is bool) {
	n, is = l.numbers[node]
	if !is && len(l.numbers) < health.MaxNodes {
		n, is = len(l.numbers), true
		l.numbers[node] = n
	}
	return n, is
}

// last returns the newest ones first.
func (l *changes) last(most int) []Change {
	ordered := slices.Concat(l.ring[l.next:], l.ring[:l.next])
	slices.Reverse(ordered)
	return ordered[:min(len(ordered), most)]
}
