package roles

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// applier makes the PowerDNS beside a secondary take versions of zones, and proves that it serves them. It may be used
// for many zones at a time, but for one zone by one goroutine.
type applier struct {
	api    *powerdns.Client
	dns    string // where PowerDNS answers
	master string // where PowerDNS finds the loopback server

	takeOver bool // zones of other kinds, too
	clean    bool // zones that nobody published are deleted though they are not ours

	running  atomic.Int64  // zones that PowerDNS is taking
	deleting chan struct{} // full while a zone is deleted

	mu      sync.Mutex
	ours    map[zone.Name]time.Time // zones known to be in PowerDNS as secondaries of the loopback server, and since when
	caching bool                    // PowerDNS keeps caches that can outlive a transfer, see flush
}

func newApplier(api *powerdns.Client, dns, master string, cfg SecondaryConfig) *applier {
	return &applier{
		api: api, dns: dns, master: master, takeOver: cfg.TakeOver, clean: cfg.ExtraZones == extraDelete,
		ours: map[zone.Name]time.Time{}, deleting: make(chan struct{}, 1),
	}
}

// How long the steps of one attempt may take. Whoever calls apply tries again later.
const (
	attempts       = 3
	firstPatience  = 30 * time.Millisecond  // from the order to PowerDNS's question for the zone, for each zone that is
	lastPatience   = 2 * time.Second        // being taken: idle it takes 2 ms. Doubled with each order up to this
	firstPause     = 500 * time.Microsecond // between the first two questions for the new answer, for each zone on its way
	commitPatience = 3 * time.Second        // from the last message to the new answer, and for each MB of the zone ...
	commitPerMB    = 500 * time.Millisecond // ... this much more
)

var errNotTaken = errors.New("PowerDNS does not take the zone")

// apply has PowerDNS take the offered version and returns when that is what it answers. before is the apex of what it
// served until now, nil when that isn't known.
func (a *applier) apply(ctx context.Context, o *offer, before zone.Apex) error {
	z := o.zone
	created, err := a.ensure(ctx, z.Name())
	if err != nil {
		return err
	}
	a.running.Add(1)
	defer a.running.Add(-1)
	proof := transfer.NewProof(a.dns, z, before, created)
	if !a.isCaching() {
		proof = proof.ThroughCache()
	}
	for range attempts {
		if err = a.take(ctx, o); err == nil {
			err = proof.Await(ctx, a.crowd()*firstPause, commitTime(z))
		}
		if err == nil {
			return a.flushAfter(ctx, z.Name(), proof)
		}
		if !errors.Is(err, errNotTaken) && !errors.Is(err, transfer.ErrNotServed) {
			return err
		}
		a.forget(z.Name()) // somebody may have changed the zone's kind or master
		if _, again := a.ensure(ctx, z.Name()); again != nil {
			return again
		}
	}
	return err
}

// crowd is how many zones PowerDNS is taking, by which everything takes longer.
func (a *applier) crowd() time.Duration { return time.Duration(a.running.Load()) }

func commitTime(z *zone.Zone) time.Duration {
	return commitPatience + time.Duration(z.Size()>>20)*commitPerMB
}

