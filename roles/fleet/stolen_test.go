package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/operator"
)

// The tests here hold the files of a stolen node, and say with them whatever its key lets them say.

// lost creates zones and takes the first gone of them away bypassing the proxy, which the deletion limit holds.
func (i *harness) lost(prefix string, n, gone int) (held []zone.Name) {
	i.t.Helper()
	must.OK(i.t, createMany(i.ctx, i.api, prefix, n, 4))
	i.eventually("created", i.allSame)
	for k := range gone {
		held = append(held, numbered(prefix, k))
		must.OK(i.t, i.own.DeleteZone(i.ctx, numbered(prefix, k)))
	}
	must.OK(i.t, i.connect(fleet.Proxy).PublishSweep(i.ctx))
	i.eventually("the deletions are held", func(context.Context) error { return i.notReady(fleet.Primary, "deletes") })
	return held
}

// served returns an error unless all secondaries answer with all of the zones.
func (i *harness) served(names []zone.Name) error {
	for _, s := range i.Secondaries {
		for _, name := range names {
			if _, err := fetch(i.ctx, s.DNSAddr, name); err != nil {
				return fmt.Errorf("%s: %s: %w", s.ID, name, err)
			}
		}
	}
	return nil
}

// What the deletion limit holds nobody but an operator lets pass, whatever a stolen proxy, or a stolen health node,
// says.
func TestOnlyAnOperatorReleasesHeldDeletions(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(nil)})
	held := i.lost("held", 11, 7)
	proxy, watcher, primary := i.connect(fleet.Proxy), i.connect(fleet.Health), i.connect(fleet.Primary)
	_, err := proxy.PublishTouch(i.ctx, held[0], broker.Touch{Cause: broker.Changed})
	must.OK(t, err)
	i.eventually("the limit has held them for a while", func(context.Context) error { return i.heldSince(held[0], len(held)) })
	for _, name := range held {
		_, err := proxy.PublishTouch(i.ctx, name, broker.Touch{Cause: broker.Deleted})
		must.OK(t, err)
		_, err = watcher.PublishTouch(i.ctx, name, broker.Touch{Cause: broker.Ordered, Again: broker.ToAll})
		must.OK(t, err)
	}
	must.OK(t, proxy.PublishSweep(i.ctx))
	for _, name := range held {
		i.eventually("it was looked at", func(context.Context) error { return i.failing(fleet.Primary, name) })
	}
	must.OK(t, i.served(held))

	// confirmations that do not count: by nobody's nkey, for other nodes, and one that was used
	for _, text := range []string{`{"node":"primary1","count":7,"at":"2026-01-01T00:00:00Z"}`, `{"node":"primary1","count":7}`, `{"count":7}`, "yes"} {
		ctx, cancel := context.WithTimeout(i.ctx, 2*time.Second) // who is not named does not answer
		answer, err := watcher.RequestConfirm(ctx, []byte(text))
		cancel()
		if err == nil && !strings.Contains(string(answer), `"fault"`) {
			t.Errorf("%s: %s", text, answer)
		}
	}
	must.OK(t, i.served(held))
	if _, err := i.sync(flags{"confirm-deletes": true}, "ns1"); err == nil {
		t.Error("a secondary that holds nothing was confirmed")
	}
	i.confirmDeletes()
	i.eventually("deleted after the confirmation", i.allSame)
	if last, err := primary.LastState(i.ctx, held[0]); err != nil || last.Header.Kind != broker.KindGone {
		t.Errorf("%+v, %v", last.Header, err)
	}
}

