package page

import (
	"slices"
	"time"

	"pdns-distribute/health"
)

// group is one cause of alarms.
type group struct {
	health.Group
	First []place // where the first of its lines are to be run
	Rest  []place
}

// place is where lines are to be run, and in which case.
type place struct {
	On, If string
	Lines  []string
}

// linesShown is how many lines of an alarm are shown before the rest is folded up: it may be at many nodes.
const linesShown = 3

func grouped(alarms []health.Alarm) (groups []group) {
	for _, g := range health.Grouped(alarms) {
		first := min(len(g.Run), linesShown)
		groups = append(groups, group{g, placesOf(g.Run[:first]), placesOf(g.Run[first:])})
	}
	return groups
}

func placesOf(commands []health.Command) (places []place) {
	for _, c := range commands {
		last := len(places) - 1
		if last < 0 || places[last].On != c.On || places[last].If != c.If {
			places = append(places, place{On: c.On, If: c.If})
			last++
		}
		places[last].Lines = append(places[last].Lines, c.Line)
	}
	return places
}

// endedGroup are alarms with one cause that ended at about the same time.
type endedGroup struct {
	health.Group
	At time.Time
}

// togetherWithin is how far apart alarms may end that are shown as one.
const togetherWithin = 30 * time.Second

// groupEnded puts together what ended at different nodes at about the same time. The last to end comes first.
func groupEnded(ended []Ended) (groups []endedGroup) {
	var together [][]Ended
	for _, e := range ended {
		at := slices.IndexFunc(together, func(t []Ended) bool {
			return t[0].Kind == e.Kind && t[0].Role == e.Role && t[0].Cause == e.Cause && t[0].At.Sub(e.At) < togetherWithin
		})
		if at < 0 {
			at, together = len(together), append(together, nil)
		}
		together[at] = append(together[at], e)
	}
	for _, t := range together {
		var alarms []health.Alarm
		for _, e := range t {
			alarms = append(alarms, e.Alarm)
		}
		for _, g := range health.Grouped(alarms) {
			groups = append(groups, endedGroup{g, t[0].At})
		}
	}
	return groups
}

// Lasted says for how long it was wrong.
func (g endedGroup) Lasted() string { return short(g.At.Sub(g.Since)) }
