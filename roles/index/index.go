// Package index is what a role knows to be published: the newest state of each zone, by the headers that the broker
// has of it. [Index.Set] takes each state that the broker delivers; [Index.Get] says what is published of a zone, and
// [Index.StockOf] of all. A primary compares PowerDNS with it, the health role compares all nodes with it. It
// outlives a wiped broker: what secondaries may have is known until a tombstone is too old to matter.
package index

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/dnssec"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// TombstoneTTL is longer than the longest absence of a secondary that heals by itself.
const TombstoneTTL = 90 * 24 * time.Hour

// Index is what a role knows to be published. It follows all states on the broker, whoever published them. It is safe
// for concurrent use.
type Index struct {
	// Ledger is what checkpoints are made of, nil without a key to sign them. It is set before the first use. It is
	// not taken back by a broker that goes back: what this process has seen published stays, until something newer
	// is.
	Ledger *zone.Ledger

	first *work.Latch // open once the index was complete for the first time

	// Under mu.
	mu       sync.Mutex
	zones    map[zone.Name]Published
	last     uint64
	living   int    // of the zones, how many secondaries may have
	changes  uint64 // how often it has changed
	complete bool   // the broker's states that there were are known, so what comes is published now
	lost     bool   // the broker lost its states since the index was last complete
	stocks   [allVersions]indexStock

	catalog catalog // of names, for searches
}

// New returns an empty index, which is not complete.
func New() *Index { return &Index{zones: map[zone.Name]Published{}, first: work.NewLatch()} }

// Get returns what is published of the zone, the zero value if nothing ever was.
func (x *Index) Get(name zone.Name) Published {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.zones[name]
}

// maxZones is how many zones a role knows of. More a broker could make up; those that PowerDNS has are published all
// the same, and compared with what the broker has one by one.
const maxZones = 1 << 22

// Set notes a state unless a newer one is known.
func (x *Index) Set(name zone.Name, seq uint64, header broker.StateHeader) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before, known := x.zones[name]
	if !known && len(x.zones) >= maxZones {
		return
	}
	if seq > before.Seq {
		x.last = max(x.last, seq)
		x.put(name, seq, header)
	}
}

func (x *Index) put(name zone.Name, seq uint64, header broker.StateHeader) {
	x.changes++
	before := x.zones[name]
	now := Published{Seq: seq, Header: header, Learned: time.Now()}
	if now.Remembered() {
		now.Seen = before.Seen || x.complete
	}
	if living(now) != living(before) {
		x.catalog.note(name, now.Remembered())
	}
	x.living += living(now) - living(before)
	x.zones[name] = now
	known := header.Kind == broker.KindZone || header.Kind == broker.KindGone
	if x.Ledger != nil && known && !header.Published.IsZero() {
		x.Ledger.Note(version(name, header), time.Now())
	}
}

func living(p Published) int {
	if p.Remembered() {
		return 1
	}
	return 0
}

// version is what the header says of a state.
func version(name zone.Name, h broker.StateHeader) zone.Version {
	if h.Kind == broker.KindGone {
		return zone.Version{Name: name, Gone: true, Published: h.Published}
	}
	return zone.Version{
		Name: name, Published: h.Published, Serial: h.Serial, Stored: h.Stored, Expires: h.Expires,
		Digest: h.Digest, Stable: h.Stable,
	}
}

// Saw notes that PowerDNS has the zone, if it is published, as one that is to be distributed.
func (x *Index) Saw(name zone.Name) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.zones[name]; p.Remembered() && !p.Seen {
		p.Seen = true
		x.zones[name] = p
	}
}

// Vouch notes that another primary, which acts and has compared all zones, misses none.
func (x *Index) Vouch() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, p := range x.zones {
		if p.Seen = p.Remembered(); p.Seen {
			x.zones[name] = p
		}
	}
}

// PublishedHere notes that this process published the state, by what it read of PowerDNS: whatever it reads from now
// on is no older. learned is that of the state before.
func (x *Index) PublishedHere(name zone.Name, seq uint64, learned time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p, is := x.zones[name]; is && p.Seq == seq {
		p.Learned = learned
		x.zones[name] = p
	}
}

// CaughtUp notes that all states that the broker had are known, and reports whether it had lost them before.
func (x *Index) CaughtUp() (lost bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	lost = x.lost
	x.complete, x.lost = true, false
	x.first.Open()
	return lost
}

// Complete reports whether all states are known that the broker has.
func (x *Index) Complete() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.complete
}

