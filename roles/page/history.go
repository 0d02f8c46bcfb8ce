package page

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/status"
)

// The bounds of what is kept.
const (
	minutesKept = 24 * 60 // of the whole installation
	nodesKept   = 60      // minutes of single nodes
	endedKept   = 500     // alarms that are over
	endedFor    = 24 * time.Hour
)

// History is the last hours of an installation: a sample a minute, the last changes, and alarms that are over. It has
// one size, however long it runs. It is safe for concurrent use.
type History struct {
	mu sync.Mutex // guards all below

	minutes []minute // the oldest first; the last one is the present
	changes changes
	ended   []Ended // the oldest first

	raised   []health.Alarm // when it was last looked
	patience time.Time      // until when alarms that were raised before a restart may be raised again
	skew     time.Duration  // the primary's clock is ahead of this one by that
	skewAt   time.Time      // the minute it is of
	active   int            // secondaries that are waited for
}

// minute is what happened within one.
type minute struct {
	At      time.Time         `json:"at"`
	Changes int               `json:"changes,omitempty"` // that somebody may have waited for
	Renewed int               `json:"renewed,omitempty"` // and others
	Spread  spread            `json:"spread,omitzero"`
	Alarms  int               `json:"alarms,omitempty"` // the most at a time, warnings included
	Nodes   map[string]sample `json:"nodes,omitempty"`
}

// sample is the worst of one node within a minute.
type sample struct {
	State   level   `json:"state"`
	Behind  uint64  `json:"behind,omitempty"`
	Failing int     `json:"failing,omitempty"`
	Load    float32 `json:"load,omitempty"`
	Served  int     `json:"served,omitempty"` // versions of zones that it reported as served
}

// level is how bad a state is.
type level uint8

// The levels, from good to bad.
const (
	unknown level = iota
	good
	fair
	bad
)

func (l level) String() string { return [...]string{"none", "ok", "warn", "bad"}[min(l, bad)] }

// levelOf returns that of a node's state.
func levelOf(state string) level {
	switch state {
	case health.StateOK, health.StateStandby:
		return good
	case health.StateLoaded, health.StateFilling, health.StateBehind:
		return fair
	}
	return bad
}

// Ended is an alarm that is over.
type Ended struct {
	health.Alarm
	At time.Time `json:"ended"`
}

// NewHistory begins with nothing known.
func NewHistory() *History { return &History{changes: newChanges()} }

// Observe takes the state of the installation. Call it about once a second.
func (h *History) Observe(now time.Time, d status.Document) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.minute(now)
	m.Alarms = max(m.Alarms, len(d.Alarms))
	h.active = 0
	for _, r := range d.Nodes {
		s := m.Nodes[r.Node]
		s.State = max(s.State, levelOf(r.State))
		s.Behind, s.Failing = max(s.Behind, r.Behind), max(s.Failing, r.Failures)
		s.Load = max(s.Load, float32(r.Host.Load))
		m.Nodes[r.Node] = s
		if r.Role == health.RoleSecondary && r.Active {
			h.active++
		}
		if r.Role == health.RolePrimary && r.Active && !r.StandsBy() {
			h.noteSkew(m.At, r)
		}
	}
	h.end(now, d.Alarms)
}

// noteSkew notes by how much the clock of the primary that acts is ahead of this one: the most within a minute, since a
// report that takes longer seems to be of a clock that is late.
func (h *History) noteSkew(minute time.Time, r health.Row) {
	ahead := r.Clock.Sub(r.Seen)
	if h.skewAt != minute || ahead > h.skew {
		h.skew, h.skewAt = ahead, minute
	}
}

// minute returns the present one, and begins it if need be. h.mu is held.
func (h *History) minute(now time.Time) *minute {
	at := now.UTC().Truncate(time.Minute)
	if n := len(h.minutes); n == 0 || h.minutes[n-1].At.Before(at) {
		h.minutes = append(h.minutes, minute{At: at, Nodes: map[string]sample{}})
		h.trim(at)
	}
	return &h.minutes[len(h.minutes)-1] // also when the clock went back
}

// trim forgets what is too old to be kept.
func (h *History) trim(now time.Time) {
	first := slices.IndexFunc(h.minutes, func(m minute) bool { return now.Sub(m.At) < minutesKept*time.Minute })
	h.minutes = slices.Delete(h.minutes, 0, max(first, 0))
	for i := range h.minutes {
		if now.Sub(h.minutes[i].At) >= nodesKept*time.Minute {
			h.minutes[i].Nodes = nil
		}
	}
}

// end notes which alarms are over.
func (h *History) end(now time.Time, alarms []health.Alarm) {
	is := func(a health.Alarm) func(health.Alarm) bool {
		return func(b health.Alarm) bool { return a.Kind == b.Kind && a.Node == b.Node }
	}
	next := slices.Clone(alarms)
	for _, a := range h.raised {
		switch {
		case slices.ContainsFunc(alarms, is(a)):
		case now.Before(h.patience):
			next = append(next, a)
		default:
			h.ended = append(h.ended, Ended{a, now.UTC()})
		}
	}
	h.raised = next
	first := slices.IndexFunc(h.ended, func(e Ended) bool { return now.Sub(e.At) < endedFor })
	if first < 0 {
		first = len(h.ended)
	}
	h.ended = slices.Delete(h.ended, 0, max(first, len(h.ended)-endedKept))
}

// Published takes a state that was published.
func (h *History) Published(now time.Time, c Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.minute(now)
	if c.Background {
		m.Renewed++
	} else {
		m.Changes++
	}
	h.changes.published(c, h.active)
}

// Served takes what a secondary reports to serve. What it reports again does not count.
func (h *History) Served(now time.Time, node string, a health.Applied) {
	h.mu.Lock()
	defer h.mu.Unlock()
	after := max(0, now.Add(h.skew).Sub(a.Published))
	live, first := h.changes.served(node, a, after, h.active)
	if !first {
		return
	}
	m := h.minute(now)
	if live {
		m.Spread.note(after)
	}
	s := m.Nodes[node]
	s.Served++
	m.Nodes[node] = s
}

// Ended returns the alarms that ended within the last day, the last one first.
func (h *History) Ended() []Ended {
	h.mu.Lock()
	defer h.mu.Unlock()
	ended := slices.Clone(h.ended)
	slices.SortStableFunc(ended, func(a, b Ended) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Node, b.Node)) })
	return ended
}

// Changes returns the last ones, the newest first.
func (h *History) Changes(most int) []Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes.last(most)
}

// ChangesOf returns those of one zone, the newest first.
func (h *History) ChangesOf(name zone.Name) (list []Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.changes.last(changesKept) {
		if c.Zone == name {
			list = append(list, c)
		}
	}
	return list
}

// hour returns the last 60 minutes, each there whether or not something is known of it.
func (h *History) hour(now time.Time) []minute {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := now.UTC().Truncate(time.Minute)
	hour := make([]minute, nodesKept)
	for i := range hour {
		hour[i].At = last.Add(time.Duration(i-nodesKept+1) * time.Minute)
	}
	for _, m := range h.minutes {
		if i := nodesKept - 1 - int(last.Sub(m.At)/time.Minute); 0 <= i && i < nodesKept {
			hour[i] = m.clone()
		}
	}
	return hour
}

func (m minute) clone() minute {
	nodes := make(map[string]sample, len(m.Nodes))
	for node, s := range m.Nodes {
		nodes[node] = s
	}
	m.Nodes = nodes
	return m
}
