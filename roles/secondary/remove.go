package secondary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// remove deletes the zone, of which PowerDNS served was until now (nil: not known), if it is ours, and returns when
// nothing of it is served any more. A zone of the same name that the operator made is left alone. from is closed for
// the zone.
func (a *applier) remove(ctx context.Context, name zone.Name, from *zoneSource, was *zone.Zone) error {
	info, err := a.api.Zone(ctx, name)
	if errors.Is(err, powerdns.ErrNotFound) {
		return a.removed(ctx, name, was)
	}
	if err != nil {
		return err
	}
	if !a.mayDelete(info) {
		return fmt.Errorf("zone %s was deleted, but PowerDNS here has it as %s with masters %v: "+
			"not made by this program; delete it by hand", name, info.Kind, info.Masters)
	}
	if err := a.endTransfers(ctx, name, from); err != nil && !errors.Is(err, powerdns.ErrNotFound) {
		return err
	}
	if err := a.delete(ctx, name); err != nil && !errors.Is(err, powerdns.ErrNotFound) {
		return err
	}
	return a.removed(ctx, name, was)
}

// removed forgets the zone, and returns when nothing of it is served any more.
func (a *applier) removed(ctx context.Context, name zone.Name, was *zone.Zone) error {
	a.forgetRemoved(name)
	a.settle(name)
	return a.proveGone(ctx, name, was)
}

// endTransfers returns when PowerDNS runs no transfer of the closed zone any more that it was given: it is ordered to
// ask until it does.
func (a *applier) endTransfers(ctx context.Context, name zone.Name, from *zoneSource) error {
	refused, is := from.underway(name)
	if !is {
		return nil
	}
	for patience := firstPatience; ; patience = min(2*patience, lastPatience) {
		if err := a.api.Retrieve(ctx, name); err != nil {
			return err
		}
		select {
		case <-refused:
			from.over(name)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(patience):
		}
		if patience == lastPatience {
			return fmt.Errorf("%w: a transfer of zone %s does not end in PowerDNS; the zone cannot be deleted before",
				powerdns.ErrUnavailable, name)
		}
	}
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

// proveGone returns when PowerDNS answers neither with the deleted zone nor with what it had in it, from no cache
// either.
func (a *applier) proveGone(ctx context.Context, name zone.Name, was *zone.Zone) error {
	if err := a.purge(ctx, name, nil); err != nil {
		return err
	}
	if err := transfer.ProveRemoved(ctx, a.dns, name, was); err != nil {
		a.forget(name)
		return err
	}
	return nil
}
