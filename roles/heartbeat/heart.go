package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
)

// How often a beat is written: while this node acts, while it waits to, and at most, where somebody waits for one.
const (
	ActingInterval  = time.Second
	StandbyInterval = 3 * time.Second
	least           = 10 * time.Millisecond

	writePatience = 3 * time.Second // of one beat; a database that waits for its replicas may take long
	readPatience  = 3 * time.Second

	firstLook, lastLook = 2 * time.Millisecond, 250 * time.Millisecond // between two looks for a beat that somebody waits for

	maxSent = 4096 // beats that are written and not seen yet
	doubts  = 2    // failed writes in a row after which PowerDNS counts as one that takes none
)

// Writer is PowerDNS's API.
type Writer interface {
	Patch(ctx context.Context, n zone.Name, sets []powerdns.RRset) error
	CreateZoneWith(ctx context.Context, spec powerdns.ZoneSpec) error
}

// Options say whose heart it is.
type Options struct {
	Node, Instance string
	Own            Writer      // the PowerDNS beside this node
	Others         []Writer    // where beats are written while that takes none
	Address        string      // of the PowerDNS beside this node, host:port
	Acts           func() bool // whether this node acts, so that it has to know
	Turned         func()      // called when PowerDNS begins to take writes, or takes none any more
	Log            zerolog.Logger
}

// Heart writes beats and looks for them. The nil Heart is that of a node whose database is the only one: what PowerDNS
// gives is the truth.
type Heart struct {
	// Set by New.
	Options
	started time.Time
	wake    chan struct{}

	mu       sync.Mutex // guards all below
	count    uint64
	sent     []sent    // written and not seen yet, oldest first
	last     time.Time // when the last one was begun, whatever came of it
	proven   time.Time // when the newest that was seen had been begun
	wanted   time.Time // the newest moment that somebody wants to have proven
	progress chan struct{}
	beats    map[string]Beat // of all nodes, as last seen
	access
}

// access is what became of the last attempts to write and read beats.
type access struct {
	failed   int       // writes to the own PowerDNS in a row
	tried    bool      // a write to the own PowerDNS has ended
	ownTried time.Time // when the last one began
	writing  error     // why no beat can be written, if none can
	reading  error     // why none can be read
}

type sent struct {
	count uint64
	begun time.Time
}

// New makes a heart, which beats while Run runs.
func New(o Options) *Heart {
	return &Heart{
		Options: o, started: time.Now(), wake: make(chan struct{}, 1),
		progress: make(chan struct{}), beats: map[string]Beat{}, access: access{failed: doubts},
	}
}

// Stamp is what stands for a moment of this process in beats: it never goes back, whatever is done to the clock.
func (h *Heart) Stamp(t time.Time) time.Time {
	return h.started.Round(0).Add(t.Sub(h.started)).UTC()
}

// Run beats until ctx ends.
func (h *Heart) Run(ctx context.Context) error {
	if h == nil {
		return nil
	}
	for look := firstLook; ; {
		if h.due(time.Now()) {
			h.beat(ctx)
			look = firstLook
		}
		h.look(ctx)
		pause := h.untilDue(time.Now())
		if h.isWaited() {
			pause, look = min(pause, look), min(2*look, lastLook)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.wake:
			look = firstLook
		case <-time.After(pause):
		}
	}
}

func (h *Heart) interval() time.Duration {
	if h.Acts() {
		return ActingInterval
	}
	return StandbyInterval
}

// untilDue is how long until the next beat is to be written.
func (h *Heart) untilDue(now time.Time) time.Duration {
	interval := h.interval()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wanted.After(h.last) {
		interval = least
	}
	return max(h.last.Add(interval).Sub(now), 0)
}

func (h *Heart) due(now time.Time) bool { return h.untilDue(now) == 0 }

// isWaited tells whether somebody waits for a beat.
func (h *Heart) isWaited() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wanted.After(h.proven)
}

// errTakesNone says that the own PowerDNS took no write a moment ago.
var errTakesNone = errors.New("the PowerDNS here takes no writes")

