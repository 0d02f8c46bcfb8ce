package status

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"pdns-distribute/health"
)

// Printable returns a text fit for a terminal: some of it may come from a broker that was broken into.
func Printable(text string) string { return health.Printable(text) }

// Print writes the document for a person, or as JSON.
func (d Document) Print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(d)
	}
	if err := printBoard(out, d.Board, d.raised); err != nil {
		return err
	}
	if d.Leader == "" {
		fmt.Fprintln(out, "\nNo active health role: drift is neither detected nor repaired.")
	} else {
		fmt.Fprintln(out, "\n"+d.ComparedLine())
	}
	if len(d.Unanswered) > 0 {
		fmt.Fprintf(out, "\nThe brokers do not answer all questions: %s. What is shown may be old.\n",
			cmp.Or(d.Quorum(), "the brokers have no quorum, or their store has failed"))
		for _, what := range d.Unanswered {
			fmt.Fprintf(out, "  %s\n", Printable(what))
		}
	}
	printAlarms(out, d.At, d.Causes)
	return nil
}

// printBoard prints a line for each node, and below what is wrong, but for what is raised as an alarm.
func printBoard(out io.Writer, b health.Board, raised func(kind health.Kind, node string) bool) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "ROLE\tNODE\tSTATE\tZONES\tBEHIND\tFAILING\tLAST APPLIED\tSEEN\tPOWERDNS\tVERSION")
	for _, r := range b.Nodes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\n", Dash(r.Role), r.Node, r.State, r.Zones,
			Behind(r), r.Failures, Ago(b.At, r.Secondary.LastApplied), Ago(b.At, r.Seen), Dash(r.PowerDNS), Dash(r.Version))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !slices.ContainsFunc(b.Nodes, func(r health.Row) bool { return r.Role == health.RolePrimary && r.Active }) {
		fmt.Fprintln(out, "\nNo active primary: nothing is distributed.")
	}
	for _, r := range b.Nodes {
		printConditions(out, b.At, r, raised)
	}
	return nil
}

func printConditions(out io.Writer, now time.Time, r health.Row, raised func(kind health.Kind, node string) bool) {
	if !raised(health.AlarmNotReady, r.Node) || len(r.Problems) > 1 {
		for _, problem := range r.Problems {
			fmt.Fprintf(out, "\n%s %s is not ready: %s\n", Dash(r.Role), r.Node, problem)
		}
	}
	if c := r.Secondary.Checkpoint; c != nil && c.Incomplete != "" && !raised(health.AlarmIncomplete, r.Node) {
		fmt.Fprintf(out, "\n%s %s: %s\n", r.Role, r.Node, c.Incomplete)
	} else if c != nil && c.Filling && r.Secondary.Fill == nil {
		fmt.Fprintf(out, "\n%s %s is being filled: %d of %d zones are there.\n", r.Role, r.Node, c.Here, c.Signed)
	}
	if fill := r.Secondary.Fill; fill != nil {
		fmt.Fprintf(out, "\n%s %s is being filled: %s.\n", r.Role, r.Node, fill)
	}
	if !raised(health.AlarmSettings, r.Node) || len(r.Warnings) > 1 {
		for _, warning := range r.Warnings {
			fmt.Fprintf(out, "\n%s %s: %s\n", r.Role, r.Node, warning)
		}
	}
	if len(r.Failing) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s %s: failing zones (%d), retried automatically:\n", r.Role, r.Node, r.Failures)
	for _, f := range r.Failing {
		fmt.Fprintf(out, "  %s for %s, %d attempts: %s\n", f.Zone, Ago(now, f.Since), f.Attempts, f.Reason)
	}
}

// Behind returns how many states a secondary has still to confirm, "-" for other nodes.
func Behind(r health.Row) string {
	if r.Role != health.RoleSecondary {
		return "-"
	}
	return fmt.Sprint(r.Behind)
}

// Ago returns how long ago then was, "-" for the zero time.
func Ago(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	return now.Sub(then).Round(time.Second).String()
}

// Dash returns the text, "-" for an empty one.
func Dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// YesNo returns "yes" or "no".
func YesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// Serial returns the serial of a zone, or that there is none.
func Serial(gone bool, serial uint32) string {
	if gone {
		return "no such zone"
	}
	return fmt.Sprint(serial)
}

// Short returns as much of a digest as tells two versions apart at a glance.
func Short(digest string) string {
	return Dash(health.Cut(digest[:min(len(digest), 12)]))
}
