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
	cfg, err := loadConfig(in.Settings, "broker")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	conn, err := dialBroker(ctx, cfg, in.Stderr)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := conn.PublishSweep(ctx, broker.Touch{Reason: reasonConfirm}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(in.Stdout, "The primary sweeps now; for %s it deletes whatever PowerDNS does not have any more.\n", confirmed)
	return err
}
