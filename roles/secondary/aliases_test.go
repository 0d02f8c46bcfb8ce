package secondary

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/roletest"
)

// zoneWith makes a zone of some records.
func zoneWith(t *testing.T, apex string, lines ...string) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(zone.MustParseName(apex), 0)
	text := "@ 60 IN SOA a. b. 1 1 1 1 1\n" + strings.Join(lines, "\n") + "\n"
	p := dns.NewZoneParser(strings.NewReader(text), dns.Fqdn(apex), "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		r, err := zone.NewRecord(rr)
		roletest.Must(t, err)
		roletest.Must(t, b.Add(r))
	}
	z, err := b.Zone()
	roletest.Must(t, err)
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
