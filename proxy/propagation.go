package proxy

import (
	"context"
	"slices"
	"sync"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// propagation measures how long writes take until secondaries serve them, whether or not somebody waits for that. It
// asks nobody: it goes by the notices that come anyway, and by one clock, that of this host. It is safe for concurrent
// use.
type propagation struct {
	metrics *metrics
	tracker *Tracker

	mu    sync.Mutex // guards what follows; never taken under the tracker's
	zones map[zone.Name]*followedZone
	count int // of changes in them
}

// followedZone is a zone with changes that not all secondaries are known to serve.
type followedZone struct {
	changes []*followed
	settled *health.Settled // the newest
	applied map[string]arrival
}

// followed is a change on its way.
type followed struct {
	begin  time.Time       // when PowerDNS had answered the write
	touch  uint64          // 0: not stored yet
	state  *health.Settled // what the touch has led to; nil: not known yet
	served map[string]bool
}

// arrival is a notice and when it came.
type arrival struct {
	health.Applied
	at time.Time
}

const (
	// maxFollowed bounds the changes that are followed, and maxFollowedHere those of one zone. More are not measured.
	maxFollowed     = 10_000
	maxFollowedHere = 16

	// followedFor is how long a change is followed.
	followedFor = 10 * time.Minute

	// retold is how long a notice may have been on its way. An older one was sent before, and comes again because
	// somebody asked: when the zone began to be served so, this host's clock has not seen.
	retold = time.Minute

	// clockSlack is by how much the clocks of two hosts may differ. A state that was published longer than that before
	// the write has nothing of it: the write changed nothing.
	clockSlack = 2 * time.Second

	dropInterval = 10 * time.Second
)

func newPropagation(m *metrics, t *Tracker) *propagation {
	return &propagation{metrics: m, tracker: t, zones: map[zone.Name]*followedZone{}}
}

// began notes a write that PowerDNS answered then. Its touch is yet to be stored.
func (p *propagation) began(name zone.Name, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	z := p.zones[name]
	if p.count >= maxFollowed || z != nil && len(z.changes) >= maxFollowedHere {
		return
	}
	if z == nil {
		z = &followedZone{applied: map[string]arrival{}}
		p.zones[name] = z
	}
	z.changes = append(z.changes, &followed{begin: at, served: map[string]bool{}})
	p.count++
}

// stored notes the place in the queue of all writes of the zone that had none.
func (p *propagation) stored(name zone.Name, touch uint64) {
	p.note(name, func(z *followedZone) {
		for _, c := range z.changes {
			if c.touch == 0 {
				c.touch = touch
			}
		}
	})
}

// Settled takes the notice of a primary.
func (p *propagation) Settled(s health.Settled) {
	if p == nil || s.Pending || slices.Contains(s.Except, p.tracker.Node) {
		return
	}
	p.note(s.Zone, func(z *followedZone) {
		if z.settled == nil || s.Touch >= z.settled.Touch {
			z.settled = &s
		}
	})
}

// Applied takes the notice of a secondary.
func (p *propagation) Applied(node string, a health.Applied) {
	if p == nil {
		return
	}
	p.note(a.Zone, func(z *followedZone) {
		before, known := z.applied[node]
		if known && !a.Published.After(before.Published) || !known && len(z.applied) >= health.MaxNodes {
			return
		}
		z.applied[node] = arrival{a, time.Now()}
	})
}

// note changes what is known of a followed zone, and counts what follows from that.
func (p *propagation) note(name zone.Name, change func(*followedZone)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	z := p.zones[name]
	if z == nil {
		return
	}
	change(z)
	active := p.tracker.active()
	p.drop(name, z, func(c *followed) bool { return p.isOver(z, c, active) })
}

// isOver counts who serves the change by now, and reports whether all do, or there is nothing to be served.
func (p *propagation) isOver(z *followedZone, c *followed, active []string) bool {
	if c.state == nil {
		if c.touch == 0 || z.settled == nil || z.settled.Touch < c.touch {
			return false
		}
		c.state = z.settled
	}
	if c.state.Published.Before(c.begin.Add(-clockSlack)) {
		return true
	}
	var last time.Time
	all := len(active) > 0
	for _, node := range active {
		a, known := z.applied[node]
		if !known || !a.Has(*c.state) {
			all = false
			continue
		}
		if last = latest(last, a.at); c.served[node] {
			continue
		}
		if c.served[node] = true; a.at.Sub(a.At) > retold {
			return true
		}
		p.metrics.served.WithLabelValues(node).Observe(max(0, a.at.Sub(c.begin).Seconds()))
	}
	if all {
		p.metrics.servedAll.Observe(max(0, last.Sub(c.begin).Seconds()))
	}
	return all
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// drop follows the zone's changes no more that are over; called under mu.
func (p *propagation) drop(name zone.Name, z *followedZone, over func(*followed) bool) {
	before := len(z.changes)
	z.changes = slices.DeleteFunc(z.changes, over)
	p.count -= before - len(z.changes)
	if len(z.changes) == 0 {
		delete(p.zones, name)
	}
}

// keepDropping follows no change for ever, until ctx ends. It returns nil.
func (p *propagation) keepDropping(ctx context.Context) error {
	tick := time.NewTicker(dropInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			p.dropOld(now)
		}
	}
}

func (p *propagation) dropOld(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, z := range p.zones {
		p.drop(name, z, func(c *followed) bool { return now.Sub(c.begin) > followedFor })
	}
}
