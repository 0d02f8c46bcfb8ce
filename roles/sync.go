package roles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
)

// Sync is the command sync: it has zones read, published and taken again whatever is known of them, or gives the
// operator's word that held deletions are right.
func Sync(ctx context.Context, in Invocation) error {
	switch confirm, check := in.Options.Bool("confirm-deletes"), in.Options.Bool("check"); {
	case confirm && (check || in.Options.Bool("all") || in.Options.String("node") != "" || len(in.Args) > 1):
		return fmt.Errorf("%w: sync: --confirm-deletes goes alone, or with the id of one secondary behind it", ErrUsage)
	case confirm && len(in.Args) == 1:
		return requestCheck(ctx, in, leaderRequest{Do: doConfirm, Node: in.Args[0]})
	case confirm:
		return confirmDeletes(ctx, in)
	case check && (in.Options.Bool("all") || len(in.Args) > 0):
		return fmt.Errorf("%w: sync: --check goes alone, or with --node ID", ErrUsage)
	case check:
		return requestCheck(ctx, in, leaderRequest{Do: doCheck, Node: in.Options.String("node")})
	}
	return syncZones(ctx, in)
}

func syncZones(ctx context.Context, in Invocation) error {
	names, err := parseZones(in.Args)
	if err != nil {
		return err
	}
	all := in.Options.Bool("all") || in.Options.String("node") != "" && len(names) == 0
	if all == (len(names) > 0) {
		return fmt.Errorf("%w: sync: name zones, or say --all, or --node ID, or --check, or --confirm-deletes", ErrUsage)
	}
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, cfg Config) error {
		if all {
			if names, err = publishedZones(ctx, conn); err != nil {
				return err
			}
		}
		return tracking(ctx, conn, cfg, func(ctx context.Context, t *proxy.Tracker) error {
			r := resync{conn: conn, tracker: t, to: in.Options.String("node"), report: syncReport{total: len(names), out: in.Stdout, progress: terminal(in.Stderr)}}
			return r.run(ctx, names)
		})
	}, "health")
}

// confirmDeletes is the word to the primary: zones that are gone from its PowerDNS shall be deleted.
func confirmDeletes(ctx context.Context, in Invocation) error {
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, _ Config) error {
		if err := conn.PublishWord(ctx, broker.Touch{Reason: "confirm-deletes"}); err != nil {
			return err
		}
		_, err := fmt.Fprintf(in.Stdout, "The primary sweeps now; for %s it deletes whatever PowerDNS does not have any more.\n", confirmed)
		return err
	})
}

// checkPatience is how long the comparison of all secondaries may take.
const checkPatience = 10 * time.Minute

// requestCheck has the health role that leads compare secondaries now, and prints what it found.
func requestCheck(ctx context.Context, in Invocation, r leaderRequest) error {
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, _ Config) error {
		ctx, cancel := context.WithTimeout(ctx, checkPatience)
		defer cancel()
		answer, err := askLeader(ctx, conn, r)
		if err != nil {
			return err
		}
		if r.Do == doConfirm {
			fmt.Fprintf(in.Stdout, "For %s zones are deleted from %s that are not published, once the primary has looked that they are gone.\n", confirmed, r.Node)
		}
		order := error(nil)
		for _, n := range answer.Nodes {
			fmt.Fprintf(in.Stdout, "%s: %s\n", n.Node, n.words())
			if n.Fault != "" || n.Held != "" {
				order = ErrNotInOrder
			}
		}
		return order
	})
}

// words tell an operator what came of it.
func (r nodeReport) words() string {
	if r.Fault != "" {
		return "not compared: " + r.Fault
	}
	text := fmt.Sprintf("%d zones, as published", r.Zones)
	if len(r.Found) > 0 {
		text = fmt.Sprintf("%d zones, of all %s; %d are being mended", r.Zones, strings.Join(r.Found, ", "), r.Ordered)
	}
	if r.OnWay > 0 {
		text += fmt.Sprintf("; %d changes are on their way", r.OnWay)
	}
	if r.Held != "" {
		text += fmt.Sprintf("\n  %s\n  if they shall be deleted there, run: pdns-distribute sync --confirm-deletes %s", r.Held, r.Node)
	}
	return text
}

