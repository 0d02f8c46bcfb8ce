//go:build matrix

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// Fleets whose PowerDNS servers are of several releases, and keep their zones in several kinds of databases.
// `make test-powerdns`.

// release is one of PowerDNS, and the folder with its programs, "" for the one in PATH.
type release struct{ version, programs string }

// releases are the installed one, and those in the folders that POWERDNS_RELEASES names, by age, the oldest first.
func releases(t *testing.T) (list []release) {
	t.Helper()
	for _, programs := range append([]string{""}, strings.Fields(os.Getenv("POWERDNS_RELEASES"))...) {
		version, err := local.Version(t.Context(), programs)
		must.OK(t, err)
		list = append(list, release{version, programs})
	}
	if len(list) == 1 {
		t.Fatal("POWERDNS_RELEASES names no other release of PowerDNS: run 'make test-powerdns'")
	}
	slices.SortFunc(list, func(a, b release) int { return slices.Compare(a.numbers(t), b.numbers(t)) })
	return list
}

func (r release) numbers(t *testing.T) []int {
	var major, minor, patch int
	_, err := fmt.Sscanf(r.version, "%d.%d.%d", &major, &minor, &patch)
	must.OK(t, err)
	return []int{major, minor, patch}
}

// mixed has the primary be of one release, and each other release have a secondary, with gsqlite3 and lmdb in turns.
func mixed(list []release, primary int) (o fleet.Options) {
	o.Servers = map[string]fleet.Server{fleet.Primary: {Programs: list[primary].programs}}
	for n, r := range list {
		if n != primary {
			backend := []local.Backend{local.SQLite, local.LMDB}[n%2]
			o.Secondaries = append(o.Secondaries, backend)
			o.Servers[fmt.Sprintf("ns%d", len(o.Secondaries))] = fleet.Server{Programs: r.programs, Settings: r.settings(backend)}
		}
	}
	return o
}

// settings has 4.9 keep all zones in one file of lmdb: with many it ends by itself at times, see docs/upgrade.md.
func (r release) settings(backend local.Backend) map[string]string {
	if backend == local.LMDB && strings.HasPrefix(r.version, "4.9.") {
		return map[string]string{"lmdb-shards": "1"}
	}
	return nil
}

// eachPrimary runs a test with a primary of each release.
func eachPrimary(t *testing.T, test func(t *testing.T, o fleet.Options)) {
	list := releases(t)
	for n, r := range list {
		t.Run("primary "+r.version, func(t *testing.T) { test(t, mixed(list, n)) })
	}
}

// Zones of all types that all releases know are the same everywhere, record by record and by answers, whatever
// release the servers are of: when they are made, changed, signed and deleted.
func TestMixedReleases(t *testing.T) {
	eachPrimary(t, func(t *testing.T, o fleet.Options) {
		i := start(t, o)
		i.liveAlike()
		i.noAlarms()
	})
}

// liveAlike makes zones, unsigned and signed in each way, changes and deletes them, and compares them after each step.
func (i *harness) liveAlike() {
	i.t.Helper()
	plain, nsec, nsec3 := numbered("plain", 1), numbered("nsec", 1), numbered("nsec", 3)
	for name, param := range map[zone.Name]string{nsec: "", nsec3: "1 0 5 abcd"} {
		must.OK(i.t, i.api.CreateZoneWith(i.ctx, signed(spec(name, everyType(name)...), param)))
	}
	must.OK(i.t, i.api.CreateZoneWith(i.ctx, spec(plain, everyType(plain)...)))
	i.alike("created", plain, nsec, nsec3)
	for _, name := range []zone.Name{plain, nsec, nsec3} {
		deep := below("new.deep", name)
		sets := []powerdns.RRset{text(deep, "added"), i.escaped(below("esc", name), `a \" quote`)}
		must.OK(i.t, i.api.Patch(i.ctx, name, sets))
	}
	i.alike("changed", plain, nsec, nsec3)
	must.OK(i.t, i.put(plain, `{"dnssec":true,"api_rectify":true,"nsec3param":"1 0 0 -"}`))
	must.OK(i.t, i.put(nsec3, `{"dnssec":false}`))
	i.alike("signed and unsigned", plain, nsec, nsec3)
	must.OK(i.t, i.api.DeleteZone(i.ctx, nsec))
	i.alike("deleted", plain, nsec3)
}

// alike waits until the zones of the primary, and no others, are on every secondary, and compares answers about these.
func (i *harness) alike(what string, names ...zone.Name) {
	i.t.Helper()
	i.eventually(what, i.allSame)
	for _, name := range names {
		i.sameAnswers(name)
		for _, set := range rareTypes(name) {
			q := dns.Question{Name: set.Name.String(), Qtype: dns.StringToType[set.Type]}
			if err := i.sameAnswer(q); err != nil {
				i.t.Error(err)
			}
		}
		if info, err := i.own.Zone(i.ctx, name); err == nil && info.DNSSEC {
			i.verify(name)
		}
	}
}

