package roles

import (
	"context"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// index is what a primary knows to be published. It follows all states on the broker, those of other primaries too.
type index struct {
	mu      sync.Mutex
	zones   map[zone.Name]published
	last    uint64
	changes uint64 // how often it has changed
	stock   *health.Inventory
	stockAt uint64 // the changes that stock is made of
}

// published is the newest state of one zone. After the broker was wiped, seq is 0 until the zone is published anew; the
// rest is kept, because secondaries still have it: how new it was, and that it must be told if it is gone.
type published struct {
	seq    uint64
	header broker.StateHeader
	ours   bool // this process has seen that PowerDNS has the zone, as one that is to be distributed; headers are not signed
}

// stands tells whether the broker has content of the zone, and remembered whether secondaries may have some.
func (p published) stands() bool     { return p.seq > 0 && p.remembered() }
func (p published) remembered() bool { return p.header.Kind == broker.KindZone }

// buried tells that the zone is gone, and that the broker does not know.
func (p published) buried() bool { return p.seq == 0 && p.header.Kind == broker.KindGone }

// unheard tells that neither the broker nor this process knows anything of the zone.
func (p published) unheard() bool { return p.seq == 0 && p.header.Kind == "" }

func newIndex() *index { return &index{zones: map[zone.Name]published{}} }

func (x *index) get(name zone.Name) published {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.zones[name]
}

// maxZones is how many zones a role knows of. More a broker could make up; those that PowerDNS has are published all the
// same, and compared with what the broker has one by one.
const maxZones = 1 << 22

// set notes a state unless a newer one is known.
func (x *index) set(name zone.Name, seq uint64, header broker.StateHeader) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before, known := x.zones[name]
	if !known && len(x.zones) >= maxZones {
		return
	}
	if seq > before.seq {
		x.last = max(x.last, seq)
		x.put(name, seq, header)
	}
}

func (x *index) put(name zone.Name, seq uint64, header broker.StateHeader) {
	x.changes++
	x.zones[name] = published{seq, header, x.zones[name].ours && header.Kind == broker.KindZone}
}

// own notes whether the zone, if it is published, is one that PowerDNS has and that is to be distributed.
func (x *index) own(name zone.Name, ours bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.zones[name]; p.remembered() && p.ours != ours {
		p.ours = ours
		x.zones[name] = p
	}
}

// replace notes what the broker says is the newest state; seq 0 when it has none. Names that nobody has heard of leave
// nothing.
func (x *index) replace(name zone.Name, seq uint64, header broker.StateHeader) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := (published{seq: seq, header: header}); p.unheard() {
		delete(x.zones, name)
		return
	}
	x.put(name, seq, header)
}

// reset notes that the broker has nothing any more.
func (x *index) reset() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes++
	x.last = 0
	for name, p := range x.zones {
		p.seq = 0
		x.zones[name] = p
	}
}

// existing returns the zones that secondaries may have.
func (x *index) existing() map[zone.Name]published {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make(map[zone.Name]published, len(x.zones))
	for name, p := range x.zones {
		if p.remembered() {
			list[name] = p
		}
	}
	return list
}

// buried returns the zones whose tombstones the broker lost: a secondary that was away has not seen them.
func (x *index) buried() (names []zone.Name) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, p := range x.zones {
		if p.buried() {
			names = append(names, name)
		}
	}
	return names
}

// graveInterval is how often the index looks for graves that are to be forgotten.
const graveInterval = time.Hour

// dropGraves forgets tombstones that are over, of which the broker tells nothing, until ctx ends.
func (x *index) dropGraves(ctx context.Context) error {
	for wait(ctx, graveInterval) {
		x.forget(time.Now().Add(-tombstoneTTL))
	}
	return nil
}

// forget forgets the zones that are gone since before that time.
func (x *index) forget(before time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, p := range x.zones {
		if p.header.Kind == broker.KindGone && p.header.Published.Before(before) {
			x.changes++
			delete(x.zones, name)
		}
	}
}

// newest is the highest sequence that is known.
func (x *index) newest() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// count is how many zones are published.
func (x *index) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, p := range x.zones {
		if p.stands() {
			n++
		}
	}
	return n
}

// after is a time later than that of the state before, whatever the clock says.
func (p published) after(now time.Time) time.Time {
	if next := p.header.Published.Add(time.Millisecond); next.After(now) {
		return next
	}
	return now
}
