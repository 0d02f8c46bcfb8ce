package zone_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

const editBase = `
example.      300 IN SOA ns.example. host.example. 1 2 3 4 5
example.      300 IN NS  ns.example.
www.example.  300 IN A   192.0.2.1
www.example.  300 IN TXT "text"
sub.example.  300 IN NS  ns.sub.example.
ns.sub.example. 300 IN A 192.0.2.2
dn.example.   300 IN DNAME other.example.net.
odd.example.  300 IN HINFO "PC" "Linux"
`

func parsed(t *testing.T, text string) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(zone.MustParseName("example"), 0)
	p := dns.NewZoneParser(strings.NewReader(text), "", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		r, err := zone.NewRecord(rr)
		if err == nil {
			err = b.Add(r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	z, err := b.Zone()
	if err != nil || p.Err() != nil {
		t.Fatal(err, p.Err())
	}
	return z
}

// What a server can be told RRset by RRset, and what it can't.
func TestEdits(t *testing.T) {
	old := parsed(t, editBase)
	for what, test := range map[string]struct {
		replace, by string
		edits       int // -1: must be transferred
	}{
		"nothing":           {"", "", 0},
		"a serial":          {"host.example. 1 2", "host.example. 2 2", 1},
		"an address":        {"192.0.2.1", "192.0.2.9", 1},
		"a TTL":             {"www.example.  300 IN A", "www.example.  60 IN A", 1},
		"an RRset less":     {`www.example.  300 IN TXT "text"`, "", 1},
		"name servers":      {"NS  ns.example.", "NS  ns2.example.", 1},
		"a name more":       {"dn.example.", "x.example. 300 IN A 192.0.2.1\ndn.example.", -1},
		"a name less":       {`odd.example.  300 IN HINFO "PC" "Linux"`, "", -1},
		"a delegation":      {"NS  ns.sub.example.", "NS  ns2.sub.example.", -1},
		"glue":              {"192.0.2.2", "192.0.2.3", -1},
		"a DNAME":           {"other.example.net.", "another.example.net.", -1},
		"an uncommon type":  {`"PC"`, `"Mac"`, -1},
		"a delegation more": {"www.example.  300 IN A   192.0.2.1", "www.example. 300 IN NS ns.example.net.", -1},
		"everything at www": {"www.example.  300 IN A   192.0.2.1\nwww.example.  300 IN TXT \"text\"", "www.example. 300 IN CNAME x.example.net.", 3},
	} {
		z := parsed(t, strings.Replace(editBase, test.replace, test.by, 1))
		edits, ok := z.Edits(old, 10)
		if ok != (test.edits >= 0) || ok && len(edits) != test.edits {
			t.Errorf("%s: %d edits, %v; want %d", what, len(edits), ok, test.edits)
		}
	}
	if _, ok := parsed(t, strings.Replace(editBase, "192.0.2.1", "192.0.2.9", 1)).Edits(old, 0); ok {
		t.Error("more edits than the limit")
	}
}

// hard are contents that some server reads otherwise than they are written, or may.
var hard = map[string][]string{
	"TXT":   {`"back \\ slash"`, `"quo\"te"`, `"\195\164"`, `"\000"`, `"\127"`, `"a\009b"`, `"a" "b"`, `""`},
	"CAA":   {`0 issue "a"`, `0 issue "a\"b"`, `0 issue "a\\b"`, `0 issue ""`},
	"CNAME": {`a\.b.example.net.`, `sp\032ace.example.`, `\200.example.`, `at\@home.example.`, `a/b.example.`, `a\"b.example.`},
	"MX":    {`1 a\.b.`}, "SRV": {`1 2 3 a\\b.`}, "PTR": {`a\.b.`, `Web\032Server._http._tcp.example.`},
	"HINFO": {`"PC" "Linux"`}, "SSHFP": {"4 2 00"}, "TLSA": {"3 1 1 00"}, "NAPTR": {`1 1 "u" "x" "" .`}, "DS": {"1 13 2 00"}, "HTTPS": {"1 . alpn=h2"},
	"SVCB": {"1 a.b."}, "LOC": {"52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m"}, "URI": {`1 1 "https://a/"`}, "DNAME": {"a.b."}, "SPF": {`"a"`},
	"TYPE65280": {`\# 1 00`}, "TYPE65401": {`\# 3 016100`}, "RP": {"a. b."}, "DNSKEY": {"256 3 13 AA=="}, "CDS": {"1 13 2 00"}, "NS": {"ns.example."},
	"OPENPGPKEY": {"AA=="}, "SMIMEA": {"3 1 1 00"}, "CERT": {"1 1 1 AA=="}, "AFSDB": {"1 a."}, "KX": {"1 a."}, "EUI48": {"00-00-5e-00-53-2a"}, "CSYNC": {"1 1 A"},
}

// What is not known to be served as it is written is transferred, and so is what has hard names, or TTLs that differ.
func TestHardContentsAreTransferred(t *testing.T) {
	const name, other = "x.example. 300 IN ", "x.example. 300 IN TYPE65281 \\# 0\n"
	old := parsed(t, editBase+other)
	for typ, contents := range hard {
		for _, content := range contents {
			z := parsed(t, editBase+other+name+typ+" "+content+"\n")
			if edits, ok := z.Edits(old, 10); ok {
				t.Errorf("%s %s: %v", typ, content, edits)
			}
			if edits, ok := old.Edits(z, 10); typ != "NS" && ok && len(edits[0].Records) > 0 {
				t.Errorf("%s %s, removed: %v", typ, content, edits)
			}
		}
	}
	for _, owner := range []string{`a\.b`, `sp\032ace`, `\200`, "a/b", `a\@b`, "a.*", "x.*.y", "*x"} {
		old, z := parsed(t, editBase+owner+".example. 300 IN A 192.0.2.1\n"), parsed(t, editBase+owner+".example. 300 IN A 192.0.2.2\n")
		if edits, ok := z.Edits(old, 10); ok {
			t.Errorf("at %s: %v", owner, edits)
		}
	}
	z := parsed(t, editBase+"www.example. 60 IN A 192.0.2.9\n")
	if edits, ok := z.Edits(parsed(t, editBase), 10); ok {
		t.Errorf("with two TTLs: %v", edits)
	}
}
