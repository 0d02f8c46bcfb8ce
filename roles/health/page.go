package health

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"pdns-distribute/broker"
	"pdns-distribute/dnssec"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/page"
	"pdns-distribute/roles/status"
	"pdns-distribute/roles/work"
)

// view is what the page reads of this role. It shows nothing that commands do not.
type view struct {
	h       *Health
	history *page.History // of the last hours
	looks   *rate.Limiter
	busy    sync.WaitGroup // of what goes on although who asked for it may be gone: see run

	mu        sync.Mutex // guards all below
	over      bool       // the role ends, and nothing is begun
	renewals  index.Signatures
	renewalAt time.Time
	known     map[zone.Name]*seenZone
}

// seenZone is what a look came to, for all who ask within a moment.
type seenZone struct {
	done chan struct{} // closed when zone is there
	zone page.Zone
}

const (
	// looksEach and looksOnce are how many zones are looked at a second, and at once: each is a question to all nodes.
	looksEach = 2
	looksOnce = 10

	// lookPatience is how long nodes, and their public addresses, may take to answer.
	lookPatience = 2 * time.Second

	// lookAge is for how long what they answered is shown to others.
	lookAge = 2 * time.Second

	// lookMost is how many addresses are asked at a time.
	lookMost = 32

	// renewalsAge is for how long it is known how far renewals are: all zones are looked through for it.
	renewalsAge = 30 * time.Second
)

func newView(h *Health) *view {
	return &view{h: h, history: page.NewHistory(), looks: rate.NewLimiter(looksEach, looksOnce), known: map[zone.Name]*seenZone{}}
}

func (h *Health) keepHistory(ctx context.Context) error {
	return h.shown.history.Keep(ctx, h.cfg.StateDir, h.Log)
}

// run waits for all that was begun when ctx ends, and has nothing be begun from then on. It returns nil.
func (v *view) run(ctx context.Context) error {
	<-ctx.Done()
	v.mu.Lock()
	v.over = true
	v.mu.Unlock()
	v.busy.Wait()
	return nil
}

// begin has something done that run waits for, unless the role ends. Called under mu.
func (v *view) begin(do func()) (begun bool) {
	if v.over {
		return false
	}
	v.busy.Go(do)
	return true
}

func (v *view) Prepare() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.begin(func() { v.h.published.index.Find("", 0) })
}

func (v *view) Document() status.Document { return v.h.document() }

func (v *view) Find(text string, most int) index.Found { return v.h.published.index.Find(text, most) }

func (v *view) Renewals() index.Signatures {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := time.Now(); now.Sub(v.renewalAt) > renewalsAge {
		v.renewals, v.renewalAt = v.h.published.index.Signatures(now, v.h.dnssec.RenewBefore), now
	}
	return v.renewals
}

// Look asks all nodes about a zone once for all who want to know it at that time.
func (v *view) Look(ctx context.Context, name zone.Name) (z page.Zone, err error) {
	s := v.seen(context.WithoutCancel(ctx), name)
	if s == nil {
		return z, page.ErrBusy
	}
	select {
	case <-s.done:
		return s.zone, nil
	case <-ctx.Done():
		return z, ctx.Err()
	}
}

// seen returns the look at a zone that somebody has begun, or begins one; nil if that is too many.
func (v *view) seen(ctx context.Context, name zone.Name) *seenZone {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s, known := v.known[name]; known {
		return s
	}
	if !v.looks.Allow() {
		return nil
	}
	s := &seenZone{done: make(chan struct{})}
	begun := v.begin(func() {
		s.zone = v.look(ctx, name)
		close(s.done)
		time.AfterFunc(lookAge, func() { v.end(name) })
	})
	if !begun {
		return nil
	}
	v.known[name] = s
	return s
}

func (v *view) end(name zone.Name) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.known, name)
}

// look asks the nodes, and at the same time the world's way.
func (v *view) look(ctx context.Context, name zone.Name) page.Zone {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	z := page.Zone{Name: name, Published: v.h.published.index.Get(name)}
	rows := slices.DeleteFunc(v.h.nodes.board().Nodes, func(r health.Row) bool { return r.Role != health.RoleSecondary })
	var both sync.WaitGroup
	var outside [][]page.Outside
	both.Go(func() { outside = v.askOutside(ctx, name, rows) })
	a := v.askNodes(ctx, name, rows)
	both.Wait()
	z.At = time.Now().UTC()
	z.Primary, z.Unasked = a.settled, a.fault
	if v.h.cfg.ProbeSample == 0 {
		z.NotOutside = "health.probe_sample is 0: public addresses are not asked."
	}
	published := v.h.published.inStream(name)
	for i, r := range rows {
		z.Secondaries = append(z.Secondaries, v.secondary(r, published, a.applied[r.Node], outside[i]))
	}
	return z
}

