package primary

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/heartbeat"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/work"
)

// Where PowerDNS's database is one of several that replicate each other, what PowerDNS gives may be old. By
// heartbeats it is known how old: what is published is compared only with what was read after all of it had arrived
// here, and a touch is settled only by what was read after the touch had been taken and all that was committed before
// had arrived. So nothing older replaces anything, and nothing is deleted, brought back or settled because a replica
// lags.

// condReplication is the condition of what PowerDNS gives being new.
const condReplication = "replication"

const (
	freshPatience = time.Second      // how long a worker waits for PowerDNS's database; it is as old for all zones
	lagAlarm      = 5 * time.Second  // how old what PowerDNS gives may be before that is said
	writerAlive   = 15 * time.Second // how long another primary's report counts that its PowerDNS takes writes
)

// replication is what a primary knows of the databases and of the other primaries. It is safe for concurrent use.
type replication struct {
	*node.Node
	heart     *heartbeat.Heart // nil where PowerDNS's database is the only one
	beside    string           // the PowerDNS
	taken     *taken           // when touches were, where there is a heart
	witnesses *witnesses       // of touches, where there is a heart
	lease     atomic.Pointer[broker.Lease]

	// Under mu.
	mu      sync.Mutex
	writers map[string]writer // other primaries, where there is a heart
	unheld  time.Time         // since when nobody holds the lease that this primary does not want at once
}

// writer is what another primary said of its database.
type writer struct {
	writes bool
	beat   time.Time // its newest, by its own clock
	first  time.Time // the first that was heard of
	at     time.Time // when it said so
}

func newReplication(cfg config.Config, n *node.Node, api *powerdns.Client) (*replication, error) {
	r := &replication{
		Node: n, beside: node.BesideOf(cfg.PowerDNS.APIURL, n.Instance),
		taken: newTaken(), witnesses: newWitnesses(), writers: map[string]writer{},
	}
	if !cfg.Primary.Replicated {
		return r, nil
	}
	others, err := otherWriters(cfg)
	if err != nil {
		return nil, err
	}
	r.heart = heartbeat.New(heartbeat.Options{
		Node: n.ID, Instance: n.Instance, Own: api, Others: others, Address: cfg.PowerDNS.DNSAddress,
		Acts: r.acts, Turned: n.AnnounceSoon, Log: n.Log,
	})
	return r, nil
}

// otherWriters returns where heartbeats are written while the PowerDNS here takes none.
func otherWriters(cfg config.Config) (others []heartbeat.Writer, err error) {
	for _, url := range cfg.Primary.HeartbeatURLs {
		other := cfg.PowerDNS
		other.APIURL, other.CAFile = url, cfg.Primary.HeartbeatCAFile
		if file := cfg.Primary.HeartbeatKeyFile; file != "" {
			other.APIKey, other.APIKeyFile = "", file
		}
		client, err := powerdns.NewClient(other)
		if err != nil {
			return nil, fmt.Errorf("primary.heartbeat_urls: %s: %w", url, err)
		}
		others = append(others, client)
	}
	return others, nil
}

// take notes a touch, and returns from when on PowerDNS has to give all that was committed for the touch to be settled.
func (r *replication) take(t broker.TouchMsg, now time.Time) (since time.Time) {
	if r.heart == nil {
		return time.Time{}
	}
	since = r.taken.note(t.Zone, t.Seq, now)
	if t.Beside != "" && t.Beside != r.beside {
		r.witnesses.need(t.Zone, t.From.Node, r.heart.Stamp(since))
	}
	return since
}

// needsBoth reports whether each of two touches of a zone is to be settled by itself: their databases may be
// different ones.
func (r *replication) needsBoth(a, b broker.TouchMsg) bool { return r.heart != nil && a.From != b.From }

// awaitFresh gives PowerDNS's database a moment to have all that was committed before the state of the zone was
// learned, and before since. It returns the moment that the database is at, and an error if the state is newer.
func (r *replication) awaitFresh(
	ctx context.Context, name zone.Name, learned, since time.Time,
) (asOf time.Time, err error) {
	asOf = r.awaitMoment(ctx, later(learned, since))
	if learned.After(asOf) {
		return asOf, errStale(name, asOf, learned)
	}
	return asOf, nil
}

