package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// violation is a promise that was seen to be broken.
type violation struct {
	Kind     string    `json:"kind"`
	At       time.Time `json:"at"`
	Write    string    `json:"write,omitempty"` // that the answer should show, or a later one
	Node     string    `json:"node,omitempty"`
	Zone     string    `json:"zone,omitempty"`
	Asked    string    `json:"asked,omitempty"`
	SentAt   time.Time `json:"sent_at,omitzero"`
	Answer   string    `json:"answer,omitempty"`
	Expected string    `json:"expected,omitempty"`
	History  []string  `json:"history,omitempty"`
	Faults   []string  `json:"faults,omitempty"` // those that are active, and the last ones

	place int // of the version that the answer should show
}

// title is what it is counted under.
func (v violation) title() string {
	if v.Write == "" {
		return v.Kind
	}
	return v.Kind + ", after " + v.Write
}

func (v violation) print(out io.Writer) {
	fmt.Fprintf(out, "\nVIOLATION at %s: %s\n", v.At.UTC().Format(clock), v.title())
	for _, line := range []struct{ what, text string }{
		{"where", v.Node}, {"zone", v.Zone}, {"asked", v.Asked}, {"answer", v.Answer}, {"expected", v.Expected},
		{"history", strings.Join(v.History, "\n            ")}, {"faults", strings.Join(v.Faults, "\n            ")},
	} {
		if line.text != "" {
			fmt.Fprintf(out, "  %-9s %s\n", line.what, line.text)
		}
	}
	if !v.SentAt.IsZero() {
		fmt.Fprintf(out, "  %-9s %s\n", "sent", v.SentAt.UTC().Format(clock))
	}
}

// record keeps what happened: a log of JSON lines, counts, and violations. It is safe for concurrent use.
type record struct {
	out  io.Writer // for people
	most int       // violations are printed; with the last one the run ends
	end  func()

	mu         sync.Mutex
	log        *json.Encoder
	counts     map[string]int
	longest    time.Duration
	violations map[string]int   // by title; of one version at one secondary each counts once
	told       map[string]bool  // those that were counted
	offsets    map[string]int64 // how far logs were read
}

func newRecord(log, out io.Writer, most int, end func()) *record {
	return &record{
		out: out, most: most, end: end, log: json.NewEncoder(log),
		counts: map[string]int{}, violations: map[string]int{}, told: map[string]bool{}, offsets: map[string]int64{},
	}
}

// note writes one line to the log.
func (r *record) note(what string, fields map[string]any) {
	line := map[string]any{"at": time.Now().UTC().Format(time.RFC3339Nano), "what": what}
	maps.Copy(line, fields)
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.log.Encode(line) // a log that cannot be written shows at its end
}

func (r *record) count(what string) { r.add(what, 1) }

func (r *record) add(what string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[what] += n
}

func (r *record) counted(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[what]
}

func (r *record) took(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.longest = max(r.longest, d)
}

// alike is how many violations of one title are printed in full.
const alike = 2

func (r *record) violated(v violation) {
	v.At = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.log.Encode(map[string]any{"what": "violation", "violation": v})
	key := fmt.Sprint(v.title(), v.Node, v.Zone, v.place)
	if r.told[key] {
		return
	}
	r.told[key] = true
	if r.violations[v.title()]++; r.violations[v.title()] <= alike {
		v.print(r.out)
	}
	if len(r.told) >= r.most {
		r.end()
	}
}

// read notes how far a log was read, and returns how far it was before.
func (r *record) read(log string, to int64) (from int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, r.offsets[log] = r.offsets[log], to
	return from
}

func (r *record) failed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.told)
}

func (r *record) summary(out io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(r.counts)) {
		fmt.Fprintf(out, "  %8d  %s\n", r.counts[what], what)
	}
	fmt.Fprintf(out, "  %8s  longest from a write's answer to INSYNC\n", r.longest.Round(time.Millisecond))
	for _, title := range slices.Sorted(maps.Keys(r.violations)) {
		fmt.Fprintf(out, "  %8d  VIOLATIONS: %s\n", r.violations[title], title)
	}
	fmt.Fprintf(out, "  %8d  violations in all\n", len(r.told))
}
