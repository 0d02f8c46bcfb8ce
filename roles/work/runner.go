// Package work is how a role works on zones. A [Runner] does jobs, each until it succeeds, out of a [Queue] that
// never runs two of one zone at once; a [Schedule] says which zones are due. [NewRunner] with the [Hooks] of a role
// is the entry: roles/primary and roles/secondary are two sets of hooks. What else is here waits, or has others wait
// ([Wait], [Notify], [Latch], [RetryPause]).
package work

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/zone"
)

// Runner does the jobs of a role beside a PowerDNS, in a [Queue], each until it succeeds. A job that a message of the
// broker brought ends with the message being acknowledged. After a failure it comes again when the broker delivers the
// message again, and a job without a message when the role submits it again, each time after a longer pause. When Run
// ends, messages are handed back. It is safe for concurrent use.
type Runner[J any] struct {
	*Queue[J]
	hooks Hooks[J]
}

// Hooks are what a Runner needs of its role. All are needed, and called concurrently.
type Hooks[J any] struct {
	PowerDNS Monitor
	Failures Failures
	Log      zerolog.Logger
	Each     zerolog.Logger // of single zones; it may drop lines

	// Message is what brought the job, nil if none did.
	Message func(J) Message

	// Priority is that of the job. Jobs of zones that failed before are background jobs anyway.
	Priority func(J) Priority

	// Merge makes one job of two of the same zone. It acknowledges or hands back the message that the merged job lacks.
	Merge func(waiting, newer J) J

	// Do does the job, and says what came of it.
	Do func(context.Context, zone.Name, J) (result string, err error)

	// Judge says what becomes of a job that failed.
	Judge func(error) Verdict

	// Observe counts what came of a job, unless it is handed back.
	Observe func(result string, took time.Duration, err error)

	// Done gets what succeeded, before its message is acknowledged.
	Done func(zone.Name, J)

	// Later has a job without message submitted again then.
	Later func(zone.Name, time.Time)
}

// Message is a message of the broker.
type Message interface {
	Ack() error                    // the broker does not deliver it again
	Nak(pause time.Duration) error // the broker delivers it again after the pause
}

// Monitor watches a PowerDNS.
type Monitor interface {
	Wait(context.Context) bool // until PowerDNS is up; false if ctx ended before
	Suspect(error)             // after an error: if PowerDNS may be the reason, it is looked at now
}

// Failures counts the failed attempts of zones.
type Failures interface {
	Has(zone.Name) bool
	Add(zone.Name, error) (attempts int) // in a row
	Clear(zone.Name) (was bool)
}

// Verdict says what becomes of a job that failed.
type Verdict int

const (
	Retry    Verdict = iota // it is counted as a failure of the zone, and comes again
	Recheck                 // the zone is not to blame: the job comes again soon
	Park                    // as Retry, and without its message: what it brought is kept in the store
	HandBack                // it is another node's by now
)

const (
	// HandBackPause keeps a message that is handed back as a role ends from being delivered to that role once more.
	HandBackPause = 500 * time.Millisecond

	recheckPause = time.Second
)

// NewRunner returns a runner with so many workers, for which limit zones of each priority may wait.
func NewRunner[J any](workers, limit int, hooks Hooks[J]) *Runner[J] {
	r := &Runner[J]{hooks: hooks}
	r.Queue = NewQueue(workers, limit, r.run, hooks.Merge, r.HandBack)
	return r
}

// Add submits a job, or hands it back if Run or ctx has ended. It blocks while too many zones wait.
func (r *Runner[J]) Add(ctx context.Context, name zone.Name, job J) {
	priority := r.hooks.Priority(job)
	if priority > Background && r.hooks.Failures.Has(name) {
		priority = Background
	}
	if !r.Submit(ctx, name, job, priority) {
		r.HandBack(name, job)
	}
}

// run does a job and decides about its message.
func (r *Runner[J]) run(ctx context.Context, name zone.Name, job J) {
	if !r.hooks.PowerDNS.Wait(ctx) {
		r.HandBack(name, job)
		return
	}
	begin := time.Now()
	result, err := r.hooks.Do(ctx, name, job)
	verdict := Retry
	if err != nil {
		verdict = r.hooks.Judge(err)
	}
	if err != nil && ctx.Err() != nil || verdict == HandBack {
		r.HandBack(name, job)
		return
	}
	r.hooks.Observe(result, time.Since(begin), err)
	if err != nil {
		r.postpone(name, job, verdict, err)
		return
	}
	if r.hooks.Failures.Clear(name) {
		r.hooks.Each.Info().Stringer("zone", name).Msg("zone recovered")
	}
	r.hooks.Done(name, job)
	r.Acknowledge(name, job)
}

// postpone has the job come again.
func (r *Runner[J]) postpone(name zone.Name, job J, verdict Verdict, err error) {
	pause := recheckPause
	if verdict == Recheck {
		r.hooks.Log.Debug().Stringer("zone", name).Err(err).Msg("zone is checked again soon")
	} else {
		pause = r.fail(name, err)
	}
	m := r.hooks.Message(job)
	if m == nil || verdict == Park {
		r.hooks.Later(name, time.Now().Add(pause))
		r.Acknowledge(name, job)
		return
	}
	if err := m.Nak(pause); err != nil {
		r.hooks.Log.Debug().Err(err).Stringer("zone", name).
			Msg("failed to postpone a message: the broker delivers the message again by itself")
	}
}

// fail counts a failure of the zone, and returns the pause before the next attempt.
func (r *Runner[J]) fail(name zone.Name, err error) time.Duration {
	r.hooks.PowerDNS.Suspect(err)
	attempts := r.hooks.Failures.Add(name, err)
	if attempts == 1 {
		r.hooks.Each.Warn().Stringer("zone", name).Err(err).Msg("zone failed, retrying with growing pauses")
	}
	return RetryPause(attempts)
}

// Acknowledge ends the job's message.
func (r *Runner[J]) Acknowledge(name zone.Name, job J) {
	m := r.hooks.Message(job)
	if m == nil {
		return
	}
	if err := m.Ack(); err != nil {
		r.hooks.Log.Debug().Err(err).Stringer("zone", name).
			Msg("failed to acknowledge a message: the broker delivers the message again")
	}
}

// HandBack has the broker deliver the job's message to whoever comes next.
func (r *Runner[J]) HandBack(_ zone.Name, job J) {
	if m := r.hooks.Message(job); m != nil {
		_ = m.Nak(HandBackPause) // lost: it is delivered again a little later
	}
}
