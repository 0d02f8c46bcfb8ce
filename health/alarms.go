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

// Update takes all that is wrong at this moment and returns what has been raised by that and what is over.
func (a *Alarms) Update(now time.Time, wrong []Alarm) (raised, cleared []Alarm) {
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
		if !s.raised && now.Sub(s.Since) >= w.after {
			s.raised = true
			raised = append(raised, w)
		}
		next[key] = s
	}
	for key, s := range a.known {
		if _, is := next[key]; !is && s.raised {
			cleared = append(cleared, s.Alarm)
		}
	}
	a.known = next
	return sorted(raised), sorted(cleared)
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
