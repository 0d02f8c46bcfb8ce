package primary

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/node"
)

// condDeletes is the condition of no deletion being held.
const condDeletes = "deletes"

const (
	// orderGrace is how long a deletion may be held and be let pass by an order all the same: a sweep may have found
	// the zone missing before the proxy's touch came.
	orderGrace = 10 * time.Second

	maxUnheard   = 100_000 // tombstones at once, and as many a day, for zones that nobody has heard of
	unheardPrice = 100     // as how many of them one counts that the health role did not order
)

// deletions says which zones may be published as gone. It is safe for concurrent use.
//
// Several primaries of one PowerDNS have a deletion limit each, of which that of the acting one counts. What one of
// them held the next one would let pass, which has not used up its own: so each heeds what the acting one says of
// itself.
type deletions struct {
	*node.Node
	index   *index.Index
	limit   *health.DeletionLimit // of deletions that nobody ordered
	orders  *health.OrderLimit    // of those that proxies order
	unheard *rate.Limiter         // of tombstones for zones that nobody has heard of
	sweep   func()                // asks for a sweep
	swept   func() bool           // whether all zones were compared since this process began
	vouched sync.Once             // by another primary, of what there was when this process began

	// Under mu.
	mu            sync.Mutex
	confirmations broker.Confirmations
	others        map[string]otherPrimary
	othersSwept   time.Time // when a sweep was last asked for because of them
}

// otherPrimary is what another primary last said while it acted.
type otherPrimary struct {
	held  int       // deletions that wait for a confirmation
	at    time.Time // when it said so
	swept int       // held, when this primary last swept because of it
}

const (
	otherAlive = health.DeleteWindow // how long its report counts: as long as a deletion that it let pass would
	otherSweep = 10 * time.Second    // between two sweeps because of others
)

func newDeletions(cfg config.PrimaryConfig, n *node.Node, x *index.Index, s *sweeps) *deletions {
	return &deletions{
		Node: n, index: x, sweep: s.ask, swept: s.any,
		limit:         health.NewDeletionLimit(cfg.MaxDeletePercent, health.DeleteWindow),
		orders:        health.NewOrderLimit(cfg.MaxOrderedDeletes, cfg.MaxOrderedDeletePercent, health.DeleteWindow),
		unheard:       rate.NewLimiter(rate.Every(24*time.Hour/maxUnheard), maxUnheard),
		confirmations: broker.Confirmations{Keys: cfg.ConfirmKeys, Since: n.Started},
		others:        map[string]otherPrimary{},
	}
}

// mayBeServed reports whether secondaries may have a zone that PowerDNS has not. One that was deleted through the
// proxy, or is to be taken again, existed, whatever this primary and the broker remember: but each tombstone is kept
// for long, and a proxy may name as many zones as it likes.
func (d *deletions) mayBeServed(name zone.Name, before index.Published, j job) bool {
	switch {
	case before.Remembered(), before.TombstoneLost():
		return true
	case before.Seq > 0: // its tombstone is there
		return j.again != ""
	}
	if !j.says() {
		return false
	}
	price := unheardPrice
	if j.rank == leads {
		price = 1
	}
	may := d.unheard.AllowN(time.Now(), price)
	if !may {
		d.Each.Warn().Stringer("zone", name).Stringer("cause", j.cause).
			Msg("tombstone for an unknown zone dropped: daily limit reached; " +
				"if secondaries have the zone, the comparison by the health role finds it")
	}
	return may
}

