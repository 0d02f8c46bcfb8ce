package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
)

// connectPatience is how long it may take to connect to the broker.
const connectPatience = 10 * time.Second

// withBroker connects to the broker for the length of one command. sections are those of the configuration that do
// needs.
func withBroker(ctx context.Context, in command.Invocation,
	do func(context.Context, *broker.Conn, config.Config) error, sections ...string) error {
	cfg, err := config.Load(in.Settings, append(sections, "broker")...)
	if err != nil {
		return err
	}
	if cfg.Log.Level == "info" { // a command prints what it was asked for, and errors
		cfg.Log.Level = "error"
	}
	role := whoseConfig(in.Settings.File, cfg)
	conn, err := broker.Connect(cfg.Broker, broker.Options{Node: cfg.Node.ID, Role: role, Log: cfg.Log.New(in.Stderr)})
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	connected, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	if err := conn.Wait(connected); err != nil {
		return fmt.Errorf("broker %s: %w", strings.Join(cfg.Broker.URLs, ", "), err)
	}
	permitted, stop := conn.UntilRefused(ctx)
	defer stop()
	err = do(permitted, conn, cfg)
	if cause := context.Cause(permitted); errors.Is(cause, broker.ErrRefused) {
		return cmp.Or(mayAsk(role, cfg.Node.ID), cause)
	}
	return err
}

// mayAsk returns which configuration is needed, where the broker refuses a command because of the role whose it is.
func mayAsk(role broker.Role, node string) error {
	if role == broker.RolePrimary || role == broker.RoleHealth {
		return nil
	}
	return command.Misuse("the configuration is that of %s %s: use that of a primary or a health role by --config",
		role, node)
}

// whoseConfig returns the role whose credentials a command uses: the broker binds them to it.
func whoseConfig(file string, cfg config.Config) broker.Role {
	if file != "" {
		if found, err := config.RolesIn(file); err == nil && len(found) == 1 {
			return broker.Role(found[0])
		}
	}
	if cfg.Broker.APIPrefix != "" {
		return broker.RoleHealth
	}
	return broker.RolePrimary
}
