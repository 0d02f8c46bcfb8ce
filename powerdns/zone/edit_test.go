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
