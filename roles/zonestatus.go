package roles

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/proxy"
)

// zoneStatus is what status prints of one zone as JSON.
type zoneStatus struct {
	Zone        string            `json:"zone"`
	InSync      bool              `json:"in_sync"`
	Published   *health.Settled   `json:"published"` // null: no primary has told
	Secondaries []secondaryStatus `json:"secondaries"`
}

type secondaryStatus struct {
	Node   string          `json:"node"`
	InSync bool            `json:"in_sync"`
	Serves *health.Applied `json:"serves"` // null: it has not told
}

// zonePatience is how long nodes may take to tell how they are.
const zonePatience = 2 * time.Second

// statusOfZones asks all nodes about zones.
func statusOfZones(ctx context.Context, in Invocation) error {
	names, err := parseZones(in.Args)
	if err != nil {
		return err
	}
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, cfg Config) error {
		return tracking(ctx, conn, cfg, func(ctx context.Context, t *proxy.Tracker) error {
			inSync := true
			for _, name := range names {
				zctx, cancel := context.WithTimeout(ctx, zonePatience)
				p := t.Learn(zctx, name)
				cancel()
				inSync = inSync && p.InSync()
				if err := printZone(in.Stdout, p, in.Options.Bool("json")); err != nil {
					return err
				}
			}
			if !inSync {
				return ErrNotInOrder
			}
			return nil
		})
	}, "health")
}

func printZone(out io.Writer, p proxy.Progress, asJSON bool) error {
	if asJSON {
		z := zoneStatus{Zone: p.Zone.String(), InSync: p.InSync(), Published: p.Settled}
		for _, s := range p.Secondaries {
			z.Secondaries = append(z.Secondaries, secondaryStatus{s.Node, s.InSync, s.Told})
		}
		return json.NewEncoder(out).Encode(z)
	}
	fmt.Fprintln(out, p.Zone)
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "  NODE\tIN SYNC\tSERIAL\tDIGEST\tSIGNED UNTIL\tSINCE")
	if s := p.Settled; s == nil {
		fmt.Fprintln(table, "  published\tno primary has told\t-\t-\t-\t-")
	} else {
		fmt.Fprintf(table, "  published\t%s\t%s\t%s\t%s\t%s\n", pendingWord(s.Pending), serialWord(s.Gone, s.Serial), short(s.Digest), untilWord(s.Expires), timeWord(s.Published))
	}
	for _, s := range p.Secondaries {
		if a := s.Told; a == nil {
			fmt.Fprintf(table, "  %s\tno, it has not told\t-\t-\t-\t-\n", s.Node)
		} else {
			fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\t%s\n", s.Node, yesNo(s.InSync), serialWord(a.Gone, a.Serial), short(a.Digest), untilWord(a.Expires), timeWord(a.At))
		}
	}
	return table.Flush()
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func pendingWord(pending bool) string {
	if pending {
		return "a change is on its way"
	}
	return "-"
}

func serialWord(gone bool, serial uint32) string {
	if gone {
		return "no such zone"
	}
	return fmt.Sprint(serial)
}

// short is as much of a digest as tells two versions apart at a glance.
func short(digest string) string {
	return dash(health.Cut(digest[:min(len(digest), 12)]))
}

func untilWord(expires uint32) string {
	if expires == 0 {
		return "-"
	}
	return time.Unix(int64(expires), 0).UTC().Format(time.DateTime)
}

func timeWord(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}