func everyType(name zone.Name) []powerdns.RRset { return append(manyTypes(name), rareTypes(name)...) }

// rareTypes are sets of types that all releases know beside those of manyTypes.
func rareTypes(name zone.Name) (sets []powerdns.RRset) {
	hex := strings.Repeat("0123456789abcdef", 4)
	for n, r := range []struct{ typ, content string }{
		{"LOC", "51 56 0.123 N 5 54 0.000 E 4.00m 1.00m 10000.00m 10.00m"},
		{"CERT", "1 0 0 MTIzNDU2"},
		{"SPF", `"v=spf1 -all"`},
		{"HINFO", `"a cpu" "an os"`},
		{"RP", "admin.example.net. txt.example.net."},
		{"AFSDB", "1 afs.example.net."},
		{"KX", "10 kx.example.net."},
		{"URI", `10 1 "https://www.example.net/"`},
		{"SMIMEA", "3 1 1 " + hex},
		{"OPENPGPKEY", "MTIzNDU2"},
		{"EUI48", "00-11-22-33-44-55"},
		{"EUI64", "00-11-22-33-44-55-66-77"},
		{"SVCB", "1 svc.example.net. alpn=h2 port=8443"},
		{"CSYNC", "1 3 NS"},
		{"APL", "1:192.0.2.0/24 !1:192.0.2.64/28"},
		{"L32", "10 192.0.2.1"},
		{"L64", "10 2001:0db8:1140:1000"},
		{"NID", "10 0014:4fff:ff20:ee64"},
		{"LP", "10 l64.example.net."},
		{"IPSECKEY", "10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="},
		{"DHCID", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="},
	} {
		owner := below(fmt.Sprintf("rare%d", n), name)
		sets = append(sets, powerdns.RRset{Name: owner, Type: r.typ, TTL: 300, Content: []string{r.content}})
	}
	sub := below("sub", name)
	return append(sets, powerdns.RRset{Name: sub, Type: "DS", TTL: 300, Content: []string{"20326 8 2 " + hex}})
}

// The servers of a fleet are upgraded on their data, one after the other, while the zones are changed: nothing is
// lost, and all is the same. SQL schemas have been the same since 4.7; lmdb converts its own.
func TestUpgrade(t *testing.T) {
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		t.Run(string(backend), func(t *testing.T) {
			list := releases(t)
			oldest := fleet.Server{Programs: list[0].programs}
			i := start(t, fleet.Options{
				Primary: backend, Secondaries: []local.Backend{backend, backend},
				Servers: map[string]fleet.Server{fleet.Primary: oldest, "ns1": oldest, "ns2": oldest},
			})
			names := i.makeForUpgrade()
			for _, r := range list[1:] {
				for _, s := range i.Secondaries {
					i.upgrade(s.Server, r, func() { i.edit(names, r.version+" while "+s.ID+" is away") })
					i.eventually("upgraded "+s.ID, i.allSame)
					i.edit(names, r.version+" with "+s.ID)
					i.alike("edited with "+s.ID, names...)
				}
				i.upgrade(i.Primary, r, func() {})
				i.edit(names, r.version+" with the primary")
				i.alike("upgraded primary", names...)
			}
			i.noAlarms()
			i.goBack(i.Secondaries[0], list[0], names)
		})
	}
}

func (i *harness) makeForUpgrade() (names []zone.Name) {
	i.t.Helper()
	for n, param := range []string{"", "", "1 0 0 -"} {
		name := numbered("upgrade", n)
		s := spec(name, everyType(name)...)
		if n > 0 {
			s = signed(s, param)
		}
		must.OK(i.t, i.api.CreateZoneWith(i.ctx, s))
		names = append(names, name)
	}
	i.alike("created", names...)
	return names
}

func (i *harness) edit(names []zone.Name, value string) {
	i.t.Helper()
	for _, name := range names {
		must.OK(i.t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(below("edited", name), value)}))
	}
}

// upgrade stops a server, and starts the other release on its data; meanwhile is done while it is away.
func (i *harness) upgrade(s *local.Server, to release, meanwhile func()) {
	i.t.Helper()
	s.Stop()
	meanwhile()
	s.SetPrograms(to.programs)
	must.OK(i.t, s.Restart(i.ctx))
}

