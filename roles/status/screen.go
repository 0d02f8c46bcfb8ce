package status

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"pdns-distribute/health"
)

// Size is that of a terminal.
type Size struct{ Columns, Rows int }

// Screen is the document for a terminal that shows no more than its size: what is wrong first, then a line for each
// node, those that are not in order before the others. What does not fit is counted.
func (d Document) Screen(at time.Time, size Size) string {
	if size.Columns < 40 || size.Rows < 10 {
		size = Size{80, 24}
	}
	head := []string{d.headline(at)}
	if d.Leader != "" {
		head = append(head, d.ComparedLine())
	}
	if len(d.Unanswered) > 0 {
		head = append(head, "The brokers do not answer all questions: what is shown may be old.")
	}
	free := size.Rows - len(head)
	var alarms, nodes []string
	for _, l := range layouts {
		alarms, nodes = alarmLines(d.Causes, d.At, size.Columns-1, l), d.nodeLines(l.nodes)
		if len(alarms)+len(nodes)+2 <= free {
			break
		}
	}
	alarms = shortened(alarms, max(free/2, free-len(nodes)-2), "lines of alarms: pdns-distribute status")
	lines := slices.Concat(head, spaced(alarms))
	nodes = shortened(nodes, size.Rows-len(lines)-1, "lines of nodes: pdns-distribute status")
	lines = append(lines, spaced(nodes)...)
	if more := d.conditionLines(); len(lines)+2 <= size.Rows {
		lines = append(lines, shortened(spaced(more), size.Rows-len(lines), "lines: pdns-distribute status")...)
	}
	for i, line := range lines {
		lines[i] = cut(line, size.Columns-1) // in the last column, erasing the rest of the line erases what stands there
	}
	return strings.Join(lines, "\n")
}

// layout is how much is shown.
type layout struct {
	nodes    collapse
	texts    int  // how many lines the text of an alarm may have
	remedies bool // with the first line of each remedy
}

// collapse is which nodes are shown as one line: of those that are in order
type collapse int

const (
	eachNode collapse = iota
	byRole            // those of one role
	together          // all
	alike             // and of the others those of one role and state
)

// layouts are tried in this order until one fits.
var layouts = []layout{
	{eachNode, 3, true}, {byRole, 3, true}, {together, 3, true},
	{together, 2, true}, {alike, 3, true}, {alike, 2, true}, {together, 1, false}, {alike, 1, false},
}

// headline says whether all is in order.
func (d Document) headline(at time.Time) string {
	alarms, warnings := 0, 0
	for _, g := range d.Causes {
		switch {
		case g.Because != "":
		case g.Warning:
			warnings++
		default:
			alarms++
		}
	}
	verdict := "in order"
	if d.InOrder() != nil {
		verdict = "NOT IN ORDER"
	}
	leader := d.Leader + " leads"
	if d.Leader == "" {
		leader = "no active health role"
	}
	return fmt.Sprintf("%s  %s: %s, %s; %s", at.Format(time.DateTime), verdict,
		counted(alarms, "alarm"), counted(warnings, "warning"), leader)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// alarmLines are those of each cause.
func alarmLines(groups []health.Group, now time.Time, width int, l layout) (lines []string) {
	for _, g := range groups {
		if g.Because != "" {
			lines = append(lines, "  follows: "+g.What)
			continue
		}
		text := fmt.Sprintf("%s %s: %s", Level(g.Warning), Ago(now, g.Since), g.What)
		lines = append(lines, wrapped(text, width, l.texts)...)
		if l.remedies && len(g.Run) > 0 {
			lines = append(lines, "  $ "+g.Run[0].Line)
		}
	}
	return lines
}

// wrapped breaks a text into so many lines at most, of which the last one may be too long.
func wrapped(text string, width, most int) (lines []string) {
	for line := text; ; {
		at := -1
		if len(line) > width {
			at = strings.LastIndex(line[:width], " ")
		}
		if at <= len(indented) || len(lines) == most-1 {
			return append(lines, line)
		}
		lines = append(lines, line[:at])
		line = indented + line[at+1:]
	}
}

const indented = "  "

// nodeLines are the table of nodes, those that are not in order first.
func (d Document) nodeLines(c collapse) []string {
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "ROLE\tNODE\tSTATE\tZONES\tBEHIND\tFAILING\tAPPLIED\tSEEN")
	order := slices.Clone(d.Nodes)
	slices.SortStableFunc(order, func(a, b health.Row) int { return inOrder(a) - inOrder(b) })
	count := map[line]int{}
	for _, r := range order {
		count[c.of(r)]++
	}
	for _, r := range order {
		of := c.of(r)
		if n := count[of]; n != 1 {
			if n > 0 {
				fmt.Fprintf(table, "%s\t%d nodes\t%s\t-\t-\t-\t-\t-\n", of.role, n, of.state)
			}
			count[of] = 0
			continue
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\n", Dash(r.Role), cut(r.Node, 16), stateOf(r), r.Zones,
			Behind(r), r.Failures, Ago(d.At, r.Secondary.LastApplied), Ago(d.At, r.Seen))
	}
	_ = table.Flush() // into memory
	return strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
}

// line is what the nodes of one line have in common.
type line struct{ role, state, node string }

func (c collapse) of(r health.Row) line {
	of := line{Dash(r.Role), r.State, r.Node}
	switch {
	case c == eachNode || c != alike && !r.InOrder():
		return of
	case c != byRole && r.InOrder():
		of.role = "others"
	}
	if of.node = ""; r.InOrder() {
		of.state = health.StateOK
	}
	return of
}

// inOrder is 1 for nodes in order, which come after the others.
func inOrder(r health.Row) int {
	if r.InOrder() {
		return 1
	}
	return 0
}

// stateOf is the state of a node, and how far it is filled.
func stateOf(r health.Row) string {
	if f := r.Secondary.Fill; f != nil && f.Zones > 0 {
		return fmt.Sprintf("%s %d%%", r.State, 100*f.Done/f.Zones)
	}
	return r.State
}

// conditionLines are what nodes say of themselves that is no alarm, or not yet.
func (d Document) conditionLines() []string {
	var text bytes.Buffer
	for _, r := range d.Nodes {
		printConditions(&text, d.At, r, d.raised)
	}
	return slices.DeleteFunc(strings.Split(text.String(), "\n"), func(line string) bool { return line == "" })
}

// spaced puts an empty line before lines.
func spaced(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	return append([]string{""}, lines...)
}

// shortened leaves out lines beyond as many as there is room for, and says how many.
func shortened(lines []string, room int, what string) []string {
	if len(lines) <= room {
		return lines
	}
	room = max(room, 1)
	return append(slices.Clone(lines[:room-1]), fmt.Sprintf("and %d more %s", len(lines)-room+1, what))
}

// cut leaves out what is beyond the width.
func cut(line string, width int) string {
	runes := []rune(Printable(line))
	if len(runes) <= width {
		return string(runes)
	}
	return string(runes[:width-1]) + "…"
}
