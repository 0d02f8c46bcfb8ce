package status

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/roles/command"
)

// Print writes what was compared with what, for a person. It returns command.ErrNotInOrder where something differs or
// was not compared.
func (a LeaderAnswer) Print(out io.Writer) error {
	for _, n := range a.Nodes {
		fmt.Fprintf(out, "%s: %s\n", n.Node, n.line())
	}
	if a.Published == nil {
		return a.inOrder()
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tSOURCE\tZONES\tDIGEST\tCOUNTED\tPUBLISHED")
	fmt.Fprintf(table, "-\tpublished, as health knows\t%d\t%s\tnow\t-\n", a.Published.Zones, Dash(a.Published.Sum))
	for _, n := range a.Nodes {
		for _, s := range n.Sources {
			fmt.Fprintf(table, "%s\t%s\n", n.Node, s.row())
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return a.inOrder()
}

// inOrder returns nil if all were compared and are as they should be.
func (a LeaderAnswer) inOrder() error {
	for _, n := range a.Nodes {
		if n.Held != "" || n.Stuck || len(n.Found) > 0 || len(n.Faults()) > 0 {
			return command.ErrNotInOrder
		}
	}
	return nil
}

// row returns a source's line of the table. Sums of sources that know only serials differ from those of contents.
func (s SourceReport) row() string {
	zones, verdict := fmt.Sprint(s.Zones), "equal"
	if s.Sample {
		zones += " asked"
	}
	switch {
	case s.Fault != "":
		return fmt.Sprintf("%s\t-\t-\t-\tnot compared: %s", s.Source, s.Fault)
	case len(s.Found) > 0:
		verdict = "differs: " + strings.Join(s.Found, ", ") + inBrackets(s.First)
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", s.Source, zones, Dash(s.Sum), ago(s.Age), verdict)
}

func inBrackets[N fmt.Stringer](names []N) string {
	if len(names) == 0 {
		return ""
	}
	var texts []string
	for _, name := range names {
		texts = append(texts, name.String())
	}
	return " (" + strings.Join(texts, ", ") + ")"
}

func ago(age time.Duration) string {
	if age < time.Second {
		return "now"
	}
	return age.Round(time.Second).String() + " ago"
}

// line returns what the comparison of the node came to.
func (r NodeReport) line() string {
	if faults := r.Faults(); len(faults) > 0 {
		return "not compared: " + strings.Join(faults, "; ")
	}
	text := fmt.Sprintf("%d zones, as published", r.Zones)
	switch {
	case len(r.Found) > 0:
		text = fmt.Sprintf("%d zones, %s; %d being repaired", r.Zones, strings.Join(r.Found, ", "), r.Ordered)
	case r.OnWay > 0:
		text = fmt.Sprintf("%d zones, with changes on their way", r.Zones)
	case len(r.Repaired) > 0:
		text += "; repaired: " + strings.Join(r.Repaired, ", ")
	}
	if r.Stuck {
		text += ", which did not arrive during this check"
	}
	if r.Held != "" {
		text += fmt.Sprintf("\n  %s\n  to have the zones deleted there, run: pdns-distribute sync --confirm-deletes %s",
			r.Held, r.Node)
	}
	return text
}

// comparedLine returns what was compared last, or that nothing was.
func comparedLine(c *health.Compared, now time.Time, age time.Duration) string {
	switch {
	case c == nil || c.Nodes == 0:
		return "Not compared yet: it is unknown whether all sources of zones agree."
	case len(c.Unanswered) > 0:
		return "Not compared: " + strings.Join(c.Unanswered, "; ")
	case len(c.Differ) > 0:
		return "Sources differ: " + strings.Join(c.Differ, "; ")
	case now.Sub(c.At) > age:
		return fmt.Sprintf("Not compared for %s.", now.Sub(c.At).Round(time.Second))
	}
	text := fmt.Sprintf("Compared %s ago: %d sources at %d nodes agree on %d zones", now.Sub(c.At).Round(time.Second),
		c.Sources, c.Nodes, c.Zones)
	if c.OnWay > 0 {
		text += ", but for changes that were on their way"
	}
	return text + "."
}
