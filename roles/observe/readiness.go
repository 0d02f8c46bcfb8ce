package observe

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Reason is one thing that keeps a role from being ready.
type Reason struct {
	What  string    `json:"what"`  // the condition, such as "broker"
	Why   string    `json:"why"`   // what an operator should know
	Since time.Time `json:"since"` // when it stopped being ready, whatever the reasons given after that; UTC

	Run any `json:"run,omitempty"` // the lines to run, see Readiness.Remedies
}

// Readiness is what a role is not ready for. The parts of a role each set and clear conditions of their own, by name;
// the role is ready when none is set. It is safe for concurrent use.
type Readiness struct {
	mu      sync.Mutex
	reasons map[string]Reason
	alarms  func() any
	lines   func(what string) any
}

// Remedies adds to each reason of the answer what lines returns for its name. Call it before anything is answered.
func (r *Readiness) Remedies(lines func(what string) any) { r.lines = lines }

// Alarms adds what list returns to the answer, whether the role is ready or not. Call it before anything is answered.
func (r *Readiness) Alarms(list func() any) { r.alarms = list }

// NewReadiness makes a Readiness with the conditions that must each be cleared once before the role is ready. They
// are named up front so that a role is not taken for ready before its parts have begun to look.
func NewReadiness(conditions ...string) *Readiness {
	r := &Readiness{reasons: map[string]Reason{}}
	for _, what := range conditions {
		r.Set(what, "starting")
	}
	return r
}

// Set says that the role is not ready, and why, and reports whether the condition is new. Setting it again renews the
// reason but not the time.
func (r *Readiness) Set(what, why string) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := time.Now().UTC()
	earlier, is := r.reasons[what]
	if is {
		since = earlier.Since
	}
	r.reasons[what] = Reason{What: what, Why: why, Since: since}
	return !is
}

// Clear says that nothing is wrong with the condition (any more).
func (r *Readiness) Clear(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.reasons, what)
}

// Reasons lists what is not ready, by name; nothing if the role is ready.
func (r *Readiness) Reasons() []Reason {
	r.mu.Lock()
	defer r.mu.Unlock()
	reasons := make([]Reason, 0, len(r.reasons))
	for _, reason := range r.reasons {
		reasons = append(reasons, reason)
	}
	slices.SortFunc(reasons, func(a, b Reason) int { return strings.Compare(a.What, b.What) })
	return reasons
}

// ReadinessDocument is what /readyz answers.
type ReadinessDocument struct {
	Ready   bool     `json:"ready"`
	Reasons []Reason `json:"reasons,omitempty"` // why not
	Alarms  any      `json:"alarms,omitempty"`  // of a health role and of a secondary, ready or not
}

// answer is the handler of /readyz.
func (r *Readiness) answer(w http.ResponseWriter, _ *http.Request) {
	reasons := r.Reasons()
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	d := ReadinessDocument{Ready: len(reasons) == 0, Reasons: reasons}
	for i := range reasons {
		if r.lines != nil {
			reasons[i].Run = r.lines(reasons[i].What)
		}
	}
	if r.alarms != nil {
		d.Alarms = r.alarms()
	}
	writeJSON(w, status, d)
}
