package secondary

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// PowerDNS obeys more of a zone than its kind and its master: keys, catalogs, metadata. What a zone must be here says
// package powerdns (SecondaryZone); this file makes it that. It is looked at when a zone is adopted, after a failed
// proof and by the scrub, and never on the way of a change that is proven.

// want is what the zone must be in PowerDNS here.
func (a *applier) want(z *zone.Zone) powerdns.SecondaryZone {
	presigned, nsec3param := z.KeptDenial()
	return powerdns.SecondaryZone{Master: a.master, Presigned: presigned, NSEC3Param: nsec3param}
}

// ensure makes the zone ours, whatever it was, and reports whether it was created, and has no content yet.
func (a *applier) ensure(ctx context.Context, z *zone.Zone) (created bool, err error) {
	name := z.Name()
	if a.isOurs(name) {
		return false, nil
	}
	err = a.create(ctx, name)
	created = err == nil
	if errors.Is(err, powerdns.ErrExists) {
		created, err = a.adoptZone(ctx, z)
	}
	if err == nil {
		err = a.giveBack(ctx, name)
	}
	if err != nil {
		return false, err
	}
	a.remember(name)
	return created, nil
}

// create makes the zone, without content, and has a thread of PowerDNS that never ends open the file that it is kept
// in: 4.9 with lmdb loses the file's lock where the thread of one call closes it while that of a transfer opens it
// (docs/upgrade.md).
func (a *applier) create(ctx context.Context, name zone.Name) error {
	if err := a.api.CreateZone(ctx, name, powerdns.Slave, []string{a.master}); err != nil {
		return err
	}
	_, _ = transfer.Serial(ctx, a.dns, name, transfer.AskOptions{Unique: true}) // it has none yet
	return nil
}

// adoptZone makes a zone that exists ours in all that PowerDNS obeys. Zones of another kind are made by somebody else,
// and only taken when the operator says so.
func (a *applier) adoptZone(ctx context.Context, z *zone.Zone) (anew bool, err error) {
	state, err := a.api.ZoneState(ctx, z.Name())
	if err != nil {
		return false, err
	}
	if state.Kind != powerdns.Slave && !a.takeOver {
		return false, fmt.Errorf("PowerDNS here has zone %s of its own (kind %s): is this the right PowerDNS? "+
			"Delete the zone there, or set secondary.take_over", state.Name, state.Kind)
	}
	want := a.want(z)
	wrong := state.Deviations(want)
	if len(wrong) == 0 {
		return false, nil
	}
	a.log.Info().Stringer("zone", state.Name).Str("settings", powerdns.Describe(wrong)).
		Msg("the zone in PowerDNS is not as a secondary needs it, putting it right")
	err = a.api.Correct(ctx, state, want, wrong)
	if errors.Is(err, powerdns.ErrRejected) {
		return true, a.makeAnew(ctx, state, wrong)
	}
	return false, err
}

// makeAnew deletes a zone that no call puts right, and creates it again with what is somebody else's of it. It is not
// served until the transfer that follows. So this is not done unless PowerDNS takes zones from here.
func (a *applier) makeAnew(ctx context.Context, state powerdns.ZoneState, wrong []powerdns.Deviation) error {
	name := state.Name
	err := a.api.Restore(ctx, state)
	if errors.Is(err, powerdns.ErrRejected) {
		return fmt.Errorf("PowerDNS here has zone %s with %s. Its API does not change that, and made anew the zone would "+
			"lose other metadata (%w): change it by pdnsutil set-meta on this host, then run: pdns-distribute sync %s",
			name, powerdns.Describe(wrong), err, name)
	}
	if err != nil {
		return err
	}
	if err := a.proveReach(ctx); err != nil {
		return fmt.Errorf("PowerDNS here has zone %s with %s. Its API does not change that, and the zone is not made "+
			"anew while PowerDNS takes no zones from this role: %w", name, powerdns.Describe(wrong), err)
	}
	reopen := a.source.close(name)
	defer reopen()
	if err := a.endTransfers(ctx, name, a.source); err != nil {
		return err
	}
	a.owe(state) // also to a later attempt
	if err := a.delete(ctx, name); err != nil && !errors.Is(err, powerdns.ErrNotFound) {
		return err
	}
	if err := a.create(ctx, name); err != nil {
		return fmt.Errorf("zone %s was deleted in PowerDNS here to be made anew, and is not served until it is: %w",
			name, err)
	}
	return nil
}

// giveBack gives a zone that was made anew what is somebody else's of it.
func (a *applier) giveBack(ctx context.Context, name zone.Name) error {
	state, is := a.owed(name)
	if !is {
		return nil
	}
	if err := a.api.Restore(ctx, state); err != nil {
		return err
	}
	a.settle(name)
	return nil
}

// probeZone is one that PowerDNS takes to show that it takes zones. Nobody can own it (RFC 6761 §6.4).
var probeZone = zone.MustParseName("pdns-distribute-probe.invalid")

// proveReach returns nil once PowerDNS has taken a zone from here, since it came up. If it was given none it is given
// one that is deleted again.
func (a *applier) proveReach(ctx context.Context) error {
	a.reaching.Lock()
	defer a.reaching.Unlock()
	if a.reached.Load() {
		return nil
	}
	z, err := zone.NewEmpty(probeZone)
	if err != nil {
		return err
	}
	version, withdraw := a.source.stage(z)
	defer withdraw()
	err = a.create(ctx, probeZone)
	if err != nil && !errors.Is(err, powerdns.ErrExists) {
		return err
	}
	err = a.takeOnce(ctx, version, transfer.NewProof(a.dns, z, nil, true))
	return errors.Join(err, a.delete(ctx, probeZone))
}

// proveState asks PowerDNS whether the zone is as a secondary needs it (ErrNotServed).
func (a *applier) proveState(ctx context.Context, z *zone.Zone) error {
	state, err := a.api.ZoneState(ctx, z.Name())
	if errors.Is(err, powerdns.ErrNotFound) {
		return fmt.Errorf("%w: the zone is gone from PowerDNS", transfer.ErrNotServed)
	}
	if err != nil {
		return err
	}
	wrong := state.Deviations(a.want(z))
	if len(wrong) > 0 && powerdns.LeftByBatch(wrong) { // which a process before did not live to complete
		return a.api.CompleteMember(ctx, z.Name())
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: PowerDNS has the zone with %s", transfer.ErrNotServed, powerdns.Describe(wrong))
	}
	return nil
}

// explain adds to why PowerDNS does not serve the zone what the zone is in PowerDNS, where it is not what it must be.
func (a *applier) explain(ctx context.Context, z *zone.Zone, cause error) error {
	state, err := a.api.ZoneState(ctx, z.Name())
	if err != nil {
		return cause
	}
	wrong := state.Deviations(a.want(z))
	if errors.Is(cause, errNotTaken) {
		wrong = slices.DeleteFunc(wrong, powerdns.Deviation.ByTransfer)
	}
	if len(wrong) > 0 {
		cause = fmt.Errorf("%w; PowerDNS here has the zone with %s", cause, powerdns.Describe(wrong))
	}
	if unknown := state.Unknown(); len(unknown) > 0 {
		cause = fmt.Errorf("%w; the zone has metadata that this program does not know: %v", cause, unknown)
	}
	if state.Serial == 0 {
		cause = fmt.Errorf("%w; PowerDNS here has no content of the zone, and answers nothing of it", cause)
	}
	return cause
}
