package health

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"pdns-distribute/backoff"
	"pdns-distribute/powerdns/zone"
)

// Events follows each published state until every active secondary has reported that it serves the state. The cost is
// in proportion to what was published, whatever the number of zones. It is safe for concurrent use.
type Events struct {
	wait time.Duration

	// Served is called for each secondary that reports a state that somebody may wait for, with how long after it was
	// published that is known. nil: nobody asks. It is set before the first use.
	Served func(node string, after time.Duration)

	mu      sync.Mutex // guards all below
	open    map[zone.Name]*event
	reports int // of all of these
}

// event is one state on its way.
type event struct {
	state    Settled
	seq      uint64
	since    time.Time
	newest   time.Time // when the state came; since is when the zone was last served everywhere
	live     bool      // somebody may wait for the state
	due      time.Time
	reports  map[string]report // of secondaries about the zone
	asked    bool              // since the last order
	attempts int               // orders to take it again
}

// report is what a secondary has reported of a state.
type report struct {
	serves bool
	since  time.Time // else: since when it lacks what was published, having served what was published before
}

// Active is a secondary that should take what is published.
type Active struct {
	Node string
	// Stage returns how far the state with a sequence number is on its way to the secondary.
	Stage func(seq uint64) Stage
}

// Stage is how far a state is on its way to a secondary.
type Stage int

// The stages.
const (
	Delivered Stage = iota // and acknowledged
	InHand                 // delivered, and perhaps acknowledged: the broker reports that only of the oldest
	Queued                 // will be delivered
)

// handPatience is for how many waits a state may be in a secondary's hands before it is asked for.
const handPatience = 5

// Orders are what is to be done now.
type Orders struct {
	Ask    []zone.Name            // ask all nodes what they have of these
	Retake map[zone.Name][]string // have these nodes take the zones again
}

// Late is a zone that a secondary does not serve as published though the zone was published again.
type Late struct {
	Zone     zone.Name
	Node     string
	Since    time.Time // when it was published
	Attempts int
}

const (
	askAnswer = 3 * time.Second  // for an answer to a question
	lastWait  = 15 * time.Minute // the pauses between orders grow up to this
	askMost   = 500              // questions at a time; nodes drop more than some 1,000
)

// NewEvents follows states that may take wait to be served everywhere.
func NewEvents(wait time.Duration) *Events {
	return &Events{wait: wait, open: map[zone.Name]*event{}}
}

// Only so many states are followed at a time, by so many reports of secondaries in all; checks see to more.
const (
	maxOpen    = 1 << 20
	maxReports = 1 << 22
)

// Published begins to follow a state. Of a zone that is followed already only what is waited for changes, not since
// when: else one that changes all the time would never be overdue.
//
// live: somebody may wait for the state.
func (e *Events) Published(now time.Time, seq uint64, state Settled, live bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	known := e.open[state.Zone]
	switch {
	case known == nil && len(e.open) >= maxOpen:
		return
	case known == nil:
		known = &event{since: now, due: now.Add(e.wait), reports: map[string]report{}}
		e.open[state.Zone] = known
	case known.state.Gone != state.Gone || known.state.Digest != state.Digest || known.state.Stable != state.Stable:
		known.outdate(now)
	}
	known.seq, known.state, known.newest, known.live = seq, state, now, live
}

// Applied takes the notice of a secondary.
func (e *Events) Applied(now time.Time, node string, a Applied) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if known := e.open[a.Zone]; known != nil && a.Has(known.state) {
		r, is := known.reports[node]
		if !is && (len(known.reports) >= MaxNodes || e.reports >= maxReports) {
			return
		}
		if !is {
			e.reports++
		}
		if known.reports[node] = (report{serves: true}); !r.serves {
			if e.Served != nil && known.live {
				e.Served(node, now.Sub(known.newest))
			}
		}
	}
}

// outdate notes that what secondaries have reported is about an earlier state.
func (e *event) outdate(now time.Time) {
	for node, r := range e.reports {
		if r.serves {
			e.reports[node] = report{since: now}
		}
	}
}

