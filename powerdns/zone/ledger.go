package zone

import (
	"container/heap"
	"hash/fnv"
	"sync"
	"time"
)

// Ledger keeps the sums of all zones' versions as of a time that goes on. A primary and a secondary that were given the
// same versions have the same sums as of the same time, in whatever order they were given: what counts is when a
// version was published.
//
// A zone counts with the newest version that was published by that time, unless that was within calm before it: a
// secondary skips versions of a zone that changes quickly, and could not know which one it was. It is safe for
// concurrent use.
type Ledger struct {
	mu      sync.Mutex
	asOf    int64 // ms since 1970
	zones   map[Name]ledgerEntry
	there   int      // zones whose newest version is no tombstone
	coming  arrivals // what has to be done when asOf goes on
	buckets [Buckets]ltHash
	sums    Sums
	stale   [Buckets]bool // buckets whose sum was not taken since they changed
	scratch expansion
}

// calm is how long a zone must not have changed to count.
const calm = 5 * time.Second

// ledgerEntry is what is known of a zone: of the newest version, of the one as of the ledger's time, and its element
// if it counts.
type ledgerEntry struct {
	newest, current int64 // when they were published, ms
	element         Element
	counts          bool
	gone            bool // the newest is a tombstone
}

// NewLedger begins as of a time: versions published before it need not be kept apart.
func NewLedger(asOf time.Time) *Ledger {
	l := &Ledger{asOf: asOf.UnixMilli(), zones: map[Name]ledgerEntry{}}
	for i := range l.stale {
		l.stale[i] = true
	}
	return l
}

// Bucket is the one that a zone is in.
func Bucket(name Name) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return int(h.Sum32() % Buckets)
}

// Note takes a version, unless a newer one of the zone is known: a broker that goes back does not take the ledger with
// it. now is the primaries' time: what is dated ahead of that counts from then on. late reports that the ledger was
// past the version's time already.
func (l *Ledger) Note(v Version, now time.Time) (late bool) {
	element := v.element()
	l.mu.Lock()
	defer l.mu.Unlock()
	published := v.Published.UnixMilli()
	e, known := l.zones[v.Name]
	if known && published <= e.newest {
		return false
	}
	l.there += present(v.Gone) - present(!known || e.gone)
	e.newest, e.gone = published, v.Gone
	l.zones[v.Name] = e
	from := min(published, now.UnixMilli())
	heap.Push(&l.coming, arrival{at: from, name: v.Name, published: published, element: element, gone: v.Gone})
	l.goOn()
	return from <= l.asOf
}

func present(gone bool) int {
	if gone {
		return 0
	}
	return 1
}

// Forget drops a zone that is gone.
func (l *Ledger) Forget(name Name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, known := l.zones[name]; known && e.gone && e.current == e.newest {
		delete(l.zones, name)
	}
}

// Zones is how many are there, by the newest version of each.
func (l *Ledger) Zones() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.there
}

// Advance has the ledger go on to a time; it never goes back. Until then it remembers what was published after the
// time that it is at.
func (l *Ledger) Advance(to time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asOf = max(l.asOf, to.UnixMilli())
	l.goOn()
}

// Checkpoint is what a primary signs at a time of its clock. Where the clock was set back it is that of the ledger.
func (l *Ledger) Checkpoint(now time.Time) Checkpoint {
	l.Advance(now.Add(-settling))
	sums, asOf := l.Sums()
	return Checkpoint{At: asOf.Add(settling), Complete: true, Zones: uint32(l.Zones()), Sums: sums}
}

// Sums returns them, and as of when they are.
func (l *Ledger) Sums() (sums Sums, asOf time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, stale := range l.stale {
		if stale {
			l.sums[i], l.stale[i] = l.buckets[i].sum(), false
		}
	}
	return l.sums, time.UnixMilli(l.asOf).UTC()
}

// goOn does what is due by the ledger's time.
func (l *Ledger) goOn() {
	for len(l.coming) > 0 && l.coming[0].at <= l.asOf {
		a := heap.Pop(&l.coming).(arrival)
		if a.calm {
			l.count(a)
		} else {
			l.replace(a)
		}
	}
}

// replace makes a version the current one of its zone. From now on the one before does not count any more.
func (l *Ledger) replace(a arrival) {
	e := l.zones[a.name]
	if a.published < e.current {
		return
	}
	if e.counts {
		l.bucket(a.name).remove(l.scratch.of(e.element))
	}
	e.current, e.counts, e.element = a.published, false, Element{}
	l.zones[a.name] = e
	if !a.gone {
		a.at, a.calm = a.at+calm.Milliseconds(), true
		heap.Push(&l.coming, a)
	}
}

// count has a version count that still is the current one.
func (l *Ledger) count(a arrival) {
	e := l.zones[a.name]
	if e.current != a.published || e.counts {
		return
	}
	l.bucket(a.name).add(l.scratch.of(a.element))
	e.counts, e.element = true, a.element
	l.zones[a.name] = e
}

func (l *Ledger) bucket(name Name) *ltHash {
	i := Bucket(name)
	l.stale[i] = true
	return &l.buckets[i]
}

// arrival is a version that becomes its zone's current one at a time, or, when calm, that counts from then on.
type arrival struct {
	at        int64 // ms
	name      Name
	published int64
	element   Element
	gone      bool
	calm      bool
}

// arrivals are a heap, the earliest first. What comes to pass at one time does so in the order of publication.
type arrivals []arrival

func (a arrivals) Len() int { return len(a) }
func (a arrivals) Less(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].published < a[j].published
}
func (a arrivals) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *arrivals) Push(x any)   { *a = append(*a, x.(arrival)) }
func (a *arrivals) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}
