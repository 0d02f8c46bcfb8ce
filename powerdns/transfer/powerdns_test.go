package transfer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// contents are zones that are known to be hard for somebody. Their texts are relative to the origin.
var contents = []struct {
	name, origin, text string
	secure, nsec3      bool
}{
	{name: "small", origin: "small.example.", text: "www 60 IN A 192.0.2.1\n"},
	{name: "nsec", origin: "nsec.example.", text: "www 60 IN A 192.0.2.1\n*.wild 60 IN TXT \"w\"\nsub 60 IN NS ns.sub\nns.sub 60 IN A 192.0.2.2\n", secure: true},
	{name: "nsec3", origin: "nsec3.example.", text: "www 60 IN A 192.0.2.1\na.b.c 60 IN A 192.0.2.3\nsub 60 IN NS ns.elsewhere.example.\n", secure: true, nsec3: true},
	{name: "root", origin: ".", text: "org. 172800 IN NS a0.org.afilias-nst.info.\nnet. 172800 IN NS a.gtld-servers.net.\na.gtld-servers.net. 172800 IN A 192.5.6.30\n"},
	{name: "classless reverse", origin: "128/26.2.0.192.in-addr.arpa.", text: "129 60 IN PTR host.example.\n"},
	{name: "escapes", origin: "escapes.example.", text: `a\.b 60 IN A 192.0.2.1
sp\032ace 60 IN TXT "quo\"te" "back\\slash" "\195\164"
at\@home 60 IN CNAME c\.d.example.
h\127\200\255 60 IN A 192.0.2.1
`},
	{name: "unknown types", origin: "unknown.example.", text: `@ 60 IN TYPE65280 \# 4 0a000001
x 60 IN TYPE65281 \# 0
x 60 IN TYPE1234 \# 3 abcdef
`},
	{name: "wildcards and case", origin: "CASE.Example.", text: `* 60 IN A 192.0.2.9
WWW 60 IN CNAME Target.CASE.example.
Target 60 IN MX 10 Mail.Example.NET.
_sip._tcp 60 IN SRV 1 2 5060 SIP.Example.ORG.
svc 60 IN HTTPS 1 . alpn=h2
`},
	{name: "many types", origin: "types.example.", text: `caa 60 IN CAA 0 issue "ca.example.net"
tlsa 60 IN TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
sshfp 60 IN SSHFP 4 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
naptr 60 IN NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .
ds 60 IN NS ns.example.net.
ds 60 IN DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
loc 60 IN LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
uri 60 IN URI 10 1 "https://example.net/"
dname 60 IN DNAME elsewhere.example.
txt 60 IN TXT "` + strings.Repeat("x", 255) + `" "` + strings.Repeat("y", 255) + `"
`},
}

func TestThroughPowerDNS(t *testing.T) {
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		t.Run(string(backend), func(t *testing.T) {
			t.Parallel()
			primary, secondary := start(t, backend, true), start(t, backend, false)
			source := newZones()
			server := serve(t, transfer.Config{}, source)
			for _, c := range contents {
				t.Run(c.name, func(t *testing.T) {
					name := zone.MustParseName(c.origin)
					load(t, primary, c.origin, apex+c.text)
					if c.secure {
						pdnsutil(t, primary, "secure-zone", c.origin)
					}
					if c.nsec3 {
						pdnsutil(t, primary, "set-nsec3", c.origin, "1 0 0 -")
					}
					pdnsutil(t, primary, "rectify-zone", c.origin)
					sent := fetch(t, primary.DNSAddr, name)
					if denial := sent.Apex().Denial(); c.secure != (denial != "") {
						t.Errorf("denial is %q", denial)
					}
					source.put(sent)
					takeIn(t, secondary, server, name)
					same(t, sent, fetch(t, secondary.DNSAddr, name))
				})
			}
		})
	}
}

// same compares what a secondary was given with what it gives.
func same(t *testing.T, sent, got *zone.Zone) {
	t.Helper()
	if sent.Stable() != got.Stable() {
		t.Error("stable digests differ")
	}
	removed, added := got.Diff(sent)
	for _, r := range append(removed, added...) {
		if !r.Denial() {
			t.Errorf("differs: %s", r)
		}
	}
}

// takeIn makes the secondary a secondary of the zone and waits until it serves what the server holds.
func takeIn(t *testing.T, secondary *local.Server, server *transfer.Server, name zone.Name) {
	t.Helper()
	client := apiOf(t, secondary)
	if err := client.CreateZone(t.Context(), name, powerdns.Slave, []string{server.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	if err := client.Retrieve(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	must.Eventually(t, func() error {
		info, err := client.Zone(t.Context(), name)
		if err == nil && info.Serial == 0 {
			err = errors.New("no serial yet")
		}
		return err
	})
}

func fetch(t testing.TB, addr string, name zone.Name) *zone.Zone {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), must.Patience)
	defer cancel()
	z, err := transfer.Fetch(ctx, transfer.FetchOptions{Address: addr, Idle: must.Patience}, name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func start(t testing.TB, backend local.Backend, primary bool) *local.Server {
	t.Helper()
	return localtest.Start(t, local.Options{
		Backend: backend, Primary: primary,
		Settings: map[string]string{"zone-cache-refresh-interval": "0"}, // pdnsutil's zones are there at once
	})
}

func apiOf(t testing.TB, s *local.Server) *powerdns.Client {
	t.Helper()
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func load(t testing.TB, s *local.Server, origin, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(file, []byte("$ORIGIN "+origin+"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	pdnsutil(t, s, "load-zone", origin, file)
}

func pdnsutil(t testing.TB, s *local.Server, args ...string) {
	t.Helper()
	_, err := s.Pdnsutil(t.Context(), args...)
	must.OK(t, err)
}

// serve runs a server until the test ends.
func serve(t testing.TB, c transfer.Config, source transfer.Source) *transfer.Server {
	t.Helper()
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	server, err := transfer.NewServer(c, source)
	if err != nil {
		t.Fatal(err)
	}
	run(t, server.Run)
	return server
}

// run runs a role until the test ends and waits for it.
func run(t testing.TB, role func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- role(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