// take orders a transfer and returns when PowerDNS has got all of it. The commit comes after. PowerDNS drops orders while
// a transfer of the zone runs, and sometimes shortly after one, with a 200 (4.7.3): so they are repeated until it begins.
// A transfer that it began by itself does as well. One that was ordered ahead is ordered again only if it does not begin.
func (a *applier) take(ctx context.Context, o *offer) error {
	if !o.ahead {
		drain(o.begun)
		drain(o.sent)
	}
	for patience := a.crowd() * firstPatience; ; patience *= 2 {
		if o.ahead {
			o.ahead = false
		} else if err := a.order(ctx, o.zone.Name()); err != nil {
			return err
		}
		select {
		case <-o.begun:
		case err := <-o.sent:
			return sentError(err)
		case <-time.After(patience):
			if patience < lastPatience {
				continue
			}
			return fmt.Errorf("%w: it did not ask for the zone at %s", errNotTaken, a.master)
		case <-ctx.Done():
			return ctx.Err()
		}
		select { // the loopback server ends transfers that stand still
		case err := <-o.sent:
			return sentError(err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *applier) order(ctx context.Context, name zone.Name) error {
	err := a.api.Retrieve(ctx, name)
	if errors.Is(err, powerdns.ErrNotFound) {
		a.forget(name)
		return fmt.Errorf("%w: it vanished there", errNotTaken)
	}
	return err
}

func sentError(err error) error {
	if err != nil {
		return fmt.Errorf("%w: it broke off the transfer: %w", errNotTaken, err)
	}
	return nil
}

func drain[T any](ch chan T) {
	select {
	case <-ch:
	default:
	}
}

// prime prepares the proof that the packet cache has let go of what PowerDNS serves now.
func (a *applier) prime(ctx context.Context, name zone.Name) {
	if !a.isCaching() {
		_ = transfer.Prime(ctx, a.dns, name) // unanswered: there is nothing to let go of
	}
}

// flushAfter makes sure that nobody gets the version before from a cache any more, where the proof does not say so.
func (a *applier) flushAfter(ctx context.Context, name zone.Name, proof transfer.Proof) error {
	if !a.isCaching() && proof.BySOA() {
		return nil
	}
	return a.flush(ctx, name)
}

// flush empties what PowerDNS caches of the zone. It does so itself after a commit: the packet cache first and the query
// cache then, so that a question in between brings the old answer back for up to 20 seconds. After one flush nothing
// old is in the query cache, and after the second nothing old is in the packet cache.
func (a *applier) flush(ctx context.Context, name zone.Name) error {
	if err := a.api.FlushCache(ctx, name); err != nil {
		return err
	}
	return a.api.FlushCache(ctx, name)
}

// ensure makes the zone a secondary of the loopback server, whatever it was, and tells whether it created it.
func (a *applier) ensure(ctx context.Context, name zone.Name) (created bool, err error) {
	if a.isOurs(name) {
		return false, nil
	}
	err = a.api.CreateZone(ctx, name, powerdns.Slave, []string{a.master})
	if errors.Is(err, powerdns.ErrExists) {
		return false, a.adoptZone(ctx, name)
	}
	if err != nil {
		return false, err
	}
	a.remember(name)
	return true, nil
}

// adoptZone makes a zone that exists ours. Secondary zones of another master are pointed here; zones of another kind are
// somebody's own, and only taken when the operator says so. Their keys go: what they are given is signed already.
func (a *applier) adoptZone(ctx context.Context, name zone.Name) error {
	info, err := a.api.Zone(ctx, name)
	if err != nil {
		return err
	}
	switch {
	case a.owns(info):
	case info.Kind != powerdns.Slave && !a.takeOver:
		return fmt.Errorf("PowerDNS here has zone %s of its own (kind %s): is this the right PowerDNS? Delete the zone there, or set secondary.take_over", name, info.Kind)
	default:
		if err := a.api.MakeSlave(ctx, name, []string{a.master}); err != nil {
			return err
		}
		if err := a.deleteKeys(ctx, name); err != nil {
			return err
		}
	}
	a.remember(name)
	return nil
}

func (a *applier) deleteKeys(ctx context.Context, name zone.Name) error {
	keys, err := a.api.Cryptokeys(ctx, name)
	if err != nil {
		return err
	}
	for _, id := range keys {
		if err := a.api.DeleteCryptokey(ctx, name, id); err != nil && !errors.Is(err, powerdns.ErrNotFound) {
			return err
		}
	}
	return nil
}

// owns tells whether the zone is a secondary of the loopback server and of nothing else.
func (a *applier) owns(info powerdns.ZoneInfo) bool {
	return info.Kind == powerdns.Slave && slices.Equal(info.Masters, []string{withoutPort53(a.master)})
}

// withoutPort53 writes an address as PowerDNS reads it back.
func withoutPort53(address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil && port == "53" {
		return host
	}
	return address
}

// remove deletes the zone from PowerDNS if it is ours. A zone of the same name that the operator made is left alone.
func (a *applier) remove(ctx context.Context, name zone.Name) error {
	info, err := a.api.Zone(ctx, name)
	if errors.Is(err, powerdns.ErrNotFound) {
		a.forget(name)
		return nil
	}
	if err != nil {
		return err
	}
	if !a.owns(info) && !a.clean {
		return fmt.Errorf("zone %s was deleted, but PowerDNS here has it as %s with masters %v: not made by this program; delete it by hand", name, info.Kind, info.Masters)
	}
	if err := a.delete(ctx, name); err != nil && !errors.Is(err, powerdns.ErrNotFound) {
		return err
	}
	a.forget(name)
	return transfer.ProveGone(ctx, a.dns, name)
}

// Pauses before a deletion that PowerDNS could not do is tried again.
const (
	firstDeletePause = 10 * time.Millisecond
	lastDeletePause  = 500 * time.Millisecond
)

// delete deletes one zone at a time, and tries again: SQLite gives up at once (500, "database is locked") when a
// deletion comes together with another one, or with a transfer's commit.
func (a *applier) delete(ctx context.Context, name zone.Name) error {
	for pause := firstDeletePause; ; pause *= 2 {
		err := a.deleteOnce(ctx, name)
		if !errors.Is(err, powerdns.ErrUnavailable) || pause > lastDeletePause {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (a *applier) deleteOnce(ctx context.Context, name zone.Name) error {
	select {
	case a.deleting <- struct{}{}:
		defer func() { <-a.deleting }()
		return a.api.DeleteZone(ctx, name)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// adopt takes what PowerDNS listed, from begin on, as the truth about which zones are ours, and returns those with their
// serials.
func (a *applier) adopt(zones []powerdns.ZoneInfo, begin time.Time) map[zone.Name]uint32 {
	serials := make(map[zone.Name]uint32, len(zones))
	ours := make(map[zone.Name]time.Time, len(zones))
	for _, info := range zones {
		if a.owns(info) {
			ours[info.Name] = begin
			serials[info.Name] = info.Serial
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, since := range a.ours {
		if since.After(begin) {
			ours[name] = since
		}
	}
	a.ours = ours
	return serials
}

func (a *applier) isOurs(name zone.Name) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, is := a.ours[name]
	return is
}

func (a *applier) remember(name zone.Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ours[name] = time.Now()
}

func (a *applier) forget(name zone.Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.ours, name)
}

func (a *applier) isCaching() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.caching
}

// inspect reads PowerDNS's settings and returns those that are not as a secondary needs them.
func (a *applier) inspect(ctx context.Context) (unfit []string, err error) {
	settings, err := a.api.Config(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range powerdns.UnfitForSecondary(settings) {
		unfit = append(unfit, "PowerDNS runs with "+u.String())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.caching = powerdns.KeepsAnswers(settings)
	return unfit, nil
}
