package roles

import (
	"context"
	"errors"
	"fmt"

	"pdns-distribute/broker"
)

// Forget is the command forget: it removes nodes for good, so that nobody expects them.
func Forget(ctx context.Context, in Invocation) error {
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, cfg Config) error {
		status, err := readStatus(ctx, conn, cfg.Health)
		if err != nil {
			return err
		}
		for _, node := range in.Args {
			if err := forget(ctx, conn, status, node); err != nil {
				return err
			}
			fmt.Fprintf(in.Stdout, "%s is forgotten. Take its user out of the brokers' accounts.conf too (pdns-distribute init remove), or it comes back when it is started.\n", node)
		}
		return nil
	}, "health")
}

func forget(ctx context.Context, conn *broker.Conn, status statusDocument, node string) error {
	if err := broker.CheckNodeID(node); err != nil {
		return fmt.Errorf("%w: forget: %w", ErrUsage, err)
	}
	for _, r := range status.Nodes {
		if r.Node == node && r.Active {
			return fmt.Errorf("%s %s is active: stop it first, and wait until status shows it as inactive", r.Role, node)
		}
	}
	return errors.Join(conn.RemoveFeed(ctx, node), conn.ForgetStatus(ctx, node), conn.PublishForget(node))
}
