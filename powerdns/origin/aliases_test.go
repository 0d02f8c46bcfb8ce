package origin_test

import (
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/origin"
	"pdns-distribute/powerdns/zone"
)

// startResolver answers by the first label of what it is asked for: an Rcode, or nothing.
func startResolver(t *testing.T) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must.OK(t, err)
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		label, _, _ := strings.Cut(q.Question[0].Name, ".")
		rcode, known := dns.StringToRcode[strings.ToUpper(label)]
		if !known || !q.RecursionDesired {
			return
		}
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, rcode))
	})}
	go server.ActivateAndServe()
	t.Cleanup(func() { server.Shutdown() })
	return conn.LocalAddr().String()
}

// Addresses are missing for a failure, or because there are none.
func TestUnresolved(t *testing.T) {
	name := zone.MustParseName("example")
	b := zone.NewBuilder(name, 0)
	for _, text := range []string{"example. 60 IN SOA a. b. 1 1 1 1 1", "example. 60 IN A 192.0.2.1"} {
		rr, err := dns.NewRR(text)
		must.OK(t, err)
		r, err := zone.NewRecord(rr)
		must.OK(t, err)
		must.OK(t, b.Add(r))
	}
	z, err := b.Zone()
	must.OK(t, err)
	resolver := startResolver(t)
	www := zone.MustParseName("www.example")
	for _, test := range []struct {
		resolver string
		aliases  []powerdns.Alias
		want     int
	}{
		{resolver, nil, 0},
		{resolver, []powerdns.Alias{{Name: name, Target: zone.MustParseName("noerror.")}}, 0}, // no AAAA
		{resolver, []powerdns.Alias{{Name: name, Target: zone.MustParseName("servfail.")}}, 1},
		{resolver, []powerdns.Alias{{Name: www, Target: zone.MustParseName("servfail.")}, {Name: name, Target: zone.MustParseName("refused.")}}, 3},
		{resolver, []powerdns.Alias{{Name: www, Target: zone.MustParseName("nxdomain.")}}, 0},
		{resolver, []powerdns.Alias{{Name: www, Target: zone.MustParseName("silent.")}, {Name: www, Target: zone.MustParseName("noerror.")}}, 4},
		{"", []powerdns.Alias{{Name: www, Target: zone.MustParseName("noerror.")}}, 2},
	} {
		if got := origin.Unresolved(t.Context(), test.resolver, z, test.aliases); got != test.want {
			t.Errorf("%v: %d, want %d", test.aliases, got, test.want)
		}
	}
}
