package secondary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// This file is the life of a batch's catalog zone in PowerDNS: made, transferred, deleted, and found again after a
// kill.

const (
	firstEndPause = 100 * time.Millisecond // before a catalog zone that PowerDNS did not delete is deleted again
	lastEndPause  = 5 * time.Second
)

// runCatalog has PowerDNS take the catalog zone, and returns when it is deleted there again. Without an error the
// members are there, and PowerDNS asks for them.
func (a *applier) runCatalog(ctx context.Context, b *batch) error {
	names := make([]zone.Name, len(b.members))
	for i, m := range b.members {
		names[i] = m.version.zone.Name()
		a.source.guard(m.version, b.hold)
	}
	catalog, err := zone.NewCatalog(b.name, names)
	if err != nil {
		return err
	}
	version, withdraw := a.source.stage(catalog)
	defer withdraw()
	a.batches.setCurrent(b.name)
	err = a.takeCatalog(ctx, b, version)
	if gone := a.endCatalog(ctx, b.name); gone != nil {
		return errors.Join(err, gone)
	}
	a.batches.setCurrent("")
	close(b.gone)
	return err
}

// hold has PowerDNS wait for a member until the catalog zone is gone. Where that takes too long no member is waited
// for: each keeps one of PowerDNS's few threads for transfers, which live changes need.
func (b *batch) hold() error {
	work.Notify(b.asked, struct{}{})
	select {
	case <-b.gone:
		return nil
	case <-b.late():
	}
	select {
	case <-b.gone:
		return nil
	default:
		return errHeld
	}
}

// takeCatalog returns when PowerDNS has the catalog zone and its members. It makes members before it commits the list,
// and asks for the first of them at once.
func (a *applier) takeCatalog(ctx context.Context, b *batch, v *stagedVersion) error {
	if err := a.api.CreateZone(ctx, b.name, powerdns.Consumer, []string{a.master}); err != nil {
		return err
	}
	_, _ = transfer.Serial(ctx, a.dns, b.name, transfer.AskOptions{Unique: true}) // as in create
	if err := a.transferOnce(ctx, v); err != nil {
		return err
	}
	select {
	case <-b.asked:
	case <-time.After(makePatience):
		return errNoMember
	case <-ctx.Done():
		return ctx.Err()
	}
	for pause, end := time.Millisecond, time.Now().Add(commitTime(v.zone)); time.Now().Before(end); pause *= 2 {
		serial, err := transfer.Serial(ctx, a.dns, b.name, transfer.AskOptions{Unique: true})
		if err == nil && serial == v.zone.Serial() {
			a.source.committed(v.zone)
			return nil
		}
		if !work.Wait(ctx, pause) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%w: the catalog zone", transfer.ErrNotServed)
}

// endCatalog deletes the catalog zone, whatever that takes. A process that ends tries it once more; what it leaves is
// deleted by the next one.
func (a *applier) endCatalog(ctx context.Context, name zone.Name) error {
	for pause := firstEndPause; ; pause = min(2*pause, lastEndPause) {
		err := a.deleteCatalog(ctx, name)
		if err == nil {
			return nil
		}
		if !work.Wait(ctx, pause) {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPatience)
			defer cancel()
			return errors.Join(ctx.Err(), a.api.DeleteZone(last, name))
		}
		level := zerolog.DebugLevel
		if pause == firstEndPause {
			level = zerolog.WarnLevel
		}
		a.log.WithLevel(level).Err(err).Stringer("zone", name).
			Msg("failed to delete a catalog zone in PowerDNS, trying again; the zones that it made wait for that")
	}
}

// deleteCatalog deletes the catalog zone: first, while its list still stands or is refused to PowerDNS, so that no
// member is ever missing from it.
func (a *applier) deleteCatalog(ctx context.Context, name zone.Name) error {
	reopen := a.source.close(name)
	defer reopen()
	err := a.endTransfers(ctx, name, a.source)
	if err == nil {
		err = a.delete(ctx, name)
	}
	if errors.Is(err, powerdns.ErrNotFound) {
		return nil
	}
	return err
}

// listZones lists the zones of PowerDNS, but for batches. Those that a process before left are deleted. Batches are
// made after that, where PowerDNS takes them.
func (a *applier) listZones(ctx context.Context, batchesFit bool) ([]powerdns.ZoneInfo, error) {
	zones, err := a.api.Zones(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range zones {
		if !info.IsBatch() || a.batches.isCurrent(info.Name) {
			continue
		}
		if err := a.deleteCatalog(ctx, info.Name); err != nil {
			a.log.Warn().Err(err).Stringer("zone", info.Name).
				Msg("failed to delete a catalog zone that an earlier process left, trying again; zones are made one by one")
			batchesFit = false
		}
	}
	a.batches.setOpen(batchesFit)
	return powerdns.WithoutBatches(zones), nil
}
