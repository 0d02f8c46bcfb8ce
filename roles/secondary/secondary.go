package secondary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/checkpoint"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/work"
)

// Secondary is the role beside a secondary PowerDNS: it follows the published states and makes PowerDNS serve them.
// Its parts are safe for concurrent use; nothing here is set after New.
type Secondary struct {
	*node.Node
	cfg     config.SecondaryConfig
	metrics metrics

	// States come from the feed, and become jobs.
	intake
	verifier verifier
	jobs     *work.Runner[job]

	// PowerDNS takes them from the server.
	source   *zoneSource
	server   *transfer.Server
	applier  *applier
	powerdns *node.Monitor

	// What is here.
	store    *store.Store
	held     *holdings // PowerDNS is known to serve it
	reviewed *reviewed
	refills  *work.Schedule    // zones that PowerDNS must be given again
	judge    *checkpoint.Judge // of whether that is all; nil without trusted keys
}

// intake is what is known of the feed, of what overtakes it, and of how far a fill is.
type intake struct {
	feed feedState
	news *news
	fill *fill
}

const condFeed = "feed"

// New opens the store and binds the role's listeners. Run does the rest.
func New(cfg config.Config, deps node.Deps) (*Secondary, error) {
	api, err := powerdns.NewClient(cfg.PowerDNS)
	if err != nil {
		return nil, err
	}
	trusted, err := cfg.Secondary.Trusted()
	if err != nil {
		return nil, err
	}
	s := &Secondary{
		cfg: cfg.Secondary, held: newHoldings(), reviewed: newReviewed(cfg.Secondary.ReviewInterval),
		refills: work.NewSchedule(), intake: intake{news: newNews()},
	}
	if s.store, err = store.Open(store.File(s.cfg.StateDir)); err != nil {
		return nil, err
	}
	s.store.OnDamage(s.zoneDamaged)
	s.verifier = verifier{trusted: trusted, store: s.store}
	s.source = newZoneSource(s.store)
	listening := transfer.Config{
		Listen: s.cfg.TransferListen, OnTransfer: s.source.transferred, OnQuery: s.source.asked,
	}
	if s.server, err = transfer.NewServer(listening, s.source); err != nil {
		return nil, errors.Join(fmt.Errorf("secondary.transfer_listen: %w", err), s.store.Close())
	}
	if s.Node, err = node.New(cfg, health.RoleSecondary, deps, condFeed, node.CondPowerDNS); err != nil {
		return nil, errors.Join(err, s.server.Close(), s.store.Close())
	}
	s.StateDir = s.cfg.StateDir
	if what := s.store.Damage(); what != "" {
		s.Log.Error().Str("what", what).
			Msg("the store was damaged; PowerDNS goes on with what it has, and all zones are delivered again")
	}
	if err := s.scheduleParked(); err != nil {
		return nil, errors.Join(err, s.Close(), s.server.Close(), s.store.Close())
	}
	s.applier = newApplier(api, cfg.PowerDNS.DNSAddress, s.server.Addr().String(), s.source, s.cfg, s.Each)
	s.applier.reasons = node.NewReasons(node.NewSettings(api, powerdns.Secondary, s.Ready, s.Log))
	s.source.mayTake = s.applier.mayTake
	s.powerdns = node.NewMonitor(api, s.Ready, s.Log, s.reviewAll)
	s.metrics, s.fill = newMetrics(s.Registry, s.held.count, s.waiting, s.signedUntil), newFill(s.waiting)
	s.jobs = s.newRunner(s.cfg.Workers)
	s.powerdns.Register(s.Registry)
	node.RegisterQueue(s.Registry, s.jobs.Jobs)
	s.applier.batches.queue = s.jobs
	s.judgeByCheckpoints()
	return s, nil
}

// Run works until ctx ends. The store is closed when nothing uses it any more.
func (s *Secondary) Run(ctx context.Context) error {
	defer s.applier.purges.line.Close()
	err := s.RunAll(ctx, s.describe,
		s.server.Run, s.powerdns.Watch, s.follow, s.overtake, s.jobs.Run, s.orderAhead,
		s.applier.makeBatches, s.completeMembers, s.refillDue, s.keepReviewing, s.scrub, s.followCheckpoints,
		s.learnAliases, s.dropTombstones,
		func(ctx context.Context) error { return s.AnswerAsks(ctx, s.answer) },
		func(ctx context.Context) error { return s.AnswerChecks(ctx, node.NewAnswers(s.sources())) })
	return errors.Join(err, s.store.Close())
}

func (s *Secondary) learnAliases(ctx context.Context) error {
	return s.applier.aliases.learn(ctx, s.store, s.Log)
}

// dropTombstones has the store forget zones that were deleted long ago, daily.
func (s *Secondary) dropTombstones(ctx context.Context) error {
	for work.Wait(ctx, 24*time.Hour) {
		if err := s.store.DropTombstones(time.Now()); err != nil {
			s.Log.Error().Err(err).Msg("the store cannot forget zones that were deleted long ago; is its disk full?")
		}
	}
	return nil
}

// describe says how the role is.
func (s *Secondary) describe(p *health.Presence) {
	found := s.reviewed.findings()
	p.Zones, p.PowerDNS = s.held.count(), s.powerdns.RunningVersion()
	p.Secondary.LastApplied, p.Secondary.LastZone = s.held.last()
	p.Warnings = append(s.applier.reasons.Warnings(), found.unanswered...)
	p.Secondary.SignedUntil, p.Secondary.Fill = found.signed, s.fill.report(time.Now())
	if foreign := s.unclaimed(); len(foreign) > 0 && s.cfg.ExtraZones == config.ExtraReport {
		p.Secondary.Extra, p.Secondary.ExtraFirst = len(foreign), foreign[0]
	}
	if p.Repaired = s.store.Damage(); p.Repaired != "" {
		p.RepairedAt = s.Started
	}
	p.Secondary.Refeed, p.Secondary.Addresses = s.feed.requested(), s.cfg.PublicAddresses
	if s.judge != nil {
		p.Secondary.Checkpoint = presenceOf(s.judge.Verdict())
	}
}

// signedUntil is when the first signature of all zones ends, the zero time if none is known.
func (s *Secondary) signedUntil() (at time.Time) {
	if signed := s.reviewed.findings().signed; signed != nil {
		at = signed.At
	}
	return at
}

// unclaimed are zones of PowerDNS that others made, and that nobody is going to publish.
func (s *Secondary) unclaimed() []zone.Name {
	names := s.reviewed.unclaimed(s.feed.following())
	return slices.DeleteFunc(names, func(name zone.Name) bool {
		_, held := s.held.get(name)
		return held || s.jobs.Has(name)
	})
}
