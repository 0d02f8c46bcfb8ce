package roles

import (
	"context"
	"fmt"

	"pdns-distribute/broker"
)

// Sync is the command sync: so far the operator's word that held deletions are right.
func Sync(ctx context.Context, in Invocation) error {
	if !in.Options.Bool("confirm-deletes") {
		return fmt.Errorf("%w: sync: say what to do: --confirm-deletes lets the deletions pass that are held", ErrUsage)
	}
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, _ Config) error {
		if err := conn.PublishSweep(ctx, broker.Touch{Reason: reasonConfirm}); err != nil {
			return err
		}
		_, err := fmt.Fprintf(in.Stdout, "The primary sweeps now; for %s it deletes whatever PowerDNS does not have any more.\n", confirmed)
		return err
	})
}
