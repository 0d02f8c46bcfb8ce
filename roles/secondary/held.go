package secondary

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// holding is a version of a zone that PowerDNS was proven, or said, to serve.
type holding struct {
	digest    zone.Digest
	stable    zone.StableDigest // covers what the digest leaves out: the apex ZONEMD
	serial    uint32
	published time.Time
	since     time.Time
	proven    bool         // over DNS, by this process; else PowerDNS only says the same serial
	place     broker.Place // zero when it was not applied by this process
}

// holdingOf is a holding of the state's version that nothing has proven yet.
func holdingOf(state *zone.State, since time.Time) holding {
	return holding{
		digest: state.Digest, stable: state.Stable, serial: state.Serial, published: state.Published, since: since,
	}
}

// is reports whether the holding is of the state's version.
func (h holding) is(state *zone.State) bool {
	return h.digest == state.Digest && h.stable == state.Stable
}

func notHeld(state *zone.State) error {
	return fmt.Errorf("%w: zone %s, serial %d, is on its way", transfer.ErrNotServed, state.Name, state.Serial)
}

// holdings are what PowerDNS is known to serve. It is safe for concurrent use.
type holdings struct {
	mu sync.Mutex

	// Under mu.
	zones    map[zone.Name]holding
	lost     map[zone.Name]time.Time // when the state was published that found the zone lost or altered
	lastAt   time.Time               // when a state was applied last
	lastZone zone.Name
}

func newHoldings() *holdings {
	return &holdings{zones: map[zone.Name]holding{}, lost: map[zone.Name]time.Time{}}
}

// noteLost notes that PowerDNS had lost or altered what it was given, when the state came that says the same again.
func (h *holdings) noteLost(state *zone.State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost[state.Name] = state.Published
}

// hadLost reports whether the zone was found lost or altered by the state published then. With a later one that is
// over.
func (h *holdings) hadLost(name zone.Name, published time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	found, is := h.lost[name]
	if is && published.After(found) {
		delete(h.lost, name)
	}
	return is && found.Equal(published)
}

// get returns the holding of the zone, whatever its version.
func (h *holdings) get(name zone.Name) (held holding, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held, ok = h.zones[name]
	return held, ok
}

// of returns the holding of the state's version, or an error that wraps [transfer.ErrNotServed].
func (h *holdings) of(state *zone.State) (holding, error) {
	held, ok := h.get(state.Name)
	if !ok || !held.is(state) {
		return held, notHeld(state)
	}
	return held, nil
}

// proves reports whether this process has proven that PowerDNS serves the state's version.
func (h *holdings) proves(state *zone.State) bool {
	held, err := h.of(state)
	return err == nil && held.proven
}

// apply notes that PowerDNS was just proven to serve the state's version.
func (h *holdings) apply(state *zone.State, place broker.Place) {
	held := holdingOf(state, time.Now())
	held.proven, held.place = true, place
	h.mu.Lock()
	defer h.mu.Unlock()
	h.zones[state.Name] = held
	h.lastAt, h.lastZone = held.since.UTC(), state.Name
}

// prove notes that PowerDNS was proven to serve the state's version. The error is that of [holdings.of]: meanwhile it
// may be known to serve another one.
func (h *holdings) prove(state *zone.State) (holding, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held, ok := h.zones[state.Name]
	if !ok || !held.is(state) {
		return held, notHeld(state)
	}
	held.proven = true
	h.zones[state.Name] = held
	return held, nil
}

// doubt takes nothing for proven any more.
func (h *holdings) doubt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, held := range h.zones {
		held.proven = false
		h.zones[name] = held
	}
}

// forget notes that it is not known what PowerDNS serves: an attempt that failed may have left either version.
func (h *holdings) forget(name zone.Name) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.zones, name)
}

// replace puts what a review found, from begin on, in place of all that is older, and returns the zones that were
// applied meanwhile.
func (h *holdings) replace(found map[zone.Name]holding, begin time.Time) (applied map[zone.Name]bool) {
	applied = map[zone.Name]bool{}
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, held := range h.zones {
		if held.since.After(begin) {
			found[name], applied[name] = held, true
		}
	}
	h.zones = found
	return applied
}

// all returns a copy.
func (h *holdings) all() map[zone.Name]holding {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.zones)
}

// names returns the zones in order.
func (h *holdings) names() []zone.Name {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.zones))
}

func (h *holdings) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.zones)
}

// last returns when a state was applied last, and the state's zone.
func (h *holdings) last() (at time.Time, name zone.Name) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lastAt, h.lastZone
}
