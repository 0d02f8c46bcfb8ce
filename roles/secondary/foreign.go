package secondary

import (
	"slices"
	"time"

	"pdns-distribute/powerdns/zone"
)

// foreign are zones of PowerDNS that others made and that nobody published. One that is published is taken over in
// time: which of them will be, nobody says here. So they are shown only once a while has passed in which none was. It
// is not safe for concurrent use.
type foreign struct {
	patience time.Duration           // how long nobody publishes any of the zones before they are shown
	since    map[zone.Name]time.Time // when a review found the zone first
	taken    time.Time               // when a review last found that one of them had been published
}

// foreignReviews is for how many intervals of reviews nobody publishes any of the zones before they are shown.
const foreignReviews = 3

// review takes what a review found, of which known are the published zones.
func (f *foreign) review(names []zone.Name, known map[zone.Name]bool, at time.Time) {
	since := make(map[zone.Name]time.Time, len(names))
	for _, name := range names {
		since[name] = at
		if before, is := f.since[name]; is {
			since[name] = before
		}
	}
	for name := range f.since {
		if known[name] {
			f.taken = at
		}
	}
	f.since = since
}

// unclaimed returns those that nobody is going to publish, as far as that shows, in order. following is since when
// published states are received.
func (f *foreign) unclaimed(now, following time.Time) (names []zone.Name) {
	if now.Sub(f.taken) < f.patience || now.Sub(following) < f.patience {
		return nil
	}
	for name, since := range f.since {
		if now.Sub(since) >= f.patience {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
