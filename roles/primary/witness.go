package primary

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// A change may have been written to a database that has parted from the one that is read here: then it never arrives,
// and no heartbeat here shows that. So a touch of a proxy that is beside another PowerDNS is settled only when the
// database behind that proxy is known to have had a heartbeat of this primary that was begun after the touch had been
// taken. Touches of other proxies are settled without it.

// witnesses are the proxies, by what they report of the databases behind them. It is safe for concurrent use.
type witnesses struct {
	// Under mu.
	mu      sync.Mutex
	seen    map[string]report
	open    map[zone.Name]map[string]time.Time // by proxy: since when its newest touch of the zone is not witnessed
	changed chan struct{}                      // closed at the next report
}

// report is what a proxy reported last.
type report struct {
	beat time.Time // the newest heartbeat of this primary that its database has
	at   time.Time
}

// witnessAlive is how long a proxy may be silent; after that nobody waits there any more, and its touches are settled
// as they are.
const witnessAlive = 30 * time.Second

func newWitnesses() *witnesses {
	return &witnesses{
		seen: map[string]report{}, open: map[zone.Name]map[string]time.Time{}, changed: make(chan struct{}),
	}
}

// heed notes a report.
func (w *witnesses) heed(node string, beat, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.seen[node]; !known && len(w.seen) >= health.MaxNodes {
		return
	}
	w.seen[node] = report{beat, now}
	close(w.changed)
	w.changed = make(chan struct{})
}

// need notes a touch that is to be witnessed.
func (w *witnesses) need(name zone.Name, node string, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open[name] == nil {
		if len(w.open) >= maxTaken {
			return
		}
		w.open[name] = map[string]time.Time{}
	}
	w.open[name][node] = later(w.open[name][node], since)
}

// missing returns the proxies of which a touch of the zone is not witnessed, and since when. changed is closed at the
// next report.
func (w *witnesses) missing(name zone.Name, now time.Time) (since map[string]time.Time, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	since = map[string]time.Time{}
	for proxy, at := range w.open[name] {
		r := w.seen[proxy]
		if !r.beat.Before(at) || now.Sub(later(r.at, at)) > witnessAlive {
			delete(w.open[name], proxy)
			continue
		}
		since[proxy] = at
	}
	if len(w.open[name]) == 0 {
		delete(w.open, name)
	}
	return since, w.changed
}

// awaitWitness gives that proxy a moment to witness its touches of the zone.
func (r *replication) awaitWitness(ctx context.Context, name zone.Name, proxy string) error {
	patience := time.NewTimer(freshPatience)
	defer patience.Stop()
	for {
		missing, changed := r.witnesses.missing(name, time.Now())
		since, is := missing[proxy]
		if !is {
			return nil
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
		case <-patience.C:
		}
		return fmt.Errorf("%w: zone %s: proxy %s has not reported that its database has what was written here since %s",
			errLagging, name, proxy, since.Format(momentFormat))
	}
}

// taken remembers when touches were first taken. It is safe for concurrent use.
type taken struct {
	// Under mu.
	mu    sync.Mutex
	zones map[zone.Name]firstTaken
}

type firstTaken struct {
	seq uint64
	at  time.Time
}

// maxTaken is how many zones are remembered; of more the time counts anew with each delivery.
const maxTaken = 1 << 20

func newTaken() *taken { return &taken{zones: map[zone.Name]firstTaken{}} }

// note returns when the touch was first taken, or a newer one of its zone.
func (t *taken) note(name zone.Name, seq uint64, now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, known := t.zones[name]
	if known && seq <= first.seq {
		return first.at
	}
	if known || len(t.zones) < maxTaken {
		t.zones[name] = firstTaken{seq, now}
	}
	return now
}

// done forgets the zone, if no newer touch of it was taken.
func (t *taken) done(name zone.Name, seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.zones[name].seq <= seq {
		delete(t.zones, name)
	}
}