// serves reports whether the secondary has reported that it serves the state.
func (e *event) serves(node string) bool { return e.reports[node].serves }

// lackedSince is since when a secondary that does not serve the state has lacked something.
func (e *event) lackedSince(node string) time.Time {
	if since := e.reports[node].since; !since.IsZero() {
		return since
	}
	return e.since
}

// Settled reports whether no state of the zone is on its way, as far as is known: one that is overdue is not.
func (e *Events) Settled(name zone.Name) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	known := e.open[name]
	return known == nil || known.attempts > 0
}

// Reset forgets all, when the broker lost what was published.
func (e *Events) Reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.open)
	e.reports = 0
}

// forgetAfter is when a state is followed no more though no secondary was active to report it.
const forgetAfter = time.Hour

// Retire forgets the states that should be served by now and are, and returns their zones. Call it about once a second,
// before Due.
func (e *Events) Retire(now time.Time, active []Active) (served []zone.Name) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, event := range e.open {
		switch {
		case now.Before(event.due), len(active) == 0 && now.Sub(event.since) < forgetAfter:
		default:
			if lost, waiting := event.missing(now, e.wait, active); len(lost) == 0 && !waiting {
				e.reports -= len(event.reports)
				delete(e.open, name)
				served = append(served, name)
			}
		}
	}
	return served
}

// Due returns what is to be done about states that should be served by now and are not.
func (e *Events) Due(now time.Time, active []Active) (o Orders) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o.Retake = map[zone.Name][]string{}
	for name, event := range e.open {
		if now.Before(event.due) {
			continue
		}
		lost, waiting := event.missing(now, e.wait, active)
		switch {
		case waiting && len(lost) == 0:
			event.due = now.Add(e.wait)
		case len(lost) == 0:
		case !event.asked && len(o.Ask) < askMost:
			event.asked, event.due = true, now.Add(askAnswer)
			o.Ask = append(o.Ask, name)
		case event.asked:
			event.asked, event.due = false, now.Add(backoff.Doubled(e.wait, event.attempts, lastWait))
			event.attempts++
			o.Retake[name] = lost
		}
	}
	return o
}

// missing returns the secondaries that have not reported, without those that the state still waits for; waiting reports
// whether there are such.
func (e *event) missing(now time.Time, wait time.Duration, active []Active) (lost []string, waiting bool) {
	for _, a := range active {
		if e.serves(a.Node) {
			continue
		}
		switch stage := a.Stage(e.seq); {
		case stage == Queued, stage == InHand && now.Sub(e.since) < handPatience*wait:
			waiting = true
		default:
			lost = append(lost, a.Node)
		}
	}
	return lost, waiting
}

// Late returns the zones that were published again without effect, those that wait longest first.
func (e *Events) Late(now time.Time, active []Active) (late []Late) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, event := range e.open {
		if event.attempts == 0 || event.attempts == 1 && !event.asked {
			continue
		}
		lost, _ := event.missing(now, e.wait, active)
		for _, node := range lost {
			late = append(late, Late{name, node, event.since, event.attempts})
		}
	}
	slices.SortFunc(late, func(a, b Late) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Node, b.Node))
	})
	return late
}

// Oldest returns for each of the secondaries since when the oldest change has been published that it has not reported
// to serve, and how many there are. Those that lack nothing are left out.
func (e *Events) Oldest(nodes []string) map[string]Unserved {
	e.mu.Lock()
	defer e.mu.Unlock()
	found := map[string]Unserved{}
	for _, event := range e.open {
		for _, node := range nodes {
			if event.serves(node) {
				continue
			}
			u := found[node]
			if since := event.lackedSince(node); u.Changes == 0 || since.Before(u.Since) {
				u.Since = since
			}
			u.Changes++
			found[node] = u
		}
	}
	return found
}

// Unserved are changes that a secondary is not known to serve.
type Unserved struct {
	Changes int
	Since   time.Time // when the oldest was published
}

// Open returns how many states are on their way.
func (e *Events) Open() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.open)
}
