package proxy

import (
	"context"
	"time"

	"pdns-distribute/powerdns/zone"
)

// The id of a change whose touch was pending names no place in the queue. Its write was done before the id was given
// out, so any later touch of the zone stands for it: whoever asks for the change has the zone touched again, and the
// place of that touch is the change's. So it does not matter which proxy is asked, nor what became of the change's own
// touch, and no clock is trusted.
//
// Ids are easily made up, also by who may only read the zone. So one touch is for all changes of a zone that were asked
// for before it, and it takes a while until the next one.

// placePause is between two touches of a zone for changes that were pending.
const placePause = time.Second

// placed are the places of changes that were pending, here or at another proxy, and that somebody has asked for.
type placed struct {
	zones map[zone.Name]*placedZone
	count int // of changes in them
}

type placedZone struct {
	places map[change]uint64 // 0: asked for, and has none yet
	again  time.Time         // when the zone may be touched
}

// maxPlaced bounds what is remembered; what is forgotten is touched once more.
const maxPlaced = 65_536

// want notes that somebody asks for the change. touch is its place, 0 if it has none; turn: the caller is to touch the
// zone for all that want it.
func (p *placed) want(c change, now time.Time) (touch uint64, turn bool) {
	if p.count >= maxPlaced {
		clear(p.zones)
		p.count = 0
	}
	z := p.zones[c.zone]
	if z == nil {
		z = &placedZone{places: map[change]uint64{}}
		p.zones[c.zone] = z
	}
	touch, known := z.places[c]
	if touch > 0 {
		return touch, false
	}
	if !known {
		z.places[c] = 0
		p.count++
	}
	if now.Before(z.again) {
		return 0, false
	}
	z.again = now.Add(placePause)
	return 0, true
}

// wanting are the changes of a zone that have no place yet.
func (p *placed) wanting(name zone.Name) (changes []change) {
	if z := p.zones[name]; z != nil {
		for c, touch := range z.places {
			if touch == 0 {
				changes = append(changes, c)
			}
		}
	}
	return changes
}

func (p *placed) note(changes []change, touch uint64) {
	for _, c := range changes {
		if z := p.zones[c.zone]; z != nil {
			if _, wanted := z.places[c]; wanted {
				z.places[c] = touch
			}
		}
	}
}

// place returns the place of a change that was pending, once no touch of its zone waits here; false if the broker does
// not take one before ctx ends.
func (p *pendingTouches) place(ctx context.Context, c change) (touch uint64, stored bool) {
	for ctx.Err() == nil {
		touch, turn := p.want(c)
		switch {
		case touch > 0:
			return touch, true
		case turn:
			p.placeAll(ctx, c.zone)
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryMin):
		}
	}
	return 0, false
}

// want has nothing to give while a touch of the zone waits here.
func (p *pendingTouches) want(c change) (touch uint64, turn bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, waits := p.zones[c.zone]; waits {
		return 0, false
	}
	return p.placed.want(c, time.Now())
}

// placeAll touches the zone for all changes that want it. It does not end with who began it: others have asked, too.
func (p *pendingTouches) placeAll(ctx context.Context, name zone.Name) {
	p.mu.Lock()
	wanting := p.placed.wanting(name)
	p.mu.Unlock()
	touch, err := p.once(context.WithoutCancel(ctx), Touch{Zone: name, Cause: Changed})
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.placed.note(wanting, touch)
}
