package health

import (
	"context"
	"fmt"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
)

// noteFlow notes how the queue and the feeds stand.
func (h *Health) noteFlow(ctx context.Context, now time.Time, infos []broker.FeedInfo) {
	q, err := h.Conn.Queue(ctx)
	if err != nil {
		h.Log.Debug().Err(err).Msg("failed to read the state of the touch queue")
		return
	}
	feeds := make([]health.FeedMarks, len(infos))
	for i, f := range infos {
		marks := [3]uint64{f.Delivered, f.AckFloor, uint64(f.InHand)}
		feeds[i] = health.FeedMarks{Node: f.Node, Waiting: f.Pending, Marks: marks}
	}
	queue := health.Queue{Touches: q.Touches, Waiting: q.Waiting, Oldest: q.Oldest, Gone: q.Gone, Given: q.Given}
	h.flow.Observe(now, queue, feeds)
	h.metrics.queued(queue)
}

// missingAlarms are about zones that a primary reports as published and that the stream does not have.
func (h *Health) missingAlarms(now time.Time) []health.Alarm {
	claims := h.published.missing(now)
	if len(claims) == 0 {
		return nil
	}
	first := claims[0]
	for _, c := range claims {
		if c.Since.Before(first.Since) {
			first = c
		}
	}
	return []health.Alarm{health.Alarm{
		Kind: health.AlarmNotInStream,
		What: fmt.Sprintf("broker: a primary reports zones as published that the stream does not have (%d), "+
			"the first is %s, since %s", len(claims), first.Zone, first.Since.UTC().Format(time.RFC3339)),
		Remedy: "the primary publishes the zones again by itself; if that does not help, " +
			"restart the primary role, then compare all zones",
		Zone: first.Zone,
	}.Lasting()}
}
