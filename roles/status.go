package roles

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
)

// statusPatience is how long the broker may take to answer.
const statusPatience = 10 * time.Second

// statusDocument is what status prints as JSON, and what the health role answers.
type statusDocument struct {
	health.Board
	Leader string         `json:"leader,omitempty"` // the health role that acts
	Alarms []health.Alarm `json:"alarms"`           // as that one sees it
}

func statusOf(b health.Board, holder string, alarms []health.Alarm) statusDocument {
	d := statusDocument{Board: b, Alarms: alarms}
	if r := leader(b, holder); r != nil {
		d.Leader = r.Node
	}
	return d
}

// Status is the command status: it asks the broker who is there and prints it.
func Status(ctx context.Context, in Invocation) error {
	watch := in.Options.Bool("watch")
	if len(in.Args) > 0 {
		if watch {
			return fmt.Errorf("%w: status: --watch shows nodes, not zones", ErrUsage)
		}
		return statusOfZones(ctx, in)
	}
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, cfg Config) error {
		if watch {
			return watchStatus(ctx, in, conn, cfg.Health)
		}
		status, err := readStatus(ctx, conn, cfg.Health)
		if err != nil {
			return err
		}
		return errors.Join(status.print(in.Stdout, in.Options.Bool("json")), status.inOrder())
	}, "health")
}

// watchPause is how often the picture is renewed.
const watchPause = 2 * time.Second

// watchStatus shows how things are until ctx ends: on a terminal in place, as JSON a line each time.
func watchStatus(ctx context.Context, in Invocation, conn *broker.Conn, cfg health.Config) error {
	const home, clearRest = "\x1b[H", "\x1b[J"
	inPlace := terminal(in.Stdout) != io.Discard && !in.Options.Bool("json")
	if inPlace {
		fmt.Fprint(in.Stdout, home+clearRest)
	}
	for {
		var picture bytes.Buffer
		if status, err := readStatus(ctx, conn, cfg); err == nil {
			if err := status.print(&picture, in.Options.Bool("json")); err != nil {
				return err
			}
		} else if ctx.Err() == nil {
			fmt.Fprintln(&picture, Printable(err.Error()))
		}
		if inPlace {
			lines := strings.ReplaceAll(picture.String(), "\n", "\x1b[K\n") // each erases the rest of what stood there
			fmt.Fprint(in.Stdout, home+time.Now().Format(time.DateTime)+"\x1b[K\n\n"+lines+clearRest)
		} else {
			fmt.Fprint(in.Stdout, picture.String())
		}
		if !wait(ctx, watchPause) {
			return nil
		}
	}
}

// Printable is a text fit for a terminal: some of it may be the words of a broker that was broken into.
func Printable(text string) string { return health.Printable(text) }

func (d statusDocument) inOrder() error {
	if d.OK && d.Leader != "" && !slices.ContainsFunc(d.Alarms, func(a health.Alarm) bool { return !a.Warning }) {
		return nil
	}
	return ErrNotInOrder
}

// tells whether an alarm says it already.
func (d statusDocument) tells(kind, node string) bool {
	return slices.ContainsFunc(d.Alarms, func(a health.Alarm) bool { return a.Kind == kind && a.Node == node })
}

func (d statusDocument) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(d)
	}
	if err := printBoard(out, d.Board, d.tells); err != nil {
		return err
	}
	if d.Leader == "" {
		fmt.Fprintln(out, "\nNo health role acts: nobody compares and mends.")
	}
	for _, a := range d.Alarms {
		word := "ALARM"
		if a.Warning {
			word = "warning"
		}
		fmt.Fprintf(out, "\n%s for %s: %s\n  %s\n", word, ago(d.At, a.Since), a.What, a.Remedy)
	}
	return nil
}

// withBroker connects for the length of one command.
func withBroker(ctx context.Context, in Invocation, do func(context.Context, *broker.Conn, Config) error, sections ...string) error {
	cfg, err := loadConfig(in.Settings, append(sections, "broker")...)
	if err != nil {
		return err
	}
	if cfg.Log.Level == "info" { // a command tells what it was asked for, and errors
		cfg.Log.Level = "error"
	}
	conn, err := broker.Connect(cfg.Broker, broker.Options{Node: cfg.Node.ID, Log: cfg.Log.New(in.Stderr)})
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	connected, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	if err := conn.Wait(connected); err != nil {
		return fmt.Errorf("broker %s: %w", strings.Join(cfg.Broker.URLs, ", "), err)
	}
	return do(ctx, conn, cfg)
}

func readStatus(ctx context.Context, conn *broker.Conn, cfg health.Config) (statusDocument, error) {
	statuses, err := conn.Statuses(ctx)
	if err != nil {
		return statusDocument{}, err
	}
	feeds, err := readFeeds(ctx, conn)
	if err != nil {
		return statusDocument{}, err
	}
	now, err := conn.Now(ctx)
	if err != nil {
		return statusDocument{}, err
	}
	seen := map[string]health.Sighting{}
	for id, status := range statuses {
		seen[id] = newSighting(id, status)
	}
	holder, err := conn.LeaseHolder(ctx, leaseName)
	if err != nil {
		return statusDocument{}, err
	}
	board := health.NewBoard(now, cfg, seen, feeds)
	alarms := []health.Alarm{}
	if r := leader(board, holder.Node); r != nil {
		alarms = append(alarms, r.Alarms...)
	}
	return statusOf(board, holder.Node, alarms), nil
}

// printBoard prints a line a node, and below what is wrong, but for what is told otherwise.
func printBoard(out io.Writer, b health.Board, told func(kind, node string) bool) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "ROLE\tNODE\tSTATE\tZONES\tBEHIND\tFAILING\tLAST APPLIED\tSEEN\tPOWERDNS\tVERSION")
	for _, r := range b.Nodes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\n", dash(r.Role), r.Node, r.State, r.Zones,
			behind(r), r.Failures, ago(b.At, r.LastApplied), ago(b.At, r.Seen), dash(r.PowerDNS), dash(r.Version))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !slices.ContainsFunc(b.Nodes, func(r health.Row) bool { return r.Role == rolePrimary && r.Active }) {
		fmt.Fprintln(out, "\nThere is no primary: nothing is distributed.")
	}
	for _, r := range b.Nodes {
		printTrouble(out, b.At, r, told)
	}
	return nil
}

func printTrouble(out io.Writer, now time.Time, r health.Row, told func(kind, node string) bool) {
	if !told(health.AlarmNotReady, r.Node) || len(r.Problems) > 1 {
		for _, problem := range r.Problems {
			fmt.Fprintf(out, "\n%s %s is not ready: %s\n", dash(r.Role), r.Node, problem)
		}
	}
	if !told(health.AlarmSettings, r.Node) || len(r.Warnings) > 1 {
		for _, warning := range r.Warnings {
			fmt.Fprintf(out, "\n%s %s: %s\n", r.Role, r.Node, warning)
		}
	}
	if len(r.Failing) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s %s has zones in trouble, %d in all, and tries them again:\n", r.Role, r.Node, r.Failures)
	for _, f := range r.Failing {
		fmt.Fprintf(out, "  %s, for %s, %d attempts: %s\n", f.Zone, ago(now, f.Since), f.Attempts, f.Reason)
	}
}

func behind(r health.Row) string {
	if r.Role != roleSecondary {
		return "-"
	}
	return fmt.Sprint(r.Behind)
}

func ago(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	return now.Sub(then).Round(time.Second).String()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
