package zone

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestZoneRefuses(t *testing.T) {
	for what, text := range map[string]string{
		"no SOA":                "@ 60 IN NS ns.example.net.\n",
		"two SOAs":              apexText + strings.Replace(apexText, " 7 ", " 8 ", 1),
		"SOA below the apex":    apexText + "www 60 IN SOA a. b. 1 2 3 4 5\n",
		"a record outside":      apexText + "www.example.net. 60 IN A 192.0.2.1\n",
		"a record that is near": apexText + "notexample. 60 IN A 192.0.2.1\n",
	} {
		if z, err := tryParse(t, "example.", text); !errors.Is(err, ErrZone) {
			t.Errorf("%s: got %v, %v", what, z, err)
		}
	}
}

func TestBuilderLimit(t *testing.T) {
	z := parse(t, "example", apexText)
	b := NewBuilder(z.Name(), z.Size()-1)
	var err error
	for r := range z.Records() {
		err = errors.Join(err, b.Add(r))
	}
	if !errors.Is(err, ErrTooLarge) || !errors.Is(err, ErrZone) {
		t.Errorf("got error %v", err)
	}
	b = NewBuilder(z.Name(), z.Size())
	for r := range z.Records() {
		if err := b.Add(r); err != nil {
			t.Error(err)
		}
	}
}

