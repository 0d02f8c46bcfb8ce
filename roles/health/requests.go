package health

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/status"
	"pdns-distribute/roles/work"
)

// serveRequests answers what commands ask of the leader.
func (h *Health) serveRequests(ctx context.Context, c *checker) error {
	stop, err := h.Conn.ServeLeader(ctx, func(ctx context.Context, request []byte) []byte {
		text, err := json.Marshal(c.serve(ctx, request))
		if err != nil {
			h.Log.Error().Err(err).Msg("failed to encode an answer")
		}
		return text
	})
	if err != nil {
		return err
	}
	defer stop()
	<-ctx.Done()
	return nil
}

func (c *checker) serve(ctx context.Context, request []byte) status.LeaderAnswer {
	var r status.LeaderRequest
	if err := json.Unmarshal(request, &r); err != nil {
		return status.LeaderAnswer{Fault: err.Error()}
	}
	nodes, fault := c.checkable(r.Node)
	if fault != "" {
		return status.LeaderAnswer{Fault: fault}
	}
	switch r.Do {
	case status.DoCheck:
		return c.checkNow(ctx, nodes)
	case status.DoCount:
		return c.checkNow(ctx, slices.DeleteFunc(nodes, func(n checked) bool { return n.role != health.RolePrimary }))
	case status.DoLook:
		found, err := c.lookAt(ctx, r.Zone)
		if err != nil {
			return status.LeaderAnswer{Fault: err.Error()}
		}
		return status.LeaderAnswer{Sources: found}
	case status.DoConfirm:
		return c.confirm(ctx, nodes, r)
	}
	return status.LeaderAnswer{
		Fault: fmt.Sprintf("unknown request %q: the versions of the command and the health role differ", r.Do),
	}
}

// checkable returns the nodes that somebody means who names a secondary, or none for all of them; fault is why there
// is none. The primaries are always among them: what a secondary is compared with is compared there.
func (c *checker) checkable(node string) (nodes []checked, fault string) {
	all := c.ready()
	here := false
	for _, n := range all {
		if n.role == health.RolePrimary || node == "" || n.node == node {
			nodes = append(nodes, n)
		}
		here = here || n.role == health.RoleSecondary && (node == "" || n.node == node)
	}
	switch {
	case len(all) == 0, !here && node == "":
		return nil, "no secondary can be checked: none is active, or no primary is"
	case !here:
		return nil, fmt.Sprintf("no active secondary is called %q", node)
	}
	return nodes, ""
}

// confirm answers how many deletions are held at a secondary, or takes an operator's confirmation of them.
func (c *checker) confirm(ctx context.Context, nodes []checked, r status.LeaderRequest) status.LeaderAnswer {
	switch {
	case r.Node == "":
		return status.LeaderAnswer{Fault: "the request names no secondary"}
	case len(r.Confirmation) == 0:
		return status.LeaderAnswer{Held: c.limits.of(r.Node).Held()}
	}
	confirmation, err := c.limits.confirm(r)
	if err != nil {
		return status.LeaderAnswer{Fault: err.Error()}
	}
	c.h.Each.Warn().Str("secondary", r.Node).Int("zones", confirmation.Count).Str("by", confirmation.By).
		Dur("for", broker.ConfirmationTime).Msg("operator confirmed deletions")
	return c.checkNow(ctx, nodes)
}

// What differs may be on its way, or is repaired in a moment: a command waits for that.
const (
	againPatience = 30 * time.Second
	againPause    = time.Second
)

// checkNow checks nodes because somebody asked for it, those that differ again for a while.
func (c *checker) checkNow(ctx context.Context, nodes []checked) (answer status.LeaderAnswer) {
	for _, n := range nodes {
		deadline := time.Now().Add(againPatience)
		report := c.one(ctx, n, countedSince)
		looked := time.Now()
		found := report.Found
		for report.Open() && time.Now().Before(deadline) && work.Wait(ctx, againPause) {
			report = c.one(ctx, n, countedSince)
			if len(report.Found) > 0 {
				found = report.Found
			}
		}
		if !report.Open() {
			report.Repaired = found
		}
		report.Stuck = !report.Waiting.IsZero() && !report.Waiting.After(looked)
		answer.Nodes = append(answer.Nodes, report)
	}
	sum := c.h.published.index.Desired().Sum()
	answer.Published = &status.SourceReport{Zones: sum.Zones, Sum: status.Short(sum.String())}
	return answer
}
