package health

import (
	"fmt"
	"sync"
	"time"
)

// Brake stops more deletions than an operator would expect. Deletions that were ordered through the API do not need its
// leave; those that were merely found do. It is safe for concurrent use.
type Brake struct {
	percent int
	window  time.Duration

	mu      sync.Mutex
	granted []time.Time // within the window
	open    time.Time   // until when everything is allowed
	held    int         // deletions that were refused last
}

// freeDeletions may be found in a window however few zones there are, as long as others remain.
const freeDeletions = 3

// NewBrake allows percent of all zones, or three, to be found deleted within each window; 0 allows none.
func NewBrake(percent int, window time.Duration) *Brake {
	return &Brake{percent: percent, window: window}
}

// Allow asks for n deletions at once, out of total zones that exist; all are allowed or none. The error tells the
// operator what to do. All zones at once are never allowed: that is what a lost database looks like.
func (b *Brake) Allow(now time.Time, n, total int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.open) {
		b.held = 0
		return nil
	}
	for len(b.granted) > 0 && now.Sub(b.granted[0]) > b.window {
		b.granted = b.granted[1:]
	}
	limit := 0
	if b.percent > 0 {
		limit = max(freeDeletions, total*b.percent/100)
	}
	if len(b.granted)+n > limit || n >= total {
		b.held = n
		return fmt.Errorf("%d of %d zones are gone from PowerDNS without having been deleted through the proxy; "+
			"at most %d may be within %s, never all, and %d were; "+
			"if that is right, run: pdns-distribute sync --confirm-deletes", n, total, limit, b.window, len(b.granted))
	}
	for range n {
		b.granted = append(b.granted, now)
	}
	b.held = 0
	return nil
}

// Release lets every deletion pass for the given time: the operator's word.
func (b *Brake) Release(now time.Time, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = now.Add(d)
}

// Held is how many deletions were refused last and not allowed since.
func (b *Brake) Held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}
