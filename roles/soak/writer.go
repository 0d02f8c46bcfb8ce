package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"pdns-distribute/proxy"
)

// How a writer learns that its change is served.
const (
	byAnswer = "held by the answer"
	byChange = "held by the change's id"
	unheld   = "not held"
	bypass   = "bypassing the proxies"
)

// holdFor is how long answers are held; what takes longer is PENDING.
const holdFor = 12 * time.Second

// kept is a zone that is written to, and what it was.
type kept struct {
	*history
	large int
	rnd   *rand.Rand
	still bool // only its content changes: the parent of others

	mu      sync.Mutex // held while one writes
	changes map[int]string
}

// writer writes to zones of its own, one after the other.
type writer struct {
	*soak
	zones []*kept
	rnd   *rand.Rand
	holds sync.WaitGroup
	slots chan struct{} // of answers that are held beside the writing
}

func newWriter(s *soak, zones []*kept, rnd *rand.Rand) *writer {
	return &writer{soak: s, zones: zones, rnd: rnd, slots: make(chan struct{}, 32)}
}

// run writes until ctx ends; outcomes that are not known by then are found out within the run's context.
func (w *writer) run(ctx context.Context) {
	defer w.holds.Wait()
	for ctx.Err() == nil {
		w.turn(ctx, w.zones[w.rnd.IntN(len(w.zones))])
		if !rest(ctx, time.Duration(w.rnd.IntN(int(w.options.pause)+1))) {
			return
		}
	}
}

// turn makes one write, or several that follow each other at once.
func (w *writer) turn(ctx context.Context, z *kept) {
	z.mu.Lock()
	defer z.mu.Unlock()
	w.hot.begin(z)
	defer w.hot.end(z)
	if w.rnd.IntN(2) == 0 {
		w.askers.pounce(ctx, z) // so that caches hold what the write changes
	}
	now, _ := z.now()
	whats := choose(now, func(what string) bool { return w.allows(z, what) }, z.rnd)
	how := w.draw(len(whats) > 1)
	for _, what := range whats {
		if now, _ := z.now(); !named(what).fits(now) {
			return // the write before was not accepted
		}
		if !w.once(ctx, z, named(what), how) {
			return
		}
	}
}

func (w *writer) draw(several bool) string {
	n := w.rnd.IntN(100)
	switch {
	case several && n < 70:
		return byChange
	case n < 55:
		return byAnswer
	case n < 80:
		return byChange
	case n < 94:
		return unheld
	}
	return bypass
}

func (w *writer) allows(z *kept, what string) bool {
	if !w.writes[what] || what == "put" && (!w.replaces || z.large > 0) {
		return false
	}
	return !z.still || what == "create" || what == "patch all" || what == "patch some"
}

// once makes one write; false where the zone is not to be written to further in this turn.
func (w *writer) once(ctx context.Context, z *kept, o operation, how string) bool {
	now, _ := z.now()
	s := subject{name: z.name, large: z.large, now: now, place: z.next(), rnd: z.rnd, api: w.direct}
	next, err := o.make(ctx, s)
	if err != nil {
		return false // PowerDNS is away
	}
	next.after.serial = 0 // not known yet
	through := w.proxies[w.rnd.IntN(len(w.proxies))]
	if how == bypass {
		through = w.direct
	}
	if how == byAnswer {
		next.request.wait = holdFor
	}
	place := z.begin(next.what, next.after)
	w.record.note("write", map[string]any{"zone": z.name.String(), "place": place, "write": next.what, "through": through.id, "how": how})
	begin := time.Now()
	a, err := w.send(through, next, how)
	w.record.note("written", map[string]any{"zone": z.name.String(), "place": place, "status": a.status, "error": fmt.Sprint(err), "headers": distributed(a.header)})
	w.record.count("writes: " + next.what)
	w.settleWrite(z, place, now, next, a, err)
	if err == nil && a.status < 300 {
		w.follow(z, place, a, how, begin)
	}
	return true
}

// send makes a write through an entrance, or, past the proxies, by pdnsutil where that can do it.
func (w *writer) send(through entrance, next write, how string) (answer, error) {
	if how != bypass || next.util == nil {
		return through.do(w.ctx, next.request)
	}
	w.record.count("writes by pdnsutil")
	if _, err := w.fleet.Primary.Pdnsutil(w.ctx, next.util...); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusNoContent}, nil
}

// distributed are the proxy's own headers.
func distributed(h http.Header) map[string]string {
	own := map[string]string{}
	for _, key := range []string{proxy.HeaderChange, proxy.HeaderTouch, proxy.HeaderStatus, proxy.HeaderServed, proxy.HeaderMissing} {
		if value := h.Get(key); value != "" {
			own[key] = value
		}
	}
	return own
}

