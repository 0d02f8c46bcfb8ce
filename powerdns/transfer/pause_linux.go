package transfer

import (
	"context"
	"syscall"
	"time"
)

// pause waits for d, or until ctx ends. A short one is slept by the thread, since a timer would double it.
func pause(ctx context.Context, d time.Duration) error {
	if d < timerStep {
		ts := syscall.NsecToTimespec(d.Nanoseconds())
		_ = syscall.Nanosleep(&ts, nil) // a signal ends it early, which harms nobody
		return ctx.Err()
	}
	return pauseByTimer(ctx, d)
}
