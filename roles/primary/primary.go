// Package primary is the role beside the primary PowerDNS: it takes touches of zones, reads each touched zone once
// out of PowerDNS and publishes its state on the broker. A sweep, NOTIFY and others besides touches lead to jobs of
// the same kind.
//
// [New] and [Primary.Run] are the entry. What becomes of a touch stands in reconcile.go, from top to bottom. What
// makes jobs besides: sweep.go, renew.go, schedules.go. What a job asks for leave: deletions.go, lagging.go, and with
// several primaries replication.go, witness.go and acting.go. What it publishes with: publish.go, chunks.go, sign.go,
// checkpoint.go.
package primary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/work"
)

// condIndex is the condition of what is published being known.
const condIndex = "index"

// Primary is the role beside the primary PowerDNS. Any number may run: one of them acts (acting.go), and
// compare-and-set keeps them from overwriting what they have not seen.
type Primary struct {
	// Set by New, and safe for concurrent use each by itself.
	*node.Node
	cfg         config.Config
	powerdns    *node.Monitor
	source      *source
	index       *index.Index // what is published
	publisher   *publisher
	deletions   *deletions
	replication *replication
	leader      *leader
	provisioner *provisioner
	jobs        *work.Runner[job]
	inHand      *inHand
	prompts
	counted *counted // what checks are answered from
	metrics metrics
}

// prompts lead to jobs besides touches.
type prompts struct {
	sweeps    *sweeps
	schedules *schedules
	notify    *transfer.NotifyListener // nil when off
}

// New binds the role's listeners. Run does the rest.
func New(cfg config.Config, deps node.Deps) (*Primary, error) {
	api, err := powerdns.NewClient(cfg.PowerDNS)
	if err != nil {
		return nil, err
	}
	signer, err := readSigner(cfg.Primary.SignKeyFile)
	if err != nil {
		return nil, err
	}
	n, err := node.New(cfg, health.RolePrimary, deps, condIndex, node.CondPowerDNS, condStreams)
	if err != nil {
		return nil, err
	}
	p := &Primary{
		Node: n, cfg: cfg, index: index.New(), leader: &leader{Node: n},
		prompts: prompts{sweeps: newSweeps(), schedules: newSchedules(cfg.DNSSEC.RenewRate)}, inHand: newInHand(),
	}
	p.source = newSource(cfg, api, node.NewReasons(node.NewSettings(api, powerdns.Primary, n.Ready, n.Log)))
	if p.replication, err = newReplication(cfg, n, api); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	if p.notify, err = p.listen(cfg.Primary.NotifyListen); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	if signer != nil {
		p.index.Ledger = zone.NewLedger(time.Now().Add(-time.Minute))
	}
	p.publisher = newPublisher(p, signer)
	p.deletions = newDeletions(cfg.Primary, n, p.index, p.sweeps)
	p.provisioner = newProvisioner(n, cfg.Primary.Replicas, p.heed)
	p.counted = newCounted(p.sweeps.ask)
	p.powerdns = node.NewMonitor(api, n.Ready, n.Log, p.reviewPowerDNS)
	p.powerdns.Prove = p.source.origin.Prove
	p.metrics = newMetrics(n.Registry, p.index, p.held, p.sweeps.last)
	p.jobs = p.newRunner(cfg.Primary.Workers)
	p.powerdns.Register(n.Registry)
	node.RegisterQueue(n.Registry, p.jobs.Jobs)
	return p, nil
}

// listen binds the listener for NOTIFY; there is none where it is off.
func (p *Primary) listen(address string) (*transfer.NotifyListener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := transfer.NewNotifyListener(address, nil, p.schedules.notified)
	if err != nil {
		return nil, fmt.Errorf("primary.notify_listen: %w", err)
	}
	return l, nil
}

// Run works until ctx ends.
func (p *Primary) Run(ctx context.Context) error {
	parts := []func(context.Context) error{
		p.powerdns.Watch, p.watchStates, p.index.DropTombstones, p.campaign, p.serveCommands,
		p.provisioner.keepStreams, p.provisioner.proveStreams, p.provisioner.provisionFeeds, p.provisioner.keepFeeds,
		p.replication.heart.Run, p.watchReplication, p.inHand.keep,
		func(ctx context.Context) error { return p.AnswerAsks(ctx, p.answerAsk) },
		func(ctx context.Context) error { return p.AnswerChecks(ctx, node.NewAnswers(p.sources())) },
	}
	if p.notify != nil {
		parts = append(parts, p.notify.Run)
	}
	return p.RunAll(ctx, p.describe, parts...)
}

// describe fills the presence.
func (p *Primary) describe(pr *health.Presence) {
	pr.Zones, pr.PowerDNS = p.index.Count(), p.powerdns.RunningVersion()
	pr.Warnings = p.source.reasons.Warnings()
	pr.Primary.Complete, pr.Primary.Held = p.publishesAll(), p.held()
	pr.Leads, pr.Replication = p.replication.acts(), p.replication.presence()
	if pr.Primary.Swept, pr.Primary.SweepPause = p.sweeps.last(); pr.Primary.Swept.IsZero() {
		pr.Primary.Swept = p.Started
	}
	pr.Primary.Swept = pr.Primary.Swept.UTC()
	if pr.Primary.Complete && p.replication.acts() {
		pr.Primary.Unanswered, pr.Primary.Unresolved = p.index.Unanswered(), p.source.expansion.keeping()
	}
}

// watchStates keeps the index.
func (p *Primary) watchStates(ctx context.Context) error {
	return p.Conn.WatchStates(ctx, broker.StateWatcher{
		State: p.noteState, Reset: p.noteReset, CaughtUp: p.noteCaughtUp,
	})
}

func (p *Primary) noteState(s broker.StateMsg) {
	p.index.Set(s.Zone, s.Seq, s.Header)
	if s.Header.Kind == broker.KindGone {
		p.deletions.release(s.Zone)
	}
}

func (p *Primary) noteReset() {
	p.Log.Warn().Msg("the broker lost its store: publishing all zones anew")
	p.leader.forget()
	p.sweeps.restart()
	p.index.Reset()
	p.Ready.Set(condIndex, "publishing all zones anew after the broker lost its store")
}

func (p *Primary) noteCaughtUp() {
	if lost := p.index.CaughtUp(); lost {
		work.Notify(p.publisher.chunks.wanted, struct{}{}) // chunks may be gone, too
	}
	p.Ready.Clear(condIndex)
	p.sweeps.ask()
}

// heed notes what another node says of itself.
func (p *Primary) heed(now time.Time, s health.Sighting) {
	if s.Role == health.RolePrimary {
		p.deletions.heed(now, s)
	}
	p.replication.heed(now, s)
}
