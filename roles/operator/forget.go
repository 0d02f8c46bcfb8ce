package operator

import (
	"context"
	"errors"
	"fmt"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
)

// Forget is the command forget: it deregisters nodes permanently. A primary does it, which alone may remove feeds.
func Forget(ctx context.Context, in command.Invocation) error {
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, cfg config.Config) error {
		for _, node := range in.Args {
			if err := broker.CheckNodeID(node); err != nil {
				return fmt.Errorf("%w: forget: %w", command.ErrUsage, err)
			}
			answer, err := conn.RequestForget(ctx, node)
			if err == nil && len(answer) > 0 {
				err = errors.New(health.Cut(string(answer)))
			}
			if err != nil {
				return fmt.Errorf("forget %s: %w", node, err)
			}
			fmt.Fprintf(in.Stdout, "%s is deregistered. Remove its user from accounts.conf of the brokers, too "+
				"(pdns-distribute init remove), or the node is registered again when it starts.\n", node)
		}
		return nil
	}, "health")
}
