package work

import (
	"context"
	"sync"
)

// Latch is closed until it is opened, once and for good. It is safe for concurrent use.
type Latch struct {
	once sync.Once
	open chan struct{}
}

// NewLatch returns a closed latch.
func NewLatch() *Latch { return &Latch{open: make(chan struct{})} }

// Open opens the latch, if it is not open.
func (l *Latch) Open() { l.once.Do(func() { close(l.open) }) }

// Wait returns true when the latch is open, and false if ctx ended first.
func (l *Latch) Wait(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-l.open:
		return true
	}
}
