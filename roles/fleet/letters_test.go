package fleet_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// Names within records reach people and DNS-SD with the letters that they were written with, and a change of letters alone is a
// change. PowerDNS compresses messages whatever the letters: names that end alike in one message get those of the first. So these
// end like no other.
func TestLettersAreKept(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	name := zone.MustParseName("letters.example")
	for round, host := range []string{"Host.Elsewhere.Org.", "HOST.elsewhere.ORG."} {
		sets := []powerdns.RRset{
			{Name: below("cname", name), Type: "CNAME", TTL: 60, Content: []string{host}},
			{Name: below("mx", name), Type: "MX", TTL: 60, Content: []string{"10 " + host, "20 Other." + host}},
			{Name: below("_http._tcp", name), Type: "PTR", TTL: 60, Content: []string{"Living\\032Room._http._tcp." + host}},
			{Name: below("srv", name), Type: "SRV", TTL: 60, Content: []string{"1 2 443 " + host}},
			{Name: below("naptr", name), Type: "NAPTR", TTL: 60, Content: []string{`100 10 "U" "E2U+sip" "!^.*$!sip:Info@Example.com!" ` + host}},
			{Name: below("sub", name), Type: "NS", TTL: 60, Content: []string{host}},
			{Name: below("a", name), Type: "RP", TTL: 60, Content: []string{host + " Txt." + host}},
		}
		if round == 0 {
			must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(name, sets...), "")))
		} else {
			must.OK(t, i.api.Patch(i.ctx, name, sets))
		}
		i.eventually("everywhere", i.allSame)
		i.verify(name)
		for _, s := range i.Secondaries {
			for _, set := range sets {
				if set.Type == "NS" {
					continue // a referral
				}
				answer, err := transfer.Ask(i.ctx, s.DNSAddr, set.Name, dns.StringToType[set.Type], transfer.AskOptions{Unique: true})
				must.OK(t, err)
				var found []string
				for _, r := range answer.Answer {
					content, err := r.Content()
					must.OK(t, err)
					found = append(found, content)
				}
				if text := strings.Join(found, "\n"); strings.Count(text, host) < len(set.Content) {
					t.Errorf("%s, %s: %q instead of %q", s.ID, set.Type, found, set.Content)
				}
			}
		}
	}
}
