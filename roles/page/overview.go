package page

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/status"
)

// overview is all that the first page shows, but for texts. It is made at most once a second, however many look.
type overview struct {
	status.Document
	InOrder  bool
	Groups   []group
	Fleet    []fleetRow // what is not in order first
	Counts   []stateCount
	Spread   spreadView
	Changes  []Change
	Ended    []endedGroup
	Renewals index.Signatures
	Zones    int // that are published
}

// overviewAge is for how long one is good.
const overviewAge = time.Second

// seen returns the present overview.
func (p *Page) seen() overview {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.overview.At) > overviewAge || now.Before(p.overview.At) {
		p.overview = p.look(now)
	}
	return p.overview
}

// changesShown is how many changes the first page shows.
const changesShown = 40

func (p *Page) look(now time.Time) overview {
	d := p.source.Document()
	hour := p.history.hour(now)
	o := overview{
		Document: d, InOrder: d.InOrder() == nil, Groups: grouped(d.Alarms), Counts: countStates(d.Nodes),
		Spread: newSpreadView(hour), Changes: p.history.Changes(changesShown), Ended: groupEnded(p.history.Ended()),
		Renewals: p.source.Renewals(),
	}
	for _, r := range d.Nodes {
		o.Fleet = append(o.Fleet, newFleetRow(d.At, r, hour))
	}
	slices.SortFunc(o.Fleet, func(a, b fleetRow) int {
		return cmp.Or(cmp.Compare(b.Level, a.Level), cmp.Compare(a.Role, b.Role), compareNames(a.Node, b.Node))
	})
	if r := status.Leader(d.Board, d.Leader); r != nil {
		o.Zones = r.Zones
	}
	return o
}

// compareNames puts ns2 before ns10.
func compareNames(a, b string) int {
	const digits = "0123456789"
	nameA, nameB := strings.TrimRight(a, digits), strings.TrimRight(b, digits)
	return cmp.Or(cmp.Compare(nameA, nameB), cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// Title is what a window that is not in front shows.
func (o overview) Title() string {
	alarms := 0
	for _, g := range o.Groups {
		if !g.Warning {
			alarms++
		}
	}
	switch {
	case o.InOrder:
		return "in order"
	case alarms == 0:
		return "NOT in order"
	}
	return fmt.Sprintf("NOT in order (%d)", alarms)
}

// Filling returns the secondaries that take many zones.
func (o overview) Filling() (rows []fleetRow) {
	for _, r := range o.Fleet {
		if r.Secondary.Fill != nil || r.Secondary.Checkpoint != nil && r.Secondary.Checkpoint.Filling {
			rows = append(rows, r)
		}
	}
	return rows
}

// shownRows is how many nodes are shown beside those that are not in order, before the rest is folded up.
const shownRows = 30

// Shown returns the rows that always show.
func (o overview) Shown() []fleetRow { return o.Fleet[:o.folded()] }

// Folded returns the others, all of which are in order.
func (o overview) Folded() []fleetRow { return o.Fleet[o.folded():] }

func (o overview) folded() int {
	trouble := slices.IndexFunc(o.Fleet, func(r fleetRow) bool { return r.Level <= good })
	if trouble < 0 {
		trouble = len(o.Fleet)
	}
	if rest := len(o.Fleet) - trouble; rest <= shownRows {
		return len(o.Fleet)
	}
	return trouble + shownRows
}

func (o overview) node(id string) (nodeView, bool) {
	for _, r := range o.Fleet {
		if r.Node == id {
			v := nodeView{fleetRow: r, At: o.At}
			for _, g := range o.Groups {
				if slices.Contains(g.Nodes, id) {
					v.Groups = append(v.Groups, g)
				}
			}
			for _, e := range o.Ended {
				if slices.Contains(e.Nodes, id) {
					v.Ended = append(v.Ended, e)
				}
			}
			return v, true
		}
	}
	return nodeView{}, false
}

// nodeView is what is shown of one node.
type nodeView struct {
	fleetRow
	At     time.Time
	Groups []group
	Ended  []endedGroup
}

// fleetRow is one node.
type fleetRow struct {
	health.Row
	Level  level
	Served int // versions of zones that it served within the last whole minute
	Line   template.HTML

	LastSeen string // how long ago
}

func newFleetRow(now time.Time, r health.Row, hour []minute) fleetRow {
	return fleetRow{
		Row: r, Level: levelOf(r.State), Line: timeLine(r.Node, hour), Served: hour[len(hour)-2].Nodes[r.Node].Served,
		LastSeen: ago(now, r.Seen),
	}
}

// Lag says how far a secondary is behind.
func (r fleetRow) Lag() string {
	if r.Role != health.RoleSecondary {
		return "-"
	}
	return number(r.Behind)
}

// Rate says how many versions of zones a secondary serves a minute, or takes a second while it is filled.
func (r fleetRow) Rate() string {
	switch {
	case r.Role != health.RoleSecondary:
		return "-"
	case r.Secondary.Fill != nil:
		return fmt.Sprintf("%.0f/s", r.Secondary.Fill.Rate)
	}
	return fmt.Sprintf("%d/min", r.Served)
}

// Disk says how much is free where the node keeps its state.
func (r fleetRow) Disk() string {
	free, total := r.Host.DiskFree, r.Host.DiskTotal
	return fmt.Sprintf("%.0f of %.0f GB are free, %d %%", float64(free)/1e9, float64(total)/1e9, 100*free/max(total, 1))
}

// stateCount is how many nodes of a role are in a state.
type stateCount struct {
	Role, State string
	Level       level
	Nodes       int
}

func countStates(rows []health.Row) (counts []stateCount) {
	for _, r := range rows {
		at := slices.IndexFunc(counts, func(c stateCount) bool { return c.Role == r.Role && c.State == r.State })
		if at < 0 {
			at = len(counts)
			counts = append(counts, stateCount{Role: r.Role, State: r.State, Level: levelOf(r.State)})
		}
		counts[at].Nodes++
	}
	slices.SortStableFunc(counts, func(a, b stateCount) int { return cmp.Compare(b.Level, a.Level) })
	return counts
}

// spreadView is how fast changes spread within the last hour.
type spreadView struct {
	Reports, Changes, Renewed int
	Half, Most, All           string
	Histogram, Minutes, Rate  template.HTML
}

func newSpreadView(hour []minute) (v spreadView) {
	var all spread
	for _, m := range hour {
		all.add(m.Spread)
		v.Changes += m.Changes
		v.Renewed += m.Renewed
	}
	v.Reports = all.count()
	v.Histogram, v.Minutes, v.Rate = histogram(all), spreadByMinute(hour), changesByMinute(hour)
	for text, part := range map[*string]float64{&v.Half: .5, &v.Most: .95, &v.All: 1} {
		if d, any := all.within(part); any {
			*text = short(d)
		}
	}
	return v
}
