package roles

import (
	"context"
	"errors"
	"io"
	"os"

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

// RunPrimary is the command primary.
func RunPrimary(ctx context.Context, in Invocation) error {
	return runRole(ctx, in, func(c Config, d Deps) (runner, error) { return NewPrimary(c, d) }, "broker", "powerdns", "primary", "dnssec")
}

// RunSecondary is the command secondary.
func RunSecondary(ctx context.Context, in Invocation) error {
	return runRole(ctx, in, func(c Config, d Deps) (runner, error) { return NewSecondary(c, d) }, "broker", "powerdns", "secondary")
}

// RunProxy is the command proxy.
func RunProxy(ctx context.Context, in Invocation) error {
	return runRole(ctx, in, func(c Config, d Deps) (runner, error) { return NewProxy(c, d) }, "broker", "powerdns", "proxy")
}

// RunHealth is the command health.
func RunHealth(ctx context.Context, in Invocation) error {
	return runRole(ctx, in, func(c Config, d Deps) (runner, error) { return NewHealth(c, d) }, "broker", "health", "dnssec")
}

// RunBroker is the command broker.
func RunBroker(ctx context.Context, in Invocation) error {
	return runRole(ctx, in, func(c Config, d Deps) (runner, error) { return NewBroker(c, d) }, "server")
}

func runRole(ctx context.Context, in Invocation, make func(Config, Deps) (runner, error), sections ...string) error {
	cfg, err := loadConfig(in.Settings, sections...)
	if err != nil {
		return err
	}
	role, err := make(cfg, Deps{Version: in.Version, Log: in.Stderr, Reload: in.Reload})
	if err != nil {
		return err
	}
	return role.Run(ctx)
}
