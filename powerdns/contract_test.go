package powerdns_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// contract is what the client promises of a real PowerDNS. Each clause has the server with others, and its own zones.
var contract = []struct {
	name  string
	check func(*testing.T, *local.Server, *powerdns.Client)
}{
	{"server", checkServer},
	{"unusual names", checkUnusualNames},
	{"zone life", checkZoneLife},
	{"missing zones", checkMissing},
	{"wrong key", checkWrongKey},
	{"wrong server id", checkWrongServerID},
	{"wrong path", checkWrongPath},
	{"rejected", checkRejected},
	{"edits", checkEdits},
	{"serials of signed zones", checkSignedSerials},
	{"served serials", checkServedZones},
	{"denial", checkDenial},
	{"presigned", checkPresigned},
	{"transfer", checkTransfer},
	{"cryptokeys", checkCryptokeys},
	{"flush", checkFlush},
	{"zone at a secondary", checkSecondaryZone},
	{"zone at a secondary, made anew", checkSecondaryAnew},
}

func TestContract(t *testing.T) {
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		t.Run(string(backend), func(t *testing.T) {
			s := localtest.Start(t, local.Options{Backend: backend, Primary: true, Settings: map[string]string{"secondary": "yes"}})
			for _, clause := range contract {
				t.Run(clause.name, func(t *testing.T) { clause.check(t, s, clientOf(t, s.Config())) })
			}
		})
	}
}

func TestStoppedServerIsUnavailable(t *testing.T) {
	s := localtest.Start(t, local.Options{})
	client := clientOf(t, s.Config())
	s.Kill()
	_, err := client.Zones(t.Context())
	wantError(t, err, powerdns.ErrUnavailable)
	_, err = client.Zone(t.Context(), zone.MustParseName("any.example"))
	wantError(t, err, powerdns.ErrUnavailable)
}

func checkServer(t *testing.T, s *local.Server, c *powerdns.Client) {
	info, err := c.Server(t.Context())
	must.OK(t, err)
	if info.ID != "localhost" || !strings.Contains(info.Version, ".") {
		t.Errorf("server is %+v", info)
	}
	settings, err := c.Config(t.Context())
	must.OK(t, err)
	if settings["launch"] != string(s.Backend) || settings["query-cache-ttl"] == "" {
		t.Errorf("launch=%q query-cache-ttl=%q", settings["launch"], settings["query-cache-ttl"])
	}
	life, err := c.Life(t.Context())
	must.OK(t, err)
	if life.Uptime < 0 || life.Uptime > time.Hour || life.CPU <= 0 {
		t.Errorf("alive for %+v", life)
	}
	later, err := c.Life(t.Context())
	must.OK(t, err)
	if !later.Continues(life) || (powerdns.Life{CPU: life.CPU - 1}).Continues(life) {
		t.Errorf("%+v should continue %+v, and what used less should not", later, life)
	}
}

func checkUnusualNames(t *testing.T, _ *local.Server, c *powerdns.Client) {
	for _, text := range []string{".", "_tcp.odd.example.", "0/25.2.0.192.in-addr.arpa.", "xn--bcher-kva.example.", "UPPER.Example."} {
		name := zone.MustParseName(text)
		must.OK(t, c.CreateZone(t.Context(), name, powerdns.Native, nil))
		info, err := c.Zone(t.Context(), name)
		must.OK(t, err)
		if info.Name != name || info.ID != name.ID() {
			t.Errorf("%s: is %s with id %s, want id %s", text, info.Name, info.ID, name.ID())
		}
		must.OK(t, c.DeleteZone(t.Context(), name))
	}
	for _, text := range []string{`a\.b.example.`, `sp\032ace.example.`, `\255\\\"@$;().example.`} {
		_, err := c.Zone(t.Context(), zone.MustParseName(text))
		wantError(t, err, powerdns.ErrNotFound)
	}
}

