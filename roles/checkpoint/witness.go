package checkpoint

import (
	"time"

	"pdns-distribute/powerdns/zone"
)

// witness is what the checkpoints of one key have shown.
type witness struct {
	at       time.Time // of the last checkpoint, by the primary's clock
	received time.Time
	zones    int
	differs  [zone.Buckets]difference // as of the last one of a primary that had compared everything

	// partial: the primary does not know all itself at this moment, so nothing new is said to be wrong by it. What
	// differed goes on to: a broker that has it compare everything again and again would hide by that what it
	// withholds.
	partial bool
}

// difference is that a bucket is not as it was signed. The zero value: it is.
type difference struct {
	since  time.Time
	shown  time.Time // by the last checkpoint that was compared
	began  time.Time // the same by the host's clock
	asOf   time.Time // of the first checkpoint that showed it
	raised bool
}

func (d difference) is() bool { return !d.since.IsZero() }

// stands reports whether a later checkpoint showed the difference, too: of a primary that signs no more, since another
// one acts, nobody knows whether it is over.
func (d difference) stands() bool { return d.shown.Sub(d.since) >= patience }

// compare notes which buckets differ from what the store holds. Where another primary's clock is ahead, so that the
// ledger is past this checkpoint, what is equal is equal, and what is not may have changed since.
func (w *witness) compare(now time.Time, c zone.Checkpoint, ledger *zone.Ledger) {
	ledger.Advance(c.AsOf())
	sums, asOf := ledger.Sums()
	for i := range sums {
		switch d := &w.differs[i]; {
		case sums[i] == c.Sums[i]:
			*d = difference{}
		case !d.is() && asOf.Equal(c.AsOf()):
			*d = difference{since: now, shown: now, began: time.Now(), asOf: asOf}
		case d.is():
			d.shown = now
		}
	}
}

// raise counts the buckets that differ, and those for which there is no excuse any more: not before they are equal.
func (w *witness) raise(excused func(difference) bool) (differing, raised int) {
	for i := range w.differs {
		d := &w.differs[i]
		if !d.is() {
			continue
		}
		differing++
		if d.raised = d.raised || !w.partial && d.stands() && !excused(*d); d.raised {
			raised++
		}
	}
	return differing, raised
}

// first returns when the oldest difference began, by the host's clock, and as of which time of the primary's.
func (w *witness) first() (began, asOf time.Time) {
	for _, d := range w.differs {
		if d.is() && (began.IsZero() || d.began.Before(began)) {
			began, asOf = d.began, d.asOf
		}
	}
	return began, asOf
}

// credible returns the witnesses whose last checkpoint is fresh; if there is none, all: what was wrong does not get
// right by silence.
func credible(witnesses map[zone.TrustedKey]*witness, now time.Time) (fresh []*witness) {
	var all []*witness
	for _, w := range witnesses {
		all = append(all, w)
		if now.Sub(w.received) < silence {
			fresh = append(fresh, w)
		}
	}
	if len(fresh) == 0 {
		return all
	}
	return fresh
}
