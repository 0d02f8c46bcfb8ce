package zone

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const apexText = `@ 3600 IN SOA ns1.example.net. hostmaster.example.net. 7 10800 3600 604800 3600
@ 3600 IN NS ns1.example.net.
`

// common are the types whose text ldns 1.8.3 and miekg/dns read from each other.
var common = strings.Fields(`A AAAA AFSDB CAA CDNSKEY CDS CERT DNSKEY DS EUI48 HINFO HTTPS KX LOC MB MG MINFO MR MX NAPTR NS
OPENPGPKEY PTR PX RP RT SMIMEA SPF SRV SSHFP SVCB TLSA TXT URI TYPE65280`)

// manyTypes has them at names that are hard to sort and to read.
func manyTypes() string {
	owners := []string{"www", "WWW.Sub", "*.wild", `a\.b`, `\000\001`, `sp\032ace`, `\200x`, "a.b.c.d", "_sip._tcp"}
	var text strings.Builder
	text.WriteString(apexText)
	for i, name := range common {
		fmt.Fprintf(&text, "%s 60 IN %s %s\n", owners[i%len(owners)], name, rdataTexts[name])
		fmt.Fprintf(&text, "%s 60 IN %s %s\n", owners[(i+4)%len(owners)], name, rdataTexts[name])
	}
	return text.String()
}

// TestDigestAgainstLDNS has another program compute the digest.
func TestDigestAgainstLDNS(t *testing.T) {
	ldns, err := exec.LookPath("ldns-signzone")
	if err != nil {
		t.Skip("ldns-signzone is not installed: apt-get install ldnsutils")
	}
	for origin, text := range map[string]string{
		"example.":                     manyTypes(),
		".":                            apexText + "net. 60 IN NS a.net.\na.net. 60 IN A 192.0.2.1\n",
		"128/26.2.0.192.in-addr.arpa.": apexText + "129 60 IN PTR Host.example.\n",
	} {
		t.Run(origin, func(t *testing.T) {
			dir := t.TempDir()
			in, out := filepath.Join(dir, "zone"), filepath.Join(dir, "zone.out")
			if err := os.WriteFile(in, []byte("$ORIGIN "+origin+"\n"+text), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // it can go round in circles
			defer cancel()
			if msg, err := exec.CommandContext(ctx, ldns, "-Z", "-z", "sha384", "-o", origin, "-f", out, in).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, msg)
			}
			made, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			z := parse(t, origin, string(made))
			digest := z.Digest()
			if got, want := hex.EncodeToString(digest[:]), published(t, z); got != want {
				t.Errorf("digest is %s, ldns says %s", got, want)
			}
			if without := parse(t, origin, text); without.Digest() != digest {
				t.Error("the digest changes with the ZONEMD record")
			}
			if digest != slowDigest(t, z) {
				t.Error("the slow computation gives something else")
			}
		})
	}
}

const signedText = `@ 3600 IN SOA ns1.example.net. hostmaster.example.net. 7 10800 3600 604800 3600
@ 3600 IN RRSIG SOA 13 1 3600 20300101000000 20200101000000 1 example. AAAA
@ 3600 IN NS ns1.example.net.
@ 3600 IN RRSIG NS 13 1 3600 20300108000000 20200101000000 1 example. BBBB
@ 3600 IN NSEC www.example. NS SOA RRSIG NSEC
@ 3600 IN RRSIG NSEC 13 1 3600 20300108000000 20200101000000 1 example. CCCC
svc 60 IN SVCB 1 B.example.
svc 60 IN SVCB 1 a.example.
www 60 IN A 192.0.2.1
www 60 IN A 192.0.2.2
`

func TestStable(t *testing.T) {
	z := parse(t, "example", signedText)
	for what, c := range map[string]struct {
		replace []string
		equal   bool
	}{
		"other signatures":           {[]string{"AAAA", "DDDD", "BBBB", "EEEE", "CCCC", "FFFF"}, true},
		"case of an owner":           {[]string{"www 60", "WWW 60"}, true},
		"case of a folded name":      {[]string{"ns1.example.net", "NS1.example.NET"}, true},
		"case of a name that stays":  {[]string{"B.example", "b.EXAMPLE", "a.example", "A.example"}, true},
		"another NSEC":               {[]string{"NSEC www.example. NS", "NSEC svc.example. NS"}, true},
		"no NSEC":                    {[]string{"@ 3600 IN NSEC www.example. NS SOA RRSIG NSEC\n", ""}, true},
		"NSEC3PARAM":                 {[]string{"@ 3600 IN NSEC www.example. NS SOA RRSIG NSEC", "@ 0 IN NSEC3PARAM 1 0 0 -"}, true},
		"order":                      {[]string{"www 60 IN A 192.0.2.1\nwww 60 IN A 192.0.2.2", "www 60 IN A 192.0.2.2\nwww 60 IN A 192.0.2.1"}, true},
		"TTL":                        {[]string{"www 60", "www 61"}, false},
		"serial":                     {[]string{" 7 ", " 8 "}, false},
		"content":                    {[]string{"192.0.2.2", "192.0.2.3"}, false},
		"target":                     {[]string{"B.example", "c.example"}, false},
		"a record less":              {[]string{"www 60 IN A 192.0.2.2\n", ""}, false},
		"expiration":                 {[]string{"20300101000000", "20300102000000"}, false},
		"inception":                  {[]string{"20300101000000 20200101000000", "20300101000000 20200102000000"}, false},
		"key tag":                    {[]string{"20200101000000 1 example", "20200101000000 2 example"}, false},
		"algorithm":                  {[]string{"SOA 13", "SOA 8"}, false},
		"signature over NSEC, dates": {[]string{"NSEC 13 1 3600 20300108000000", "NSEC 13 1 3600 20300109000000"}, false},
	} {
		other := parse(t, "example", strings.NewReplacer(c.replace...).Replace(signedText))
		if got := other.Stable() == z.Stable(); got != c.equal {
			t.Errorf("%s: equal is %t", what, got)
		}
	}
}

// A signer that moves the serial by itself leaves everything else as it was.
func TestStableAt(t *testing.T) {
	z := parse(t, "example", signedText)
	moved := parse(t, "example", strings.Replace(signedText, " 7 ", " 8 ", 1))
	if moved.StableAt(7) != z.Stable() || moved.StableAt(8) != moved.Stable() {
		t.Error("the serial is not all that is different")
	}
	if changed := parse(t, "example", strings.NewReplacer(" 7 ", " 8 ", "192.0.2.2", "192.0.2.3").Replace(signedText)); changed.StableAt(7) == z.Stable() {
		t.Error("a change of content is not seen")
	}
	if moved.Serial() != 8 {
		t.Error("StableAt changed the zone")
	}
}

// TestStableOfMalformed gives it RDATA that is not what its type wants.
func TestStableOfMalformed(t *testing.T) {
	b := NewBuilder(Root, 0)
	for r := range parse(t, ".", apexText).Records() {
		if err := b.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, typ := range []uint16{dns.TypeSVCB, dns.TypeLP, dns.TypeTALINK, typeALIAS} {
		for n := range 4 {
			r := append([]byte{0, byte(typ >> 8), byte(typ), 0, 1, 0, 0, 0, 0, 0, byte(n)}, make([]byte, n)...)
			for i := range n {
				r[11+i] = 'A' // a label length beyond the end
			}
			if err := b.Add(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	z, err := b.Zone()
	if err != nil {
		t.Fatal(err)
	}
	before := z.Digest()
	z.Stable()
	if z.Digest() != before {
		t.Error("Stable changed the zone")
	}
}