// AwaitComplete returns true once the index has been complete for the first time, and false if ctx ended before.
func (x *Index) AwaitComplete(ctx context.Context) bool { return x.first.Wait(ctx) }

// Replace notes what the broker says is the newest state; seq 0 when it has none. Names that nobody has heard of leave
// nothing.
func (x *Index) Replace(name zone.Name, seq uint64, header broker.StateHeader) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := (Published{Seq: seq, Header: header}); p.Unheard() {
		x.living -= living(x.zones[name])
		delete(x.zones, name)
		x.catalog.note(name, false)
		return
	}
	x.put(name, seq, header)
}

// Reset notes that the broker has nothing any more.
func (x *Index) Reset() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes++
	x.last, x.complete, x.lost = 0, false, true
	for name, p := range x.zones {
		p.Seq = 0
		x.zones[name] = p
	}
}

// Existing returns the zones that secondaries may have.
func (x *Index) Existing() map[zone.Name]Published {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make(map[zone.Name]Published, len(x.zones))
	for name, p := range x.zones {
		if p.Remembered() {
			list[name] = p
		}
	}
	return list
}

// Names returns the zones that secondaries may have, in order.
func (x *Index) Names() []zone.Name { return slices.Sorted(maps.Keys(x.Existing())) }

// Remembered returns how many zones secondaries may have.
func (x *Index) Remembered() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.living
}

// LostTombstones returns the zones whose tombstones the broker lost: a secondary that was away has not seen them.
func (x *Index) LostTombstones() (names []zone.Name) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, p := range x.zones {
		if p.TombstoneLost() {
			names = append(names, name)
		}
	}
	return names
}

// dropInterval is how often the index looks for tombstones that are to be forgotten.
const dropInterval = time.Hour

// DropTombstones forgets tombstones that are over, of which the broker says nothing, until ctx ends. It returns nil.
func (x *Index) DropTombstones(ctx context.Context) error {
	for work.Wait(ctx, dropInterval) {
		x.Forget(time.Now().Add(-TombstoneTTL))
	}
	return nil
}

// Forget forgets the zones that are gone since before that time.
func (x *Index) Forget(before time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, p := range x.zones {
		if p.Header.Kind == broker.KindGone && p.Header.Published.Before(before) {
			x.changes++
			delete(x.zones, name)
			if x.Ledger != nil {
				x.Ledger.Forget(name)
			}
		}
	}
}

// Newest returns the highest sequence that is known.
func (x *Index) Newest() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// Count returns how many zones are published.
func (x *Index) Count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, p := range x.zones {
		if p.Stands() {
			n++
		}
	}
	return n
}

// Unanswered returns the signed zones with records that secondaries do not answer.
func (x *Index) Unanswered() (found health.Some) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, p := range x.zones {
		if p.Header.Unanswered() {
			found.Add(name)
		}
	}
	return found
}

// FirstEnd returns when the first signature of all zones ends, the zero time if none is signed.
func (x *Index) FirstEnd(now time.Time) (first time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.zones {
		if !p.Stands() || p.Header.Expires == 0 {
			continue
		}
		if at := dnssec.End(p.Header.Expires, now); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// Ending are the zones whose published signatures end too soon.
type Ending struct {
	Zones int
	First zone.Name // to end
	At    time.Time
}

// Ending returns those whose signatures end within that time.
func (x *Index) Ending(now time.Time, within time.Duration) (e Ending) {
	for name, p := range x.Existing() {
		if !dnssec.EndsWithin(p.Header.Expires, now, within) {
			continue
		}
		e.Zones++
		if at := dnssec.End(p.Header.Expires, now); e.Zones == 1 || at.Before(e.At) {
			e.First, e.At = name, at
		}
	}
	return e
}

// Signatures is how far renewals of signatures are.
type Signatures struct {
	Zones int       // that are signed
	Due   int       // of these, how many a primary looks for newer signatures of
	First zone.Name // to end
	At    time.Time
}

// Renewed returns how many zones have signatures that are new enough.
func (s Signatures) Renewed() int { return s.Zones - s.Due }

// Signatures returns how far renewals are of what ends within that time, or can be had for a week longer.
func (x *Index) Signatures(now time.Time, within time.Duration) (s Signatures) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, p := range x.zones {
		if p.Header.Expires == 0 || !p.Remembered() {
			continue
		}
		s.Zones++
		if dnssec.Renewable(p.Header.Expires, now, within) {
			s.Due++
		}
		if at := dnssec.End(p.Header.Expires, now); s.Zones == 1 || at.Before(s.At) {
			s.First, s.At = name, at
		}
	}
	return s
}
