//go:build campaign

package fleet_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// longTexts are sets of one long text each.
func longTexts(name zone.Name, sets, length int) (list []powerdns.RRset) {
	text := strings.TrimSpace(strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, length))
	for n := range sets {
		list = append(list, powerdns.RRset{Name: below(fmt.Sprintf("t%d", n), name), Type: "TXT", TTL: 60, Content: []string{text}})
	}
	return list
}

// What keeps a zone from being given or taken is told by its name, with PowerDNS's own words and what to do, where an
// operator looks.
func TestReasonsOfFailingZones(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{
		Secondaries: []local.Backend{local.SQLite}, OfPrimary: map[string]string{"webserver-max-bodysize": "8"},
		Settings: map[string]string{"max-nsec3-iterations": "10", "xfr-max-received-mbytes": "1"}, Set: quick(nil),
	})
	edge := i.Secondaries[0]
	_, err := edge.SQL(i.ctx, `create trigger full before insert on records when new.name like '%full.example'
		begin select raise(abort, 'database or disk is full'); end`)
	must.OK(t, err)
	cases := i.unreasonable(edge)
	zoneOf := func(label string) zone.Name { return zone.MustParseName(label + ".example") }
	for _, c := range cases {
		must.OK(t, c.make(zoneOf(c.label)))
	}
	for _, c := range cases {
		i.eventually(c.label+" is explained", func(context.Context) error {
			return i.failsBecause(zoneOf(c.label), c.node, c.parts...)
		})
	}
	i.alarm("failing", fleet.Primary)
	i.alarm("settings", "ns1")
}

// unreasonable is a zone that cannot be distributed.
type unreasonable struct {
	label, node string
	make        func(name zone.Name) error
	parts       []string // of the reason
}

// create creates a zone with more sets.
func (i *harness) create(more func(zone.Name) []powerdns.RRset) func(zone.Name) error {
	return func(name zone.Name) error { return i.api.CreateZoneWith(i.ctx, spec(name, more(name)...)) }
}

func nothingMore(zone.Name) []powerdns.RRset { return nil }

// insert creates a zone with a record that the API would not take.
func (i *harness) insert(typ, content string) func(zone.Name) error {
	return func(name zone.Name) error {
		if err := i.create(nothingMore)(name); err != nil {
			return err
		}
		_, err := i.Primary.SQL(i.ctx, fmt.Sprintf("insert into records (domain_id, name, type, content, ttl, auth) "+
			"select id, 'a.%[1]s', '%[2]s', '%[3]s', 60, 1 from domains where name = '%[1]s'",
			strings.TrimSuffix(name.String(), "."), typ, content))
		if err != nil {
			return err
		}
		return i.put(name, `{"account":"touched"}`)
	}
}

// unreasonable returns zones that the installed PowerDNS does not give or take.
func (i *harness) unreasonable(edge *fleet.Secondary) []unreasonable {
	cases := []unreasonable{
		{"narrow", fleet.Primary, func(name zone.Name) error {
			if err := i.api.CreateZoneWith(i.ctx, signed(spec(name), "1 0 0 -")); err != nil {
				return err
			}
			return i.put(name, `{"nsec3param":"1 0 0 -","nsec3narrow":true}`)
		}, []string{"NSEC3NARROW", "set-nsec3 ZONE"}},
		{"oversized", fleet.Primary, i.create(func(name zone.Name) []powerdns.RRset { return longTexts(name, 120, 3) }),
			[]string{"100 records into a message", "workaround-11804", "oversized chunk"}},
		{"broken", fleet.Primary, i.insert("A", "no address"), []string{"cannot be read", "check-zone", "no address"}},
		{"iterations", "ns1", func(name zone.Name) error {
			return i.api.CreateZoneWith(i.ctx, signed(spec(name), "1 0 50 ab"))
		}, []string{"more iterations are not taken", "set max-nsec3-iterations in pdns.conf to 100", "PowerDNS says"}},
		{"large", "ns1", i.create(func(name zone.Name) []powerdns.RRset { return longTexts(name, 5000, 1) }),
			[]string{"larger zones are not taken", "set xfr-max-received-mbytes", "maximum number of received bytes"}},
		{"full", "ns1", i.create(nothingMore), []string{"the disk of PowerDNS's database is full", "free space", "database or disk is full"}},
	}
	own, err := edge.Client()
	must.OK(i.t, err)
	settings, err := own.Config(i.ctx)
	must.OK(i.t, err)
	if _, knows := settings["enable-lua-record-updates"]; knows {
		cases = append(cases, unreasonable{"lua", "ns1", i.insert("LUA", `A "ifportup(443, {''192.0.2.1''})"`),
			[]string{"LUA records are not taken", "enable-lua-record-updates"}})
	}
	info, err := own.Server(i.ctx)
	must.OK(i.t, err)
	if strings.HasPrefix(info.Version, "4.7.") || strings.HasPrefix(info.Version, "4.8.") { // whose broken connections are anybody's
		cases = slices.DeleteFunc(cases, func(c unreasonable) bool { return c.label == "broken" })
	}
	return cases
}
