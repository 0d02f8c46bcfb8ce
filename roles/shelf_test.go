package roles

import (
	"path/filepath"
	"testing"
	"time"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// versions returns a zone of a real server in two versions.
func versions(t *testing.T) (older, newer *zone.Zone) {
	server := startPowerDNS(t, local.Options{Primary: true})
	api, err := server.Client()
	must(t, err)
	name := zone.MustParseName("shelf.example")
	must(t, api.CreateZoneWith(t.Context(), nativeZone(name)))
	fetch := func() *zone.Zone {
		z, err := transfer.Fetch(t.Context(), transfer.FetchOptions{Address: server.DNSAddr}, name)
		must(t, err)
		return z
	}
	older = fetch()
	must(t, api.Patch(t.Context(), name, randomTexts(name)[:1]))
	return older, fetch()
}

func TestExpectedVersions(t *testing.T) {
	older, newer := versions(t)
	name := older.Name()
	s, err := store.Open(filepath.Join(t.TempDir(), "state", "zones.db"))
	must(t, err)
	defer s.Close()
	state, _ := zone.NewState(older, older.Serial(), time.Now())
	must(t, s.Put(state, older, nil, false))
	shelf := newShelf(s)
	given := func() <-chan *zone.Zone {
		ch := make(chan *zone.Zone, 1)
		go func() {
			z, err := shelf.Zone(name)
			if err != nil {
				t.Error(err)
			}
			ch <- z
		}()
		return ch
	}

	if !shelf.expect(name, time.Hour) {
		t.Fatal("a quiet shelf expects nothing")
	}
	if shelf.expect(name, time.Hour) || shelf.expect(named("other"), time.Hour) {
		t.Error("two versions are expected at a time")
	}
	if soa, _, err := shelf.SOA(name); err != nil || string(soa) != string(older.SOA()) {
		t.Error("while a version is expected the SOA is not that of the one before")
	}
	waiting := given()
	o, withdraw := shelf.offer(newer)
	if !o.ahead {
		t.Error("the offer does not know that its transfer was ordered")
	}
	if z := <-waiting; z != newer {
		t.Error("PowerDNS waited and got another version than the expected one")
	}
	<-o.begun
	withdraw()

	if o, withdraw := shelf.offer(newer); o.ahead {
		t.Error("a version that nobody expected was ordered ahead")
	} else {
		withdraw()
	}

	if !shelf.expect(name, time.Millisecond) {
		t.Fatal("the shelf is not quiet after its last offer was withdrawn")
	}
	if z := <-given(); z.Serial() != older.Serial() {
		t.Error("PowerDNS waited in vain and did not get the version that is held")
	}
	if !shelf.expect(name, time.Hour) {
		t.Error("what did not come is still expected")
	}
}
