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

// Names within records reach people and DNS-SD with the letters that they were written with, and a change of letters
// alone is a change. PowerDNS compresses messages whatever the letters: names that end alike in one message get those
// of the first. So these end like no other.
func TestLettersAreKept(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	name := zone.MustParseName("letters.example")
	for round, host := range []string{"Host.Elsewhere.Org.", "HOST.elsewhere.ORG."} {
		sets := []powerdns.RRset{
			{Name: below("cname", name), Type: "CNAME", TTL: 60, Content: []string{host}},
			{Name: below("mx", name), Type: "MX", TTL: 60, Content: []string{"10 " + host, "20 Other." + host}},
			{Name: below("_http._tcp", name), Type: "PTR", TTL: 60, Content: []string{i.forAPI("Living\\032Room._http._tcp." + host)}},
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

// Quotes and backslashes within texts are kept.
func TestEscapesAreKept(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	name := zone.MustParseName("escapes.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(name, i.escaped(name, `first \" and \\`)), "")))
	i.eventually("created", i.allSame)
	i.verify(name)
	text := `quote \" backslash \\ semicolon ; umlaut \195\164`
	must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{i.escaped(name, text)}))
	i.eventually("changed", i.allSame)
	i.verify(name)
	for _, s := range i.Secondaries {
		answer, err := transfer.Ask(i.ctx, s.DNSAddr, name, dns.TypeTXT, transfer.AskOptions{Unique: true})
		must.OK(t, err)
		if len(answer.Answer) != 1 {
			t.Fatalf("%s: %v", s.ID, answer.Answer)
		}
		content, err := answer.Answer[0].Content()
		must.OK(t, err)
		if content != `"`+text+`"` {
			t.Errorf("%s: %s instead of %q", s.ID, content, text)
		}
	}
}

// escaped is a TXT record with a value that has escapes.
func (i *harness) escaped(name zone.Name, value string) powerdns.RRset {
	i.t.Helper()
	return powerdns.RRset{Name: name, Type: "TXT", TTL: 60, Content: []string{`"` + i.forAPI(value) + `"`}}
}

// forAPI is a content as the primary's release wants it: the API of PowerDNS 5.1 takes escapes out of it twice.
func (i *harness) forAPI(content string) string {
	i.t.Helper()
	info, err := i.own.Server(i.ctx)
	must.OK(i.t, err)
	if !strings.HasPrefix(info.Version, "5.1.") {
		return content
	}
	return strings.NewReplacer(`\"`, `\\\"`, `\`, `\\`).Replace(content)
}