// allowOne asks whether a zone that is not there may be published as gone. A proxy's order lets it pass, as long as
// it has not ordered more than the limit, and as the zone is not held already: then nobody but an operator lets it
// pass, because whoever stole a proxy could say that of whatever an accident took from PowerDNS. What was gone before
// this process began, an earlier one may have held.
func (d *deletions) allowOne(now time.Time, name zone.Name, j job, before index.Published) error {
	switch {
	case !before.Seen && !d.swept():
		return fmt.Errorf("%w: zone %s was gone before this primary started: the first sweep shows how many are",
			errLagging, name)
	case j.cause != causeDeleted:
		return d.allow(now, []zone.Name{name})
	}
	if before.Seen && !d.limit.Holds(now, name, orderGrace) &&
		d.orders.Allow(now, j.by.Node, name, d.index.Remembered()) {
		d.limit.Release(name)
		return nil
	}
	if err := d.allow(now, []zone.Name{name}); err != nil {
		return fmt.Errorf("the deletion that %s ordered is held: it was held already, "+
			"the zone was gone before this primary started, or that proxy ordered more than primary.max_ordered_deletes within %s: %w", j.by, health.DeleteWindow, err)
	}
	return nil
}

// allow asks the deletion limit for deletions that nobody ordered.
func (d *deletions) allow(now time.Time, gone []zone.Name) error {
	err := d.limit.Allow(now, gone, 0, d.index.Remembered())
	if err != nil {
		err = fmt.Errorf("deletions held: zones are gone from PowerDNS that no proxy deleted within its limit: %w; "+
			"see first that its database is whole, and no replica that is behind; "+
			"if they are to be deleted everywhere, run: pdns-distribute sync --confirm-deletes %s", err, d.ID)
		if d.Ready.Set(condDeletes, err.Error()) {
			d.AnnounceSoon()
		}
	}
	return err
}

// allowAll asks for all that a sweep has found missing, and holds nothing else any more.
func (d *deletions) allowAll(now time.Time, gone []zone.Name) error {
	d.limit.Only(gone)
	if len(gone) == 0 {
		d.forgetOthers()
	} else if err := d.allow(now, gone); err != nil {
		return err
	}
	d.Ready.Clear(condDeletes)
	return nil
}

// release holds a deletion no longer that was published, perhaps by another primary.
func (d *deletions) release(name zone.Name) {
	d.limit.Release(name)
	if d.limit.Held() == 0 {
		d.Ready.Clear(condDeletes)
	}
}

// confirm lets held deletions pass that an operator confirms. It returns why the confirmation does not count.
func (d *deletions) confirm(from broker.Sender, text []byte) error {
	c, err := d.takeConfirmation(text)
	if err != nil {
		return err
	}
	d.Each.Warn().Int("zones", c.Count).Str("by", c.By).Stringer("from", from).Dur("for", broker.ConfirmationTime).
		Msg("an operator confirmed deletions")
	d.limit.Confirm(time.Now(), broker.ConfirmationTime, c.Count)
	d.sweep()
	return nil
}

func (d *deletions) takeConfirmation(text []byte) (broker.Confirmation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.confirmations.Take(text, time.Now())
}

// heed notes how many deletions another primary holds that acts, and sweeps where that has changed. One that acts no
// more takes nothing back: that is found by a sweep of whoever acts after it.
func (d *deletions) heed(now time.Time, s health.Sighting) {
	if s.Node == d.ID || !s.Leads {
		return
	}
	if s.Primary.Complete && s.Primary.Held == 0 && d.index.Complete() {
		d.vouched.Do(d.index.Vouch)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	other, known := d.others[s.Node]
	if !known && len(d.others) >= health.MaxNodes {
		return
	}
	other.held, other.at = s.Primary.Held, s.At
	if other.held != other.swept && now.Sub(d.othersSwept) >= otherSweep {
		other.swept, d.othersSwept = other.held, now
		d.sweep()
	}
	d.others[s.Node] = other
	d.heedOthers()
}

// heedOthers has this primary's limit heed those of the others; called under mu.
func (d *deletions) heedOthers() {
	var until time.Time
	for _, o := range d.others {
		if end := o.at.Add(otherAlive); o.held > 0 && end.After(until) {
			until = end
		}
	}
	d.limit.HeldElsewhere(until)
}

// forgetOthers forgets what others held, once a sweep has found that nothing is missing.
func (d *deletions) forgetOthers() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.others)
	d.heedOthers()
}
