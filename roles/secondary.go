package roles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// Secondary is the role beside a secondary PowerDNS: it follows the published states and makes PowerDNS serve them.
type Secondary struct {
	*node
	store    *store.Store
	shelf    *shelf
	server   *transfer.Server
	apply    *applier
	powerdns *neighbour
	lanes    *lanes[delivery]
	refills  *agenda // zones that PowerDNS must be given again
	metrics  secondaryMetrics

	mu       sync.Mutex
	held     map[zone.Name]holding // what PowerDNS is known to serve
	lastAt   time.Time
	lastZone zone.Name
	warnings []string
}

// holding is a version that PowerDNS was proven, or said, to have.
type holding struct {
	digest zone.Digest
	since  time.Time
	msg    *broker.FeedMsg // without its data; nil when it was not applied by this process
}

// delivery is a state to be applied: from the broker, or msg nil: the store's own.
type delivery struct {
	msg *broker.FeedMsg
}

const (
	roleSecondary = "secondary"
	condFeed      = "feed"

	// feedLimit is how many states may wait in memory, up to 512 KB each and mostly 1 KB.
	feedLimit = 256
)

type secondaryMetrics struct {
	applied *prometheus.CounterVec
	took    prometheus.Histogram
}

func newSecondaryMetrics(reg prometheus.Registerer, zones func() float64) secondaryMetrics {
	m := secondaryMetrics{
		applied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_secondary_states_total", Help: "States by what came of them: applied, removed, held already, failed.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pdns_distribute_secondary_apply_seconds", Help: "From taking a state to the proof that PowerDNS serves it.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .5, 1, 5, 30},
		}),
	}
	reg.MustRegister(m.applied, m.took, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_secondary_zones", Help: "Zones that PowerDNS is known to serve as published.",
	}, zones))
	return m
}

// NewSecondary opens the store and binds the role's listeners. Run does the rest.
func NewSecondary(cfg Config, deps Deps) (*Secondary, error) {
	api, err := powerdns.NewClient(cfg.PowerDNS)
	if err != nil {
		return nil, err
	}
	s := &Secondary{held: map[zone.Name]holding{}, refills: newAgenda()}
	if s.store, err = store.Open(filepath.Join(cfg.Secondary.StateDir, "zones.db")); err != nil {
		return nil, err
	}
	s.shelf = newShelf(s.store)
	if s.server, err = transfer.NewServer(transfer.Config{Listen: cfg.Secondary.TransferListen, OnTransfer: s.shelf.transferred}, s.shelf); err != nil {
		return nil, errors.Join(fmt.Errorf("secondary.transfer_listen: %w", err), s.store.Close())
	}
	if s.node, err = newNode(cfg, roleSecondary, deps, condFeed, condPowerDNS); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	s.apply = newApplier(api, cfg.PowerDNS.DNSAddress, s.server.Addr().String())
	parked, err := s.store.Parked()
	if err != nil {
		return nil, errors.Join(err, s.close(), s.store.Close())
	}
	for _, name := range parked {
		s.refills.add(name, time.Now())
	}
	s.powerdns = newNeighbour(api, s.ready, s.log, s.review)
	s.lanes = newLanes(cfg.Secondary.Workers, feedLimit, s.work, s.mergeDeliveries)
	s.lanes.abandon = s.handBack
	s.metrics = newSecondaryMetrics(s.registry, func() float64 { return float64(s.zones()) })
	return s, nil
}

// Run works until ctx ends. The store is closed when nothing uses it any more.
func (s *Secondary) Run(ctx context.Context) error {
	err := s.run(ctx, s.describe, s.server.Run, s.powerdns.watch, s.lanes.run, s.follow, s.keepReviewing, s.refillDue)
	return errors.Join(err, s.store.Close())
}

func (s *Secondary) describe(p *health.Presence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Zones, p.LastApplied, p.LastZone = len(s.held), s.lastAt, s.lastZone
	p.PowerDNS, p.Warnings = s.powerdns.runningVersion(), s.warnings
}

// follow brings published states into their lanes.
func (s *Secondary) follow(ctx context.Context) error {
	return s.conn.Feed(ctx, func(m broker.FeedMsg) {
		s.lanes.submit(ctx, m.Zone, delivery{&m}, true)
	}, func(reason error) {
		if reason == nil {
			s.ready.Clear(condFeed)
		} else {
			s.ready.Set(condFeed, reason.Error())
		}
		s.announceSoon()
	})
}

