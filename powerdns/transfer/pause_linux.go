package transfer

import (
	"context"
	"syscall"
	"time"
)

// pause waits for d, or until ctx ends. A short one is slept by the thread, since a timer would double it.
func pause(ctx context.Context, d time.Duration) error {
	if d < timerStep {
		wakeInTime()
		ts := syscall.NsecToTimespec(d.Nanoseconds())
		_ = syscall.Nanosleep(&ts, nil) // a signal ends it early, which harms nobody
		return ctx.Err()
	}
	return pauseByTimer(ctx, d)
}

const (
	prSetTimerSlack = 29 // prctl(2)
	slack           = 1  // ns; 0 would be the thread's default
)

// wakeInTime has the kernel wake this thread when its sleeps end: units allow it to be late by more (TimerSlackNSec).
func wakeInTime() {
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, slack, 0) // else it is late
}