func TestBuilderDrop(t *testing.T) {
	z := parse(t, "example", apexText)
	b := NewBuilder(z.Name(), 0)
	for r := range z.Records() {
		b.Add(r)
	}
	b.Add(newRecord(t, rr(t, "www.example. 60 IN A 192.0.2.1")))
	b.Drop()
	got, err := b.Zone()
	if err != nil || got.Digest() != z.Digest() {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDuplicates(t *testing.T) {
	z := parse(t, "example", apexText+"www 60 IN A 192.0.2.1\nwww 30 IN A 192.0.2.1\nWWW 90 IN A 192.0.2.1\n")
	records, _ := z.RRset(MustParseName("www.example"), dns.TypeA)
	if len(records) != 1 || records[0].TTL() != 30 {
		t.Errorf("got %v", records)
	}
}

func TestRRset(t *testing.T) {
	z := parse(t, "example", signedText)
	for _, c := range []struct {
		owner               string
		typ                 uint16
		records, signatures int
	}{
		{"example", dns.TypeSOA, 1, 1}, {"example", dns.TypeNS, 1, 1}, {"example", dns.TypeNSEC, 1, 1},
		{"www.example", dns.TypeA, 2, 0}, {"www.example", dns.TypeAAAA, 0, 0}, {"x.example", dns.TypeA, 0, 0},
		{"a.example", dns.TypeA, 0, 0}, {"zzz.example", dns.TypeA, 0, 0}, {".", dns.TypeA, 0, 0},
	} {
		records, signatures := z.RRset(MustParseName(c.owner), c.typ)
		if len(records) != c.records || len(signatures) != c.signatures {
			t.Errorf("%s %s: got %v, %v", c.owner, dns.Type(c.typ), records, signatures)
		}
	}
	if z.Serial() != 7 || z.SOA().Type() != dns.TypeSOA {
		t.Errorf("SOA %s, serial %d", z.SOA(), z.Serial())
	}
}

func TestApexDenial(t *testing.T) {
	nsec := "@ 60 IN NSEC www.example. NS SOA RRSIG NSEC\n"
	nsec3 := "@ 0 IN NSEC3PARAM 1 0 5 ABCD\n"
	for text, want := range map[string]string{
		apexText:                "",
		apexText + nsec:         "NSEC",
		apexText + nsec3:        "NSEC3 0100000502abcd",
		apexText + nsec + nsec3: "NSEC3 0100000502abcd",
	} {
		if got := parse(t, "example", text).Apex().Denial(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	soa, signatures := parse(t, "example", signedText).Apex().SOA()
	if soa.Type() != dns.TypeSOA || len(signatures) != 1 || signatures[0].Covered() != dns.TypeSOA {
		t.Errorf("got %s, %v", soa, signatures)
	}
}

func TestFirstExpiry(t *testing.T) {
	if end, signed := parse(t, "example", apexText).FirstExpiry(); signed {
		t.Errorf("an unsigned zone expires at %d", end)
	}
	signature := rr(t, "example. 60 IN RRSIG NS 13 1 60 20300101000000 20200101000000 1 example. AAAA").(*dns.RRSIG)
	for _, c := range []struct {
		ends  []uint32
		first uint32
	}{
		{[]uint32{5}, 5}, {[]uint32{5, 6, 7}, 5}, {[]uint32{7, 5, 6}, 5},
		{[]uint32{1<<32 - 1, 1}, 1<<32 - 1}, {[]uint32{1, 1<<32 - 1}, 1<<32 - 1}, // RFC 4034 §3.1.5
	} {
		b := NewBuilder(MustParseName("example"), 0)
		for r := range parse(t, "example", apexText).Records() {
			b.Add(r)
		}
		for i, end := range c.ends {
			signature.Expiration, signature.KeyTag = end, uint16(i)
			b.Add(newRecord(t, signature))
		}
		z, err := b.Zone()
		if err != nil {
			t.Fatal(err)
		}
		if end, signed := z.FirstExpiry(); !signed || end != c.first {
			t.Errorf("of %v the first is %d", c.ends, end)
		}
	}
}

func TestDiff(t *testing.T) {
	before := parse(t, "example", apexText+"a 60 IN A 192.0.2.1\nb 60 IN A 192.0.2.1\nc 60 IN A 192.0.2.1\n")
	after := parse(t, "example", strings.Replace(apexText, " 7 ", " 8 ", 1)+"b 60 IN A 192.0.2.1\nb 60 IN A 192.0.2.2\nc 61 IN A 192.0.2.1\nd 60 IN A 192.0.2.1\n")
	removed, added := after.Diff(before)
	if got := owners(removed); got != "example. a.example. c.example." {
		t.Errorf("removed from %s", got)
	}
	if got := owners(added); got != "example. b.example. c.example. d.example." {
		t.Errorf("added to %s", got)
	}
	if removed, added := after.Diff(after); len(removed)+len(added) > 0 {
		t.Errorf("a zone differs from itself: -%v +%v", removed, added)
	}
}

// TestDiffMakesTheNew applies differences of random zones.
func TestDiffMakesTheNew(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		before, after := randomZone(t, random), randomZone(t, random)
		removed, added := after.Diff(before)
		b := NewBuilder(after.Name(), 0)
		for r := range before.Records() {
			if !slices.ContainsFunc(removed, func(gone Record) bool { return string(gone) == string(r) }) {
				b.Add(r)
			}
		}
		for _, r := range added {
			b.Add(r)
		}
		got, err := b.Zone()
		if err != nil {
			t.Fatal(err)
		}
		if got.Digest() != after.Digest() || len(removed) > before.Len() || len(added) > after.Len() {
			t.Fatalf("-%v +%v does not lead from one to the other", removed, added)
		}
	}
}

func randomZone(t *testing.T, random *rand.Rand) *Zone {
	b := NewBuilder(Root, 0)
	for r := range parse(t, ".", apexText).Records() {
		b.Add(r)
	}
	for range random.IntN(20) {
		wire := append([]byte(randomName(random)), 0, byte(dns.TypeA), 0, 1, 0, 0, 0, byte(random.IntN(2)), 0, 4, 0, 0, 0, byte(random.IntN(3)))
		if err := b.Add(wire); err != nil {
			t.Fatal(err)
		}
	}
	z, err := b.Zone()
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func owners(records []Record) string {
	var names []string
	for _, r := range records {
		names = append(names, r.Owner().String())
	}
	return strings.Join(names, " ")
}

func rr(t *testing.T, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// hosts is a zone of n A records besides the apex; change gives some of them another address.
func hosts(t testing.TB, n int, change ...int) *Zone {
	t.Helper()
	z, err := hostRecords(t, n, change...).Zone()
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// hostRecords is what hosts builds of, in an order as a database gives it.
func hostRecords(t testing.TB, n int, change ...int) *Builder {
	t.Helper()
	b := NewBuilder(MustParseName("example"), 0)
	for r := range parse(t, "example", apexText).Records() {
		b.Add(r)
	}
	for _, i := range rand.New(rand.NewPCG(5, 6)).Perm(n) {
		label := fmt.Sprintf("host-%07d", i)
		wire := append([]byte{byte(len(label))}, label...)
		wire = append(wire, "\x07example\x00"...)
		wire = append(wire, 0, byte(dns.TypeA), 0, 1, 0, 0, 0, 60, 0, 4, 10, byte(i>>16), byte(i>>8), byte(i))
		if slices.Contains(change, i) {
			wire[len(wire)-4] = 11
		}
		if err := b.Add(wire); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

const benchRecords = 100_000

func BenchmarkBuild(b *testing.B) {
	full := hostRecords(b, benchRecords)
	b.ReportAllocs()
	for b.Loop() {
		fresh := *full
		if _, err := fresh.Zone(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	z := hosts(b, benchRecords)
	b.ReportAllocs()
	for b.Loop() {
		fresh := NewBuilder(z.Name(), 0)
		for r := range z.Records() {
			fresh.Add(r)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	z := hosts(b, benchRecords)
	b.SetBytes(int64(z.Size()))
	for b.Loop() {
		z.Digest()
	}
}

func BenchmarkStable(b *testing.B) {
	z := hosts(b, benchRecords)
	b.SetBytes(int64(z.Size()))
	for b.Loop() {
		z.Stable()
	}
}
