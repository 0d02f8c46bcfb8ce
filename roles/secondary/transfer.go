package secondary

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/work"
)

// applier makes the PowerDNS beside a secondary take versions of zones, and proves that it serves them. It may be used
// for many zones at a time, but for one zone by one goroutine.
type applier struct {
	*ownership
	dns    string // where PowerDNS answers
	source *zoneSource
	log    zerolog.Logger // of single zones

	reaching sync.Mutex  // held while it is found out ...
	reached  atomic.Bool // ... whether PowerDNS has taken a zone since it came up

	taking   atomic.Int64  // zones that PowerDNS is taking
	deleting chan struct{} // full while a zone is deleted

	formers *formers
	purges  *purges
	aliases *aliases
	reasons *node.Reasons // why PowerDNS does not take a zone
	batches *batches      // zones that are made together
}

func newApplier(
	api *powerdns.Client, dns, master string, source *zoneSource, cfg config.SecondaryConfig, log zerolog.Logger,
) *applier {
	return &applier{
		ownership: newOwnership(api, master, cfg),
		dns:       dns, source: source, log: log, deleting: make(chan struct{}, 1), formers: newFormers(),
		purges: newPurges(api, dns), aliases: newAliases(), batches: newBatches(),
	}
}

// How long the steps of one attempt may take. Whoever calls transfer tries again later.
const (
	attempts = 3

	// What PowerDNS refuses for a reason that is known it mostly refuses again.
	attemptsRefused = 2

	// From the order to PowerDNS's question for the zone, for each zone that is being taken: idle it takes 2 ms.
	// Doubled with each order up to lastPatience.
	firstPatience = 30 * time.Millisecond
	lastPatience  = 2 * time.Second

	// Between the first two questions for the new answer: of a zone that is on its way alone, and of several, for each.
	firstPauseAlone = 200 * time.Microsecond
	firstPause      = 500 * time.Microsecond

	// From the last message to the new answer, and for each MB of the zone commitPerMB more.
	commitPatience = 3 * time.Second
	commitPerMB    = 500 * time.Millisecond
)

var errNotTaken = errors.New("PowerDNS does not take the zone")

// transfer has PowerDNS take the staged version and returns when that is what it answers past its caches. before is
// what it served until now, nil when that is not known. After a failed attempt it is looked at what the zone is there.
func (a *applier) transfer(ctx context.Context, v *stagedVersion, before *zone.Zone) error {
	z := v.zone
	created, err := a.makeInBatch(ctx, v)
	if err == nil && !created {
		created, err = a.ensureForward(ctx, v)
	}
	if err != nil {
		return err
	}
	a.taking.Add(1)
	defer a.taking.Add(-1)
	proof := transfer.NewProof(a.dns, z, before, created)
	for left := attempts; left > 0; left-- {
		if err = a.takeOnce(ctx, v, proof); err == nil {
			return nil
		}
		if !errors.Is(err, errNotTaken) && !errors.Is(err, transfer.ErrNotServed) {
			return err
		}
		if err = a.reasons.Explain(ctx, z.Name(), v.withNote(err)); errors.As(err, new(*node.Reason)) {
			left = min(left, attemptsRefused)
		}
		a.forget(z.Name()) // somebody may have changed what the zone is there
		if _, again := a.ensure(ctx, z); again != nil {
			return fmt.Errorf("%w (%w)", again, err)
		}
	}
	return a.explain(ctx, z, err)
}

// ensureForward is ensure, and lets PowerDNS take no older version than it has of a zone that comes from elsewhere.
func (a *applier) ensureForward(ctx context.Context, v *stagedVersion) (created bool, err error) {
	name := v.zone.Name()
	if !a.isOurs(name) {
		a.formers.add(name)
	}
	if a.formers.has(name) {
		a.source.guard(v, func() error { return a.formers.check(ctx, a.api, v.zone) })
	}
	if created, err = a.ensure(ctx, v.zone); created {
		a.formers.drop(name)
		a.source.guard(v, nil)
	}
	return created, err
}

// mayTake returns errOlder where PowerDNS would go back to the version of the store, which it may ask for by itself.
func (a *applier) mayTake(z *zone.Zone) error {
	if !a.formers.has(z.Name()) {
		return nil
	}
	return a.formers.check(context.Background(), a.api, z) // bounded by the client's own timeout
}

// takeOnce is one attempt.
func (a *applier) takeOnce(ctx context.Context, v *stagedVersion, proof transfer.Proof) error {
	if err := a.transferOnce(ctx, v); err != nil {
		return err
	}
	if err := proof.Await(ctx, a.firstPause(), commitTime(v.zone)); err != nil {
		return err
	}
	a.reached.Store(true)
	return nil
}

// crowd is how many zones PowerDNS is taking, by which everything takes longer.
func (a *applier) crowd() time.Duration { return time.Duration(a.taking.Load()) }

func (a *applier) firstPause() time.Duration {
	if crowd := a.crowd(); crowd > 1 {
		return crowd * firstPause
	}
	return firstPauseAlone
}

func commitTime(z *zone.Zone) time.Duration {
	return commitPatience + time.Duration(z.Size()>>20)*commitPerMB
}

// transferOnce orders a transfer and returns when PowerDNS has got all of it. The commit comes after. PowerDNS drops
// orders while a transfer of the zone runs, and sometimes shortly after one, with a 200 (4.7.3): so they are repeated
// until it begins. A transfer that it began by itself does as well. One that was ordered ahead is ordered again only
// if it does not begin.
func (a *applier) transferOnce(ctx context.Context, v *stagedVersion) error {
	if v.taken {
		v.taken = false
		return nil
	}
	if !v.ahead {
		work.Drain(v.begun)
		work.Drain(v.sent)
	}
	for patience := max(a.crowd(), 1) * firstPatience; ; patience *= 2 {
		if v.ahead {
			v.ahead = false
		} else if err := a.order(ctx, v.zone.Name()); err != nil {
			return err
		}
		select {
		case <-v.begun:
		case err := <-v.sent:
			return sentError(err)
		case <-time.After(patience):
			switch {
			case v.note.Load() != nil: // it asks, and is refused
				return errNotTaken
			case patience < lastPatience:
				continue
			}
			return fmt.Errorf("%w: no AXFR request for the zone came to %s", errNotTaken, a.master)
		case <-ctx.Done():
			return ctx.Err()
		}
		select { // the loopback server ends transfers that stand still
		case err := <-v.sent:
			return sentError(err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// order has PowerDNS begin a transfer of the zone soon.
func (a *applier) order(ctx context.Context, name zone.Name) error {
	err := a.api.Retrieve(ctx, name)
	if errors.Is(err, powerdns.ErrNotFound) {
		a.forget(name)
		return fmt.Errorf("%w: the zone is gone from PowerDNS", errNotTaken)
	}
	return err
}

func sentError(err error) error {
	if err != nil && !errors.Is(err, errOlder) {
		return fmt.Errorf("%w: PowerDNS broke off the transfer: %w", errNotTaken, err)
	}
	return err
}
