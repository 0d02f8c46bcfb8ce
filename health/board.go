package health

import (
	"cmp"
	"slices"
	"time"
)

// Feed is what the broker knows of a secondary: it is expected, and so many states behind.
type Feed struct {
	Node    string
	Behind  uint64
	Stalled bool // it has been as far behind for minutes
}

// Board is the state of the whole installation at one moment.
type Board struct {
	At    time.Time `json:"at"`
	OK    bool      `json:"ok"` // a primary is there, and everyone known is there, ready, without trouble, and not behind
	Nodes []Row     `json:"nodes"`
}

// Row is one node.
type Row struct {
	Presence
	Seen    time.Time `json:"seen,omitzero"` // zero: expected, but never heard of lately
	Active  bool      `json:"active"`
	Behind  uint64    `json:"behind"`            // states that a secondary has still to confirm
	Stalled bool      `json:"stalled,omitempty"` // as far behind for minutes
	State   string    `json:"state"`             // ok, loaded, behind, failing, not ready, inactive
}

// Sighting is a presence and when it came in.
type Sighting struct {
	Presence
	At time.Time
}

const (
	rolePrimary   = "primary"
	roleSecondary = "secondary"
	roleHealth    = "health"
)

// The states of a row, from good to bad.
const (
	StateOK       = "ok"
	StateLoaded   = "loaded" // it works, and its host has more to do than it can
	StateBehind   = "behind"
	StateFailing  = "failing"
	StateNotReady = "not ready"
	StateInactive = "inactive"
)

// NewBoard puts together who was seen and who is expected. A node that was not heard of for Config.InactiveAfter is inactive.
func NewBoard(now time.Time, c Config, seen map[string]Sighting, expected []Feed) Board {
	rows := map[string]*Row{}
	for id, s := range seen {
		rows[id] = &Row{Presence: s.Presence, Seen: s.At, Active: now.Sub(s.At) <= c.InactiveAfter}
	}
	for _, feed := range expected {
		row := rows[feed.Node]
		if row == nil {
			row = &Row{Presence: Presence{Node: feed.Node, Role: roleSecondary}}
			rows[feed.Node] = row
		}
		row.Role, row.Leads = roleSecondary, false // whatever it says of itself
		row.Behind, row.Stalled = feed.Behind, feed.Stalled
	}
	board := Board{At: now.UTC()}
	rest := true
	for _, row := range rows {
		row.State = row.judge(c.MaxLoad)
		board.OK = board.OK || row.Role == rolePrimary && row.Active // without one nothing is distributed
		rest = rest && (row.State == StateOK || row.State == StateLoaded)
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
	case r.Failures > 0:
		return StateFailing
	case r.Behind > 0:
		return StateBehind
	case maxLoad > 0 && r.Load > maxLoad*float64(r.Cores):
		return StateLoaded
	}
	return StateOK
}