// mergeDeliveries keeps the newer of two that wait for the same zone, and acknowledges the other. A refill adds nothing
// to a state that waits.
func (s *Secondary) mergeDeliveries(waiting, newer delivery) delivery {
	if newer.msg == nil || waiting.msg != nil && waiting.msg.Newer(*newer.msg) {
		waiting, newer = newer, waiting
	}
	if waiting.msg != nil && !waiting.msg.Same(newer.msg.Message) {
		s.acknowledge(*waiting.msg)
	}
	return newer
}

func (s *Secondary) acknowledge(m broker.FeedMsg) {
	if err := m.Ack(); err != nil {
		s.log.Debug().Err(err).Stringer("zone", m.Zone).Msg("state will be delivered again")
	}
}

// work applies one state and decides about its message.
func (s *Secondary) work(ctx context.Context, name zone.Name, d delivery) {
	if !s.powerdns.wait(ctx) {
		s.handBack(d)
		return
	}
	begin := time.Now()
	result, err := s.deliver(ctx, name, d)
	if ctx.Err() != nil && err != nil {
		s.handBack(d)
		return
	}
	if err != nil {
		s.metrics.applied.WithLabelValues("failed").Inc()
		s.postpone(name, d, err)
		return
	}
	s.metrics.applied.WithLabelValues(result).Inc()
	if result == resultApplied {
		s.metrics.took.Observe(time.Since(begin).Seconds())
	}
	if s.failures.clear(name) {
		s.log.Info().Stringer("zone", name).Msg("the zone's trouble is over")
	}
	if s.refills.done(name) || d.msg == nil {
		err = s.store.Unpark(name)
	}
	if err != nil {
		s.log.Warn().Err(err).Stringer("zone", name).Msg("the store cannot be written; the zone will be applied once more")
	}
	if d.msg != nil {
		s.acknowledge(*d.msg)
	}
}

// handBack has the broker deliver a state again as soon as this role is back.
func (s *Secondary) handBack(d delivery) {
	if d.msg != nil {
		_ = d.msg.Nak(handBackPause) // lost: it is delivered again a little later
	}
}

// postpone has the state come back later. Once the store has it, it waits there and not at the broker, where too many
// zones in trouble would hold up all others.
func (s *Secondary) postpone(name zone.Name, d delivery, err error) {
	attempts := s.failures.add(name, err)
	pause := retryPause(attempts)
	if errors.Is(err, powerdns.ErrUnavailable) {
		s.powerdns.doubt()
		pause = unavailablePause
	}
	if attempts == 1 {
		s.log.Warn().Stringer("zone", name).Err(err).Msg("the zone cannot be applied; trying again with growing pauses")
	}
	switch {
	case d.msg == nil:
		s.refills.add(name, time.Now().Add(pause))
	case s.park(d.msg) == nil:
		s.refills.add(name, time.Now().Add(pause))
		s.acknowledge(*d.msg)
	default:
		if err := d.msg.Nak(pause); err != nil {
			s.log.Debug().Err(err).Stringer("zone", name).Msg("state will be delivered again")
		}
	}
}

// park returns nil when the store has the state and knows that PowerDNS has not.
func (s *Secondary) park(m *broker.FeedMsg) error {
	state, err := zone.UnmarshalState(m.Data)
	if err != nil {
		return err
	}
	if state.Gone {
		if err := s.store.Put(state, nil, nil); err != nil {
			return err
		}
	} else if !s.stored(state) {
		return store.ErrNotFound
	}
	return s.store.Park(state.Name)
}

// What came of a state.
const (
	resultApplied = "applied"
	resultRemoved = "removed"
	resultHeld    = "held"
)

// deliver makes PowerDNS serve what the state says, whatever that takes.
func (s *Secondary) deliver(ctx context.Context, name zone.Name, d delivery) (result string, err error) {
	if d.msg == nil {
		return s.refill(ctx, name)
	}
	state, err := zone.UnmarshalState(d.msg.Data)
	if err != nil {
		return "", err
	}
	if state.Name != name {
		return "", fmt.Errorf("%w: the state of %s holds %s", zone.ErrCorrupt, name, state.Name)
	}
	if s.outdated(name, d.msg) {
		return resultHeld, nil
	}
	if state.Gone {
		return resultRemoved, s.remove(ctx, state, d.msg.Seq)
	}
	if s.holds(state) && s.stored(state) {
		s.tell(state, d.msg.Seq)
		return resultHeld, nil
	}
	return resultApplied, s.take(ctx, state, d.msg)
}

