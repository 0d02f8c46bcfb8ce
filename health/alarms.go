package health

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Alarm is something that is wrong now, and what to do about it. It is a state: raised when it begins, gone when it is
// over.
type Alarm struct {
	Kind    string    `json:"kind"`
	Node    string    `json:"node,omitempty"`
	Warning bool      `json:"warning,omitempty"` // it works, but not as it should
	What    string    `json:"what"`
	Remedy  string    `json:"remedy"`
	Since   time.Time `json:"since"`

	after time.Duration // raised only when it lasts as long
}

// Lasting is the alarm once what it tells of has lasted a while, and not before.
func (a Alarm) Lasting() Alarm {
	a.after = patienceReady
	return a
}

// MaxAlarms bounds Presence.Alarms.
const MaxAlarms = 200

// Alarms is what is wrong. It is safe for concurrent use.
type Alarms struct {
	mu    sync.Mutex
	known map[alarmKey]alarmState
}

// alarmKey tells alarms apart; what they say may change.
type alarmKey struct{ kind, node string }

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

// List is what is wrong, the alarms before the warnings, the oldest first.
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
			return cmp.Compare(rank(a), rank(b))
		}
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Node, b.Node))
	})
	return list
}

func rank(a Alarm) int {
	if a.Warning {
		return 1
	}
	return 0
}

// Told is what somebody was told of alarms. The zero value is that nothing was told yet.
type Told struct {
	begun bool
	list  []Alarm
}

// Begun tells whether anything was told, be it that nothing is wrong.
func (t *Told) Begun() bool { return t.begun }

// Tells tells whether an alarm of that kind was told, and not yet that it is over.
func (t *Told) Tells(kind string) bool {
	return slices.ContainsFunc(t.list, func(a Alarm) bool { return a.Kind == kind })
}

// Change takes what is to be told now, and returns what is new since the last time and what is over.
func (t *Told) Change(now []Alarm) (raised, cleared []Alarm) {
	raised, cleared = without(now, t.list), without(t.list, now)
	t.begun, t.list = true, now
	return raised, cleared
}

// without leaves out what the other list has, too, whatever it says there.
func without(list, other []Alarm) (rest []Alarm) {
	for _, a := range list {
		if !slices.ContainsFunc(other, func(b Alarm) bool { return a.Kind == b.Kind && a.Node == b.Node }) {
			rest = append(rest, a)
		}
	}
	return rest
}
