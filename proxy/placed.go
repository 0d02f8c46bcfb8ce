package proxy

import (
	"context"
	"time"
)

// The id of a change whose touch was pending names no place in the queue. Its write was done before the id was given
// out, so any later touch of the zone stands for it: whoever asks for the change has the zone touched again, and the
// place of that touch is the change's. So it does not matter which proxy is asked, nor what became of the change's own
// touch, and no clock is trusted.

// placed are the places of changes that were pending, here or at another proxy, and that somebody has asked for.
type placed map[change]uint64

// maxPlaced bounds what is remembered; what is forgotten is touched once more.
const maxPlaced = 65_536

func (p placed) note(c change, touch uint64) {
	if len(p) >= maxPlaced {
		clear(p)
	}
	p[c] = touch
}

// place returns the place of a change that was pending, once no touch of its zone waits here; false if the broker does
// not take one before ctx ends.
func (p *pendingTouches) place(ctx context.Context, c change) (touch uint64, stored bool) {
	for p.has(c.zone) {
		select {
		case <-ctx.Done():
			return 0, false
		case <-time.After(retryMin):
		}
	}
	if touch, known := p.placeOf(c); known {
		return touch, true
	}
	touch, err := p.queue.Touch(ctx, Touch{Zone: c.zone, Cause: Changed})
	if err != nil {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.placed.note(c, touch)
	return touch, true
}

func (p *pendingTouches) placeOf(c change) (touch uint64, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	touch, known = p.placed[c]
	return touch, known
}
