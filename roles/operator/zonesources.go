package operator

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/status"
)

// sourcesOfZone asks the health role that leads what each source has of the zone; fault is why nothing was compared.
func sourcesOfZone(ctx context.Context, conn *broker.Conn, name zone.Name) (found []status.ZoneSource, fault string) {
	answer, err := askInTime(ctx, conn, status.LeaderRequest{Do: status.DoLook, Zone: name})
	if err != nil {
		return nil, health.Cut(err.Error())
	}
	return answer.Sources, ""
}

// allEqual reports whether every source was looked at and is as published.
func allEqual(sources []status.ZoneSource) bool {
	return len(sources) > 0 && !slices.ContainsFunc(sources,
		func(s status.ZoneSource) bool { return !s.Equal || s.Fault != "" })
}

func printZoneSources(out io.Writer, sources []status.ZoneSource, fault string) error {
	if fault != "" {
		_, err := fmt.Fprintf(out, "  Sources were not compared: %s\n", fault)
		return err
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "  NODE\tSOURCE\tSERIAL\tPUBLISHED")
	for _, s := range sources {
		verdict := "equal"
		switch {
		case s.Fault != "":
			verdict = "not compared: " + s.Fault
		case !s.Equal:
			verdict = "differs"
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", s.Node, s.Source, status.Serial(!s.There, s.Serial), verdict)
	}
	return table.Flush()
}