// A restart of the primary role forgets neither that they are held nor whose order did not count.
func TestHeldDeletionsOutliveARestart(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(nil)})
	held := i.lost("held", 11, 7)
	proxy := i.connect(fleet.Proxy)
	_, err := proxy.PublishTouch(i.ctx, held[0], broker.Touch{Cause: broker.Changed})
	must.OK(t, err)
	i.eventually("the limit has held them for a while", func(context.Context) error { return i.heldSince(held[0], len(held)) })
	for _, name := range held {
		_, err := proxy.PublishTouch(i.ctx, name, broker.Touch{Cause: broker.Deleted})
		must.OK(t, err)
	}
	for _, name := range held {
		i.eventually("it was looked at", func(context.Context) error { return i.failing(fleet.Primary, name) })
	}
	must.OK(t, i.StopRole(fleet.Primary))
	must.OK(t, i.Launch(fleet.Primary))
	for range 10 {
		for _, name := range held {
			_, err := proxy.PublishTouch(i.ctx, name, broker.Touch{Cause: broker.Deleted})
			must.OK(t, err)
		}
		time.Sleep(time.Second)
	}
	must.OK(t, i.served(held))
}

// heldSince returns an error until the deletion of the zone has been held for so long that no order counts any more.
func (i *harness) heldSince(name zone.Name, held int) error {
	status, err := i.status(i.ctx)
	if err != nil {
		return err
	}
	for _, n := range status.Nodes {
		at := slices.IndexFunc(n.Failing, func(f health.Failure) bool { return f.Zone == name })
		if n.Node == fleet.Primary && n.Primary.Held == held && at >= 0 && time.Since(n.Failing[at].Since) > 12*time.Second {
			return nil
		}
	}
	return errors.New("not yet")
}

// An API key, or a proxy, that was stolen cannot empty a fleet: what it orders beyond the limit is held.
func TestOrderedDeletionsAreLimited(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(map[string]string{"primary.max_ordered_deletes": "4", "primary.max_ordered_delete_percent": "0"})})
	must.OK(t, createMany(i.ctx, i.api, "stolen", 40, 4))
	i.eventually("created", i.allSame)
	for n := range 40 {
		must.OK(t, i.api.DeleteZone(i.ctx, numbered("stolen", n)))
	}
	i.eventually("the rest is held", func(context.Context) error { return i.notReady(fleet.Primary, "deletes") })
	gone := 0
	for n := range 40 {
		if _, err := fetch(i.ctx, i.Secondaries[0].DNSAddr, numbered("stolen", n)); err != nil {
			gone++
		}
	}
	if gone > 4+3 { // the limit, and what may be found missing
		t.Errorf("%d of 40 zones are gone", gone)
	}
	i.eventually("status says what to do", func(ctx context.Context) error {
		out, err := i.command(func(in command.Invocation) error { return operator.Status(ctx, in) }, flags{})
		if !strings.Contains(out, "sync --confirm-deletes primary1") || !errors.Is(err, command.ErrNotInOrder) {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	i.confirmDeletes()
	i.eventually("all are gone after the confirmation", i.allSame)
}

// A node is what its key says, whatever it says of itself.
func TestNobodyClaimsARole(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(nil)})
	must.OK(t, createMany(i.ctx, i.api, "claimed", 3, 1))
	i.eventually("created", i.allSame)
	must.OK(t, i.StopRole(fleet.Primary))
	i.alarm("no-primary", "")
	must.OK(t, i.StopRole(fleet.Proxy))
	proxy := i.connect(fleet.Proxy)
	for _, role := range []string{"primary", "secondary", "health", "", "Primary"} {
		text := fmt.Sprintf(`{"node":"primary1","role":%q,"leads":true,"primary":{"complete":true},"health":{"alarms":[]}}`, role)
		must.OK(t, proxy.PublishStatus(i.ctx, []byte(text)))
		status, err := i.status(i.ctx)
		must.OK(t, err)
		for _, n := range status.Nodes {
			if n.Node == fleet.Proxy && n.Role != "proxy" || n.Node == fleet.Primary && n.Role != "primary" {
				t.Errorf("said to be %q, %s is shown as %q", role, n.Node, n.Role)
			}
		}
	}
	i.alarm("no-primary", "")
	must.OK(t, i.StartRole(i.ctx, fleet.Primary))
	i.eventually("the primary is back", func(ctx context.Context) error {
		feeds, err := i.connect(fleet.Primary).Feeds(ctx)
		if err == nil && len(feeds) != len(i.Secondaries) {
			err = fmt.Errorf("%d feeds", len(feeds))
		}
		return err
	})
}
