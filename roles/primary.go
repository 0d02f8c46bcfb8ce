package roles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"pdns-distribute/broker"
	"pdns-distribute/dnssec"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
)

// Primary is the role beside the primary PowerDNS: it takes touched zones, transfers each once and publishes it. Any
// number may run: they share the touch queue, and compare-and-set keeps them from overwriting what they have not seen.
type Primary struct {
	*node
	cfg      PrimaryConfig
	dnssec   dnssec.Config
	dns      string
	api      *powerdns.Client
	powerdns *neighbour
	index    *index
	signer   *signer
	brake    *health.Brake
	unheard  *rate.Limiter // of tombstones for zones that nobody has heard of
	lanes    *lanes[errand]
	lag      lagging
	checks   *agenda                  // zones whose settings are still to be looked at
	hints    *agenda                  // zones that a NOTIFY came for
	retries  *agenda                  // zones to look at again after an own idea failed
	moved    *agenda                  // zones that a sweep found served otherwise than they were published, at the same stored serial
	turning  *agenda                  // zones that were published with NSEC and are to have NSEC3
	beat     <-chan time.Time         // the pace of renewals, and of what moved and turns besides
	notify   *transfer.NotifyListener // nil when off
	sweeps   chan struct{}            // asks for a sweep
	ordered  sweepOrders
	caughtUp chan struct{} // closed when the index is complete for the first time
	once     sync.Once
	complete atomic.Bool // the index is, at this moment
	metrics  primaryMetrics

	mu       sync.Mutex
	term     broker.Term // of the health role that leads ...
	termAt   time.Time   // ... as it was told then
	swept    bool        // since the broker was last found new
	refilled bool        // and what that has found was looked at
}

// errand is one reason to look at a zone.
type errand struct {
	reason   string
	msg      *broker.TouchMsg // nil when it is the primary's own idea
	hidden   bool             // an edit without a new serial is possible: compare signatures, too
	live     bool             // somebody made a change and may wait for it; all else stands behind that everywhere
	again    string           // the secondary that is to take the zone again, broker.ToAll for all
	led      bool             // the health role that acts ordered it
	thorough bool             // the zone's settings are to be looked at before its content is published
}

const (
	condIndex   = "index"
	condDeletes = "deletes"
	condStreams = "streams"
	condSweep   = "sweep"

	condSignatures = "signatures"

	rolePrimary = "primary"

	laneLimit     = 4096 // touches that may wait in memory; each is some 200 bytes
	deleteWindow  = time.Hour
	tombstoneTTL  = 90 * 24 * time.Hour // longer than the longest absence of a secondary that heals by itself
	maxUnheard    = 100_000             // tombstones at once, and as many a day, for zones that nobody has heard of
	unheardPrice  = 100                 // as how many of them one counts that the health role did not order
	transferAlive = broker.AckWait / 3  // how often a long transfer tells the queue that it is being worked on
)

// Reasons for touches besides the proxy's.
const (
	reasonSweep  = "sweep"
	reasonCheck  = "settings" // a zone's settings do not fit what was published
	reasonNotify = "NOTIFY"   // from PowerDNS itself
	reasonRetry  = "retry"    // an own idea failed before
	reasonGone   = "gone"     // a sweep found it missing, and the brake allowed it
)

// NewPrimary binds the role's listeners. Run does the rest.
func NewPrimary(cfg Config, deps Deps) (*Primary, error) {
	api, err := powerdns.NewClient(cfg.PowerDNS)
	if err != nil {
		return nil, err
	}
	signer, err := readSigner(cfg.Primary.SignKeyFile)
	if err != nil {
		return nil, err
	}
	n, err := newNode(cfg, rolePrimary, deps, condIndex, condPowerDNS, condStreams)
	if err != nil {
		return nil, err
	}
	p := &Primary{
		node: n, cfg: cfg.Primary, dnssec: cfg.DNSSEC, dns: cfg.PowerDNS.DNSAddress, api: api,
		index: newIndex(), signer: signer, brake: health.NewBrake(cfg.Primary.MaxDeletePercent, deleteWindow),
		unheard: rate.NewLimiter(rate.Every(24*time.Hour/maxUnheard), maxUnheard), lag: lagging{zones: map[zone.Name]lag{}},
		checks: newAgenda(), hints: newAgenda(), retries: newAgenda(), moved: newAgenda(), turning: newAgenda(),
		beat: time.Tick(time.Second / time.Duration(cfg.DNSSEC.RenewRate)), sweeps: make(chan struct{}, 1), caughtUp: make(chan struct{}),
	}
	p.powerdns = newNeighbour(api, n.ready, n.log, p.reviewPowerDNS)
	p.metrics = newPrimaryMetrics(n.registry, p.index, p.brake)
	p.lanes = newLanes(cfg.Primary.Workers, laneLimit, p.work, p.mergeErrands)
	p.lanes.abandon = p.handBack
	if cfg.Primary.NotifyListen != "" {
		if p.notify, err = transfer.NewNotifyListener(cfg.Primary.NotifyListen, nil, p.notified); err != nil {
			return nil, errors.Join(fmt.Errorf("primary.notify_listen: %w", err), n.close())
		}
	}
	return p, nil
}

