package roles

import (
	"context"
	"encoding/json"
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

// Status is the command status: it asks the broker who is there and prints it.
func Status(ctx context.Context, in Invocation) error {
	if len(in.Args) > 0 {
		return statusOfZones(ctx, in)
	}
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, cfg Config) error {
		board, err := readBoard(ctx, conn, cfg.Health)
		if err != nil {
			return err
		}
		if in.Options.Bool("json") {
			err = json.NewEncoder(in.Stdout).Encode(board)
		} else {
			err = printBoard(in.Stdout, board)
		}
		if err == nil && !board.OK {
			err = ErrNotInOrder
		}
		return err
	}, "health")
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

func readBoard(ctx context.Context, conn *broker.Conn, cfg health.Config) (health.Board, error) {
	statuses, err := conn.Statuses(ctx)
	if err != nil {
		return health.Board{}, err
	}
	feeds, err := readFeeds(ctx, conn)
	if err != nil {
		return health.Board{}, err
	}
	seen := map[string]health.Sighting{}
	for id, status := range statuses {
		if seen[id], err = newSighting(status); err != nil {
			return health.Board{}, fmt.Errorf("status of node %s: %w", id, err)
		}
	}
	return health.NewBoard(time.Now().UTC(), cfg.InactiveAfter, seen, feeds), nil
}

// printBoard prints a line a node, and below what is wrong.
func printBoard(out io.Writer, b health.Board) error {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "ROLE\tNODE\tSTATE\tZONES\tBEHIND\tFAILING\tLAST APPLIED\tSEEN\tPOWERDNS\tVERSION")
	for _, r := range b.Nodes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\n", r.Role, r.Node, r.State, r.Zones,
			behind(r), r.Failures, ago(b.At, r.LastApplied), ago(b.At, r.Seen), dash(r.PowerDNS), dash(r.Version))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !slices.ContainsFunc(b.Nodes, func(r health.Row) bool { return r.Role == "primary" && r.Active }) {
		fmt.Fprintln(out, "\nThere is no primary: nothing is distributed.")
	}
	for _, r := range b.Nodes {
		printTrouble(out, b.At, r)
	}
	return nil
}

func printTrouble(out io.Writer, now time.Time, r health.Row) {
	for _, problem := range r.Problems {
		fmt.Fprintf(out, "\n%s %s is not ready: %s\n", r.Role, r.Node, problem)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(out, "\n%s %s: PowerDNS runs with %s\n", r.Role, r.Node, warning)
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
