package operator

import (
	"cmp"
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
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/follow"
	"pdns-distribute/roles/status"
)

// Sync is the command sync: it has zones read, published and applied again whatever is known of them, or nodes
// compared, or confirms held deletions.
func Sync(ctx context.Context, in command.Invocation) error {
	switch confirm, check := in.Options.Bool("confirm-deletes"), in.Options.Bool("check"); {
	case confirm && (check || in.Options.Bool("all") || in.Options.String("node") != "" || len(in.Args) > 1):
		return fmt.Errorf("%w: sync: --confirm-deletes stands alone, or is followed by the id of one primary or secondary",
			command.ErrUsage)
	case confirm:
		return confirmDeletes(ctx, in)
	case check && (in.Options.Bool("all") || len(in.Args) > 0):
		return fmt.Errorf("%w: sync: --check stands alone, or with --node ID", command.ErrUsage)
	case check:
		return requestCheck(ctx, in, status.LeaderRequest{Do: status.DoCheck, Node: in.Options.String("node")})
	}
	return syncZones(ctx, in)
}

func syncZones(ctx context.Context, in command.Invocation) error {
	names, err := parseZones(in.Args)
	if err != nil {
		return err
	}
	all := in.Options.Bool("all") || in.Options.String("node") != "" && len(names) == 0
	if all == (len(names) > 0) {
		return fmt.Errorf("%w: sync: name zones, or use --all, --node ID, --check or --confirm-deletes", command.ErrUsage)
	}
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, cfg config.Config) error {
		if all {
			return syncAll(ctx, in, conn, cfg)
		}
		return syncNamed(ctx, in, conn, cfg, names)
	}, "health")
}

func syncNamed(ctx context.Context, in command.Invocation, conn *broker.Conn, cfg config.Config,
	names []zone.Name) error {
	return follow.Tracking(ctx, conn, cfg, func(ctx context.Context, t *proxy.Tracker) error {
		r := resync{conn: conn, tracker: t, to: in.Options.String("node")}
		r.report = syncReport{total: len(names), all: len(in.Args) == 0, out: in.Stdout, progress: terminal(in.Stderr)}
		return r.run(ctx, names)
	})
}

// syncAll syncs the zones that the broker has states of. The health role sees before that these are all zones that
// PowerDNS lists, and shows afterwards what each secondary has.
func syncAll(ctx context.Context, in command.Invocation, conn *broker.Conn, cfg config.Config) error {
	check := status.LeaderRequest{Do: status.DoCheck, Node: in.Options.String("node")}
	_, uncounted := askInTime(ctx, conn, status.LeaderRequest{Do: status.DoCount, Node: check.Node})
	names, err := conn.ZoneNames(ctx)
	if err != nil {
		return err
	}
	slices.Sort(names)
	behind := syncNamed(ctx, in, conn, cfg, names)
	if behind != nil && !errors.Is(behind, command.ErrNotInOrder) {
		return behind
	}
	var answer status.LeaderAnswer
	if uncounted == nil {
		answer, uncounted = askInTime(ctx, conn, check)
	}
	if uncounted != nil {
		fmt.Fprintf(in.Stdout, "Not compared with what PowerDNS and the secondaries have: %s\n",
			status.Printable(uncounted.Error()))
		return command.ErrNotInOrder
	}
	return cmp.Or(answer.Print(in.Stdout), behind)
}

// askInTime is status.AskLeader for comparisons.
func askInTime(ctx context.Context, conn *broker.Conn, r status.LeaderRequest) (status.LeaderAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	return status.AskLeader(ctx, conn, r)
}

// checkPatience is how long the comparison of all secondaries may take.
const checkPatience = 10 * time.Minute

// requestCheck has the health role that leads compare secondaries now, and prints what it found.
func requestCheck(ctx context.Context, in command.Invocation, r status.LeaderRequest) error {
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, _ config.Config) error {
		answer, err := askInTime(ctx, conn, r)
		if err != nil {
			return err
		}
		return answer.Print(in.Stdout)
	})
}

func parseZones(args []string) (names []zone.Name, err error) {
	for _, arg := range args {
		name, fault := zone.ParseName(arg)
		if fault != nil {
			err = errors.Join(err, fmt.Errorf("%w: %q is not a zone: %w", command.ErrUsage, arg, fault))
		}
		names = append(names, name)
	}
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
				return r.conn.PublishTouch(ctx, name, broker.Touch{Cause: broker.Ordered, Again: to})
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
	all      bool      // nobody named the zones: those that are gone are counted apart
	out      io.Writer // gets the summary
	progress io.Writer // gets a bar

	mu       sync.Mutex // guards all below
	done     int
	gone     int            // of all, tombstones that everybody follows
	behind   []string       // zones with the secondaries that do not serve them
	repaired map[string]int // zones by the secondary that had lost or altered them
}

func (r *syncReport) add(p proxy.Progress, only string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if r.repaired == nil {
		r.repaired = map[string]int{}
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
		if s.Applied != nil && s.Applied.Repaired {
			r.repaired[s.Node]++
		}
	}
	switch {
	case p.Settled == nil:
		r.behind = append(r.behind, fmt.Sprintf("%s: the primary did not publish it", p.Zone))
	case !there:
		r.behind = append(r.behind, fmt.Sprintf("%s: no such secondary is active", p.Zone))
	case len(missing) > 0:
		r.behind = append(r.behind, fmt.Sprintf("%s: not served by %s", p.Zone, strings.Join(missing, ", ")))
	case p.Settled.Gone && r.all:
		r.gone++
	}
	drawBar(r.progress, r.done, r.total)
}

// drawBar draws how many are done, once for each percent.
func drawBar(out io.Writer, done, total int) {
	const width = 40
	if done*100/total == (done-1)*100/total {
		return
	}
	full := done * width / total
	fmt.Fprintf(out, "\r[%s%s] %d of %d", strings.Repeat("#", full), strings.Repeat(" ", width-full), done, total)
	if done == total {
		fmt.Fprintln(out)
	}
}

// terminal returns the writer if a person looks at it: a bar in a log is noise.
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
	zones := r.total - r.gone
	fmt.Fprintf(r.out, "%d zones, %d served everywhere.\n", zones, zones-len(r.behind))
	for _, node := range slices.Sorted(maps.Keys(r.repaired)) {
		fmt.Fprintf(r.out, "%s had lost or altered %d zones, which are repaired.\n", node, r.repaired[node])
	}
	for _, line := range r.behind[:min(len(r.behind), maxBehind)] {
		fmt.Fprintln(r.out, line)
	}
	if more := len(r.behind) - maxBehind; more > 0 {
		fmt.Fprintf(r.out, "... and %d more.\n", more)
	}
	if len(r.behind) > 0 {
		return command.ErrNotInOrder
	}
	return nil
}