func checkZoneLife(t *testing.T, _ *local.Server, c *powerdns.Client) {
	name := zone.MustParseName("life.example")
	must.OK(t, c.CreateZone(t.Context(), name, powerdns.Slave, []string{"127.0.0.1:5300", "192.0.2.1"}))
	wantError(t, c.CreateZone(t.Context(), name, powerdns.Slave, nil), powerdns.ErrExists)
	want := powerdns.ZoneInfo{Name: name, ID: "life.example.", Kind: powerdns.Slave, Masters: []string{"127.0.0.1:5300", "192.0.2.1"}}
	wantListed(t, c, want)

	must.OK(t, c.MakeSlave(t.Context(), name, []string{"127.0.0.1:5301"}))
	want.Masters = []string{"127.0.0.1:5301"}
	wantListed(t, c, want)

	must.OK(t, c.DeleteZone(t.Context(), name))
	_, err := c.Zone(t.Context(), name)
	wantError(t, err, powerdns.ErrNotFound)
}

// wantListed wants the zone alike from the listing and when asked for alone.
func wantListed(t *testing.T, c *powerdns.Client, want powerdns.ZoneInfo) {
	t.Helper()
	zones, err := c.Zones(t.Context())
	must.OK(t, err)
	i := slices.IndexFunc(zones, func(z powerdns.ZoneInfo) bool { return z.Name == want.Name })
	if i < 0 {
		t.Fatalf("%s is not among %v", want.Name, zones)
	}
	wantInfo(t, zones[i], want)
	got, err := c.Zone(t.Context(), want.Name)
	must.OK(t, err)
	wantInfo(t, got, want)
}

func wantInfo(t *testing.T, got, want powerdns.ZoneInfo) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// zoneCalls are all calls that name a zone which has to exist.
var zoneCalls = map[string]func(context.Context, *powerdns.Client, zone.Name) error{
	"Zone": func(ctx context.Context, c *powerdns.Client, n zone.Name) error { _, err := c.Zone(ctx, n); return err },
	"MakeSlave": func(ctx context.Context, c *powerdns.Client, n zone.Name) error {
		return c.MakeSlave(ctx, n, []string{"127.0.0.1"})
	},
	"DeleteZone": func(ctx context.Context, c *powerdns.Client, n zone.Name) error { return c.DeleteZone(ctx, n) },
	"Retrieve":   func(ctx context.Context, c *powerdns.Client, n zone.Name) error { return c.Retrieve(ctx, n) },
	"Cryptokeys": func(ctx context.Context, c *powerdns.Client, n zone.Name) error {
		_, err := c.Cryptokeys(ctx, n)
		return err
	},
	"DeleteCryptokey": func(ctx context.Context, c *powerdns.Client, n zone.Name) error { return c.DeleteCryptokey(ctx, n, 1) },
	"Patch": func(ctx context.Context, c *powerdns.Client, n zone.Name) error {
		return c.Patch(ctx, n, []powerdns.RRset{a(n, "192.0.2.1")})
	},
	"Presigned": func(ctx context.Context, c *powerdns.Client, n zone.Name) error {
		_, err := c.Presigned(ctx, n)
		return err
	},
	"SetNSEC3Param": func(ctx context.Context, c *powerdns.Client, n zone.Name) error {
		return c.SetNSEC3Param(ctx, n, "1 0 0 -")
	},
	"Rectify": func(ctx context.Context, c *powerdns.Client, n zone.Name) error { return c.Rectify(ctx, n) },
}

