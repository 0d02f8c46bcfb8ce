package powerdns_test

import (
	"slices"
	"testing"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// ALIAS records are found among others, and whatever the text of these.
func TestAliases(t *testing.T) {
	server := localtest.Start(t, local.Options{Primary: true})
	api, err := server.Client()
	must.OK(t, err)
	name := zone.MustParseName("aliases.example")
	apex := powerdns.Alias{Name: name, Target: zone.MustParseName("target.example"), TTL: time.Minute}
	odd := powerdns.Alias{Name: zone.MustParseName("_x.aliases.example"), Target: zone.MustParseName("_a.target.example"), TTL: time.Hour}
	must.OK(t, api.CreateZoneWith(t.Context(), powerdns.ZoneSpec{
		Name: name, Kind: powerdns.Native, RRsets: []powerdns.RRset{
			{Name: apex.Name, Type: "ALIAS", TTL: 60, Content: []string{apex.Target.String()}},
			{Name: odd.Name, Type: "ALIAS", TTL: 3600, Content: []string{odd.Target.String()}},
			{Name: name, Type: "TXT", TTL: 60, Content: []string{"\"a\\009b ALIAS\""}},
		},
	}))
	found, err := api.Aliases(t.Context(), name)
	must.OK(t, err)
	slices.SortFunc(found, func(a, b powerdns.Alias) int { return int(a.TTL - b.TTL) })
	if !slices.Equal(found, []powerdns.Alias{apex, odd}) {
		t.Errorf("found %+v", found)
	}
	if _, err := api.Aliases(t.Context(), zone.MustParseName("none.example")); err == nil {
		t.Error("a zone that is not there has none")
	}
}

func TestExpansionOf(t *testing.T) {
	for _, test := range []struct {
		mode, resolver string
		want           powerdns.Expansion
	}{
		{"yes", "192.0.2.1", powerdns.Expansion{On: true, Resolver: "192.0.2.1:53"}},
		{"ignore-errors", "192.0.2.1:5300", powerdns.Expansion{On: true, Resolver: "192.0.2.1:5300"}},
		{"no", "2001:db8::1", powerdns.Expansion{Resolver: "[2001:db8::1]:53"}},
		{"no", "[2001:db8::1]:54", powerdns.Expansion{Resolver: "[2001:db8::1]:54"}},
	} {
		got := powerdns.ExpansionOf(map[string]string{"outgoing-axfr-expand-alias": test.mode, "resolver": test.resolver})
		if got != test.want {
			t.Errorf("%s %s: %+v", test.mode, test.resolver, got)
		}
	}
}
