package zone

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// rdataTexts has a record of each type that can be a zone's content. TestEveryType demands that none is left out that
// miekg/dns can read.
var rdataTexts = map[string]string{
	"A": "192.0.2.1", "AAAA": "2001:db8::1", "AFSDB": "1 Host.example.", "AMTRELAY": "10 0 1 203.0.113.15",
	"APL": "1:192.168.32.0/21 !1:192.168.38.0/28", "AVC": `"app-name:x"`, "CAA": `0 issue "ca.example.net"`,
	"CDNSKEY": "257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==",
	"CDS":     "12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	"CERT":    "PKIX 1 RSASHA256 q83v", "CNAME": "Target.example.", "CSYNC": "66 3 A NS AAAA", "DHCID": "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=",
	"DLV": "12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "DNAME": "Elsewhere.example.",
	"DNSKEY": "256 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==",
	"DS":     "12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	"EID":    "e32c6f78163a9348", "EUI48": "00-00-5e-00-53-2a", "EUI64": "00-00-5e-ef-10-00-00-2a", "GID": "100",
	"GPOS": "-32.6882 116.8652 10.0", "HINFO": `"PDP-11" "UNIX"`,
	"HIP":   "2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p9+LrV4e19WzK00+CI6zBCQTdtWsuxKbWIy87UOoJTwkUs7lBu+Upr1gsNrut79ryra+bSRGQb1slImA8YVJyuIDsj7kwzG7jnERNqnWxZ48AWkskmdHaVDP4BcelrTI3rMXdXF5D Rvs.example.com.",
	"HTTPS": "1 Svc.example. alpn=h2", "IPSECKEY": "10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
	"ISDN": `"150862028003217" "004"`, "KEY": "256 3 13 q83v", "KX": "10 Kx.example.", "L32": "10 10.1.2.0", "L64": "10 2001:0db8:1140:1000",
	"LOC": "52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", "LP": "10 L64-subnet.example.", "MB": "Mb.example.", "MD": "Md.example.",
	"MF": "Mf.example.", "MG": "Mg.example.", "MINFO": "R.example. E.example.", "MR": "Mr.example.", "MX": "10 Mail.example.",
	"NAPTR": `100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" Repl.example.`, "NID": "10 0014:4fff:ff20:ee64", "NIMLOC": "e32c6f78163a9348",
	"NINFO": `"info"`, "NS": "Ns.example.", "NSAP-PTR": "Foo.example.", "NSEC": "Next.example. A RRSIG NSEC",
	"NSEC3": "1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A RRSIG", "NSEC3PARAM": "1 0 0 -",
	"NXT": "Next.example. A NXT", "OPENPGPKEY": "q83v", "PTR": "Ptr.example.", "PX": "10 Map822.example. Mapx400.example.", "RESINFO": `"qnamemin"`,
	"RKEY": "256 3 13 q83v", "RP": "Mbox.example. Txt.example.", "RRSIG": "A 13 2 60 20300101000000 20200101000000 1 Signer.example. q83v",
	"RT": "10 Relay.example.", "SIG": "A 13 2 60 20300101000000 20200101000000 1 Signer.example. q83v", "SMIMEA": "3 0 0 0123456789abcdef",
	"SOA": "Ns.example. Hostmaster.example. 1 2 3 4 5", "SPF": `"v=spf1 -all"`, "SRV": "1 2 443 Srv.example.", "SSHFP": "4 2 0123456789abcdef",
	"SVCB": "1 Svc.example. port=8443", "TA": "12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	"TALINK": "Before.example. After.example.", "TLSA": "3 1 1 0123456789abcdef", "TXT": `"text" "quo\"te"`, "UID": "100", "UINFO": `"info"`,
	"URI": `10 1 "https://example.net/"`, "X25": "311061700956", "ZONEMD": "1 1 1 " + strings.Repeat("ab", 48), "TYPE65280": `\# 4 0a000001`,
}

// notContent are the types that a zone cannot hold, or that miekg/dns has no text for.
var notContent = []uint16{
	dns.TypeNone, dns.TypeReserved, dns.TypeNULL, dns.TypeOPT, dns.TypeTKEY, dns.TypeTSIG, dns.TypeIXFR, dns.TypeAXFR, dns.TypeMAILB,
	dns.TypeMAILA, dns.TypeANY, dns.TypeNXNAME, dns.TypeATMA, dns.TypeUNSPEC,
}

