package roles

import (
	"context"
	"maps"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/heartbeat"
	"pdns-distribute/roles/work"
)

// database is the one behind a proxy, where it is one of several that replicate each other. A primary that is beside
// another PowerDNS settles a touch only when this database has had a heartbeat of that primary from after the touch:
// so the proxy looks for heartbeats, and reports them at once while a change of its own is to be settled. The nil
// database is the only one.
type database struct {
	address string // of its PowerDNS, host:port
	beside  string // names that PowerDNS
	moved   func() // has the proxy report what it has seen
	wake    chan struct{}

	mu    sync.Mutex           // guards all below
	beats map[string]time.Time // the newest of each primary
	busy  time.Time            // until when changes may wait
}

const (
	beatsInterval = time.Second
	beatsHurry    = 20 * time.Millisecond // while changes may wait
	beatsBusy     = 3 * time.Second       // how long a change may
	beatsPatience = 3 * time.Second
)

// watch looks for heartbeats until ctx ends.
func (d *database) watch(ctx context.Context) error {
	for d != nil {
		pause := beatsInterval
		if hurry := d.look(ctx); hurry {
			pause = beatsHurry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-time.After(pause):
		}
	}
	return nil
}

// look reads the heartbeats of the database and reports whether changes may wait.
func (d *database) look(ctx context.Context) (hurry bool) {
	ctx, cancel := context.WithTimeout(ctx, beatsPatience)
	defer cancel()
	beats, err := heartbeat.Read(ctx, d.address)
	seen := map[string]time.Time{}
	for _, b := range beats {
		seen[b.Node] = b.At
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	hurry = time.Now().Before(d.busy)
	if err != nil { // what was seen grows old
		return hurry
	}
	if hurry && !maps.EqualFunc(d.beats, seen, time.Time.Equal) {
		d.moved()
	}
	d.beats = seen
	return hurry
}

// seen returns the heartbeats that the database has, as last seen.
func (d *database) seen() map[string]time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.beats)
}

// note says with a touch which PowerDNS it was beside, and looks for heartbeats in a hurry.
func (d *database) note(t *broker.Touch) {
	if d == nil {
		return
	}
	t.Beside = d.beside
	d.mu.Lock()
	d.busy = time.Now().Add(beatsBusy)
	d.mu.Unlock()
	work.Notify(d.wake, struct{}{})
}

// presence returns what a proxy reports of it.
func (d *database) presence() *health.Replication {
	if d == nil {
		return nil
	}
	return &health.Replication{Beats: d.seen()}
}
