package health

import (
	"cmp"
	"slices"
	"time"
)

// Feed is what the broker knows of a secondary: the secondary is expected, and so many states behind.
type Feed struct {
	Node    string
	Behind  uint64
	Stalled bool // it has been as far behind for minutes
}

// Board is the state of the whole installation at one moment.
type Board struct {
	At    time.Time `json:"at"`
	OK    bool      `json:"ok"` // a primary is active, and every known node is in order
	Nodes []Row     `json:"nodes"`
}

// Row is one node.
type Row struct {
	Presence
	Seen    time.Time `json:"seen,omitzero"` // zero: expected, but not seen lately
	Active  bool      `json:"active"`
	Behind  uint64    `json:"behind"`            // states that a secondary has still to confirm
	Stalled bool      `json:"stalled,omitempty"` // as far behind for minutes
	State   string    `json:"state"`             // "ok", "standby", "loaded", "filling", "behind", "failing", "incomplete", "not ready" or "inactive"
}

// Sighting is a presence and when it came in.
type Sighting struct {
	Presence
	At time.Time
}

// LeaseName is the lease of the health role that acts.
const LeaseName = "health"

// The states of a row, from good to bad.
const (
	StateOK         = "ok"
	StateStandby    = "standby" // a primary that is ready to act when the one that does ends
	StateLoaded     = "loaded"  // works, and its host has more to do than it can
	StateFilling    = "filling" // lacks zones by the signed checkpoint, and they come in
	StateBehind     = "behind"
	StateFailing    = "failing"
	StateIncomplete = "incomplete" // lacks zones by the signed checkpoint, and they do not come in
	StateNotReady   = "not ready"
	StateInactive   = "inactive"
)

// restful are the states of a node that is in order.
var restful = []string{StateOK, StateStandby, StateLoaded}

// InOrder reports whether the node's state is one of those.
func (r *Row) InOrder() bool { return slices.Contains(restful, r.State) }

// NewBoard puts together who was seen and who is expected. A node without a presence for Config.InactiveAfter is
// inactive.
func NewBoard(now time.Time, c Config, seen map[string]Sighting, expected []Feed) Board {
	rows := map[string]*Row{}
	for id, s := range withPeers(seen) {
		rows[id] = &Row{Presence: s.Presence, Seen: s.At, Active: now.Sub(s.At) <= c.InactiveAfter}
	}
	for _, feed := range expected {
		row := rows[feed.Node]
		if row == nil {
			row = &Row{Presence: Presence{Node: feed.Node, Role: RoleSecondary}}
			rows[feed.Node] = row
		}
		row.Role, row.Leads = RoleSecondary, false // whatever the node reports
		row.Behind, row.Stalled = feed.Behind, feed.Stalled
	}
	board := Board{At: now.UTC()}
	rest := true
	for _, row := range rows {
		row.State = row.judge(c.MaxLoad)
		board.OK = board.OK || row.Role == RolePrimary && row.Active // without one nothing is distributed
		rest = rest && row.InOrder()
		board.Nodes = append(board.Nodes, *row)
	}
	board.OK = board.OK && rest
	slices.SortFunc(board.Nodes, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Node, b.Node))
	})
	return board
}

func (r *Row) judge(maxLoad float64) string {
	switch {
	case !r.Active:
		return StateInactive
	case len(r.Problems) > 0:
		return StateNotReady
	case r.Secondary.Checkpoint != nil && r.Secondary.Checkpoint.Incomplete != "":
		return StateIncomplete
	case r.Failures > 0:
		return StateFailing
	case r.Behind > 0:
		return StateBehind
	case r.Secondary.Checkpoint != nil && r.Secondary.Checkpoint.Filling:
		return StateFilling
	case r.StandsBy():
		return StateStandby
	case maxLoad > 0 && r.Host.Load > maxLoad*float64(r.Host.Cores):
		return StateLoaded
	}
	return StateOK
}
