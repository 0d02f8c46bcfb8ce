package secondary

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// zoneWith makes a zone of some records.
func zoneWith(t *testing.T, apex string, lines ...string) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(zone.MustParseName(apex), 0)
	text := "@ 60 IN SOA a. b. 1 1 1 1 1\n" + strings.Join(lines, "\n") + "\n"
	p := dns.NewZoneParser(strings.NewReader(text), dns.Fqdn(apex), "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		r, err := zone.NewRecord(rr)
		must.OK(t, err)
		must.OK(t, b.Add(r))
	}
	z, err := b.Zone()
	must.OK(t, err)
	return z
}

func TestAliases(t *testing.T) {
	a := newAliases()
	into := func(name string, want bool) {
		t.Helper()
		if got := a.leadInto(zone.MustParseName(name)); got != want {
			t.Errorf("into %s: %v", name, got)
		}
	}
	into("any", true) // nothing was learnt
	a.learnt = true
	into("any", false)

	first := zoneWith(t, "w.example", "www IN CNAME host", "far IN CNAME x.y.net.", "below IN CNAME a.child", "d IN DNAME org.")
	a.add(first)
	for name, want := range map[string]bool{
		"w.example": false, "host.w.example": true, "x.y.net": true, "y.net": true, "net": true, ".": true, "org": true, "child.w.example": true,
		"a.x.y.net": false, "example": false, "com": false,
	} {
		into(name, want)
	}
	a.add(zoneWith(t, "w.example", "far IN CNAME com."))
	into("y.net", true)
	into("com", true)
	a.set(zoneWith(t, "w.example", "far IN CNAME com."))
	into("y.net", false)
	into("com", true)
	a.add(zoneWith(t, "v.example", "far IN CNAME com."))
	a.drop("\x01w\x07example\x00")
	into("com", true)
	a.drop("\x01v\x07example\x00")
	into("com", false)
	if len(a.into)+len(a.targets) != 0 {
		t.Errorf("%v %v stay", a.into, a.targets)
	}
}

// Settings that keep ALIAS and LUA records of unsigned zones from being answered are named, with how many zones that
// are.
func TestUnansweredBySettings(t *testing.T) {
	a := newAliases()
	a.set(zoneWith(t, "b.example", `www IN TYPE65401 \# 6 04686f737400`, `lua IN TYPE65402 \# 14 00010B273139322E302E322E3927`))
	a.set(zoneWith(t, "a.example", `www IN TYPE65401 \# 6 04686f737400`))
	a.set(zoneWith(t, "plain.example", "www IN CNAME host"))
	for _, test := range []struct {
		settings map[string]string
		want     []string
	}{
		{map[string]string{"expand-alias": "no", "enable-lua-records": "no"}, []string{"expand-alias=no", "enable-lua-records=no"}},
		{map[string]string{"expand-alias": "yes", "resolver": "no", "enable-lua-records": "shared"}, []string{"resolver=no"}},
		{map[string]string{"expand-alias": "yes", "resolver": "192.0.2.1", "enable-lua-records": "yes"}, nil},
	} {
		ofAlias, ofLua := a.countComputed()
		unfit := unanswered(test.settings, ofAlias, ofLua)
		if len(unfit) != len(test.want) {
			t.Fatalf("%v: %q", test.settings, unfit)
		}
		for n, want := range test.want {
			if !strings.Contains(unfit[n], want) {
				t.Errorf("%v: %q", test.settings, unfit)
			}
		}
		if len(unfit) > 0 && !strings.Contains(unfit[0], "(2), the first is a.example.") {
			t.Errorf("%q", unfit)
		}
	}
	a.set(zoneWith(t, "a.example"))
	a.drop(zone.MustParseName("b.example"))
	if ofAlias, ofLua := a.countComputed(); ofAlias.Zones+ofLua.Zones != 0 {
		t.Errorf("%+v %+v stay", ofAlias, ofLua)
	}
}
