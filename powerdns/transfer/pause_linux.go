package transfer

import (
	"context"
	"syscall"
	"time"
)

// timerStep is what Go's timers come late by while nothing else goes on: the runtime waits for sockets in whole
// milliseconds (go 1.26, netpoll by epoll).
const timerStep = time.Millisecond

// pause waits for d, or until ctx ends. A short one is slept by the thread, since a timer would double it.
func pause(ctx context.Context, d time.Duration) error {
	if d < timerStep {
		ts := syscall.NsecToTimespec(d.Nanoseconds())
		_ = syscall.Nanosleep(&ts, nil) // a signal ends it early, which harms nobody
		return ctx.Err()
	}
	return pauseByTimer(ctx, d)
}