// awaitMoment gives PowerDNS's database a moment to arrive at since, and returns the moment that it is at. One that
// lags by more than that moment is not waited for: workers have other zones.
func (r *replication) awaitMoment(ctx context.Context, since time.Time) (asOf time.Time) {
	patience := freshPatience
	if time.Since(r.heart.Proven()) > freshPatience+heartbeat.ActingInterval {
		patience = time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.heart.Await(ctx, since)
	return r.heart.Proven()
}

// settles returns nil if a touch of that node, which was taken at since, is settled by what was read of PowerDNS's
// database as of that moment.
func (r *replication) settles(ctx context.Context, name zone.Name, node string, since, asOf time.Time) error {
	if since.After(asOf) {
		return errStale(name, asOf, since)
	}
	return r.awaitWitness(ctx, name, node)
}

// unwitnessed returns the proxies whose touches of the zone are not settled with those of others.
func (r *replication) unwitnessed(name zone.Name) []string {
	missing, _ := r.witnesses.missing(name, time.Now())
	return slices.Sorted(maps.Keys(missing))
}

// momentFormat is how precisely two moments are told apart in errors.
const momentFormat = "2006-01-02T15:04:05.000Z07:00"

// errStale says that what PowerDNS gives is older than it has to be.
func errStale(name zone.Name, asOf, since time.Time) error {
	return fmt.Errorf("%w: zone %s: what PowerDNS gives is of %s, and has to be of %s at least",
		errLagging, name, asOf.Format(momentFormat), since.Format(momentFormat))
}

// later returns the later one of two moments.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// writes reports whether the PowerDNS here takes writes.
func (r *replication) writes() bool { return r.heart == nil || r.heart.State().Writes }

// fault says what is wrong with the databases, "" if nothing is, and how far behind the one here is.
func (r *replication) fault(now time.Time) (lag time.Duration, why string) {
	lag, fault := r.lag(now)
	const meanwhile = "nothing is settled, deleted or put back"
	switch other, since := r.otherDatabase(now); {
	case other != "":
		why = fmt.Sprintf("the databases have parted: that of primary %s takes writes, too, "+
			"and for %s they have not arrived here; have only one of them written to, and see docs/databases.md, Split brain",
			other, since.Round(time.Second))
	case lag < lagAlarm:
	case fault != nil:
		why = fmt.Sprintf("for %s it is not known how old what PowerDNS gives is, so %s: %s",
			lag.Round(time.Second), meanwhile, fault)
	case r.acts():
		why = fmt.Sprintf("PowerDNS's database lags behind by %s, so %s until it catches up; see its replication",
			lag.Round(time.Second), meanwhile)
	default:
		why = fmt.Sprintf("PowerDNS's database lags behind by %s; see its replication", lag.Round(time.Second))
	}
	return lag, why
}

// otherDatabase returns another primary whose database takes writes as the one here does, though what is written
// there has not arrived here for so long; "" if there is none.
func (r *replication) otherDatabase(now time.Time) (id string, since time.Duration) {
	s := r.heart.State()
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, w := range r.writers {
		missing := w.beat.Sub(later(s.Beats[other], w.first))
		if s.Writes && w.writes && now.Sub(w.at) < writerAlive && missing >= writerAlive {
			id, since = other, max(since, missing)
		}
	}
	return id, since
}

// lag returns how far behind the database here is at least. Who acts knows by its own heartbeat, others by that of
// who acts.
func (r *replication) lag(now time.Time) (time.Duration, error) {
	s := r.heart.State()
	if r.acts() {
		return max(now.Sub(later(s.Proven, r.Started))-heartbeat.ActingInterval, 0), s.Fault
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var lag time.Duration
	for other, w := range r.writers {
		if now.Sub(w.at) < writerAlive && !w.beat.IsZero() && !w.beat.Before(s.Beats[other]) {
			lag = max(lag, w.beat.Sub(later(s.Beats[other], w.first)))
		}
	}
	return lag, nil
}

// heed notes what another primary, or a proxy, says of its database.
func (r *replication) heed(now time.Time, s health.Sighting) {
	if r.heart == nil || s.Replication == nil {
		return
	}
	switch {
	case s.Role == string(broker.RoleProxy):
		r.witnesses.heed(s.Node, s.Replication.Beats[r.ID], now)
	case s.Role == health.RolePrimary && s.Node != r.ID:
		r.heedWriter(now, s.Node, s.Replication)
	}
}

// heedWriter notes whether another primary's PowerDNS takes writes.
func (r *replication) heedWriter(now time.Time, id string, said *health.Replication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, known := r.writers[id]
	if !known && len(r.writers) >= health.MaxNodes {
		return
	}
	w.writes, w.beat, w.at = said.Writes, said.Beats[id], now
	if w.first.IsZero() {
		w.first = w.beat
	}
	r.writers[id] = w
}

// presence returns what the node's presence says.
func (r *replication) presence() *health.Replication {
	if r.heart == nil {
		return nil
	}
	s := r.heart.State()
	lag, _ := r.lag(time.Now())
	return &health.Replication{Writes: s.Writes, Lag: lag, Beats: s.Beats}
}

// watchReplication shows how far behind the own database is, until ctx ends.
func (p *Primary) watchReplication(ctx context.Context) error {
	if p.replication.heart == nil {
		return nil
	}
	for work.Wait(ctx, time.Second) {
		lag, why := p.replication.fault(time.Now())
		p.metrics.lag.Set(lag.Seconds())
		if why == "" {
			p.Ready.Clear(condReplication)
		} else {
			p.Ready.Set(condReplication, why)
		}
	}
	return nil
}
