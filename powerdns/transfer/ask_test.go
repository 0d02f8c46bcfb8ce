package transfer_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

func TestAskPowerDNS(t *testing.T) {
	primary := start(t, local.SQLite, true)
	load(t, primary, "ask.example", apex+"www 60 IN A 192.0.2.1\nwww 60 IN A 192.0.2.2\n")
	pdnsutil(t, primary, "secure-zone", "ask.example")
	for _, c := range []struct {
		name              string
		typ               uint16
		o                 transfer.AskOptions
		rcode             int
		answer, authority int
	}{
		{"www.ask.example", dns.TypeA, transfer.AskOptions{}, dns.RcodeSuccess, 2, 0},
		{"WWW.ask.example", dns.TypeA, transfer.AskOptions{DNSSEC: true}, dns.RcodeSuccess, 3, 0},
		{"www.ask.example", dns.TypeA, transfer.AskOptions{DNSSEC: true, TCP: true, Unique: true}, dns.RcodeSuccess, 3, 0},
		{"ask.example", dns.TypeDNSKEY, transfer.AskOptions{Unique: true}, dns.RcodeSuccess, 1, 0},
		{"none.ask.example", dns.TypeA, transfer.AskOptions{}, dns.RcodeNameError, 0, 1},
		{"none.ask.example", dns.TypeA, transfer.AskOptions{DNSSEC: true, Unique: true}, dns.RcodeNameError, 0, 4},
		{"example.net", dns.TypeSOA, transfer.AskOptions{}, dns.RcodeRefused, 0, 0},
	} {
		a, err := transfer.Ask(t.Context(), primary.DNSAddr, zone.MustParseName(c.name), c.typ, c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if a.Rcode != c.rcode || len(a.Answer) != c.answer || len(a.Authority) != c.authority || a.AA != (c.rcode != dns.RcodeRefused) {
			t.Errorf("%s %+v: got %+v", c.name, c.o, a)
		}
	}
}

// TestUniqueMissesPacketCache has PowerDNS count.
func TestUniqueMissesPacketCache(t *testing.T) {
	primary := start(t, local.SQLite, true)
	load(t, primary, "cache.example", apex)
	hits := func() int {
		n, err := strconv.Atoi(control(t, primary, "show", "packetcache-hit"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, o := range []transfer.AskOptions{{}, {DNSSEC: true}, {TCP: true}} {
		for _, o.Unique = range []bool{false, true} {
			const times = 10
			before := hits()
			for range times {
				if _, err := transfer.Ask(t.Context(), primary.DNSAddr, zone.MustParseName("cache.example"), dns.TypeSOA, o); err != nil {
					t.Fatal(err)
				}
			}
			if got := hits() - before; o.Unique && got != 0 || !o.Unique && got < times-1 {
				t.Errorf("%+v: %d of %d answers came out of the packet cache", o, got, times)
			}
		}
	}
}

// TestAskAgain answers the second packet only, and other things first.
func TestAskAgain(t *testing.T) {
	addr := serveUDP(t, func(conn net.PacketConn) {
		buf := make([]byte, 512)
		conn.ReadFrom(buf)
		n, from, _ := conn.ReadFrom(buf)
		question := new(dns.Msg)
		if err := question.Unpack(buf[:n]); err != nil {
			t.Error(err)
		}
		for _, change := range []func(*dns.Msg){
			func(m *dns.Msg) { m.Id++ },
			func(m *dns.Msg) { m.Question[0].Name = "example.net." },
			func(m *dns.Msg) { m.Response = false },
			func(m *dns.Msg) { m.Question = nil },
			func(m *dns.Msg) {},
		} {
			packed, _ := but(say(soa), change)(question.Copy()).Pack()
			conn.WriteTo(packed, from)
		}
	})
	a, err := transfer.Ask(t.Context(), addr, zone.MustParseName("example"), dns.TypeSOA, transfer.AskOptions{})
	if err != nil || len(a.Answer) != 1 || a.Answer[0].Type() != dns.TypeSOA {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestAskGivesUp(t *testing.T) {
	packets := 0
	addr := serveUDP(t, func(conn net.PacketConn) {
		for buf := make([]byte, 512); ; packets++ {
			if _, _, err := conn.ReadFrom(buf); err != nil {
				return
			}
		}
	})
	_, err := transfer.Ask(t.Context(), addr, zone.Root, dns.TypeSOA, transfer.AskOptions{})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := transfer.Ask(ctx, addr, zone.Root, dns.TypeSOA, transfer.AskOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
}

// serveUDP gives a socket to serve until the test ends.
func serveUDP(t *testing.T, serve func(net.PacketConn)) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serve(conn)
	}()
	t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return conn.LocalAddr().String()
}