func wantAllZoneCalls(t *testing.T, c *powerdns.Client, want error) {
	t.Helper()
	for name, call := range zoneCalls {
		if err := call(t.Context(), c, zone.MustParseName("missing.example")); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func checkMissing(t *testing.T, _ *local.Server, c *powerdns.Client) {
	wantAllZoneCalls(t, c, powerdns.ErrNotFound)
}

func checkWrongKey(t *testing.T, s *local.Server, _ *powerdns.Client) {
	cfg := s.Config()
	cfg.APIKey = "wrong"
	wantAllZoneCalls(t, clientOf(t, cfg), powerdns.ErrUnauthorized)
}

func checkWrongServerID(t *testing.T, s *local.Server, _ *powerdns.Client) {
	cfg := s.Config()
	cfg.ServerID = "elsewhere"
	wantNothingKnown(t, clientOf(t, cfg))
}

func checkWrongPath(t *testing.T, s *local.Server, _ *powerdns.Client) {
	cfg := s.Config()
	cfg.APIURL += "/behind-a-proxy/"
	wantNothingKnown(t, clientOf(t, cfg))
}

// wantNothingKnown: PowerDNS answers 404 to everything, and nothing may be concluded from it.
func wantNothingKnown(t *testing.T, c *powerdns.Client) {
	t.Helper()
	wantAllZoneCalls(t, c, powerdns.ErrProtocol)
	_, err := c.Zone(t.Context(), zone.MustParseName("missing.example"))
	if errors.Is(err, powerdns.ErrNotFound) {
		t.Error("a 404 that is not about the zone was taken for one that is")
	}
	zones, err := c.Zones(t.Context())
	wantError(t, err, powerdns.ErrProtocol)
	if zones != nil {
		t.Errorf("zones: %v", zones)
	}
}

func checkRejected(t *testing.T, _ *local.Server, c *powerdns.Client) {
	err := c.CreateZone(t.Context(), zone.MustParseName(`sp\032ace.example.`), powerdns.Native, nil)
	wantError(t, err, powerdns.ErrRejected)
	if !strings.Contains(err.Error(), "unsupported characters") {
		t.Errorf("PowerDNS's own text is missing: %v", err)
	}
	native := newZone(t, c, "native.example", powerdns.ZoneSpec{})
	wantError(t, c.Retrieve(t.Context(), native), powerdns.ErrRejected)
}

func checkEdits(t *testing.T, s *local.Server, c *powerdns.Client) {
	name := newZone(t, c, "edits.example", powerdns.ZoneSpec{SOAEditAPI: "DEFAULT"})
	www := zone.MustParseName("www.edits.example")
	before, err := c.Zone(t.Context(), name)
	must.OK(t, err)
	must.OK(t, c.Patch(t.Context(), name, []powerdns.RRset{a(www, "192.0.2.1", "192.0.2.2")}))
	wantAnswers(t, s, www, 2)
	after, err := c.Zone(t.Context(), name)
	must.OK(t, err)
	if after.Serial <= before.Serial {
		t.Errorf("serial went from %d to %d", before.Serial, after.Serial)
	}
	must.OK(t, c.Patch(t.Context(), name, []powerdns.RRset{a(www)}))
	wantAnswers(t, s, www, 0)
	must.OK(t, c.Rectify(t.Context(), name))
}

// checkSignedSerials: INCEPTION-INCREMENT shows a serial of its own as long as the stored one is lower, and so hides
// edits; the stored one shows them.
func checkSignedSerials(t *testing.T, _ *local.Server, c *powerdns.Client) {
	name := newZone(t, c, "hidden.example", powerdns.ZoneSpec{DNSSEC: true, SOAEdit: "INCEPTION-INCREMENT", RRsets: []powerdns.RRset{
		{Name: zone.MustParseName("hidden.example"), Type: "SOA", TTL: 60, Content: []string{"ns. host. 5 3600 600 86400 60"}},
	}})
	before, err := c.Zone(t.Context(), name)
	must.OK(t, err)
	must.OK(t, c.Patch(t.Context(), name, []powerdns.RRset{
		{Name: name, Type: "SOA", TTL: 60, Content: []string{"ns. host. 6 3600 600 86400 60"}},
	}))
	after, err := c.Zone(t.Context(), name)
	must.OK(t, err)
	if before.Serial != 5 || after.Serial != 6 || after.EditedSerial != before.EditedSerial || after.EditedSerial < 2026000000 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if !after.DNSSEC {
		t.Error("zone is not signed")
	}
}

// checkServedZones: both listings have the zone, and the costly one what SOA-EDIT makes of it.
func checkServedZones(t *testing.T, _ *local.Server, c *powerdns.Client) {
	name := newZone(t, c, "served.example", powerdns.ZoneSpec{DNSSEC: true, SOAEdit: "INCREMENT-WEEKS", SOAEditAPI: "DEFAULT"})
	info, err := c.Zone(t.Context(), name)
	must.OK(t, err)
	find := func(zones []powerdns.ZoneInfo, err error) powerdns.ZoneInfo {
		must.OK(t, err)
		i := slices.IndexFunc(zones, func(z powerdns.ZoneInfo) bool { return z.Name == name })
		if i < 0 {
			t.Fatalf("%s is not among %v", name, zones)
		}
		return zones[i]
	}
	cheap, costly := find(c.Zones(t.Context())), find(c.ServedZones(t.Context()))
	wantInfo(t, costly, info)
	if cheap.Serial != info.Serial || info.EditedSerial <= info.Serial || !costly.DNSSEC || cheap.DNSSEC || cheap.EditedSerial != 0 {
		t.Errorf("cheap %+v, costly %+v, alone %+v", cheap, costly, info)
	}
}

func checkDenial(t *testing.T, _ *local.Server, c *powerdns.Client) {
	name := newZone(t, c, "denial.example", powerdns.ZoneSpec{DNSSEC: true})
	for _, parameters := range []string{"", "1 0 0 -", ""} {
		must.OK(t, c.SetNSEC3Param(t.Context(), name, parameters))
		must.OK(t, c.Rectify(t.Context(), name))
		info, err := c.Zone(t.Context(), name)
		must.OK(t, err)
		if info.NSEC3Param != parameters {
			t.Errorf("parameters are %q, want %q", info.NSEC3Param, parameters)
		}
	}
	plain := newZone(t, c, "plain.example", powerdns.ZoneSpec{})
	wantError(t, c.SetNSEC3Param(t.Context(), plain, "1 0 0 -"), powerdns.ErrRejected)
}

func checkPresigned(t *testing.T, s *local.Server, c *powerdns.Client) {
	name := newZone(t, c, "presigned.example", powerdns.ZoneSpec{DNSSEC: true})
	for _, want := range []bool{false, true} {
		presigned, err := c.Presigned(t.Context(), name)
		must.OK(t, err)
		if presigned != want {
			t.Errorf("presigned is %v, want %v", presigned, want)
		}
		out, err := exec.Command("pdnsutil", "--config-dir="+s.Dir, "set-presigned", "presigned.example").CombinedOutput()
		if err != nil {
			t.Fatalf("pdnsutil: %v: %s", err, out)
		}
	}
}

func checkTransfer(t *testing.T, s *local.Server, c *powerdns.Client) {
	name := newZone(t, c, "moved.example", powerdns.ZoneSpec{DNSSEC: true, SOAEditAPI: "DEFAULT"})
	source, err := c.Zone(t.Context(), name)
	must.OK(t, err)
	target := localtest.Start(t, local.Options{Backend: s.Backend})
	secondary := clientOf(t, target.Config())
	must.OK(t, secondary.CreateZone(t.Context(), name, powerdns.Slave, []string{s.DNSAddr}))
	must.OK(t, secondary.Retrieve(t.Context(), name))
	got := eventually(t, secondary, name, func(z powerdns.ZoneInfo) bool { return z.Serial == source.EditedSerial && z.LastCheck != 0 })
	if !got.DNSSEC {
		t.Errorf("after the transfer: %+v", got)
	}
}

func eventually(t *testing.T, c *powerdns.Client, n zone.Name, ok func(powerdns.ZoneInfo) bool) powerdns.ZoneInfo {
	t.Helper()
	var info powerdns.ZoneInfo
	must.Eventually(t, func() (err error) {
		info, err = c.Zone(t.Context(), n)
		must.OK(t, err)
		if !ok(info) {
			return fmt.Errorf("still %+v", info)
		}
		return nil
	})
	return info
}

func checkCryptokeys(t *testing.T, _ *local.Server, c *powerdns.Client) {
	name := newZone(t, c, "keys.example", powerdns.ZoneSpec{DNSSEC: true})
	keys, err := c.Cryptokeys(t.Context(), name)
	must.OK(t, err)
	if len(keys) != 1 {
		t.Fatalf("keys %v", keys)
	}
	wantError(t, c.DeleteCryptokey(t.Context(), name, keys[0]+100), powerdns.ErrNotFound)
	must.OK(t, c.DeleteCryptokey(t.Context(), name, keys[0]))
	keys, err = c.Cryptokeys(t.Context(), name)
	must.OK(t, err)
	if len(keys) != 0 {
		t.Errorf("keys %v are left", keys)
	}
}

// checkFlush changes records behind the server's back, so that only its caches have the old ones.
func checkFlush(t *testing.T, s *local.Server, c *powerdns.Client) {
	name := newZone(t, c, "flush.example", powerdns.ZoneSpec{})
	www := zone.MustParseName("www.flush.example")
	must.OK(t, c.Patch(t.Context(), name, []powerdns.RRset{a(www, "192.0.2.1")}))
	wantAnswers(t, s, www, 1)
	out, err := exec.Command("pdnsutil", "--config-dir="+s.Dir, "replace-rrset", "flush.example", "www", "A", "60", "192.0.2.1", "192.0.2.2").CombinedOutput()
	if err != nil {
		t.Fatalf("pdnsutil: %v: %s", err, out)
	}
	wantAnswers(t, s, www, 1)
	given, err := c.PrepareFlush(t.Context(), name)
	must.OK(t, err)
	given.Close()
	wantAnswers(t, s, www, 1) // what is prepared flushes nothing
	var prepared []*powerdns.Flush
	for range 20 { // more than the client has connections: they keep nobody waiting
		flush, err := c.PrepareFlush(t.Context(), name)
		must.OK(t, err)
		defer flush.Close()
		prepared = append(prepared, flush)
	}
	_, err = c.Server(t.Context())
	must.OK(t, err)
	must.OK(t, prepared[0].Do())
	wantAnswers(t, s, www, 2)
}

func wantAnswers(t *testing.T, s *local.Server, n zone.Name, want int) {
	t.Helper()
	question := new(dns.Msg)
	question.SetQuestion(n.String(), dns.TypeA)
	answer, err := dns.ExchangeContext(t.Context(), question, s.DNSAddr)
	must.OK(t, err)
	if len(answer.Answer) != want {
		t.Errorf("%s has %d addresses, want %d", n, len(answer.Answer), want)
	}
}

// newZone creates a native zone for the time of the test.
func newZone(t *testing.T, c *powerdns.Client, name string, spec powerdns.ZoneSpec) zone.Name {
	t.Helper()
	spec.Name, spec.Kind, spec.Nameservers = zone.MustParseName(name), powerdns.Native, []string{"ns.example."}
	must.OK(t, c.CreateZoneWith(t.Context(), spec))
	t.Cleanup(func() { must.OK(t, c.DeleteZone(context.Background(), spec.Name)) })
	return spec.Name
}

func a(n zone.Name, addresses ...string) powerdns.RRset {
	return powerdns.RRset{Name: n, Type: "A", TTL: 60, Content: addresses}
}

func clientOf(t *testing.T, cfg powerdns.Config) *powerdns.Client {
	t.Helper()
	c, err := powerdns.NewClient(cfg)
	must.OK(t, err)
	return c
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}
