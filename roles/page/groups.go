package page

import (
	"slices"
	"strings"
	"time"

	"pdns-distribute/health"
)

// group is what is wrong, with the nodes at which it is.
type group struct {
	Kind    health.Kind
	Warning bool
	What    string
	Remedy  string
	Since   time.Time
	Nodes   []string
}

// grouped puts alarms together that say the same of different nodes, in the order of the first of each.
func grouped(alarms []health.Alarm) (groups []group) {
	for _, a := range alarms {
		what := about(a)
		at := slices.IndexFunc(groups, func(g group) bool { return g.Kind == a.Kind && g.Warning == a.Warning && g.What == what })
		if at < 0 {
			at = len(groups)
			groups = append(groups, group{Kind: a.Kind, Warning: a.Warning, What: what, Remedy: a.Remedy, Since: a.Since})
		}
		g := &groups[at]
		if g.Since.After(a.Since) {
			g.Since = a.Since
		}
		if a.Node != "" {
			g.Nodes = append(g.Nodes, a.Node)
		}
	}
	for i, g := range groups {
		if len(g.Nodes) == 1 { // then it says where
			groups[i].What = alarmOf(alarms, g).What
		}
	}
	return groups
}

// about returns what an alarm says without the node that it is about.
func about(a health.Alarm) string {
	for _, role := range []string{health.RoleSecondary, health.RolePrimary, health.RoleProxy, health.RoleHealth, health.RoleBroker} {
		if text, is := strings.CutPrefix(a.What, role+" "+a.Node+": "); is {
			return text
		}
	}
	return a.What
}

func alarmOf(alarms []health.Alarm, g group) health.Alarm {
	at := slices.IndexFunc(alarms, func(a health.Alarm) bool { return a.Kind == g.Kind && a.Node == g.Nodes[0] })
	return alarms[at]
}

// endedGroup are alarms of one kind that ended at about the same time.
type endedGroup struct {
	health.Alarm
	At    time.Time
	Nodes []string
}

// togetherWithin is how far apart alarms may end that are shown as one.
const togetherWithin = 30 * time.Second

// groupEnded puts together what ended at different nodes at about the same time.
func groupEnded(ended []Ended) (groups []endedGroup) {
	for _, e := range ended {
		what := about(e.Alarm)
		at := slices.IndexFunc(groups, func(g endedGroup) bool {
			return g.Kind == e.Kind && about(g.Alarm) == what && g.At.Sub(e.At) < togetherWithin
		})
		if at < 0 {
			at = len(groups)
			groups = append(groups, endedGroup{Alarm: e.Alarm, At: e.At})
		}
		groups[at].Since = earlier(groups[at].Since, e.Since)
		groups[at].Nodes = append(groups[at].Nodes, e.Node)
	}
	for i := range groups {
		if slices.SortFunc(groups[i].Nodes, compareNames); len(groups[i].Nodes) > 1 {
			groups[i].What = about(groups[i].Alarm)
		}
	}
	return groups
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Lasted says for how long it was wrong.
func (g endedGroup) Lasted() string { return short(g.At.Sub(g.Since)) }
