package roles

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
	cfg      SecondaryConfig
	trusted  []zone.TrustedKey
	refills  *agenda // zones that PowerDNS must be given again
	metrics  secondaryMetrics

	mu       sync.Mutex
	held     map[zone.Name]holding // what PowerDNS is known to serve
	extra    map[zone.Name]uint32  // what it has besides, by serials
	foreign  []zone.Name           // of those, what this program did not make
	signed   *health.SignedUntil   // the first end of signatures
	lastAt   time.Time
	lastZone zone.Name
	warnings []string
	refeed   time.Time // see health.Presence
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
	ahead   prometheus.Counter
	mended  prometheus.Counter
}

func newSecondaryMetrics(reg prometheus.Registerer, zones func() float64) secondaryMetrics {
	m := secondaryMetrics{
		applied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_secondary_states_total", Help: "States by what came of them: applied, removed, held already, failed, refused as forged or played back.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pdns_distribute_secondary_apply_seconds", Help: "From taking a state to the proof that PowerDNS serves it.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .5, 1, 5, 30},
		}),
		ahead: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pdns_distribute_secondary_ordered_ahead_total", Help: "Transfers that were ordered before the state was there.",
		}),
		mended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pdns_distribute_secondary_mended_total", Help: "Zones whose content in PowerDNS had been changed by others, and that it was given again.",
		}),
	}
	reg.MustRegister(m.applied, m.took, m.ahead, m.mended, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
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
	trusted, err := cfg.Secondary.trusted()
	if err != nil {
		return nil, err
	}
	s := &Secondary{held: map[zone.Name]holding{}, refills: newAgenda(), cfg: cfg.Secondary, trusted: trusted}
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
	s.stateDir = cfg.Secondary.StateDir
	s.apply = newApplier(api, cfg.PowerDNS.DNSAddress, s.server.Addr().String(), cfg.Secondary)
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
	err := s.run(ctx, s.describe, s.server.Run, s.powerdns.watch, s.lanes.run, s.follow, s.orderAhead, s.keepReviewing, s.refillDue, s.scrub, s.dropGraves,
		func(ctx context.Context) error { return s.answerAsks(ctx, s.answer) }, s.answerChecks)
	return errors.Join(err, s.store.Close())
}

// dropGraves has the store forget zones that were deleted long ago, daily.
func (s *Secondary) dropGraves(ctx context.Context) error {
	for wait(ctx, 24*time.Hour) {
		if err := s.store.DropGraves(time.Now()); err != nil {
			s.log.Error().Err(err).Msg("the store cannot forget zones that were deleted long ago; is its disk full?")
		}
	}
	return nil
}

func (s *Secondary) describe(p *health.Presence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Zones, p.LastApplied, p.LastZone = len(s.held), s.lastAt, s.lastZone
	p.PowerDNS, p.Warnings = s.powerdns.runningVersion(), s.warnings
	if len(s.foreign) > 0 && s.cfg.ExtraZones == extraReport {
		p.Extra, p.ExtraFirst = len(s.foreign), s.foreign[0]
	}
	p.Refeed, p.Addresses, p.SignedUntil = s.refeed, s.cfg.PublicAddresses, s.signed
}

// follow brings published states into their lanes.
func (s *Secondary) follow(ctx context.Context) error {
	return s.conn.Feed(ctx, func(m broker.FeedMsg) {
		if d := (delivery{&m}); !s.lanes.submit(ctx, m.Zone, d, !m.Header.Background && !s.failures.has(m.Zone)) {
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
	case err == nil && known.IsZero() && feed.Used:
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
		s.metrics.applied.WithLabelValues(failed(err)).Inc()
		s.postpone(name, d, err)
		return
	}
	s.metrics.applied.WithLabelValues(result).Inc()
	if result == resultApplied {
		s.metrics.took.Observe(time.Since(begin).Seconds())
	}
	if s.failures.clear(name) {
		s.each.Info().Stringer("zone", name).Msg("the zone's trouble is over")
	}
	s.refills.done(name)
	if d.msg != nil {
		s.acknowledge(*d.msg)
	}
}

func failed(err error) string {
	if errors.As(err, new(refusedError)) {
		return "refused"
	}
	return "failed"
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
		s.each.Warn().Stringer("zone", name).Err(err).Msg("the zone cannot be applied; trying again with growing pauses")
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