func parseZones(args []string) (names []zone.Name, err error) {
	for _, arg := range args {
		name, fault := zone.ParseName(arg)
		if fault != nil {
			err = errors.Join(err, fmt.Errorf("%w: %q is no zone: %w", ErrUsage, arg, fault))
		}
		names = append(names, name)
	}
	return names, err
}

// publishedZones are those that exist, and those that were deleted lately: a secondary may have missed that.
func publishedZones(ctx context.Context, conn *broker.Conn) (names []zone.Name, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	found := map[zone.Name]bool{}
	err = conn.WatchStates(ctx, broker.StateWatcher{
		State: func(s broker.StateMsg) { found[s.Zone] = true },
		Reset: func() { clear(found) }, CaughtUp: stop,
	})
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, err
}

// resync is one run of the command.
type resync struct {
	conn    *broker.Conn
	tracker *proxy.Tracker
	to      string // the secondary that is to take the zones again; "" is all
	report  syncReport
}

const (
	// reasonResync has a zone published though it has not changed.
	reasonResync = "sync"

	syncWidth    = 32               // zones on their way at a time
	syncPatience = 30 * time.Second // for one zone
)

func (r *resync) run(ctx context.Context, names []zone.Name) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(syncWidth)
	for _, name := range names {
		g.Go(func() error {
			zctx, cancel := context.WithTimeout(ctx, syncPatience)
			defer cancel()
			p, err := r.tracker.Follow(zctx, name, func(ctx context.Context) (uint64, error) {
				to := r.to
				if to == "" {
					to = broker.ToAll
				}
				return r.conn.PublishTouch(ctx, name, broker.Touch{Reason: reasonResync, Again: to})
			})
			if err == nil {
				r.report.add(p, r.to)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return r.report.finish()
}

// syncReport counts what became of the zones. It is safe for concurrent use.
type syncReport struct {
	total    int
	out      io.Writer // gets the summary
	progress io.Writer // gets a bar

	mu     sync.Mutex
	done   int
	behind []string       // zones with who does not serve them
	mended map[string]int // zones by the secondary that had lost or altered them
}

func (r *syncReport) add(p proxy.Progress, only string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if r.mended == nil {
		r.mended = map[string]int{}
	}
	var missing []string
	there := false
	for _, s := range p.Secondaries {
		if only != "" && s.Node != only {
			continue
		}
		there = true
		if !s.InSync {
			missing = append(missing, s.Node)
		}
		if s.Told != nil && s.Told.Mended {
			r.mended[s.Node]++
		}
	}
	switch {
	case p.Settled == nil:
		r.behind = append(r.behind, fmt.Sprintf("%s: the primary did not publish it", p.Zone))
	case !there:
		r.behind = append(r.behind, fmt.Sprintf("%s: no such secondary is there", p.Zone))
	case len(missing) > 0:
		r.behind = append(r.behind, fmt.Sprintf("%s: not served by %s", p.Zone, strings.Join(missing, ", ")))
	}
	r.bar()
}

// bar is drawn once for each percent.
func (r *syncReport) bar() {
	const width = 40
	if r.done*100/r.total == (r.done-1)*100/r.total {
		return
	}
	full := r.done * width / r.total
	fmt.Fprintf(r.progress, "\r[%s%s] %d of %d", strings.Repeat("#", full), strings.Repeat(" ", width-full), r.done, r.total)
	if r.done == r.total {
		fmt.Fprintln(r.progress)
	}
}

// terminal is the writer if somebody looks at it: a bar in a log is noise.
func terminal(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return w
	}
	return io.Discard
}

// maxBehind is how many zones are named that are not served.
const maxBehind = 20

func (r *syncReport) finish() error {
	slices.Sort(r.behind)
	fmt.Fprintf(r.out, "%d zones, %d served everywhere.\n", r.total, r.total-len(r.behind))
	for _, node := range slices.Sorted(maps.Keys(r.mended)) {
		fmt.Fprintf(r.out, "%s had lost or altered %d of them, and was given them again.\n", node, r.mended[node])
	}
	for _, line := range r.behind[:min(len(r.behind), maxBehind)] {
		fmt.Fprintln(r.out, line)
	}
	if more := len(r.behind) - maxBehind; more > 0 {
		fmt.Fprintf(r.out, "... and %d more.\n", more)
	}
	if len(r.behind) > 0 {
		return ErrNotInOrder
	}
	return nil
}
