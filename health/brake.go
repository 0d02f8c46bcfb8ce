package health

import (
	"fmt"
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Brake stops more deletions than an operator would expect. Deletions that were ordered through the API do not need its
// leave; those that were merely found do. It is safe for concurrent use.
type Brake struct {
	percent int
	window  time.Duration

	mu      sync.Mutex
	granted map[zone.Name]time.Time // a deletion that is tried again is the same deletion
	open    time.Time               // until when everything is allowed
	held    int                     // deletions that were refused last
}

// HeldError says that deletions were not allowed.
type HeldError struct {
	Zones, Total  int // that were to be deleted, and that there are
	Limit, Before int // how many may be within the window, and how many were
	Window        time.Duration
}

func (e HeldError) Error() string {
	return fmt.Sprintf("%d of %d; at most %d may be within %s, never all, and %d were", e.Zones, e.Total, e.Limit, e.Window, e.Before)
}

// freeDeletions may be found in a window however few zones there are, as long as others remain.
const freeDeletions = 3

// NewBrake allows percent of all zones, or three, to be found deleted within each window; 0 allows none.
func NewBrake(percent int, window time.Duration) *Brake {
	return &Brake{percent: percent, window: window, granted: map[zone.Name]time.Time{}}
}

// Allow asks for the deletion of zones at once, out of total zones that exist; all are allowed or none (HeldError). Those
// that were allowed within the window do not count again; more are others that are to be deleted as well, and not named
// yet. All zones at once are never allowed: that is what a lost database looks like.
func (b *Brake) Allow(now time.Time, zones []zone.Name, more, total int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.open) {
		b.held = 0
		return nil
	}
	for name, at := range b.granted {
		if now.Sub(at) > b.window {
			delete(b.granted, name)
		}
	}
	var fresh []zone.Name
	for _, name := range zones {
		if _, is := b.granted[name]; !is {
			fresh = append(fresh, name)
		}
	}
	limit := 0
	if b.percent > 0 {
		limit = max(freeDeletions, total*b.percent/100)
	}
	if n := len(fresh) + more; n > 0 && (len(b.granted)+n > limit || n >= total) {
		b.held = n
		return HeldError{Zones: n, Total: total, Limit: limit, Before: len(b.granted), Window: b.window}
	}
	for _, name := range fresh {
		b.granted[name] = now
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
