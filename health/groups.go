package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Group is one cause of alarms, with all nodes where it is so. What certainly follows from another cause says so.
type Group struct {
	Kind    Kind      `json:"kind"`
	Role    string    `json:"role,omitempty"`    // of the nodes
	Nodes   []string  `json:"nodes"`             // by name; empty: it is about no single node
	Warning bool      `json:"warning,omitempty"` // it works, but not as it should
	What    string    `json:"what"`              // what is wrong, and where
	Remedy  string    `json:"remedy"`            // what to do
	Run     []Command `json:"run"`               // the lines for it
	Entry   string    `json:"entry"`             // where the package installs the document that explains it
	Since   time.Time `json:"since"`             // at the first of the nodes

	Cause   string `json:"cause,omitempty"`   // what tells it from others of its kind, such as the name of a reason
	Because Kind   `json:"because,omitempty"` // the alarm above that it follows from
}

// Grouped puts alarms with one cause together. Causes stand in the order in which they are to be seen to: brokers,
// primary, nodes, their zones; warnings after alarms. Each is followed by what follows from it.
func Grouped(alarms []Alarm) []Group { return GroupedAmong(alarms, alarms) }

// GroupedAmong groups some of all alarms that are raised: they may follow from those that are not among them.
func GroupedAmong(some, all []Alarm) []Group {
	byCause := map[groupKey][]Alarm{}
	for _, a := range some {
		key := groupKey{groupID: a.group()}
		if cause, is := causeOf(a, all); is {
			key.cause = cause.group()
		}
		byCause[key] = append(byCause[key], a)
	}
	var keys []groupKey
	groups := map[groupKey]Group{}
	since := map[groupID]time.Time{} // of causes that have others below them
	for key, of := range byCause {
		keys = append(keys, key)
		groups[key] = newGroup(key, of)
		if key.cause == (groupID{}) {
			since[key.groupID] = groups[key].Since
		}
	}
	slices.SortFunc(keys, func(a, b groupKey) int {
		above, below := a.top(), b.top()
		return cmp.Or(above.compare(below, since), cmp.Compare(a.depth(), b.depth()), a.groupID.compare(b.groupID, nil))
	})
	list := []Group{}
	for _, key := range keys {
		list = append(list, groups[key])
	}
	return list
}

// groupID is what alarms with one cause have in common.
type groupID struct {
	warning bool
	kind    Kind
	role    string
	cause   string
}

func (a Alarm) group() groupID {
	if a.Kind == AlarmLoad || a.Kind == AlarmClock { // of the host, whatever runs there
		return groupID{a.Warning, a.Kind, "", a.Cause}
	}
	return groupID{a.Warning, a.Kind, a.Role, a.Cause}
}

func (a groupID) compare(b groupID, since map[groupID]time.Time) int {
	return cmp.Or(level(a.warning)-level(b.warning), a.rank()-b.rank(), since[a].Compare(since[b]),
		cmp.Compare(a.kind, b.kind), cmp.Compare(a.role, b.role), cmp.Compare(a.cause, b.cause))
}

// groupKey is a group, and the one that it follows from.
type groupKey struct {
	groupID
	cause groupID // the zero value: none
}

// top is the group at the top of which it stands.
func (k groupKey) top() groupID {
	if k.cause != (groupID{}) {
		return k.cause
	}
	return k.groupID
}

func (k groupKey) depth() int {
	if k.cause != (groupID{}) {
		return 1
	}
	return 0
}

func newGroup(key groupKey, of []Alarm) Group {
	slices.SortFunc(of, func(a, b Alarm) int { return cmp.Or(cmp.Compare(a.Node, b.Node), a.Since.Compare(b.Since)) })
	first := of[0]
	g := Group{
		Kind: key.kind, Role: first.Role, Nodes: []string{}, Warning: key.warning, What: first.What, Remedy: first.Remedy,
		Entry: key.kind.Entry(), Since: first.Since, Cause: key.groupID.cause, Because: key.cause.kind,
	}
	for _, a := range of {
		if a.Node != "" && !slices.Contains(g.Nodes, a.Node) {
			g.Nodes = append(g.Nodes, a.Node)
		}
		if a.Since.Before(g.Since) {
			g.Since = a.Since
		}
		if a.Role != g.Role {
			g.Role = ""
		}
	}
	g.Run = linesOf(of)
	if len(g.Nodes) > 1 {
		g.What = fmt.Sprintf("%s: %s", g.where(), whatOfAll(of))
	}
	return g
}

// linesOf are the lines for all alarms: those that do the same at several nodes stand together.
func linesOf(alarms []Alarm) []Command {
	lines := []Command{}
	for i, more := 0, true; more; i++ {
		more = false
		for _, a := range alarms {
			of := a.Commands()
			if more = more || i+1 < len(of); i < len(of) && !slices.Contains(lines, of[i]) {
				lines = append(lines, of[i])
			}
		}
	}
	return lines
}

// maxOfGroup is how many nodes a text names.
const maxOfGroup = 3

// where names the nodes of a group, such as "12 secondaries (ns1, ns2, ns3 and 9 more)".
func (g Group) where() string {
	plural := g.Role + "s"
	switch g.Role {
	case RoleSecondary:
		plural = "secondaries"
	case RolePrimary:
		plural = "primaries"
	case RoleProxy:
		plural = "proxies"
	case RoleHealth:
		plural = "health roles"
	case "":
		plural = "nodes"
	}
	named, more := g.Nodes[:min(len(g.Nodes), maxOfGroup)], ""
	if rest := len(g.Nodes) - len(named); rest > 0 {
		more = fmt.Sprintf(" and %d more", rest)
	}
	return fmt.Sprintf("%d %s (%s%s)", len(g.Nodes), plural, strings.Join(named, ", "), more)
}

// whatOfAll is what the alarms have to say. Where the texts differ it is that of the first, which is named.
func whatOfAll(of []Alarm) string {
	text := of[0].bare()
	for _, a := range of[1:] {
		if a.bare() != text {
			return fmt.Sprintf("%s (%s)", text, of[0].Node)
		}
	}
	return text
}

// bare is What without the node, which stands before it.
func (a Alarm) bare() string { return strings.TrimPrefix(a.What, a.Role+" "+a.Node+": ") }

// plainReason leaves out of a reason what differs from node to node: addresses, numbers, names.
func plainReason(reason string) string {
	words := strings.Fields(reason)
	for i, word := range words {
		if strings.ContainsAny(strings.TrimRight(word, ".:;,"), "0123456789./:@") {
			words[i] = "…"
		}
	}
	return strings.Join(slices.Compact(words), " ")
}

// Lines are those of commands alone.
func Lines(of []Command) (lines []string) {
	for _, c := range of {
		lines = append(lines, c.Line)
	}
	return lines
}