// beat writes one. A PowerDNS that takes none is asked again from time to time only.
func (h *Heart) beat(ctx context.Context) {
	begun := time.Now()
	h.mu.Lock()
	h.count++
	b := Beat{Node: h.Node, Count: h.count, At: h.Stamp(begun), Instance: h.Instance}
	h.last = begun
	own := h.failed < doubts || begun.Sub(h.ownTried) >= StandbyInterval
	h.mu.Unlock()
	err, turned := errTakesNone, false
	if own {
		err = write(ctx, h.Own, b)
		turned = h.noteOwn(begun, err)
	}
	if err != nil && h.Acts() {
		for _, w := range h.Others {
			other := write(ctx, w, b)
			if other == nil {
				err = nil
				break
			}
			err = errors.Join(err, other)
		}
	}
	h.mu.Lock()
	if h.writing = err; err == nil {
		h.sent = append(h.sent, sent{b.Count, begun})
		if len(h.sent) > maxSent { // it lags for more than an hour: every other one tells enough
			h.thin()
		}
	}
	h.mu.Unlock()
	if turned {
		h.Turned()
	}
}

// thin forgets every other beat that was sent.
func (h *Heart) thin() {
	kept := h.sent[:0]
	for i, s := range h.sent {
		if i%2 == 1 {
			kept = append(kept, s)
		}
	}
	h.sent = kept
}

// noteOwn notes what came of a write to the own PowerDNS, and tells whether that turned.
func (h *Heart) noteOwn(begun time.Time, err error) (turned bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, first := h.failed < doubts, !h.tried
	h.ownTried = begun
	if h.tried = true; err == nil {
		h.failed = 0
	} else {
		h.failed++
	}
	return first || before != (h.failed < doubts)
}

// write writes a beat, and makes the zone where it is missing.
func write(ctx context.Context, to Writer, b Beat) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	err := patch(ctx, to, b)
	if errors.Is(err, powerdns.ErrNotFound) {
		err = to.CreateZoneWith(ctx, powerdns.ZoneSpec{Name: Name, Kind: powerdns.Native, Nameservers: []string{"invalid."}})
		if err == nil || errors.Is(err, powerdns.ErrExists) {
			err = patch(ctx, to, b)
		}
	}
	return err
}

func patch(ctx context.Context, to Writer, b Beat) error {
	owner, err := zone.ParseName(b.Node + "." + Zone)
	if err != nil {
		return err
	}
	return to.Patch(ctx, Name, []powerdns.RRset{{Name: owner, Type: "TXT", TTL: 1, Content: []string{`"` + b.text() + `"`}}})
}

// look sees which beats PowerDNS gives.
func (h *Heart) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	beats, err := Read(ctx, h.Address)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reading = err; err != nil {
		return
	}
	clear(h.beats)
	for _, b := range beats {
		h.beats[b.Node] = b
		if b.Node == h.Node && b.Instance == h.Instance {
			h.seen(b.Count)
		}
	}
}

// seen notes that the own beat of that number is there.
func (h *Heart) seen(count uint64) {
	moved := false
	for len(h.sent) > 0 && h.sent[0].count <= count {
		h.proven, h.sent, moved = h.sent[0].begun, h.sent[1:], true
	}
	if moved {
		close(h.progress)
		h.progress = make(chan struct{})
	}
}

// Proven is the moment from before which PowerDNS is known to give all that was committed. The nil Heart's is now.
func (h *Heart) Proven() time.Time {
	if h == nil {
		return time.Now()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.proven
}

// Await returns when PowerDNS is known to give all that was committed before since, or ctx has ended.
func (h *Heart) Await(ctx context.Context, since time.Time) {
	for h != nil {
		h.mu.Lock()
		proven, progress := h.proven, h.progress
		if since.After(h.wanted) {
			h.wanted = since
		}
		h.mu.Unlock()
		if !proven.Before(since) {
			return
		}
		select {
		case h.wake <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return
		case <-progress:
		}
	}
}

// State is what a heart knows of the databases.
type State struct {
	Writes bool                 // the own PowerDNS takes writes
	Known  bool                 // it was tried
	Proven time.Time            // see [Heart.Proven]
	Beats  map[string]time.Time // when the newest that is seen here of each node was begun, by the node's clock
	Fault  error                // why nothing can be proven, if nothing can
}

// State is that of this moment.
func (h *Heart) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := State{Writes: h.failed < doubts, Known: h.tried, Proven: h.proven, Beats: make(map[string]time.Time, len(h.beats))}
	for node, b := range h.beats {
		s.Beats[node] = b.At
	}
	switch {
	case h.writing != nil:
		s.Fault = fmt.Errorf("no PowerDNS takes the heartbeat: %w", h.writing)
	case h.reading != nil:
		s.Fault = fmt.Errorf("the heartbeat cannot be read: %w", h.reading)
	}
	return s
}
