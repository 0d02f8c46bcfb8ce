package proxy

import (
	"context"
	"time"

	"pdns-distribute/powerdns/zone"
)

// placed is where the pending touch of a zone was stored in the end, and when. The id of such a change was given out
// before its touch had a place.
type placed struct {
	touch uint64
	at    time.Time
}

// maxPlaced bounds what is remembered. A change whose place is forgotten stays PENDING.
const maxPlaced = 65_536

// notePlace needs the lock.
func (p *pendingTouches) notePlace(name zone.Name, touch uint64) {
	if len(p.placed) >= maxPlaced {
		clear(p.placed)
	}
	p.placed[name] = placed{touch, time.Now()}
}

// place returns where the pending touch of a change was stored; false while it is pending, and of a change that was not
// pending in this process: the broker cannot say that nothing of it is left, because it may not have got there yet.
func (p *pendingTouches) place(c change) (touch uint64, stored bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, is := p.placed[c.zone]
	_, waits := p.zones[c.zone]
	return at.touch, is && !waits && !at.at.Before(c.at)
}

// awaitPlace is place, once the touch is stored or ctx ends.
func (p *pendingTouches) awaitPlace(ctx context.Context, c change) (touch uint64, stored bool) {
	for {
		if touch, stored = p.place(c); stored || !p.has(c.zone) {
			return touch, stored
		}
		select {
		case <-ctx.Done():
			return 0, false
		case <-time.After(retryMin):
		}
	}
}
