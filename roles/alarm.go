package roles

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// judgeInterval is how often it is looked at what is wrong.
const judgeInterval = time.Second

// keepJudging keeps the alarms. All health roles do; the one that leads tells of them. While a role hears nobody, and until
// the others have found the broker again, too, nothing new is said of them.
func (h *Health) keepJudging(ctx context.Context) error {
	deaf := time.Now()
	told := health.Told{}
	for wait(ctx, judgeInterval) {
		now := time.Now()
		board := h.board()
		if !h.conn.Connected() {
			deaf = now
			h.alarms.Update(now, append(h.alarms.List(), h.noBroker()))
			if h.isRaised(alarmNoBroker) { // nobody leads, so each role tells
				h.report(&told)
			}
			h.measure(board)
			continue
		}
		if now.Sub(deaf) < hearing {
			continue
		}
		served := h.events.Retire(now, h.active(board))
		if p := h.prober.Load(); p != nil {
			p.changed(served)
		}
		wrong := append(board.Alarms(h.cfg, h.dnssec.AlarmBefore), h.twins.Alarms(now)...)
		wrong = append(wrong, h.lateAlarms(now, board)...)
		wrong = append(wrong, h.findings.alarms()...)
		h.alarms.Update(now, wrong)
		h.measure(board)
		if !h.leads() && !told.Tells(alarmNoBroker) {
			told = health.Told{}
			continue
		}
		h.report(&told)
	}
	return nil
}

const alarmNoBroker = "no-broker"

func (h *Health) noBroker() health.Alarm {
	return health.Alarm{
		Kind: alarmNoBroker, Node: h.id, What: fmt.Sprintf("health %s has no connection to the broker: it sees nobody", h.id),
		Remedy: "see whether the broker runs and can be reached from here: pdns-distribute doctor",
	}.Lasting()
}

// report tells of alarms that began or are over. Who begins to lead tells all: who led before may have told of others.
func (h *Health) report(told *health.Told) {
	first := !told.Begun()
	now := h.alarms.List()
	raised, cleared := told.Change(now)
	if len(raised)+len(cleared) == 0 && !first {
		return
	}
	for _, a := range raised {
		h.each.Warn().Str("alarm", a.Kind).Str("of", a.Node).Str("remedy", a.Remedy).Msg(a.What)
	}
	for _, a := range cleared {
		h.each.Info().Str("alarm", a.Kind).Str("of", a.Node).Msg("over: " + a.What)
	}
	h.announceSoon()
	if h.hook != nil {
		h.hook.post(raised, cleared, now)
	}
}

func (h *Health) isRaised(kind string) bool {
	return slices.ContainsFunc(h.alarms.List(), func(a health.Alarm) bool { return a.Kind == kind })
}

// lateAlarms tell of secondaries that do not serve changes though they were told again.
func (h *Health) lateAlarms(now time.Time, b health.Board) (wrong []health.Alarm) {
	first, zones := map[string]health.Late{}, map[string]int{}
	for _, l := range h.events.Late(now, h.active(b)) {
		if zones[l.Node]++; zones[l.Node] == 1 {
			first[l.Node] = l
		}
	}
	for node, l := range first {
		wrong = append(wrong, alarmLate(node, zones[node], l, reasonIn(b, node, l.Zone)))
	}
	return wrong
}

// reasonIn is what a node says of its trouble with a zone, "" if it says none.
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

func alarmLate(node string, zones int, l health.Late, reason string) health.Alarm {
	what := fmt.Sprintf("secondary %s does not serve zones as published, %d in all, the first of them %s since %s, which it was told %d more times", node, zones, l.Zone, l.Since.UTC().Format(time.RFC3339), l.Attempts)
	if reason != "" {
		what += ": " + reason
	}
	return health.Alarm{Kind: "late", Node: node, What: what, Remedy: "see what its log says of the zone: pdns-distribute status " + l.Zone.String() + " shows what it serves"}
}

// findings is what checks and probes found wrong, until they find it right. It is safe for concurrent use.
type findings struct {
	mu    sync.Mutex
	found map[finding]health.Alarm
}

type finding struct{ kind, node string }

func newFindings() *findings { return &findings{found: map[finding]health.Alarm{}} }

// set notes whether something is wrong with a secondary.
func (f *findings) set(kind, node string, wrong bool, what, remedy string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !wrong {
		delete(f.found, finding{kind, node})
		return
	}
	f.found[finding{kind, node}] = health.Alarm{Kind: kind, Node: node, What: fmt.Sprintf("secondary %s: %s", node, what), Remedy: remedy}.Lasting()
}

// forget drops what is known of a node.
func (f *findings) forget(node string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.found, func(of finding, _ health.Alarm) bool { return of.node == node })
}

// clear forgets all: who leads next finds it anew.
func (f *findings) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.found)
}

func (f *findings) alarms() []health.Alarm {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.found))
}
