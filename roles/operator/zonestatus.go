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
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/follow"
	"pdns-distribute/roles/status"
)

// zoneStatus is what status prints of one zone as JSON.
type zoneStatus struct {
	Version     int                 `json:"version"` // of this document
	Zone        string              `json:"zone"`
	InSync      bool                `json:"in_sync"`
	Published   *health.Settled     `json:"published"` // null: no primary has answered
	Secondaries []secondaryStatus   `json:"secondaries"`
	Sources     []status.ZoneSource `json:"sources"`                // null: they were not compared ...
	NotCompared string              `json:"not_compared,omitempty"` // ... because of this
	Failing     []failingAt         `json:"failing"`                // the nodes that fail with it, as they report
}

// failingAt is a node that fails with a zone, and why. A node reports health.MaxFailures zones at most.
type failingAt struct {
	Node     string    `json:"node"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Attempts int       `json:"attempts"`
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
				z, err := askForZone(ctx, conn, t, name, cfg.Health)
				if err == nil {
					err = z.print(in.Stdout, in.Options.Bool("json"))
				}
				if err != nil {
					return err
				}
				inSync = inSync && z.InSync
			}
			if !inSync {
				return command.ErrNotInOrder
			}
			return nil
		})
	}, "health")
}

// askForZone asks all nodes what they have of the zone, and why they fail with it.
func askForZone(
	ctx context.Context, conn *broker.Conn, t *proxy.Tracker, name zone.Name, cfg health.Config,
) (z zoneStatus, err error) {
	learning, cancel := context.WithTimeout(ctx, zonePatience)
	p := t.Learn(learning, name)
	cancel()
	z = zoneStatus{Version: status.Version, Zone: name.String(), Published: p.Settled}
	for _, s := range p.Secondaries {
		z.Secondaries = append(z.Secondaries, secondaryStatus{s.Node, s.InSync, s.Applied})
	}
	z.Sources, z.NotCompared = sourcesOfZone(ctx, conn, name)
	z.InSync = p.InSync() && allEqual(z.Sources)
	nodes, err := status.Read(ctx, conn, cfg)
	for _, r := range nodes.Nodes {
		for _, f := range r.Failing {
			if f.Zone == name {
				z.Failing = append(z.Failing, failingAt{r.Node, f.Reason, f.Since, f.Attempts})
			}
		}
	}
	return z, err
}

func (z zoneStatus) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(z)
	}
	fmt.Fprintln(out, z.Zone)
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "  NODE\tIN SYNC\tSERIAL\tDIGEST\tSIGNED UNTIL\tSINCE")
	if s := z.Published; s == nil {
		fmt.Fprintln(table, "  published\tno answer of a primary\t-\t-\t-\t-")
	} else {
		fmt.Fprintf(table, "  published\t%s\t%s\t%s\t%s\t%s\n", pending(s.Pending), status.Serial(s.Gone, s.Serial),
			status.Short(s.Digest), timestamp(s.Expires), moment(s.Published))
	}
	for _, s := range z.Secondaries {
		if a := s.Serves; a == nil {
			fmt.Fprintf(table, "  %s\tno (no answer)\t-\t-\t-\t-\n", s.Node)
		} else {
			fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\t%s\n", s.Node, status.YesNo(s.InSync), status.Serial(a.Gone, a.Serial),
				status.Short(a.Digest), timestamp(a.Expires), moment(a.At))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if s := z.Published; s != nil && s.Unanswered() {
		fmt.Fprintf(out, "  Secondaries answer NODATA at names with %s records: PowerDNS computes no answers in a signed zone.\n",
			s.Computed.Types())
	}
	for _, f := range z.Failing {
		fmt.Fprintf(out, "  %s fails since %s, %d attempts: %s\n", f.Node, moment(f.Since), f.Attempts, f.Reason)
	}
	return printZoneSources(out, z.Sources, z.NotCompared)
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
