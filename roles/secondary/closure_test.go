package secondary

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/roletest"
)

// openSource is a zone source whose store holds z.
func openSource(t *testing.T, z *zone.Zone) *zoneSource {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "state", "zones.db"))
	must.OK(t, err)
	t.Cleanup(func() { s.Close() })
	state, _ := zone.NewState(z, z.Serial(), time.Now())
	must.OK(t, s.Put(state, z, nil))
	return newZoneSource(s)
}

// A zone that is being deleted is refused, and once more afterwards: a transfer that was ordered before asks last of
// all.
func TestClosedZoneSource(t *testing.T) {
	older, newer := versions(t)
	name := older.Name()
	source := openSource(t, older)
	refused := func(what string, want bool) {
		t.Helper()
		if _, err := source.Zone(name); errors.Is(err, transfer.ErrNotHeld) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("open", false)
	if !source.expect(name, time.Hour) {
		t.Fatal("with nothing on its way no version can be expected")
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := source.Zone(name)
		waiting <- err
	}()
	reopen := source.close(name)
	if err := <-waiting; !errors.Is(err, transfer.ErrNotHeld) {
		t.Errorf("a transfer waits for a version of a deleted zone: %v", err)
	}
	refused("closed", true)
	refused("closed still", true)
	reopen()
	_, withdraw := source.stage(newer)
	defer withdraw()
	refused("the first question after the deletion", true)
	refused("the second", false)
}

// What PowerDNS was given once and answers with it has committed; what it was given twice it may commit again.
func TestTransfersUnderWay(t *testing.T) {
	older, newer := versions(t)
	name := older.Name()
	source := openSource(t, older)
	underway := func() bool {
		_, is := source.underway(name)
		return is
	}
	give := func() {
		if _, err := source.Zone(name); err != nil {
			t.Error(err)
		}
	}
	_, withdraw := source.stage(newer)
	defer withdraw()
	defer source.close(name)()
	source.closures = map[zone.Name]*closure{}
	if underway() {
		t.Error("nothing was given")
	}
	give()
	if source.committed(older); len(source.given) != 1 {
		t.Error("another version was committed")
	}
	if source.committed(newer); underway() {
		t.Error("it is committed, and under way")
	}
	give()
	give()
	if source.committed(newer); len(source.given) != 1 {
		t.Error("given twice, and one commit ends both")
	}
}

// A transfer that PowerDNS was given and has not committed is over before the zone is deleted, and leaves nothing
// behind.
func TestDeletionWaitsForTransfers(t *testing.T) {
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		t.Run(string(backend), func(t *testing.T) {
			t.Parallel()
			older, newer := versions(t)
			source := openSource(t, older)
			server, err := transfer.NewServer(transfer.Config{Listen: "127.0.0.1:0", OnTransfer: source.transferred}, source)
			must.OK(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- server.Run(ctx) }()
			t.Cleanup(func() { cancel(); <-ended })
			powerDNS := roletest.StartPowerDNS(t, local.Options{Backend: backend})
			api, err := powerDNS.Client()
			must.OK(t, err)
			a := newApplier(api, powerDNS.DNSAddr, server.Addr().String(), source, config.SecondaryConfig{}, zerolog.Nop())
			for range 10 {
				_, err = a.ensure(ctx, older)
				must.OK(t, err)
				v, withdraw := source.stage(newer)
				for begun := false; !begun; {
					must.OK(t, a.order(ctx, older.Name()))
					select {
					case <-v.begun: // and nobody waits for the commit
						begun = true
					case <-time.After(firstPatience): // it was refused once, after the deletion before, or the order was dropped
					}
				}
				withdraw()
				reopen := source.close(older.Name())
				must.OK(t, a.remove(ctx, older.Name(), source, older))
				reopen()
				must.OK(t, transfer.ProveGone(ctx, powerDNS.DNSAddr, older.Name()))
			}
			if backend == local.SQLite {
				orphans, err := powerDNS.SQL(ctx, "SELECT count(*) FROM records WHERE domain_id NOT IN (SELECT id FROM domains)")
				if must.OK(t, err); strings.TrimSpace(orphans) != "0" {
					t.Errorf("%s records belong to no zone", orphans)
				}
			}
		})
	}
}