func TestEveryType(t *testing.T) {
	for typ, name := range dns.TypeToString {
		if _, ok := rdataTexts[name]; !ok && !slices.Contains(notContent, typ) {
			t.Errorf("%s is not tested", name)
		}
	}
	for name, text := range rdataTexts {
		rr, err := dns.NewRR("WWW.Example. 60 IN " + name + " " + text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := newRecord(t, rr)
		if r.Owner() != MustParseName("www.example") || r.Type() != rr.Header().Rrtype || r.TTL() != 60 {
			t.Errorf("%s became %s", rr, r)
		}
		again, next, err := AppendRecord(nil, r, 0)
		if err != nil || next != len(r) || !bytes.Equal(again, r) {
			t.Errorf("%s changes when it is read again: % x, %v", r, again, err)
		}
		if !strings.EqualFold(r.String(), rr.String()) {
			t.Errorf("%s reads %s", rr, r)
		}
		rr.Header().Name = "www.example."
		if !bytes.Equal(r, wire(t, rr)) {
			t.Errorf("%s: its letters are not those that were written", name)
		}
		canonical := r.Canonical()
		if !bytes.Equal(canonical, wire(t, lowered(t, rr))) || bytes.Equal(canonical, r) == slices.Contains(folded, name) {
			t.Errorf("%s: canonical form % x", name, canonical)
		}
		if compareRecords(canonical, r) != 0 {
			t.Errorf("%s: letters tell records apart", name)
		}
	}
}

// folded is the list of RFC 4034 §6.2 as RFC 6840 §5.1 corrects it, written down once more.
var folded = []string{
	"NS", "MD", "MF", "CNAME", "SOA", "MB", "MG", "MR", "PTR", "MINFO", "MX", "RP", "AFSDB", "RT", "SIG", "PX", "NXT",
	"NAPTR", "KX", "SRV", "DNAME", "RRSIG",
}

// TestCompression reads records as servers send them, names in RDATA compressed.
func TestCompression(t *testing.T) {
	m := &dns.Msg{Compress: true, Question: []dns.Question{{Name: "Example.", Qtype: dns.TypeAXFR, Qclass: dns.ClassINET}}}
	for _, name := range []string{"NS", "CNAME", "SOA", "PTR", "MX", "MINFO", "MB", "MG", "MR"} {
		rr, err := dns.NewRR("www.Example. 60 IN " + name + " " + rdataTexts[name])
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	off := 12 + len("\x07Example\x00") + 4
	for _, rr := range m.Answer {
		var r Record
		if r, off, err = AppendRecord(nil, msg, off); err != nil {
			t.Fatal(err)
		}
		if want := newRecord(t, rr); !bytes.Equal(r, want) {
			t.Errorf("got %s, want %s", r, want)
		}
	}
	if off != len(msg) {
		t.Errorf("ends at %d of %d", off, len(msg))
	}
}

func TestAppendRecordRefuses(t *testing.T) {
	fixed := "0001" + "0001" + "0000003c"
	for what, text := range map[string]string{
		"nothing":                          "",
		"owner without end":                "0161",
		"label past the end":               "05616161",
		"no fixed part":                    "00" + "0001",
		"RDATA past the end":               "00" + fixed + "0005" + "00000000",
		"class CH":                         "00" + "0001" + "0003" + "0000003c" + "0000",
		"class ANY":                        "00" + "0001" + "00ff" + "0000003c" + "0000",
		"type 0":                           "00" + "0000" + "0001" + "0000003c" + "0000",
		"OPT":                              "00" + "0029" + "0001" + "0000003c" + "0000",
		"TSIG":                             "00" + "00fa" + "0001" + "0000003c" + "0000",
		"pointer to itself":                "c000" + fixed + "0000",
		"pointer forwards":                 "c002" + "00" + fixed + "0000",
		"pointer past the end":             "ffff" + fixed + "0000",
		"pointer cut off":                  "c0",
		"label type 01":                    "4000" + fixed + "0000",
		"label type 10":                    "8000" + fixed + "0000",
		"name of NS past its RDATA":        "00" + "0002" + "0001" + "0000003c" + "0003" + "056161" + "61616100",
		"pointer in NS to itself":          "00" + "0002" + "0001" + "0000003c" + "0002" + "c00b",
		"NS without RDATA":                 "00" + "0002" + "0001" + "0000003c" + "0000",
		"MX of one byte":                   "00" + "000f" + "0001" + "0000003c" + "0001" + "00",
		"NAPTR whose text runs out":        "00" + "0023" + "0001" + "0000003c" + "0006" + "000000000561",
		"owner of 256 bytes":               strings.Repeat("0161", 127) + "0161" + "00" + fixed + "0000",
		"owner of 256 bytes by a pointer ": "01" + "61" + strings.Repeat("0161", 126) + "0261" + "00" + fixed + "0000",
	} {
		msg, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if r, _, err := AppendRecord(nil, msg, 0); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: got % x, %v", what, r, err)
		}
	}
}

// TestExpandedRDATA has RDATA that is too long only when its names are expanded.
func TestExpandedRDATA(t *testing.T) {
	name := strings.Repeat("\x01a", 127) + "\x00"
	msg := []byte(name)
	msg = append(msg, 0, 1, 0x61, 0, 0, 15, 0, 1, 0, 0, 0, 60) // MX at a name of its own
	off := len(name) + 1
	rest := make([]byte, maxRdata-4)
	msg = append(msg, 0xff, 0xff, 0, 10, 0xc0, 0)
	msg = append(msg, rest...)
	msg = append(msg[:off], append([]byte{0}, msg[off+3:]...)...)
	if r, _, err := AppendRecord(nil, msg, off); !errors.Is(err, ErrRecord) {
		t.Errorf("got %d bytes, %v", len(r), err)
	}
}

func FuzzAppendRecord(f *testing.F) {
	for name, text := range rdataTexts {
		if rr, err := dns.NewRR("www.example. 60 IN " + name + " " + text); err == nil && rr != nil {
			f.Add([]byte(newRecord(f, rr)), uint16(0))
		}
	}
	f.Add([]byte("\x03www\x07example\x00\xc0\x04\x00\x02\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x00"), uint16(13))
	f.Fuzz(func(t *testing.T, msg []byte, off uint16) {
		r, next, err := AppendRecord(nil, msg, int(off))
		if err != nil {
			return
		}
		if next > len(msg) {
			t.Fatalf("next is %d of %d", next, len(msg))
		}
		again, end, err := AppendRecord(nil, r, 0)
		if err != nil || end != len(r) || !bytes.Equal(again, r) {
			t.Fatalf("% x is not canonical: % x, %v", r, again, err)
		}
		if cut, rest, err := cutRecord(r); err != nil || len(rest) > 0 || !bytes.Equal(cut, r) {
			t.Fatalf("% x cannot be cut: %v", r, err)
		}
		Record(stableForm(r)).Owner()
		_ = Record(r).String()
		Record(r).Covered()
	})
}
