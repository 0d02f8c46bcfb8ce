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
	refeed   time.Time // see health.Presence
}

// holding is a version that PowerDNS was proven, or said, to have.
type holding struct {
	digest zone.Digest
	stable zone.StableDigest // covers what the digest leaves out: the apex ZONEMD
	since  time.Time
	place  broker.Place // zero when it was not applied by this process
}

func (h holding) is(state *zone.State) bool {
	return h.digest == state.Digest && h.stable == state.Stable
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
		return nil, errors.Join(err, s.server.Close(), s.store.Close())
	}
	s.apply = newApplier(api, cfg.PowerDNS.DNSAddress, s.server.Addr().String(), cfg.Secondary.TakeOver)
	parked, err := s.store.Parked()
	if err != nil {
		return nil, errors.Join(err, s.close(), s.server.Close(), s.store.Close())
	}
	for _, name := range parked {
		s.refills.add(name, time.Now())
	}
	s.powerdns = newNeighbour(api, s.ready, s.log, s.reviewAll)
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
	p.Refeed = s.refeed
}

// follow brings published states into their lanes.
func (s *Secondary) follow(ctx context.Context) error {
	return s.conn.Feed(ctx, func(m broker.FeedMsg) {
		if d := (delivery{&m}); !s.lanes.submit(ctx, m.Zone, d, !s.failures.has(m.Zone)) {
			s.handBack(d)
		}
	}, s.opened, func(reason error) {
		if reason == nil {
			s.ready.Clear(condFeed)
		} else {
			s.ready.Set(condFeed, reason.Error())
		}
		s.announceSoon()
	})
}

// opened compares the feed with the store. A new store beside a feed that has gone on already lacks what was
// acknowledged before: only the primary can have it delivered again.
func (s *Secondary) opened(feed broker.FeedInfo) {
	known, err := s.store.Feed()
	refeed := time.Time{}
	switch {
	case err == nil && known.IsZero() && feed.AckFloor > 0:
		refeed = feed.Created
	case err == nil && !known.Equal(feed.Created):
		err = s.store.SetFeed(feed.Created)
	}
	if err != nil {
		s.log.Error().Err(err).Msg("the store cannot be used; is its disk full?")
	}
	s.mu.Lock()
	s.refeed = refeed
	s.mu.Unlock()
	if !refeed.IsZero() {
		s.log.Warn().Msg("the store is new: asking for all zones again")
		s.announceSoon()
	}
}

// mergeDeliveries keeps the newer of two that wait for the same zone, and acknowledges the other. A refill adds nothing
// to a state that waits.
func (s *Secondary) mergeDeliveries(waiting, newer delivery) delivery {
	if newer.msg == nil || waiting.msg != nil && waiting.msg.Place().Newer(newer.msg.Place()) {
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
	s.refills.done(name)
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
	}
	if attempts == 1 {
		s.log.Warn().Stringer("zone", name).Err(err).Msg("the zone cannot be applied; trying again with growing pauses")
	}
	var parked parkedError
	if d.msg == nil || errors.As(err, &parked) {
		s.refills.add(name, time.Now().Add(pause))
		if d.msg != nil {
			s.acknowledge(*d.msg)
		}
		return
	}
	if err := d.msg.Nak(pause); err != nil {
		s.log.Debug().Err(err).Stringer("zone", name).Msg("state will be delivered again")
	}
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
// take is kept as parked, to be tried from there.
func (s *Secondary) take(ctx context.Context, state *zone.State, m *broker.FeedMsg) error {
	z, fresh, err := s.content(ctx, state)
	if err != nil {
		return err
	}
	o, withdraw := s.shelf.offer(z)
	defer withdraw()    // when the store has it
	if s.lower(state) { // after a crash in between, a review would take the new version for the older one
		if err := s.store.Put(state, z, fresh, true); err != nil {
			return err
		}
	}
	err = s.bring(ctx, state, o)
	switch {
	case err == nil:
		s.served(state, m.Place())
		s.tell(state, m.Seq)
		return s.store.Put(state, z, fresh, false)
	case ctx.Err() != nil:
		return err
	}
	s.unsure(state.Name)
	if storing := s.store.Put(state, z, fresh, true); storing != nil {
		return errors.Join(err, storing)
	}
	return parkedError{err}
}

// parkedError is why PowerDNS did not take a state that the store keeps for it: the broker need not.
type parkedError struct{ error }

func (e parkedError) Unwrap() error { return e.error }

// lower tells whether the store has the zone with a higher serial: it was deleted and made again.
func (s *Secondary) lower(state *zone.State) bool {
	held, err := s.store.State(state.Name)
	return err == nil && zone.SerialNewer(held.Serial, state.Serial)
}

// before is the apex of what PowerDNS serves now, nil when that is not sure.
func (s *Secondary) before(name zone.Name) zone.Apex {
	s.mu.Lock()
	_, sure := s.held[name]
	s.mu.Unlock()
	if !sure {
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

// remove has PowerDNS and the store forget the zone. What cannot be removed now is parked as a tombstone.
func (s *Secondary) remove(ctx context.Context, state *zone.State, seq uint64) error {
	if err := s.apply.remove(ctx, state.Name); err != nil {
		if ctx.Err() != nil {
			return err
		}
		s.unsure(state.Name)
		if storing := s.store.Put(state, nil, nil, true); storing != nil {
			return errors.Join(err, storing)
		}
		return parkedError{err}
	}
	if err := s.store.Forget(state.Name); err != nil {
		return err
	}
	s.unsure(state.Name)
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
		return resultHeld, s.store.Unpark(name)
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
	s.served(state, broker.Place{})
	return resultApplied, s.store.Unpark(name)
}

func (s *Secondary) holds(state *zone.State) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.held[state.Name]
	return ok && h.is(state)
}

func (s *Secondary) stored(state *zone.State) bool {
	held, err := s.store.State(state.Name)
	return err == nil && held.Digest == state.Digest && held.Stable == state.Stable
}

// outdated tells whether a newer state than this one has been applied.
func (s *Secondary) outdated(name zone.Name, m *broker.FeedMsg) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.held[name]
	return ok && h.place.Newer(m.Place())
}

func (s *Secondary) served(state *zone.State, place broker.Place) {
	h := holding{digest: state.Digest, stable: state.Stable, since: time.Now(), place: place}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[state.Name] = h
	s.lastAt, s.lastZone = h.since.UTC(), state.Name
}

// unsure forgets what PowerDNS serves: an attempt that failed may have left either version.
func (s *Secondary) unsure(name zone.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, name)
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
