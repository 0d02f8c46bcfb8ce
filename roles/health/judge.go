package health

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/follow"
	"pdns-distribute/roles/work"
)

// judgeInterval is how often alarms are raised and cleared.
const judgeInterval = time.Second

// keepJudging keeps the alarms. All health roles do; the leader reports them. While a role sees nobody, and until the
// other nodes have found the broker again, too, nothing new is known of them.
func (h *Health) keepJudging(ctx context.Context) error {
	blind := time.Now()
	reported := health.Reported{}
	for work.Wait(ctx, judgeInterval) {
		now := time.Now()
		board := h.nodes.board()
		if blinded, is := h.blinded(board); is {
			blind = now
			h.alarms.Update(now, append(h.alarms.List(), blinded))
			if h.isRaised(blinded.Kind) { // nobody leads, so each role reports
				h.report(&reported)
			}
			h.measure(board)
			continue
		}
		if now.Sub(blind) < follow.Discovery {
			continue
		}
		h.retire(now, board)
		h.alarms.Update(now, h.wrong(now, board))
		h.shown.history.Observe(now, h.document())
		h.measure(board)
		if !h.leads() && !reported.Has(health.AlarmNoBroker) && !reported.Has(health.AlarmNoAnswer) {
			reported = health.Reported{}
			continue
		}
		h.report(&reported)
	}
	return nil
}

// retire follows changes no more that all serve, and has them asked for at public addresses.
func (h *Health) retire(now time.Time, board health.Board) {
	served := h.published.events.Retire(now, h.nodes.active(board))
	if p := h.prober.Load(); p != nil {
		p.changed(served)
	}
}

// wrong returns all that is wrong at this moment.
func (h *Health) wrong(now time.Time, board health.Board) []health.Alarm {
	return slices.Concat(
		board.Alarms(h.cfg, h.dnssec.AlarmBefore),
		h.nodes.duplicates.Alarms(now),
		h.lateAlarms(now, board),
		h.findings.alarms(),
		h.flow.Alarms(now, board),
		h.missingAlarms(now),
	)
}

// muteAfter is how long brokers may answer nothing: leaders of streams change within seconds.
const muteAfter = 15 * time.Second

// blinded returns the alarm of a role that learns nothing: it has no connection, or one to brokers that answer nothing.
func (h *Health) blinded(b health.Board) (alarm health.Alarm, is bool) {
	if !h.Conn.Connected() {
		return h.noBroker(), true
	}
	since := h.nodes.muteSince()
	if since.IsZero() || time.Since(since) < muteAfter {
		return alarm, false
	}
	return health.NodeAlarm(health.RoleHealth, h.ID, health.AlarmNoAnswer,
		fmt.Sprintf("connected, but the brokers have not answered since %s: nothing is stored or distributed; %s",
			since.UTC().Format(time.RFC3339), cmp.Or(b.Quorum(), "the brokers have no quorum, or their store has failed")),
		"start the brokers that are away; if all run, read /readyz and the log of each broker"), true
}

func (h *Health) noBroker() health.Alarm {
	return health.NodeAlarm(health.RoleHealth, h.ID, health.AlarmNoBroker,
		"no connection to a broker: the state of all other nodes is unknown",
		"check that the broker runs and can be reached from this host").Lasting()
}

// report logs and posts the alarms that were raised and cleared. Who begins to lead reports all: who led before may
// have reported others.
func (h *Health) report(reported *health.Reported) {
	first := !reported.Begun()
	now := h.alarms.List()
	raised, cleared := reported.Change(now)
	if len(raised)+len(cleared) == 0 && !first {
		return
	}
	for _, a := range raised {
		h.Each.Warn().Str("alarm", string(a.Kind)).Str("of", a.Node).
			Str("what", a.What).Str("remedy", a.Remedy).Strs("run", health.Lines(a.Commands())).Msg("alarm raised")
	}
	for _, a := range cleared {
		h.Each.Info().Str("alarm", string(a.Kind)).Str("of", a.Node).Str("what", a.What).Msg("alarm cleared")
	}
	h.AnnounceSoon()
	if h.Hook != nil {
		h.Hook.Post(raised, cleared, now)
	}
}

func (h *Health) isRaised(kind health.Kind) bool {
	return slices.ContainsFunc(h.alarms.List(), func(a health.Alarm) bool { return a.Kind == kind })
}

// lateAlarms are about secondaries that do not serve changes though these were published again.
func (h *Health) lateAlarms(now time.Time, b health.Board) (wrong []health.Alarm) {
	first, zones := map[string]health.Late{}, map[string]int{}
	for _, l := range h.published.events.Late(now, h.nodes.active(b)) {
		if zones[l.Node]++; zones[l.Node] == 1 {
			first[l.Node] = l
		}
	}
	for node, l := range first {
		wrong = append(wrong, late(node, zones[node], l, reasonIn(b, node, l.Zone)))
	}
	return wrong
}

func late(node string, zones int, l health.Late, reason string) health.Alarm {
	what := fmt.Sprintf("zones are not served as published (%d), "+
		"the first is %s, since %s and though published again %d times",
		zones, l.Zone, l.Since.UTC().Format(time.RFC3339), l.Attempts)
	if reason != "" {
		what += ": " + reason
	}
	return health.NodeAlarm(health.RoleSecondary, node, health.AlarmLate, what,
		"look at what it serves of the zone, and read the log of the secondary").Of(l.Zone, reason)
}

// reasonIn returns why a zone fails at a node, as the node reports it; "" if it reports nothing.
func reasonIn(b health.Board, node string, name zone.Name) string {
	for _, r := range b.Nodes {
		for _, f := range r.Failing {
			if r.Node == node && f.Zone == name {
				return f.Reason
			}
		}
	}
	return ""
}
