package roles

import (
	"context"
	"fmt"
	"os"

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
	reload  <-chan os.Signal
}

const condServer = "nats-server"

// NewBroker reads the nats-server configuration and binds the role's listener. Run starts the server.
func NewBroker(cfg Config, deps Deps) (*Broker, error) {
	b := &Broker{
		log:   cfg.Log.New(deps.Log).With().Str("role", "broker").Str("node", cfg.Node.ID).Logger(),
		ready: observe.NewReadiness(condServer), reload: deps.Reload,
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
			b.reloading(ctx)
		case <-ctx.Done():
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

// reloading has the nats-server read its configuration again, for new users and certificates. One with faults changes
// nothing.
func (b *Broker) reloading(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.reload:
			if err := b.server.Reload(); err != nil {
				b.log.Error().Err(err).Msg("the configuration was not reloaded; the broker goes on with what it had")
			}
		}
	}
}
