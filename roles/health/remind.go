package health

import (
	"context"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/roles/work"
)

// remind has changes published again that secondaries do not confirm in time, and what primaries report as published
// and the stream does not have.
func (h *Health) remind(ctx context.Context, r *repairer) error {
	claimsDue := time.Now()
	for work.Wait(ctx, judgeInterval) {
		if !h.Conn.Connected() || !h.published.complete.Load() {
			continue
		}
		orders := h.published.events.Due(time.Now(), h.nodes.active(h.nodes.board()))
		for _, name := range orders.Ask {
			_ = h.Conn.PublishAsk(name) // if it is lost, the zone is published again instead
		}
		for name, nodes := range orders.Retake {
			h.metrics.repairs.WithLabelValues("late").Inc()
			h.Each.Warn().Stringer("zone", name).Strs("secondaries", nodes).
				Msg("secondaries did not confirm the zone, publishing it again")
			for _, node := range nodes {
				r.add(name, node)
			}
		}
		if time.Now().After(claimsDue) {
			claimsDue = time.Now().Add(h.cfg.EventCheckWait)
			for _, c := range h.published.missing(time.Now()) {
				r.add(c.Zone, broker.ToAll)
			}
		}
	}
	return nil
}