// take fetches and verifies the content, has PowerDNS serve it, and then has the store keep it: in this order, because
// the store's disk would be in PowerDNS's way. A crash in between leaves the state unacknowledged. What PowerDNS does not
// take is kept, too, to be tried from there.
func (s *Secondary) take(ctx context.Context, state *zone.State, m *broker.FeedMsg) error {
	z, fresh, err := s.content(ctx, state)
	if err != nil {
		return err
	}
	o, withdraw := s.shelf.offer(z)
	defer withdraw() // when the store has it
	err = s.apply.apply(ctx, o, s.before(state.Name, m.NumDelivered))
	if err == nil {
		s.served(state, m)
		s.tell(state, m.Seq)
	}
	return errors.Join(err, s.store.Put(state, z, fresh))
}

// before is the apex of what PowerDNS serves now, nil when that is not sure: an attempt that failed may have left
// either version.
func (s *Secondary) before(name zone.Name, delivered uint64) zone.Apex {
	s.mu.Lock()
	_, sure := s.held[name]
	s.mu.Unlock()
	if !sure || delivered > 1 {
		return nil
	}
	apex, err := s.store.Apex(name)
	if err != nil {
		return nil
	}
	return apex
}

// fetchers is how many chunks of one zone are fetched at a time.
const fetchers = 8

// content rebuilds the zone out of the chunks that the store has and those that it lacks, which it returns.
func (s *Secondary) content(ctx context.Context, state *zone.State) (*zone.Zone, map[zone.Chunk][]byte, error) {
	fresh, err := s.fetch(ctx, state)
	if err != nil {
		return nil, nil, err
	}
	z, err := state.Zone(func(c zone.Chunk) ([]byte, error) {
		if data, ok := fresh[c]; ok {
			return data, nil
		}
		return s.store.Chunk(state.Name, c)
	})
	return z, fresh, err
}

// fetch gets the chunks that the store lacks from the broker.
func (s *Secondary) fetch(ctx context.Context, state *zone.State) (map[zone.Chunk][]byte, error) {
	var mu sync.Mutex
	fresh := map[zone.Chunk][]byte{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchers)
	for _, c := range state.Chunks() {
		if _, err := s.store.Chunk(state.Name, c); err == nil {
			continue
		}
		g.Go(func() error {
			data, err := s.conn.GetBlob(ctx, c.Hash)
			mu.Lock()
			defer mu.Unlock()
			fresh[c] = data
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("zone %s: fetch its content: %w", state.Name, err)
	}
	return fresh, nil
}

// remove has PowerDNS and the store forget the zone.
func (s *Secondary) remove(ctx context.Context, state *zone.State, seq uint64) error {
	if err := s.apply.remove(ctx, state.Name); err != nil {
		return err
	}
	if err := s.store.Forget(state.Name); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.held, state.Name)
	s.mu.Unlock()
	s.tell(state, seq)
	return nil
}

// refill gives PowerDNS again what the store holds.
func (s *Secondary) refill(ctx context.Context, name zone.Name) (string, error) {
	state, err := s.store.State(name)
	if errors.Is(err, store.ErrNotFound) {
		return resultHeld, nil // deleted meanwhile
	}
	if err != nil {
		return "", err
	}
	if state.Gone {
		return resultRemoved, s.remove(ctx, state, 0)
	}
	if s.holds(state) {
		return resultHeld, nil
	}
	z, err := s.store.Zone(name)
	if err != nil {
		return "", err
	}
	o, withdraw := s.shelf.offer(z)
	defer withdraw()
	if err := s.apply.apply(ctx, o, nil); err != nil {
		return "", err
	}
	s.served(state, nil)
	return resultApplied, nil
}

func (s *Secondary) holds(state *zone.State) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.held[state.Name]
	return ok && h.digest == state.Digest
}

func (s *Secondary) stored(state *zone.State) bool {
	held, err := s.store.State(state.Name)
	return err == nil && held.Digest == state.Digest
}

// outdated tells whether a newer state than this one has been applied.
func (s *Secondary) outdated(name zone.Name, m *broker.FeedMsg) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[name]
	return h.msg != nil && h.msg.Newer(*m)
}

func (s *Secondary) served(state *zone.State, m *broker.FeedMsg) {
	h := holding{digest: state.Digest, since: time.Now()}
	if m != nil {
		light := *m
		light.Data = nil
		h.msg = &light
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[state.Name] = h
	s.lastAt, s.lastZone = h.since.UTC(), state.Name
}

func (s *Secondary) zones() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// tell reports the state as applied. A notice that is lost is made good by the acknowledgement.
func (s *Secondary) tell(state *zone.State, seq uint64) {
	notice, err := json.Marshal(health.Applied{Zone: state.Name, Seq: seq, Serial: state.Serial, Gone: state.Gone, At: time.Now().UTC()})
	if err == nil {
		err = s.conn.PublishApplied(notice)
	}
	if err != nil {
		s.log.Debug().Err(err).Stringer("zone", state.Name).Msg("the notice of a state being applied was not sent")
	}
}
