package operator

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
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/follow"
	"pdns-distribute/roles/status"
)

// zoneStatus is what status prints of one zone as JSON.
type zoneStatus struct {
	Zone        string              `json:"zone"`
	InSync      bool                `json:"in_sync"`
	Published   *health.Settled     `json:"published"` // null: no primary has answered
	Secondaries []secondaryStatus   `json:"secondaries"`
	Sources     []status.ZoneSource `json:"sources"`                // null: they were not compared ...
	NotCompared string              `json:"not_compared,omitempty"` // ... because of this
}

type secondaryStatus struct {
	Node   string          `json:"node"`
	InSync bool            `json:"in_sync"`
	Serves *health.Applied `json:"serves"` // null: the secondary has not answered
}

// zonePatience is how long nodes may take to answer what they have of a zone.
const zonePatience = 2 * time.Second

// statusOfZones asks all nodes about zones.
func statusOfZones(ctx context.Context, in command.Invocation) error {
	names, err := parseZones(in.Args)
	if err != nil {
		return err
	}
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, cfg config.Config) error {
		return follow.Tracking(ctx, conn, cfg, func(ctx context.Context, t *proxy.Tracker) error {
			inSync := true
			for _, name := range names {
				zctx, cancel := context.WithTimeout(ctx, zonePatience)
				p := t.Learn(zctx, name)
				cancel()
				sources, fault := sourcesOfZone(ctx, conn, name)
				inSync = inSync && p.InSync() && allEqual(sources)
				if err := printZone(in.Stdout, p, sources, fault, in.Options.Bool("json")); err != nil {
					return err
				}
			}
			if !inSync {
				return command.ErrNotInOrder
			}
			return nil
		})
	}, "health")
}

func printZone(out io.Writer, p proxy.Progress, sources []status.ZoneSource, fault string, asJSON bool) error {
	if asJSON {
		z := zoneStatus{
			Zone: p.Zone.String(), InSync: p.InSync() && allEqual(sources), Published: p.Settled,
			Sources: sources, NotCompared: fault,
		}
		for _, s := range p.Secondaries {
			z.Secondaries = append(z.Secondaries, secondaryStatus{s.Node, s.InSync, s.Applied})
		}
		return json.NewEncoder(out).Encode(z)
	}
	fmt.Fprintln(out, p.Zone)
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "  NODE\tIN SYNC\tSERIAL\tDIGEST\tSIGNED UNTIL\tSINCE")
	if s := p.Settled; s == nil {
		fmt.Fprintln(table, "  published\tno answer of a primary\t-\t-\t-\t-")
	} else {
		fmt.Fprintf(table, "  published\t%s\t%s\t%s\t%s\t%s\n", pending(s.Pending), status.Serial(s.Gone, s.Serial),
			status.Short(s.Digest), timestamp(s.Expires), moment(s.Published))
	}
	for _, s := range p.Secondaries {
		if a := s.Applied; a == nil {
			fmt.Fprintf(table, "  %s\tno (no answer)\t-\t-\t-\t-\n", s.Node)
		} else {
			fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\t%s\n", s.Node, status.YesNo(s.InSync), status.Serial(a.Gone, a.Serial),
				status.Short(a.Digest), timestamp(a.Expires), moment(a.At))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if s := p.Settled; s != nil && s.Unanswered() {
		fmt.Fprintf(out, "  Secondaries answer NODATA at names with %s records: PowerDNS computes no answers in a signed zone.\n",
			s.Computed.Types())
	}
	return printZoneSources(out, sources, fault)
}

func pending(is bool) string {
	if is {
		return "a change is on its way"
	}
	return "-"
}

func timestamp(expires uint32) string {
	if expires == 0 {
		return "-"
	}
	return time.Unix(int64(expires), 0).UTC().Format(time.DateTime)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}
