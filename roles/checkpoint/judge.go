// Package checkpoint judges by the primaries' signed checkpoints whether a secondary was given all zones, and the
// newest: not by what the broker says. It does no I/O.
//
// [Judge] compares (judge.go) what the store holds with what each key has signed (witness.go), and blames the broker
// for a difference only where nothing else may be the reason (excuse.go).
package checkpoint

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
)

// How long it is waited before something is said to be wrong.
const (
	patience     = 15 * time.Second // of a difference, without a state coming in that it may be for
	latePatience = 5 * time.Minute  // of a difference while states come in later than they could
	unproven     = time.Hour        // with checkpoints of primaries that have not compared everything, only
	silence      = 30 * time.Second // without a checkpoint
	maxSkew      = time.Minute      // of a checkpoint's time against the node's own clock
	slow         = 3 * time.Second  // of giving one zone to PowerDNS
	memory       = 2 * time.Minute  // how far behind the clock the ledger stays at most
)

var (
	// errReplayed says that a checkpoint is not newer than the last one of its key.
	errReplayed = errors.New("the checkpoint is not newer than the one before: somebody replays it, " +
		"or the primary's clock was set back")

	errClock = errors.New("the clocks of this host and of the primary differ")
)

// Judge compares what a secondary's store holds with checkpoints. It is safe for concurrent use.
type Judge struct {
	trusted []zone.TrustedKey

	mu sync.Mutex

	// Under mu. Times are by the clock, if nothing else is said.
	clock     clock
	ledger    *zone.Ledger  // of what the store holds
	ahead     time.Duration // of the primaries' clock to the host's
	witnesses map[zone.TrustedKey]*witness
	received  time.Time // the last checkpoint that was taken, or since when there could be one
	proved    time.Time // the last one of a primary that had compared everything
	refused   error     // why the last one was not taken, if it was not
	effort    effort
	inflow    inflow
	verdict   Verdict
}

// NewJudge believes checkpoints of these keys. workers is how many zones the node gives to PowerDNS at a time. The
// judge knows what the store has by Stored.
func NewJudge(trusted []zone.TrustedKey, workers int) *Judge {
	now := time.Now()
	return &Judge{
		trusted: trusted, ledger: zone.NewLedger(now.Add(-memory)), witnesses: map[zone.TrustedKey]*witness{},
		received: now, proved: now,
		effort: effort{most: max(1, workers/4), tasks: map[int]time.Time{}, counted: now, slow: now},
	}
}

// Stored takes a verified state that the store has come to hold, a tombstone included.
func (j *Judge) Stored(state *zone.State) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.ledger.Note(state.Version(), time.Now().Add(j.ahead)) {
		return
	}
	j.came(state, state.Size)
}

// Fetched takes a piece of a verified state's content, of so many bytes, that has come from the broker: a large zone
// comes in long before it is stored. The nil Judge takes nothing.
func (j *Judge) Fetched(state *zone.State, size uint32) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.came(state, size)
}

// came notes what a difference may be for.
func (j *Judge) came(state *zone.State, size uint32) {
	now := j.clock.now()
	for _, w := range j.witnesses {
		switch _, asOf := w.first(); {
		case !w.differs[zone.Bucket(state.Name)].is():
		case state.Published.After(asOf):
			j.inflow.late = now
		default:
			j.inflow.add(now, size)
		}
	}
}

// Working notes that this node works on a verified state whose content it has, until the returned function is called:
// while that takes long, it is not the broker that is slow. The nil Judge notes nothing.
func (j *Judge) Working() (done func()) {
	if j == nil {
		return func() {}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	task := j.effort.begin(time.Now(), j.clock.now())
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.effort.end(task, time.Now(), j.clock.now())
	}
}

