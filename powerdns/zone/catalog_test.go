package zone_test

import (
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// A catalog zone has what RFC 9432 §4 wants: NS, version, and a PTR record for each member.
func TestCatalog(t *testing.T) {
	name := zone.MustParseName("catalog.invalid")
	members := []zone.Name{zone.MustParseName("a.example"), zone.MustParseName(`\000\.b.example`)}
	z, err := zone.NewCatalog(name, members)
	must.OK(t, err)
	version, _ := z.RRset(zone.MustParseName("version.catalog.invalid"), dns.TypeTXT)
	ns, _ := z.RRset(name, dns.TypeNS)
	if len(version) != 1 || string(version[0].Data()) != "\x012" || len(ns) != 1 {
		t.Errorf("version %q, NS %q", version, ns)
	}
	listed := map[zone.Name]bool{}
	for r := range z.Records() {
		if r.Type() == dns.TypePTR && r.Owner().Under(zone.MustParseName("zones.catalog.invalid")) {
			listed[zone.Name(r.Data())] = true
		}
	}
	if len(listed) != 2 || !listed[members[0]] || !listed[members[1]] {
		t.Errorf("the members are %v", listed)
	}
}
