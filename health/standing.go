package health

import (
	"time"

	"pdns-distribute/powerdns/zone"
)

// Standing tells apart what has differed in the same way for a while and what is only on its way: a zone that changes
// between two counts differs in another way each time, or not at all. It is for one goroutine.
type Standing struct {
	first map[sight]time.Time
	next  map[sight]time.Time // what this round has seen
}

// sight is one difference as it was seen.
type sight struct {
	source    Source
	zone      zone.Name
	want, has Version
	is, ought bool
}

// Begin begins a round. What the round before did not see is forgotten.
func (s *Standing) Begin() {
	s.first, s.next = s.next, map[sight]time.Time{}
}

// See notes a difference that a source showed which was counted at that time. It returns since when the difference
// stands; the zero time means that it may be on its way: it was not seen before the source was counted.
func (s *Standing) See(now, counted time.Time, source Source, d Difference) (since time.Time) {
	key := sight{source: source, zone: d.Zone, is: d.Has != nil, ought: d.Want != nil}
	if d.Want != nil {
		key.want = d.Want.Version
	}
	if d.Has != nil {
		key.has = d.Has.Version
	}
	first, seen := s.first[key]
	if !seen {
		first = now
	}
	s.next[key] = first
	if !seen || !counted.After(first) {
		return time.Time{}
	}
	return first
}

// Open returns how many differences this round has seen.
func (s *Standing) Open() int { return len(s.next) }
