package roles

import (
	"context"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/health"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/observe"
	"pdns-distribute/roles/primary"
	"pdns-distribute/roles/secondary"
)

// runner is a role that has bound its listeners.
type runner interface {
	Run(ctx context.Context) error
}

// RunPrimary is the command primary.
func RunPrimary(ctx context.Context, in command.Invocation) error {
	return runRole(ctx, in, broker.RolePrimary, primary.New)
}

// RunSecondary is the command secondary.
func RunSecondary(ctx context.Context, in command.Invocation) error {
	return runRole(ctx, in, broker.RoleSecondary, secondary.New)
}

// RunProxy is the command proxy.
func RunProxy(ctx context.Context, in command.Invocation) error {
	return runRole(ctx, in, broker.RoleProxy, NewProxy)
}

// RunHealth is the command health.
func RunHealth(ctx context.Context, in command.Invocation) error {
	return runRole(ctx, in, broker.RoleHealth, health.New)
}

// RunBroker is the command broker.
func RunBroker(ctx context.Context, in command.Invocation) error {
	return runRole(ctx, in, broker.RoleBroker, NewBroker)
}

// runRole runs what create makes of the configuration, until ctx ends.
func runRole[R runner](ctx context.Context, in command.Invocation, name broker.Role,
	create func(config.Config, node.Deps) (R, error)) error {
	cfg, err := config.ForRole(in.Settings, string(name))
	if err != nil {
		return err
	}
	role, err := create(cfg, node.Deps{Version: in.Version, Log: in.Stderr, Reload: in.Reload})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return role.Run(ctx) })
	g.Go(func() error { return observe.NewSystemd().Run(ctx) })
	return g.Wait()
}