type primaryMetrics struct {
	published *prometheus.CounterVec
	took      prometheus.Histogram
	ending    prometheus.Gauge
}

func newPrimaryMetrics(reg prometheus.Registerer, x *index, b *health.Brake) primaryMetrics {
	m := primaryMetrics{
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_primary_errands_total", Help: "Zones looked at, by what came of it: published, gone, unchanged or failed.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pdns_distribute_primary_publish_seconds", Help: "From taking a touch to the state being published.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .5, 1, 5, 30},
		}),
		ending: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_primary_ending_signatures", Help: "Zones whose published signatures end within dnssec.alarm_before.",
		}),
	}
	reg.MustRegister(m.published, m.took, m.ending, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_primary_zones", Help: "Zones that are published.",
	}, func() float64 { return float64(x.count()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_primary_held_deletions", Help: "Deletions that the brake holds until an operator confirms them.",
	}, func() float64 { return float64(b.Held()) }))
	return m
}

// Run works until ctx ends.
func (p *Primary) Run(ctx context.Context) error {
	parts := []func(context.Context) error{
		p.powerdns.watch, p.keepStreams, p.watchStates, p.provisionFeeds, p.lanes.run,
		p.takeTouches, p.keepSweeping, p.checkSettings, p.keepRenewing, p.watchSignatures, p.lookAtMoved, p.lookAtTurning, p.scrub, p.collectBlobs, p.index.dropGraves,
		func(ctx context.Context) error {
			return p.lookAtDue(ctx, p.hints, errand{reason: reasonNotify, hidden: true, thorough: true, live: true})
		},
		func(ctx context.Context) error {
			return p.lookAtDue(ctx, p.retries, errand{reason: reasonRetry, hidden: true, thorough: true})
		},
		func(ctx context.Context) error { return p.answerAsks(ctx, p.answer) },
	}
	if p.notify != nil {
		parts = append(parts, p.notify.Run)
	}
	return p.run(ctx, func(pr *health.Presence) {
		pr.Zones, pr.PowerDNS, pr.Complete = p.index.count(), p.powerdns.runningVersion(), p.publishesAll()
	}, parts...)
}

// watchStates keeps the index.
func (p *Primary) watchStates(ctx context.Context) error {
	return p.conn.WatchStates(ctx, broker.StateWatcher{
		State: func(s broker.StateMsg) { p.index.set(s.Zone, s.Seq, s.Header) },
		Reset: func() {
			p.log.Warn().Msg("the broker lost its store: publishing all zones anew")
			p.complete.Store(false)
			p.restarted()
			p.index.reset()
			p.ready.Set(condIndex, "publishing all zones anew after the broker lost its store")
		},
		CaughtUp: func() {
			p.complete.Store(true)
			p.once.Do(func() { close(p.caughtUp) })
			p.ready.Clear(condIndex)
			notify(p.sweeps, struct{}{})
		},
	})
}

// takeTouches brings touches into their lanes, once it is known what is published.
func (p *Primary) takeTouches(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.caughtUp:
	}
	return p.conn.Touches(ctx, func(t broker.TouchMsg) {
		if t.Sweep {
			p.orderSweep(t)
			return
		}
		rank := p.rank(ctx, t)
		if rank == deposed {
			t.Again = "" // and the zone is looked at all the same: the touch may have replaced another one
		}
		if e := (errand{reason: t.Reason, msg: &t, hidden: true, live: t.Again == "", again: t.Again, led: rank == leads}); !p.submit(ctx, t.Zone, e) {
			p.handBack(e)
		}
	}, nil)
}

// rank is what is known of whoever ordered a touch.
type rank int

const (
	anybody rank = iota
	leads        // it is the health role that acts
	deposed      // it is a health role that acts no more: a process that was stopped may send its orders long after
)

