package roles

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/follow"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/observe"
)

// Broker is the role that runs the nats-server, where there is none yet, and proves that the server works.
type Broker struct {
	Server   *broker.Server
	observe  *observe.Server
	ready    *observe.Readiness
	log      zerolog.Logger
	reload   <-chan os.Signal
	presence health.Presence // what does not change while the server runs
	metrics  brokerMetrics
}

const condServer = "nats-server"

// brokerFaults are the conditions that a broker's proofs set and clear.
var brokerFaults = []string{broker.FaultDisk, broker.FaultJetStream, broker.FaultQuorum, broker.FaultStreams}

// NewBroker reads the nats-server configuration and binds the role's listener. Run starts the server.
func NewBroker(cfg config.Config, deps node.Deps) (*Broker, error) {
	b := &Broker{
		log:   cfg.Log.New(deps.Log).With().Str("role", health.RoleBroker).Str("node", cfg.Node.ID).Logger(),
		ready: observe.NewReadiness(condServer), reload: deps.Reload,
	}
	var err error
	if b.Server, err = broker.NewServer(cfg.Server.Config, b.log); err != nil {
		return nil, err
	}
	b.presence = health.Presence{Node: b.Server.Name(), Role: health.RoleBroker}
	b.ready.Remedies(func(reason string) any { return health.CommandsFor(health.RoleBroker, b.Server.Name(), reason) })
	b.presence.Process = health.Process{Version: deps.Version, Started: time.Now().UTC(), Instance: rand.Text()}
	registry := observe.NewRegistry(health.RoleBroker, deps.Version)
	b.metrics = newBrokerMetrics(registry)
	observe.RegisterDisk(registry, b.Server.StoreDir())
	b.observe, err = observe.New(cfg.Observe, registry, b.ready, b.log)
	return b, err
}

// Run works until ctx ends, or until the server has to be restarted: then it is an error, with which the process ends.
func (b *Broker) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.observe.Run(ctx) })
	g.Go(func() error {
		if going, err := b.prepare(ctx); !going {
			return err
		}
		serving, ctx := errgroup.WithContext(ctx)
		serving.Go(func() error { return b.Server.Run(ctx) })
		serving.Go(func() error { return b.Server.Watch(ctx, b.proven) })
		serving.Go(func() error { return b.follow(ctx) })
		return serving.Wait()
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

// prepare waits until the disk has room, and repairs the store; false if ctx ended before.
func (b *Broker) prepare(ctx context.Context) (going bool, err error) {
	b.Server.AwaitRoom(ctx, func(f broker.Fault) {
		if b.ready.Set(f.What, f.Why) {
			b.log.Error().Str("what", f.What).Str("why", f.Why).Msg("broker cannot start yet")
		}
	})
	b.ready.Clear(broker.FaultDisk)
	found, err := b.Server.Repair(ctx)
	if err != nil {
		return false, err
	}
	if found != "" {
		b.presence.Repaired, b.presence.RepairedAt = found, time.Now().UTC()
		b.log.Error().Str("what", found).
			Msg("broker store was damaged and is repaired; check the disk and the memory of this host")
	}
	return ctx.Err() == nil, nil
}

// follow reloads, once the server listens.
func (b *Broker) follow(ctx context.Context) error {
	select {
	case <-b.Server.Ready():
		b.reloading(ctx)
	case <-ctx.Done():
	}
	return nil
}

// proven takes what the server found out about itself, and returns the presence that it publishes.
func (b *Broker) proven(p broker.Proof) []byte {
	why := map[string]string{}
	for _, f := range p.Faults {
		why[f.What] = cmp.Or(why[f.What], f.Why)
	}
	for _, what := range brokerFaults {
		b.note(what, why[what])
	}
	b.ready.Clear(condServer)
	b.metrics.measure(p, b.Server.Ends())
	data, err := json.Marshal(b.describe(p))
	if err != nil {
		b.log.Error().Err(err).Msg("failed to encode the presence of the broker")
	}
	return data
}

// note keeps readiness true, and logs what begins and ends.
func (b *Broker) note(what, why string) {
	before := b.isSet(what)
	switch {
	case why != "":
		if b.ready.Set(what, why) {
			b.log.Error().Str("what", what).Str("why", why).Msg("broker is not ready")
		}
	case before:
		b.ready.Clear(what)
		b.log.Info().Str("what", what).Msg("broker condition is over")
	}
}

func (b *Broker) isSet(what string) bool {
	for _, r := range b.ready.Reasons() {
		if r.What == what {
			return true
		}
	}
	return false
}

// describe returns the broker's presence.
func (b *Broker) describe(p broker.Proof) health.Presence {
	now, ends := b.presence, b.Server.Ends()
	now.Clock = p.At.UTC()
	node.DescribeHost(&now, b.Server.StoreDir())
	for _, r := range b.ready.Reasons() {
		now.Problems = append(now.Problems, r.What+": "+r.Why)
	}
	now.Broker = &health.BrokerReport{
		Server: b.Server.Version(), Leader: p.Leader, Peers: follow.PeersOf(p.At, p.Peers),
		Certificate: ends.Certificate, CA: ends.CA,
	}
	now.Bound()
	return now
}

// reloading has the nats-server read its configuration again, for new users and certificates. One with faults changes
// nothing.
func (b *Broker) reloading(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.reload:
			if err := b.Server.Reload(); err != nil {
				b.log.Error().Err(err).Msg("failed to reload the configuration, the broker keeps the previous one")
			}
		}
	}
}
