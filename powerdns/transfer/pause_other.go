//go:build !linux

package transfer

import (
	"context"
	"time"
)

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error { return pauseByTimer(ctx, d) }
