package health

import (
	"slices"
	"time"
)

// Compared is what came of comparing all sources of all nodes the last time. It is of one size, however many there are.
type Compared struct {
	At         time.Time `json:"at,omitzero"`          // when the oldest comparison of these ended
	Sources    int       `json:"sources"`              // counted and compared with what is published
	Nodes      int       `json:"nodes"`                // that they are at
	Zones      int       `json:"zones"`                // that are published
	OnWay      int       `json:"on_way,omitempty"`     // differences that were changes on their way
	Differ     []string  `json:"differ,omitempty"`     // the first that differ, such as "ns1, own copy: 2 missing"
	Unanswered []string  `json:"unanswered,omitempty"` // the first that could not be compared, and why
}

// maxNamed is how many sources are named.
const maxNamed = 5

func (c *Compared) bound() {
	c.Differ = bounded(c.Differ[:min(len(c.Differ), maxNamed)])
	c.Unanswered = bounded(c.Unanswered[:min(len(c.Unanswered), maxNamed)])
}

// Whole reports whether all sources were compared, not longer ago than age, and are equal.
func (c *Compared) Whole(now time.Time, age time.Duration) bool {
	return c != nil && c.Sources > 0 && len(c.Differ)+len(c.Unanswered) == 0 && now.Sub(c.At) <= age
}

// SameFaults reports whether both comparisons found the same wrong with as many nodes. Either may be nil.
func (c *Compared) SameFaults(other *Compared) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.Nodes == other.Nodes && slices.Equal(c.Differ, other.Differ) && slices.Equal(c.Unanswered, other.Unanswered)
}
