package work

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/roletest"
)

// letter is a job and the message that brought it. Its methods write into the role's record.
type letter struct {
	text string
	role *letters
	own  bool // no message brought it
}

func (l letter) Ack() error { return l.role.note("ack " + l.text) }

func (l letter) Nak(pause time.Duration) error {
	return l.role.note("nak " + l.text + " " + about(pause))
}

// about leaves out what is random of a pause, all of which double from half a second on.
func about(pause time.Duration) string {
	about := 500 * time.Millisecond
	for 2*about <= pause {
		about *= 2
	}
	return about.String()
}

// letters is a role whose jobs are done as it is told. For bubbles of synctest.
type letters struct {
	*Runner[letter]

	mu       sync.Mutex
	up       chan struct{} // closed while PowerDNS is up
	outcome  error         // of all jobs
	failed   map[zone.Name]int
	recorded []string
}

var errSoon, errParked, errOthers = errors.New("soon"), errors.New("parked"), errors.New("another's")

func startRunner(t *testing.T) (*letters, context.CancelFunc) {
	role := &letters{up: make(chan struct{}), failed: map[zone.Name]int{}}
	role.Runner = NewRunner(2, 10, Hooks[letter]{
		PowerDNS: role, Failures: role, Log: zerolog.Nop(), Each: zerolog.Nop(),
		Message: func(l letter) Message {
			if l.own {
				return nil
			}
			return l
		},
		Priority: func(letter) Priority { return Live },
		Merge:    func(_, newer letter) letter { return newer },
		Do: func(_ context.Context, _ zone.Name, l letter) (string, error) {
			return "done", role.outcome
		},
		Judge: func(err error) Verdict {
			return map[error]Verdict{errSoon: Recheck, errParked: Park, errOthers: HandBack}[err]
		},
		Observe: func(result string, _ time.Duration, err error) {
			if err != nil {
				result = "failed"
			}
			_ = role.note(result)
		},
		Done: func(_ zone.Name, l letter) { _ = role.note("settled " + l.text) },
		Later: func(name zone.Name, due time.Time) {
			_ = role.note("later " + name.String() + " " + about(time.Until(due)))
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- role.Run(ctx) }()
	return role, func() {
		stop()
		must.OK(t, <-ended)
	}
}

func (l *letters) Wait(ctx context.Context) bool {
	select {
	case <-l.up:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *letters) Suspect(error) { _ = l.note("suspect") }

func (l *letters) Has(name zone.Name) bool { return l.failed[name] > 0 }

func (l *letters) Add(name zone.Name, _ error) int {
	l.failed[name]++
	return l.failed[name]
}

func (l *letters) Clear(name zone.Name) bool {
	was := l.failed[name] > 0
	delete(l.failed, name)
	return was
}

func (l *letters) note(what string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recorded = append(l.recorded, what)
	return nil
}

// wants the record to be this since it was last asked for.
func (l *letters) wants(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.recorded, want) {
		t.Errorf("recorded is %q, want %q", strings.Join(l.recorded, ", "), strings.Join(want, ", "))
	}
	l.recorded = nil
}

// Each outcome of a job has its own consequences for the message, the schedule and the zone's failures.
func TestRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		role, stop := startRunner(t)
		defer stop()
		name, other := roletest.Named("a"), errors.New("broken")
		do := func(outcome error, own bool) {
			role.outcome = outcome
			role.Runner.Add(t.Context(), name, letter{"x", role, own})
		}
		do(nil, false)
		role.wants(t) // PowerDNS is down
		close(role.up)
		role.wants(t, "done", "settled x", "ack x")
		do(nil, true)
		role.wants(t, "done", "settled x")
		do(errSoon, false)
		role.wants(t, "failed", "nak x 1s")
		do(errSoon, true)
		role.wants(t, "failed", "later "+name.String()+" 1s")
		do(errOthers, false)
		role.wants(t, "nak x 500ms")
		do(other, false)
		role.wants(t, "failed", "suspect", "nak x 1s")
		do(other, false)
		role.wants(t, "failed", "suspect", "nak x 2s")
		do(other, true)
		role.wants(t, "failed", "suspect", "later "+name.String()+" 4s")
		do(errParked, false)
		role.wants(t, "failed", "suspect", "later "+name.String()+" 8s", "ack x")
		if !role.Has(name) {
			t.Error("the zone's failures are not known")
		}
		do(nil, false)
		if role.wants(t, "done", "settled x", "ack x"); role.Has(name) {
			t.Error("the zone's failures are not forgotten")
		}
	})
}

// What waits, and what comes too late, is handed back when a runner ends.
func TestEndOfRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		role, stop := startRunner(t)
		for _, text := range []string{"a", "b", "c"} { // more than there are workers
			role.Runner.Add(t.Context(), roletest.Named(text), letter{text, role, false})
			role.wants(t)
		}
		stop()
		slices.Sort(role.recorded)
		role.wants(t, "nak a 500ms", "nak b 500ms", "nak c 500ms")
		role.Runner.Add(t.Context(), roletest.Named("d"), letter{"d", role, false})
		role.wants(t, "nak d 500ms")
	})
}
