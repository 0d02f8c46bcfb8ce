package main

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
)

// outcome is what is known of a write.
type outcome string

const (
	sent     outcome = "sent"     // under way, or its outcome could not be found out yet: it may have happened
	accepted outcome = "accepted" // by the primary PowerDNS
	rejected outcome = "rejected" // it did not happen
)

// entry is a version in the history of a zone.
type entry struct {
	version
	what    string // the write
	outcome outcome
	sent    time.Time
	known   time.Time // when its outcome was
}

func (e entry) String() string {
	return fmt.Sprintf("%s %s, sent %s, serial %d, tags %v, signed %v", e.what, e.outcome, e.sent.UTC().Format(clock), e.serial, e.tags, e.signed)
}

const clock = "15:04:05.000"

// history is what a zone was, is and may be: all versions in the order of the writes, which its writer keeps by writing
// one after the other. It is safe for concurrent use.
type history struct {
	name      zone.Name
	hasParent bool // a zone above it is served, too

	mu       sync.Mutex
	entries  []entry
	floor    int                     // the newest version that an INSYNC was said of ...
	floorAt  time.Time               // ... and when it was received
	seen     map[string]map[seen]int // by secondary: the oldest version that each answer can have been of
	excepted map[string]int          // secondaries whose copy was lost or altered by a fault, and the newest version then
}

// seen is what an answer is compared with: of one question, or of a transfer (the zero one).
type seen struct{ question }

func newHistory(name zone.Name, hasParent bool) *history {
	return &history{
		name: name, hasParent: hasParent, entries: []entry{{version: version{tags: map[string]int{}}, what: "nothing", outcome: accepted}},
		seen: map[string]map[seen]int{}, excepted: map[string]int{},
	}
}

// begin notes a write before it is sent, and returns its place.
func (h *history) begin(what string, v version) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entries = append(h.entries, entry{version: v, what: what, outcome: sent, sent: time.Now()})
	return len(h.entries) - 1
}

// end notes what became of a write.
func (h *history) end(place int, o outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entries[place].outcome, h.entries[place].known = o, time.Now()
}

// learn completes a version by what the primary PowerDNS shows of it.
func (h *history) learn(place int, serial uint32, keys int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entries[place].serial, h.entries[place].keys = serial, keys
}

// now is the newest version that was accepted, and its place.
func (h *history) now() (version, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for place := len(h.entries) - 1; ; place-- {
		if h.entries[place].outcome == accepted {
			return h.entries[place].clone(), place
		}
	}
}

// inSync notes that an INSYNC of the version at place was received: from now on no secondary may answer with an older
// one.
func (h *history) inSync(place int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if place > h.floor {
		h.floor, h.floorAt = place, time.Now()
	}
	for node, until := range h.excepted {
		if place > until {
			delete(h.excepted, node)
		}
	}
}

// except notes that a secondary's copy was lost or altered: until an INSYNC of a later write nothing is asked of its
// answers.
func (h *history) except(node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.excepted[node] = max(h.excepted[node], len(h.entries)-1)
	delete(h.seen, node)
}

// tamper is except for good: what an INSYNC is said of may be other RRsets than the altered ones, so only the end
// tells.
func (h *history) tamper(node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.excepted[node] = math.MaxInt
}

// moment is what is known when a question is sent.
type moment struct {
	floor    int
	seen     int // what this secondary answered last to this question
	at       time.Time
	excepted bool
}

func (h *history) ask(node string, q seen) moment {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, excepted := h.excepted[node]
	return moment{floor: h.floor, seen: h.seen[node][q], at: time.Now(), excepted: excepted}
}

// The kinds of violations that answers show.
const (
	stale   = "an answer is older than an INSYNC"
	back    = "an answer is older than one before it"
	foreign = "an answer is of no version"
	broken  = "a server fails to answer"
)

// what is the write that made a version.
func (h *history) what(place int) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.entries[place].what
}

// judge holds an answer to a question that was sent at a moment against the history. matches tells whether the answer
// is that of a version, and whether its proof is. It returns "" for one that is right.
func (h *history) judge(node string, q seen, m moment, failure bool, matches func(version) (content, proof bool)) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, now := h.excepted[node]; now || m.excepted {
		return ""
	}
	if failure { // right while something changes, or nothing was promised
		if h.changing(m.floor) {
			return ""
		}
		return broken
	}
	oldest := h.match(max(m.floor, m.seen), matches)
	if oldest >= 0 {
		h.note(node, q, oldest)
		return ""
	}
	switch older := h.match(0, matches); {
	case older < 0:
		return foreign
	case h.match(m.floor, matches) < 0:
		return stale
	}
	return back
}

// changing tells whether there is a version beyond the one at place, or nothing was promised of that yet.
func (h *history) changing(place int) bool {
	return place == 0 || slices.ContainsFunc(h.entries[place+1:], func(e entry) bool { return e.outcome != rejected })
}

// deletedSince tells whether a deletion that may have happened is not older than the version at place, which no INSYNC
// says of a later one.
func (h *history) deletedSince(place int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	served := false
	for _, e := range h.entries[place:] {
		if e.outcome == rejected {
			continue
		}
		if served && !e.served() {
			return true
		}
		served = e.served()
	}
	return false
}

// match returns the place of the oldest version from a place on that an answer can be of, -1 if there is none. While a
// zone changes between signed and unsigned, or between kinds of denial, an answer may have the content of one version
// and the proof of the next.
func (h *history) match(from int, matches func(version) (content, proof bool)) int {
	mixed, proven := -1, false
	for place := from; place < len(h.entries); place++ {
		if h.entries[place].outcome == rejected {
			continue
		}
		content, proof := matches(h.entries[place].version)
		switch {
		case content && proof:
			return place
		case content && mixed < 0:
			mixed = place
		}
		proven = proven || proof
	}
	if mixed >= 0 && proven || mixed >= 0 && h.proofChanges(from) {
		return mixed
	}
	return -1
}

// proofChanges tells whether versions from a place on differ in how they are signed.
func (h *history) proofChanges(from int) bool {
	first := h.entries[from]
	return slices.ContainsFunc(h.entries[from:], func(e entry) bool {
		return e.outcome != rejected && e.served() && (e.signed != first.signed || e.nsec3 != first.nsec3 || e.keys != first.keys)
	})
}

func (h *history) note(node string, q seen, place int) {
	if h.seen[node] == nil {
		h.seen[node] = map[seen]int{}
	}
	h.seen[node][q] = max(place, h.seen[node][q])
}

// last are the newest entries, for reports.
func (h *history) last(n int) (lines []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for place := max(0, len(h.entries)-n); place < len(h.entries); place++ {
		lines = append(lines, fmt.Sprintf("%d: %s", place, h.entries[place]))
	}
	lines = append(lines, fmt.Sprintf("INSYNC of %d was received at %s", h.floor, h.floorAt.UTC().Format(clock)))
	return lines
}