// goBack has a secondary run an older release again, on the data of a newer one: SQL databases serve both. An lmdb of
// a later schema is refused, so an operator removes it, and it is filled again.
func (i *harness) goBack(s *fleet.Secondary, to release, names []zone.Name) {
	i.t.Helper()
	s.Stop()
	s.SetPrograms(to.programs)
	if err := s.Restart(i.ctx); err != nil {
		if s.Backend != local.LMDB {
			i.t.Fatal(err)
		}
		must.OK(i.t, s.Wipe(i.ctx))
	}
	i.eventually("back", i.allSame)
	i.edit(names, "back")
	i.alike("edited", names...)
	i.noAlarms()
}

// The way back of a primary with lmdb that loses nothing: the newest release copies its zones into an SQLite
// database, and the oldest one runs on that.
func TestPrimaryGoesBack(t *testing.T) {
	list := releases(t)
	newest := list[len(list)-1]
	i := start(t, fleet.Options{
		Primary: local.LMDB, Servers: map[string]fleet.Server{fleet.Primary: {Programs: newest.programs}},
	})
	names := i.makeForUpgrade()
	i.Primary.Stop()
	must.OK(t, i.Primary.Move(i.ctx, local.SQLite))
	i.Primary.SetPrograms(list[0].programs)
	must.OK(t, i.Primary.Restart(i.ctx))
	pdnsutil(t, i.Primary, "rectify-all-zones") // the copy has no order of names: negative answers would be SERVFAIL
	i.alike("moved", names...)
	i.edit(names, "after the move")
	i.alike("edited", names...)
	i.noAlarms()
}

// Where PowerDNS's APIs listen at Unix sockets (from 5.0 on), all goes through these: the proxy, the roles, doctor.
func TestAPIsAtSockets(t *testing.T) {
	list := releases(t)
	newest := list[len(list)-1]
	if newest.numbers(t)[0] < 5 {
		t.Skipf("PowerDNS %s listens at no socket: POWERDNS_RELEASES names no later one", newest.version)
	}
	at := fleet.Server{Programs: newest.programs, Socket: true}
	i := start(t, fleet.Options{
		Primary: local.SQLite, Secondaries: []local.Backend{local.SQLite, local.LMDB},
		Servers: map[string]fleet.Server{fleet.Primary: at, "ns1": at, "ns2": at},
	})
	if !strings.HasPrefix(i.Primary.APIURL, "unix:") {
		t.Fatalf("the API is at %s", i.Primary.APIURL)
	}
	i.liveAlike()
	name := numbered("restarted", 1)
	must.OK(t, i.Primary.Restart(i.ctx)) // another socket of the same name
	must.OK(t, i.Secondaries[0].Restart(i.ctx))
	i.eventually("made after a restart", func(ctx context.Context) error {
		err := i.api.CreateZoneWith(ctx, spec(name, text(name, "after")))
		if errors.Is(err, powerdns.ErrExists) {
			return nil
		}
		return err
	})
	i.alike("restarted", name)
	for _, id := range []string{fleet.Primary, fleet.Proxy, "ns1", "ns2"} {
		if checks, err := i.examine(id, nil); err != nil {
			t.Errorf("doctor at %s: %v %q", id, err, notOK(checks))
		}
	}
	i.noAlarms()
}

// PostgreSQL and MariaDB keep the zones of the primary and of the secondaries, whatever the release.
func TestDatabases(t *testing.T) {
	list := releases(t)
	postgres, maria := onePostgres(t), oneMariaDB(t)
	for n, r := range list {
		other := list[(n+1)%len(list)]
		for _, at := range []*dbServer{postgres, maria} {
			t.Run(at.kind+" "+r.version, func(t *testing.T) {
				in := func(d *dbServer, id string) map[string]string {
					return d.database(fmt.Sprintf("%s_%s_%d", id, at.kind, n))
				}
				i := start(t, fleet.Options{
					Primary: local.Backend(at.kind), Secondaries: []local.Backend{local.PostgreSQL, local.MySQL},
					Servers: map[string]fleet.Server{
						fleet.Primary: {Programs: r.programs, Settings: in(at, "primary")},
						"ns1":         {Programs: other.programs, Settings: in(postgres, "ns1")},
						"ns2":         {Programs: other.programs, Settings: in(maria, "ns2")},
					},
				})
				i.liveAlike()
				i.noAlarms()
			})
		}
	}
}

// Walks through the operations of the API end with the same zones everywhere, whatever the releases.
func TestWalks(t *testing.T) {
	eachPrimary(t, func(t *testing.T, o fleet.Options) { walk(t, o, 150) })
}

func TestShortWalks(t *testing.T) {
	eachPrimary(t, func(t *testing.T, o fleet.Options) { walk(t, o, 25) })
}
