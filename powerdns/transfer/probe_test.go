package transfer_test

import (
	"errors"
	"net"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

func TestProbePowerDNS(t *testing.T) {
	primary := start(t, local.SQLite, true)
	load(t, primary, "probe.example", apex)
	load(t, primary, "signed.example", apex)
	pdnsutil(t, primary, "secure-zone", "signed.example")
	expires, _ := fetch(t, primary.DNSAddr, zone.MustParseName("signed.example")).FirstExpiry()
	name := zone.MustParseName("probe.example")
	want, err := transfer.Serial(t.Context(), primary.DNSAddr, name, transfer.AskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tcp := range []bool{false, true} {
		if p, err := transfer.Probe(t.Context(), primary.DNSAddr, name, tcp); err != nil || p.Serial != want || p.Expires != 0 {
			t.Errorf("tcp %v: %+v, %v", tcp, p, err)
		}
		signed := zone.MustParseName("signed.example")
		if p, err := transfer.Probe(t.Context(), primary.DNSAddr, signed, tcp); err != nil || p.Expires != expires {
			t.Errorf("tcp %v: %+v, %v, want signatures until %d", tcp, p, err, expires)
		}
		if _, err := transfer.Probe(t.Context(), primary.DNSAddr, zone.MustParseName("other.example"), tcp); !errors.Is(err, transfer.ErrLame) {
			t.Errorf("tcp %v, a zone that it has not: %v", tcp, err)
		}
		if _, err := transfer.Probe(t.Context(), "127.0.0.1:1", name, tcp); !errors.Is(err, transfer.ErrSilent) {
			t.Errorf("tcp %v, nobody there: %v", tcp, err)
		}
	}
}

// Whatever stands at a public address, its answer is judged, and nothing worse.
func TestProbeOfFakes(t *testing.T) {
	name := zone.MustParseName("probe.example")
	for what, test := range map[string]struct {
		answer func(m *dns.Msg)
		want   error
	}{
		"SERVFAIL":           {func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, transfer.ErrServfail},
		"REFUSED":            {func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }, transfer.ErrLame},
		"a referral":         {func(m *dns.Msg) { m.Authoritative = false }, transfer.ErrLame},
		"no SOA":             {func(m *dns.Msg) { m.Answer = nil }, transfer.ErrLame},
		"a SOA of two names": {func(m *dns.Msg) { m.Answer = []dns.RR{&dns.RFC3597{Hdr: header("probe.example."), Rdata: "0000"}} }, transfer.ErrLame},
		"an empty SOA":       {func(m *dns.Msg) { m.Answer = []dns.RR{&dns.RFC3597{Hdr: header("probe.example."), Rdata: ""}} }, transfer.ErrSilent},
	} {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg)
			m.SetReply(q)
			m.Authoritative = true
			m.Answer = []dns.RR{&dns.SOA{Hdr: header("probe.example."), Ns: "a.", Mbox: "b.", Serial: 7}}
			test.answer(m)
			w.WriteMsg(m)
		})}
		ended := make(chan error, 1)
		go func() { ended <- server.ActivateAndServe() }()
		if _, err := transfer.Probe(t.Context(), pc.LocalAddr().String(), name, false); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", what, err)
		}
		server.Shutdown()
		<-ended
	}
}

func header(name string) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60}
}