// secondary puts together what is known of a zone at one.
func (v *view) secondary(r health.Row, published health.Settled, has *health.Applied, outside []page.Outside) page.Secondary {
	s := page.Secondary{Node: r.Node, Active: r.Active, Has: has, Outside: outside}
	seq := v.h.published.index.Get(published.Zone).Seq
	s.InSync = has != nil && has.Has(published)
	s.Waits = !s.InSync && seq > 0 && v.h.nodes.stage(r.Node, seq) != health.Delivered
	for _, f := range r.Failing {
		if f.Zone == published.Zone {
			s.Failing = &f
		}
	}
	for i, o := range s.Outside {
		s.Outside[i].Equal = o.Fault == "" && !published.Gone && o.Serial == published.Serial ||
			published.Gone && o.Fault == lame
	}
	return s
}

// lame is what an address answers that does not have the zone.
const lame = "does not have the zone"

// askOutside asks the public addresses of secondaries.
func (v *view) askOutside(ctx context.Context, name zone.Name, rows []health.Row) [][]page.Outside {
	answers := make([][]page.Outside, len(rows))
	if v.h.cfg.ProbeSample == 0 {
		return answers
	}
	var asked errgroup.Group
	asked.SetLimit(lookMost)
	for i, r := range rows {
		answers[i] = make([]page.Outside, len(r.Secondary.Addresses))
		for n, address := range r.Secondary.Addresses {
			asked.Go(func() error {
				answers[i][n] = askAddress(ctx, address, name)
				return nil
			})
		}
	}
	_ = asked.Wait() // none returns an error
	return answers
}

func askAddress(ctx context.Context, address string, name zone.Name) page.Outside {
	o := page.Outside{Address: address}
	begin := time.Now()
	got, err := transfer.Probe(ctx, address, name, false)
	o.Took = time.Since(begin)
	switch {
	case errors.Is(err, transfer.ErrSilent):
		o.Fault = "no answer"
	case errors.Is(err, transfer.ErrServfail):
		o.Fault = "SERVFAIL"
	case errors.Is(err, transfer.ErrLame):
		o.Fault = lame
	case err != nil:
		o.Fault = health.Cut(err.Error())
	case got.Expires != 0 && dnssec.EndsWithin(got.Expires, time.Now(), 0):
		o.Fault = "signatures have expired"
	}
	o.Serial, o.Expires = got.Serial, got.Expires
	return o
}

// zoneAnswer is what nodes have answered about a zone.
type zoneAnswer struct {
	applied map[string]*health.Applied // by secondary
	settled *health.Settled            // of the first primary to answer
	fault   string
	waits   map[string]bool // secondaries that have not answered
	done    chan struct{}   // gets a value when all have
}

// askNodes asks all nodes what they have of a zone, and returns what has come when all have answered, or ctx ends.
func (v *view) askNodes(ctx context.Context, name zone.Name, rows []health.Row) zoneAnswer {
	a := &zoneAnswer{applied: map[string]*health.Applied{}, waits: map[string]bool{}, done: make(chan struct{}, 1)}
	for _, r := range rows {
		if r.Active {
			a.waits[r.Node] = true
		}
	}
	v.h.published.listeners.add(name, a)
	err := v.h.Conn.PublishAsk(name)
	if err == nil && !v.h.Conn.Connected() {
		err = broker.ErrDisconnected
	}
	if err == nil {
		select {
		case <-a.done:
		case <-ctx.Done():
		}
	}
	answer := v.h.published.listeners.remove(name, a)
	if err != nil {
		answer.fault = err.Error()
	}
	return answer
}

// listeners are who waits for answers about zones. It is safe for concurrent use.
type listeners struct {
	mu   sync.Mutex
	zone map[zone.Name][]*zoneAnswer
}

func newListeners() *listeners { return &listeners{zone: map[zone.Name][]*zoneAnswer{}} }

func (l *listeners) add(name zone.Name, a *zoneAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.zone[name] = append(l.zone[name], a)
}

// remove returns the answer as it is when nothing comes to it any more.
func (l *listeners) remove(name zone.Name, a *zoneAnswer) zoneAnswer {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.zone[name] = slices.DeleteFunc(l.zone[name], func(b *zoneAnswer) bool { return a == b })
	if len(l.zone[name]) == 0 {
		delete(l.zone, name)
	}
	return *a
}

func (l *listeners) applied(node string, n health.Applied) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.zone[n.Zone] {
		a.applied[node] = &n
		delete(a.waits, node)
		a.check()
	}
}

func (l *listeners) settled(s health.Settled) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.zone[s.Zone] {
		a.settled = &s
		a.check()
	}
}

func (a *zoneAnswer) check() {
	if len(a.waits) == 0 && a.settled != nil {
		work.Notify(a.done, struct{}{})
	}
}
