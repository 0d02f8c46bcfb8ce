package secondary

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/roletest"
)

// versions returns a zone of a real server in two versions.
func versions(t *testing.T) (older, newer *zone.Zone) {
	server := roletest.StartPowerDNS(t, local.Options{Primary: true})
	api, err := server.Client()
	must.OK(t, err)
	name := zone.MustParseName("staged.example")
	must.OK(t, api.CreateZoneWith(t.Context(), roletest.NativeZone(name)))
	fetch := func() *zone.Zone {
		z, err := transfer.Fetch(t.Context(), transfer.FetchOptions{Address: server.DNSAddr}, name)
		must.OK(t, err)
		return z
	}
	older = fetch()
	must.OK(t, api.Patch(t.Context(), name, roletest.RandomTexts(name)[:1]))
	return older, fetch()
}

func TestExpectedVersions(t *testing.T) {
	older, newer := versions(t)
	name := older.Name()
	s, err := store.Open(filepath.Join(t.TempDir(), "state", "zones.db"))
	must.OK(t, err)
	defer s.Close()
	state, _ := zone.NewState(older, older.Serial(), time.Now())
	must.OK(t, s.Put(state, older, nil))
	source := newZoneSource(s)
	given := func() <-chan *zone.Zone {
		ch := make(chan *zone.Zone, 1)
		go func() {
			z, err := source.Zone(name)
			if err != nil {
				t.Error(err)
			}
			ch <- z
		}()
		return ch
	}

	if !source.expect(name, time.Hour) {
		t.Fatal("with nothing on its way no version can be expected")
	}
	if source.expect(name, time.Hour) || source.expect(roletest.Named("other"), time.Hour) {
		t.Error("two versions are expected at a time")
	}
	if soa, _, err := source.SOA(name); err != nil || string(soa) != string(older.SOA()) {
		t.Error("while a version is expected the SOA is not that of the one before")
	}
	waiting := given()
	v, withdraw := source.stage(newer)
	if !v.ahead {
		t.Error("the staged version does not know that its transfer was ordered")
	}
	if z := <-waiting; z != newer {
		t.Error("PowerDNS waited and got another version than the expected one")
	}
	<-v.begun
	withdraw()

	if v, withdraw := source.stage(newer); v.ahead {
		t.Error("a version that nobody expected was ordered ahead")
	} else {
		withdraw()
	}

	if !source.expect(name, time.Millisecond) {
		t.Fatal("after the last version was withdrawn none can be expected")
	}
	if z := <-given(); z.Serial() != older.Serial() {
		t.Error("PowerDNS waited in vain and did not get the version that is held")
	}
	if !source.expect(name, time.Hour) {
		t.Error("what did not come is still expected")
	}
}

// Whether PowerDNS may take a version is looked at each time when it asks for it: meanwhile it may have got a newer one
// from elsewhere.
func TestGuardedVersion(t *testing.T) {
	z, err := zone.NewEmpty(zone.MustParseName("guarded.example"))
	must.OK(t, err)
	source := newZoneSource(nil)
	v, withdraw := source.stage(z)
	defer withdraw()
	var refusal error
	source.guard(v, func() error { return refusal })
	if given, err := source.Zone(z.Name()); given != z || err != nil {
		t.Errorf("what PowerDNS may take it does not get: %v", err)
	}
	refusal = errOlder
	if _, err := source.Zone(z.Name()); !errors.Is(err, errOlder) {
		t.Errorf("PowerDNS gets again what it may not take any more: %v", err)
	}
	if err := <-v.sent; !errors.Is(err, errOlder) {
		t.Errorf("the attempt does not end: %v", err)
	}
	refusal = nil
	if given, err := source.Zone(z.Name()); given != z || err != nil {
		t.Errorf("what PowerDNS may take again it does not get: %v", err)
	}
}

// A deletion ends the wait for a version, and the end of the wait finds nothing to do: also where another version is
// expected meanwhile.
func TestDeletedWhileExpected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newZoneSource(nil)
		if !s.expect("example", time.Second) {
			t.Fatal("nothing is on its way, and no version can be expected")
		}
		first := s.staged("example")
		reopen := s.close("example")
		<-first.ready
		reopen()
		time.Sleep(time.Second / 2)
		if !s.expect("example", time.Second) {
			t.Fatal("the zone is deleted, and no version can be expected")
		}
		second := s.staged("example")
		time.Sleep(3 * time.Second / 4) // the time of the first is over
		select {
		case <-second.ready:
			t.Error("the wait for the second version ended with the first one's time")
		default:
		}
		time.Sleep(time.Second)
		<-second.ready
		time.Sleep(2 * time.Minute) // closures end, too
	})
}
