package health

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Alarm is something that is wrong now, and what to do about it. It is a state: raised when it begins, cleared when
// it is over.
type Alarm struct {
	Kind    Kind      `json:"kind"`
	Role    string    `json:"role,omitempty"` // of the node
	Node    string    `json:"node,omitempty"`
	Warning bool      `json:"warning,omitempty"` // it works, but not as it should
	What    string    `json:"what"`              // what is wrong, and where
	Remedy  string    `json:"remedy"`            // what to do; Commands has the lines for it
	Since   time.Time `json:"since"`

	Zone  zone.Name `json:"zone,omitzero"`   // the first of those that it is about
	Cause string    `json:"cause,omitempty"` // what tells it from others of its kind, see Grouped
	At    string    `json:"at,omitempty"`    // the primary where the remedy is to be carried out, if that is not Node

	after time.Duration // raised only when it lasts as long
}

// Lasting returns the alarm as one that is raised only if it lasts a while: what is over by then is no reason to wake
// anybody.
func (a Alarm) Lasting() Alarm { return a.lasting(patienceReady) }

func (a Alarm) lasting(after time.Duration) Alarm {
	a.after = after
	return a
}

// MaxAlarms bounds Presence.Alarms.
const MaxAlarms = 200

// Alarms are those that are raised, and since when. It is safe for concurrent use.
type Alarms struct {
	mu    sync.Mutex
	known map[alarmKey]alarmState
}

// alarmKey tells alarms apart; their texts may change.
type alarmKey struct {
	kind Kind
	node string
}

type alarmState struct {
	Alarm
	raised bool
}

// NewAlarms begins with none.
func NewAlarms() *Alarms { return &Alarms{known: map[alarmKey]alarmState{}} }

// Update takes all that is wrong at this moment.
func (a *Alarms) Update(now time.Time, wrong []Alarm) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := make(map[alarmKey]alarmState, len(wrong))
	for _, w := range wrong {
		key := alarmKey{w.Kind, w.Node}
		s, is := a.known[key]
		if !is {
			s.Since = now.UTC()
		}
		w.Since = s.Since
		s.Alarm = w
		s.raised = s.raised || now.Sub(s.Since) >= w.after
		next[key] = s
	}
	a.known = next
}

// List returns what is wrong, the alarms before the warnings, the oldest first.
func (a *Alarms) List() []Alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []Alarm{}
	for _, s := range a.known {
		if s.raised {
			list = append(list, s.Alarm)
		}
	}
	return sorted(list)
}

func sorted(list []Alarm) []Alarm {
	slices.SortFunc(list, func(a, b Alarm) int {
		if a.Warning != b.Warning {
			return cmp.Compare(level(a.Warning), level(b.Warning))
		}
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Node, b.Node))
	})
	return list
}

// level puts warnings after alarms.
func level(warning bool) int {
	if warning {
		return 1
	}
	return 0
}

// Reported is what was reported of alarms to somebody. The zero value is that nothing was reported yet.
type Reported struct {
	begun bool
	list  []Alarm
}

// Begun reports whether there was a report, be it that nothing is wrong.
func (r *Reported) Begun() bool { return r.begun }

// Has reports whether an alarm of that kind was reported as raised, and not yet as cleared.
func (r *Reported) Has(kind Kind) bool {
	return slices.ContainsFunc(r.list, func(a Alarm) bool { return a.Kind == kind })
}

// Change takes all alarms that are raised now, and returns those that were raised and those that were cleared since
// the last report.
func (r *Reported) Change(now []Alarm) (raised, cleared []Alarm) {
	raised, cleared = without(now, r.list), without(r.list, now)
	r.begun, r.list = true, now
	return raised, cleared
}

// without leaves out the alarms that the other list has, too, whatever their texts.
func without(list, other []Alarm) (rest []Alarm) {
	for _, a := range list {
		if !slices.ContainsFunc(other, func(b Alarm) bool { return a.Kind == b.Kind && a.Node == b.Node }) {
			rest = append(rest, a)
		}
	}
	return rest
}
