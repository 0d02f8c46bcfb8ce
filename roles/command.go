package roles

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/roles/observe"
	"pdns-distribute/roles/settings"
)

// Invocation is what a command is given.
type Invocation struct {
	Settings settings.Sources // for settings.Load
	Args     []string         // what stood behind the flags
	Options  Options          // the command's own flags
	Stdout   io.Writer        // for what the command was asked for
	Stderr   io.Writer        // for the log
	Version  string           // of this program, such as "1.2.3"
	Reload   <-chan os.Signal // asks for the configuration to be read again; nil if it can't be
}

// Options gives the values of a command's own flags, by their names.
type Options interface {
	Bool(name string) bool
	String(name string) string
	StringSlice(name string) []string
}

// ErrNotInOrder is what a command returns, wrapped, when it worked but did not like what it saw.
var ErrNotInOrder = errors.New("not everything is in order")

// ErrUsage is what a command returns, wrapped, when it was called in a way that makes no sense.
var ErrUsage = errors.New("wrong usage")

// runner is a role that has bound its listeners.
type runner interface {
	Run(ctx context.Context) error
}

// sections are those of the configuration that each role uses, besides those that every role does.
var sections = map[string][]string{
	rolePrimary:   {"broker", "powerdns", "primary", "dnssec"},
	roleSecondary: {"broker", "powerdns", "secondary"},
	"proxy":       {"broker", "powerdns", "proxy"},
	"health":      {"broker", "health", "dnssec"},
	"broker":      {"server"},
}

// Names are those of the roles.
func Names() []string { return slices.Sorted(maps.Keys(sections)) }

// LoadConfig reads the configuration as a role does when it starts. Its error is of type [settings.Faults].
func LoadConfig(from settings.Sources, role string) (Config, error) {
	return loadConfig(from, sections[role]...)
}

// RunPrimary is the command primary.
func RunPrimary(ctx context.Context, in Invocation) error {
	return runRole(ctx, in, rolePrimary, func(c Config, d Deps) (runner, error) { return NewPrimary(c, d) })
}

// RunSecondary is the command secondary.
func RunSecondary(ctx context.Context, in Invocation) error {
	return runRole(ctx, in, roleSecondary, func(c Config, d Deps) (runner, error) { return NewSecondary(c, d) })
}

// RunProxy is the command proxy.
func RunProxy(ctx context.Context, in Invocation) error {
	return runRole(ctx, in, "proxy", func(c Config, d Deps) (runner, error) { return NewProxy(c, d) })
}

// RunHealth is the command health.
func RunHealth(ctx context.Context, in Invocation) error {
	return runRole(ctx, in, "health", func(c Config, d Deps) (runner, error) { return NewHealth(c, d) })
}

// RunBroker is the command broker.
func RunBroker(ctx context.Context, in Invocation) error {
	return runRole(ctx, in, "broker", func(c Config, d Deps) (runner, error) { return NewBroker(c, d) })
}

func runRole(ctx context.Context, in Invocation, name string, make func(Config, Deps) (runner, error)) error {
	cfg, err := LoadConfig(in.Settings, name)
	if err != nil {
		return err
	}
	role, err := make(cfg, Deps{Version: in.Version, Log: in.Stderr, Reload: in.Reload})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return role.Run(ctx) })
	g.Go(func() error { return observe.NewSystemd().Run(ctx) })
	return g.Wait()
}