// rank does not believe a term by itself, because proxies can name any: it is compared with that of who leads. What is not
// known for sure is anybody's, which does no harm: so are orders of a leader that has only just begun.
func (p *Primary) rank(ctx context.Context, t broker.TouchMsg) rank {
	if t.Term.IsZero() {
		return anybody
	}
	switch term := p.leading(ctx); {
	case t.Term == term:
		return leads
	case t.Term.Before(term):
		p.log.Debug().Stringer("zone", t.Zone).Stringer("term", t.Term).Msg("an order by a health role that leads no more was not followed")
		return deposed
	}
	return anybody
}

// leadingAge is how long it is believed who leads; whoever names terms must not have the broker asked at each touch.
const leadingAge = time.Second

// leading is the term of the health role that leads, the zero one if that is not known.
func (p *Primary) leading(ctx context.Context) broker.Term {
	p.mu.Lock()
	term, known := p.term, time.Since(p.termAt) < leadingAge
	p.mu.Unlock()
	if known {
		return term
	}
	ctx, cancel := context.WithTimeout(ctx, leadingAge)
	defer cancel()
	holder, err := p.conn.LeaseHolder(ctx, leaseName)
	if err != nil {
		p.log.Debug().Err(err).Msg("it is not known which health role leads")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.term, p.termAt = holder.Term, time.Now()
	return p.term
}

// restarted notes that the broker is not the one it was, and has to be filled again.
func (p *Primary) restarted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.termAt, p.swept, p.refilled = time.Time{}, false, false
}

// sweptOnce notes that all zones were compared.
func (p *Primary) sweptOnce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swept = true
}

// publishesAll tells whether all that PowerDNS has was compared with what is published since this role or the broker was
// new, and what differed was looked at.
func (p *Primary) publishesAll() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refilled = p.refilled || p.swept && p.lanes.idle()
	return p.refilled
}

// submit brings an errand into its zone's lane.
func (p *Primary) submit(ctx context.Context, name zone.Name, e errand) bool {
	return p.lanes.submit(ctx, name, e, e.live && !p.failures.has(name))
}

// mergeErrands makes one of two that wait for the same zone. A touch that the other one covers is acknowledged. That a
// zone was created is not forgotten over a later change: it explains a low serial.
func (p *Primary) mergeErrands(waiting, newer errand) errand {
	merged := newer
	merged.hidden = waiting.hidden || newer.hidden
	merged.thorough = waiting.thorough || newer.thorough
	merged.live = waiting.live || newer.live
	merged.led = waiting.led || newer.led
	merged.again = cmp.Or(newer.again, waiting.again)
	if waiting.again != "" && waiting.again != merged.again {
		merged.again = broker.ToAll
	}
	switch {
	case newer.msg == nil:
		merged.msg, merged.reason = waiting.msg, cmp.Or(waiting.reason, newer.reason)
	case waiting.msg != nil && !waiting.msg.Same(newer.msg.Message):
		p.acknowledge(*waiting.msg)
	}
	if waiting.reason == proxy.ReasonCreate && newer.reason != proxy.ReasonDelete {
		merged.reason = waiting.reason
	}
	if waiting.reason == proxy.ReasonDelete && newer.again != "" { // an order says nothing about the zone
		merged.reason = waiting.reason
	}
	return merged
}

func (p *Primary) acknowledge(t broker.TouchMsg) {
	if err := t.Ack(); err != nil {
		p.log.Debug().Err(err).Stringer("zone", t.Zone).Msg("touch will be delivered again")
	}
}

func (p *Primary) notified(name zone.Name) {
	if p.hints.size() < maxHints {
		p.hints.suggest(name, time.Now())
	}
}

// maxHints bounds what anybody on the host may have the role remember. What is dropped the sweep finds.
const maxHints = 100_000

// lookAtDue brings into their lanes what no touch tells of. A crash forgets it; the sweep at the next start finds it.
func (p *Primary) lookAtDue(ctx context.Context, zones *agenda, e errand) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, name := range zones.takeAway(time.Now()) {
			p.submit(ctx, name, e)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-zones.added:
		case <-tick.C:
		}
	}
}

// work looks at one zone and decides about its touch.
func (p *Primary) work(ctx context.Context, name zone.Name, e errand) {
	if !p.powerdns.wait(ctx) {
		p.handBack(e)
		return
	}
	begin := time.Now()
	p.announce(name, e)
	result, err := p.attend(ctx, name, e)
	if ctx.Err() != nil && err != nil {
		p.handBack(e)
		return
	}
	if err != nil {
		p.metrics.published.WithLabelValues("failed").Inc()
		p.postpone(name, e, err)
		return
	}
	p.metrics.published.WithLabelValues(result).Inc()
	if result == resultPublished {
		p.metrics.took.Observe(time.Since(begin).Seconds())
	}
	if p.failures.clear(name) {
		p.each.Info().Stringer("zone", name).Msg("the zone's trouble is over")
	}
	if e.msg != nil {
		p.settled(name, e.msg.Seq)
		p.acknowledge(*e.msg)
	}
}