// settleWrite notes the outcome of a write: by the answer, or, where there is no good one, by what PowerDNS has.
func (w *writer) settleWrite(z *kept, place int, before version, next write, a answer, err error) {
	if err == nil && a.status < 300 {
		z.end(place, accepted)
		w.learn(z, place)
		return
	}
	w.record.count("writes without a good answer")
	is, ok := w.observe(z)
	if !ok {
		return // the run ends
	}
	switch {
	case is.sameAs(next.after):
		z.end(place, accepted)
		z.learn(place, is.serial, is.keys)
	case is.sameAs(before):
		z.end(place, rejected)
	default: // done in part
		z.end(place, rejected)
		found := z.begin("found after "+next.what, is)
		z.end(found, accepted)
	}
	w.record.note("resolved", map[string]any{"zone": z.name.String(), "place": place, "answer": string(a.body), "found": fmt.Sprintf("%+v", is)})
	if is.fragment { // nobody can transfer it
		w.discard(z)
	}
}

// sameAs compares all that the API shows.
func (v version) sameAs(other version) bool {
	if !v.exists || !other.exists {
		return v.exists == other.exists
	}
	return v.distributed == other.distributed && v.signed == other.signed && v.nsec3 == other.nsec3 && v.cds == other.cds &&
		v.fill == other.fill && maps.Equal(v.tags, other.tags) && (v.keys == other.keys || v.keys == 0 || other.keys == 0)
}

// learn reads serial and keys of what was written.
func (w *writer) learn(z *kept, place int) {
	var doc zoneDocument
	status, err := w.direct.get(w.ctx, zonePath(z.name)+"?rrsets=false", &doc)
	if err != nil || status != http.StatusOK {
		return
	}
	keys, err := w.direct.publishedKeys(w.ctx, z.name, doc.DNSSEC)
	if err != nil {
		keys = 0
	}
	z.learn(place, doc.EditedSerial, keys)
}

// observe reads what PowerDNS has, once nothing can change that any more: a request that was held up on its way may
// still arrive, so it is read twice while all ways are open.
func (w *writer) observe(z *kept) (is version, ok bool) {
	for {
		w.faults.awaitOpen(w.ctx)
		first, err := w.direct.look(w.ctx, z.name)
		if !rest(w.ctx, 700*time.Millisecond) {
			return is, false
		}
		again, errAgain := w.direct.look(w.ctx, z.name)
		if err == nil && errAgain == nil && first.sameAs(again) && w.faults.isOpen() {
			return again, true
		}
	}
}

// discard deletes what PowerDNS made in part when it was killed.
func (w *writer) discard(z *kept) {
	place := z.begin("delete what is half made", version{tags: map[string]int{}})
	a, err := w.proxies[0].do(w.ctx, request{http.MethodDelete, zonePath(z.name), nil, 0})
	if err == nil && a.status < 300 {
		z.end(place, accepted)
		return
	}
	if is, ok := w.observe(z); ok && is.exists {
		z.end(place, rejected)
	} else if ok {
		z.end(place, accepted)
	}
}

// follow notes when a write is said to be served everywhere.
func (w *writer) follow(z *kept, place int, a answer, how string, begin time.Time) {
	change := a.header.Get(proxy.HeaderChange)
	if how != bypass {
		z.changes[place] = change
	}
	switch how {
	case byAnswer:
		if a.header.Get(proxy.HeaderStatus) == proxy.StatusInSync && !a.inSync(len(w.fleet.Secondaries)) {
			w.record.count("held: INSYNC of fewer secondaries than there are")
		}
		w.held(z, place, a.inSync(len(w.fleet.Secondaries)), begin)
	case byChange:
		if change == "" {
			return
		}
		through := w.proxies[w.rnd.IntN(len(w.proxies))]
		w.slots <- struct{}{}
		w.holds.Go(func() {
			defer func() { <-w.slots }()
			inSync, err := through.hold(w.ctx, change, holdFor, len(w.fleet.Secondaries))
			if err != nil {
				w.record.count("changes that were not answered for")
				w.record.note("not answered for", map[string]any{"zone": z.name.String(), "place": place, "error": err.Error()})
				return
			}
			w.held(z, place, inSync, begin)
		})
	}
}

func (w *writer) held(z *kept, place int, inSync bool, begin time.Time) {
	if !inSync {
		w.record.count("held: PENDING")
		w.record.note("PENDING", map[string]any{"zone": z.name.String(), "place": place})
		return
	}
	z.inSync(place)
	w.record.note("INSYNC", map[string]any{"zone": z.name.String(), "place": place})
	w.record.count("held: INSYNC")
	w.record.took(time.Since(begin))
	w.askers.pounce(w.ctx, z)
}

func (h *history) next() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.entries)
}
