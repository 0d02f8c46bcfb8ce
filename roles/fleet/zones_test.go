package fleet_test

import (
	"fmt"
	"strings"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
)

// spec makes a zone with a SOA, two name servers and more.
func spec(name zone.Name, more ...powerdns.RRset) powerdns.ZoneSpec {
	return powerdns.ZoneSpec{
		Name: name, Kind: powerdns.Native, SOAEditAPI: "INCREASE", APIRectify: true,
		RRsets: append([]powerdns.RRset{
			{Name: name, Type: "SOA", TTL: 3600, Content: []string{"ns1.example.net. hostmaster.example.net. 1 10800 3600 604800 300"}},
			{Name: name, Type: "NS", TTL: 3600, Content: []string{"ns1.example.net.", "ns2.example.net."}},
		}, more...),
	}
}

func signed(s powerdns.ZoneSpec, nsec3 string) powerdns.ZoneSpec {
	s.DNSSEC, s.NSEC3Param = true, nsec3
	return s
}

func text(name zone.Name, value string) powerdns.RRset {
	return powerdns.RRset{Name: name, Type: "TXT", TTL: 60, Content: []string{fmt.Sprintf("%q", value)}}
}

func below(label string, name zone.Name) zone.Name {
	return zone.MustParseName(label + "." + name.String())
}

// manyTypes are sets of more than ten types, with a wildcard, a delegation, an empty non-terminal, upper case and
// long text, as the API of every release takes them.
func manyTypes(name zone.Name) []powerdns.RRset {
	set := func(label, typ string, content ...string) powerdns.RRset {
		owner := name
		if label != "" {
			owner = below(label, name)
		}
		return powerdns.RRset{Name: owner, Type: typ, TTL: 300, Content: content}
	}
	return []powerdns.RRset{
		set("", "A", "192.0.2.1"),
		set("", "MX", "10 Mail.Example.NET.", "20 mail2.example.net."),
		set("", "CAA", `0 issue "ca.example.net"`),
		set("www", "A", "192.0.2.1", "192.0.2.2"),
		set("www", "AAAA", "2001:db8::1"),
		set("alias", "CNAME", "www."+name.String()),
		set("dn", "DNAME", "other.example.net."),
		set("_sip._tcp", "SRV", "10 20 5060 sip.example.net."),
		set("_443._tcp.www", "TLSA", "3 1 1 "+strings.Repeat("ab", 32)),
		set("host", "SSHFP", "4 2 "+strings.Repeat("cd", 32)),
		set("svc", "HTTPS", "1 . alpn=h2,h3 ipv4hint=192.0.2.7"),
		set("num", "NAPTR", `100 50 "s" "http+I2R" "" _http._tcp.example.net.`),
		set("ptr", "PTR", "target.example.net."),
		set("long", "TXT", `"`+strings.Repeat("x", 255)+`" "`+strings.Repeat("y", 255)+`" "semicolon ; umlaut \195\164"`),
		set("*.wild", "A", "192.0.2.99"),
		set("sub", "NS", "ns.sub."+name.String()),
		set("ns.sub", "A", "192.0.2.53"),
		set("a.b.c.ent", "A", "192.0.2.4"),
		set("unknown", "TYPE65280", `\# 4 0a0b0c0d`),
	}
}