// Receive takes a checkpoint as the broker delivered it. The error says why it was not taken.
func (j *Judge) Receive(signed []byte) error {
	c, by, err := zone.VerifyCheckpoint(signed, j.trusted)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		err = j.check(time.Now(), c, by)
	}
	j.refused = err
	if err != nil {
		return err
	}
	w := j.witnesses[by]
	if w == nil {
		w = &witness{}
		j.witnesses[by] = w
	}
	now := j.clock.now()
	w.at, w.received, w.zones, j.received, j.ahead = c.At, now, int(c.Zones), now, time.Until(c.At)
	if w.partial = !c.Complete; c.Complete {
		j.proved = now
		w.compare(now, c, j.ledger)
		w.raise(excused(now, j.effort, j.inflow)) // the next one may be partial before anybody looks
	}
	return nil
}

func (j *Judge) check(now time.Time, c zone.Checkpoint, by zone.TrustedKey) error {
	if off := now.Sub(c.At); off.Abs() > maxSkew {
		return fmt.Errorf("%w: the checkpoint is of %s, and here it is %s; or somebody replays it",
			errClock, c.At.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if w := j.witnesses[by]; w != nil && !c.At.After(w.at) {
		return errReplayed
	}
	return nil
}

// Local is what a node knows of itself.
type Local struct {
	Connected bool // to the broker
	PowerDNS  bool // it answers
}

// Verdict is what checkpoints show.
type Verdict struct {
	At         time.Time // of the last checkpoint, by the primary's clock; zero when there was none
	Signed     int       // zones that it is about
	Here       int       // zones that the store has
	Filling    bool      // it differs, and what is missing comes in
	Incomplete string    // what is wrong, "" if nothing
	Silent     string    // why there is nothing to go by, "" if there is
	Since      time.Time // when the oldest difference began, zero if there is none
}

// Judge looks at what there is now. Call it every second.
func (j *Judge) Judge(l Local) Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.clock.connect(l.Connected)
	now := j.clock.now()
	j.effort.look(l, time.Now(), now)
	j.ledger.Advance(time.Now().Add(j.ahead - memory)) // what it remembers is bounded without checkpoints, too
	v := Verdict{Here: j.ledger.Zones()}
	differing, raised := 0, 0
	for _, w := range credible(j.witnesses, now) {
		if w.at.After(v.At) {
			v.At, v.Signed = w.at, w.zones
		}
		n, m := w.raise(excused(now, j.effort, j.inflow))
		differing, raised = differing+n, raised+m
		if began, _ := w.first(); n > 0 && (v.Since.IsZero() || began.Before(v.Since)) {
			v.Since = began
		}
	}
	v.Filling = differing > 0 && now.Sub(j.inflow.moved) < patience
	if raised > 0 {
		v.Incomplete = fmt.Sprintf("the broker withholds or rolls back zone states: "+
			"the primary signed %d zones at %s, %d are here, and %d of %d groups of zones differ since %s",
			v.Signed, v.At.Format(time.RFC3339), v.Here, differing, zone.Buckets, v.Since.UTC().Format(time.RFC3339))
	}
	v.Silent = j.silent(now)
	j.verdict = v
	return v
}

// silent returns why there is nothing to go by, "" if there is.
func (j *Judge) silent(now time.Time) string {
	switch {
	case now.Sub(j.received) >= silence && j.refused != nil:
		return fmt.Sprintf("no valid signed checkpoint for %s: %v", silence, j.refused)
	case now.Sub(j.received) >= silence:
		return fmt.Sprintf("no signed checkpoint for %s: no primary is running that signs, "+
			"or the broker withholds its messages", silence)
	case now.Sub(j.proved) >= unproven:
		return fmt.Sprintf("for %s no primary has compared all zones with its PowerDNS, "+
			"so that none signs that this is all; see why in its log", unproven)
	}
	return ""
}

// Verdict returns what came of the last Judge.
func (j *Judge) Verdict() Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.verdict
}

// Age returns how long ago the last checkpoint was taken, or the role began; time without a connection does not count.
func (j *Judge) Age() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.clock.now().Sub(j.received)
}