// handBack has the queue deliver a touch to whoever comes next.
func (p *Primary) handBack(e errand) {
	if e.msg != nil {
		_ = e.msg.Nak(handBackPause) // lost: it is delivered again a little later
	}
}

// lagPause is how soon a zone is looked at again that PowerDNS may give in an older version than it should.
const lagPause = time.Second

// postpone has the errand come back later.
func (p *Primary) postpone(name zone.Name, e errand, err error) {
	pause := lagPause
	switch {
	case errors.Is(err, errLagging):
		p.log.Debug().Stringer("zone", name).Err(err).Msg("looking again")
	case errors.Is(err, broker.ErrDisconnected):
	default:
		if errors.Is(err, powerdns.ErrUnavailable) {
			p.powerdns.doubt()
		}
		attempts := p.failures.add(name, err)
		if attempts == 1 {
			p.each.Warn().Stringer("zone", name).Err(err).Msg("the zone cannot be published; trying again with growing pauses")
		}
		pause = retryPause(attempts)
	}
	if e.msg == nil {
		p.retries.add(name, time.Now().Add(pause))
	} else if err := e.msg.Nak(pause); err != nil {
		p.log.Debug().Err(err).Stringer("zone", name).Msg("touch will be delivered again")
	}
}

// What came of an errand.
const (
	resultPublished = "published"
	resultGone      = "gone"
	resultUnchanged = "unchanged"
)

// publishAttempts bounds how often another primary may be quicker with the same zone.
const publishAttempts = 5

// carry brings what is published in line with what PowerDNS has.
func (p *Primary) carry(ctx context.Context, name zone.Name, e errand) (result string, err error) {
	if e.msg != nil {
		defer p.keepAlive(ctx, *e.msg)()
	}
	for range publishAttempts {
		result, err = p.reconcile(ctx, name, e)
		if !errors.Is(err, broker.ErrConflict) {
			return result, err
		}
		if err := p.refresh(ctx, name); err != nil {
			return "", err
		}
	}
	return "", err
}

// keepAlive tells the queue that the touch is being worked on, until the returned function is called.
func (p *Primary) keepAlive(ctx context.Context, t broker.TouchMsg) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(transferAlive)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = t.InProgress() // lost: the touch is delivered again, which is harmless
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// refresh reads what the broker has of the zone when the index is behind.
func (p *Primary) refresh(ctx context.Context, name zone.Name) error {
	last, err := p.conn.LastState(ctx, name)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		p.index.replace(name, 0, p.index.get(name).header)
		return nil
	case err != nil:
		return err
	}
	p.index.replace(name, last.Seq, last.Header)
	return nil
}

func (p *Primary) reconcile(ctx context.Context, name zone.Name, e errand) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.cfg.TransferTimeout, fmt.Errorf("primary.transfer_timeout of %s is over", p.cfg.TransferTimeout))
	defer cancel()
	before := p.index.get(name)
	z, stored, err := p.read(ctx, name, before, e.thorough)
	if errors.Is(err, errNotHere) {
		p.index.own(name, false)
		return p.retract(ctx, name, e, before, err)
	}
	if err != nil {
		return "", err
	}
	p.index.own(name, true)
	if err := p.lag.check(time.Now(), name, z.Serial(), before, e.reason); err != nil {
		return "", err
	}
	at, err := p.dated(ctx, name, before)
	if err != nil {
		return "", err
	}
	state, contents := zone.NewState(z, stored, at)
	if before.stands() && e.again == "" && !p.signer.lacks(before.header) && unchanged(z, state, before.header, e.hidden) {
		return resultUnchanged, nil
	}
	return resultPublished, p.publish(ctx, z, state, contents, before, e)
}

// unchanged compares with what is published. Where somebody touched the zone, any difference counts. Where the primary
// only looks, new signature bytes over the same content do not, which a restart of PowerDNS makes, nor does a serial that
// moved by itself.
func unchanged(z *zone.Zone, s *zone.State, h broker.StateHeader, hidden bool) bool {
	switch {
	case h.Stored != s.Stored:
		return false
	case hidden:
		return h.Stable == fmt.Sprintf("%x", s.Stable) && h.Digest == fmt.Sprintf("%x", s.Digest)
	case h.Serial != s.Serial && !ticks(s.Serial-h.Serial, s.Published.Sub(h.Published)):
		return false
	}
	return h.Stable == fmt.Sprintf("%x", z.StableAt(h.Serial))
}
