package roles

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/roles/observe"
)

// Broker is the role that runs the nats-server, where there is none yet.
type Broker struct {
	server  *broker.Server
	observe *observe.Server
	ready   *observe.Readiness
	log     zerolog.Logger
}

const condServer = "nats-server"

// NewBroker reads the nats-server configuration and binds the role's listener. Run starts the server.
func NewBroker(cfg Config, deps Deps) (*Broker, error) {
	b := &Broker{
		log:   cfg.Log.New(deps.Log).With().Str("role", "broker").Str("node", cfg.Node.ID).Logger(),
		ready: observe.NewReadiness(condServer),
	}
	var err error
	if b.server, err = broker.NewServer(cfg.Server.Config, b.log); err != nil {
		return nil, err
	}
	b.observe, err = observe.New(cfg.Observe, observe.NewRegistry("broker", deps.Version), b.ready, b.log)
	return b, err
}

// Run works until ctx ends.
func (b *Broker) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.server.Run(ctx) })
	g.Go(func() error { return b.observe.Run(ctx) })
	g.Go(func() error {
		select {
		case <-b.server.Ready():
			b.ready.Clear(condServer)
		case <-ctx.Done():
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}
