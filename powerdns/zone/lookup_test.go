package zone_test

import (
	"slices"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

const looked = `
example.      300 IN SOA ns.example. host.example. 1 2 3 4 5
example.      300 IN NS  ns.example.
www.example.  300 IN A   192.0.2.1
al.example.   300 IN CNAME www.example.
*.w.example.  300 IN TXT "w"
x.y.z.example. 300 IN A 192.0.2.2
sub.example.  300 IN NS  ns.sub.example.
sub.example.  300 IN DS  1 13 2 00
ns.sub.example. 300 IN A 192.0.2.3
dn.example.   300 IN DNAME other.example.net.
lua.example.  300 IN TYPE65402 \# 1 00
`

func TestLookup(t *testing.T) {
	z := parsed(t, looked)
	for _, test := range []struct {
		name string
		typ  uint16
		want zone.Outcome
	}{
		{"example", dns.TypeNS, zone.Data},
		{"example", dns.TypeMX, zone.NoData},
		{"example", dns.TypeDS, zone.Undecided},
		{"net", dns.TypeA, zone.Undecided},
		{"www.example", dns.TypeA, zone.Data},
		{"www.example", dns.TypeAAAA, zone.NoData},
		{"no.example", dns.TypeA, zone.NoName},
		{"no.www.example", dns.TypeA, zone.NoName},
		{"al.example", dns.TypeCNAME, zone.Data},
		{"al.example", dns.TypeA, zone.Undecided},
		{"w.example", dns.TypeTXT, zone.NoData},
		{"any.w.example", dns.TypeTXT, zone.Data},
		{"a.b.w.example", dns.TypeTXT, zone.Data},
		{"a.b.w.example", dns.TypeA, zone.NoData},
		{"y.z.example", dns.TypeA, zone.NoData},
		{"z.example", dns.TypeA, zone.NoData},
		{"a.z.example", dns.TypeA, zone.NoName},
		{"sub.example", dns.TypeA, zone.Referral},
		{"sub.example", dns.TypeDS, zone.Data},
		{"ns.sub.example", dns.TypeA, zone.Referral},
		{"a.b.sub.example", dns.TypeDS, zone.Referral},
		{"dn.example", dns.TypeDNAME, zone.Data},
		{"a.dn.example", dns.TypeA, zone.Undecided},
		{"lua.example", dns.TypeA, zone.Undecided},
	} {
		if got := z.Lookup(zone.MustParseName(test.name), test.typ); got.Outcome != test.want {
			t.Errorf("%s %s: %d, want %d", test.name, dns.TypeToString[test.typ], got.Outcome, test.want)
		}
	}
}

// In time a sample asks for everything, and changes are asked for where they show.
func TestQuestions(t *testing.T) {
	z := parsed(t, looked)
	asked := map[zone.Question]bool{}
	for round := range z.Len() {
		for _, q := range z.Sample(2*round, 1, 2) {
			asked[q] = true
		}
	}
	for _, q := range z.Sample(0, 1, z.Len()) {
		if !asked[q] {
			t.Errorf("%v was never asked", q)
		}
	}
	if !asked[zone.Question{Name: zone.MustParseName("y.z.example"), Type: dns.TypeA}] {
		t.Error("an empty non-terminal was never asked for")
	}

	before := parsed(t, `
example.      300 IN SOA ns.example. host.example. 1 2 3 4 5
example.      300 IN NS  ns.example.
www.example.  300 IN A   192.0.2.9
gone.old.example. 300 IN A 192.0.2.1
al.example.   300 IN A 192.0.2.1
`)
	changed := z.Changed(before, 100)
	for name, typ := range map[string]uint16{
		"www.example": dns.TypeA, "gone.old.example": dns.TypeA, "old.example": dns.TypeA, "al.example": dns.TypeCNAME,
		"z.example": dns.TypeA, "sub.example": dns.TypeNS, "ns.sub.example": dns.TypeA,
	} {
		if !slices.Contains(changed, zone.Question{Name: zone.MustParseName(name), Type: typ}) {
			t.Errorf("%s %s is not asked for: %v", name, dns.TypeToString[typ], changed)
		}
	}
	if some := z.Changed(before, 3); len(some) != 3 || some[0] != changed[0] || some[2] != changed[len(changed)-1] {
		t.Errorf("of %v these are asked: %v", changed, some)
	}
	if same := z.Changed(z, 3); len(same) != 0 {
		t.Errorf("nothing changed, and yet %v", same)
	}
}
