package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// kinds of zones that differ in how they deny.
var kinds = map[string]func(powerdns.ZoneSpec) powerdns.ZoneSpec{
	"plain":      func(s powerdns.ZoneSpec) powerdns.ZoneSpec { return s },
	"nsec":       func(s powerdns.ZoneSpec) powerdns.ZoneSpec { return signed(s, "") },
	"nsec3":      func(s powerdns.ZoneSpec) powerdns.ZoneSpec { return signed(s, "1 0 0 -") },
	"nsec3-salt": func(s powerdns.ZoneSpec) powerdns.ZoneSpec { return signed(s, "1 0 5 ab12") },
}

func TestZonesOfEveryKind(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	told := i.observe()
	for label, make := range kinds {
		name := zone.MustParseName(label + ".Example")
		must.OK(t, i.api.CreateZoneWith(i.ctx, make(spec(name, manyTypes(name)...))))
		told.await(i, name, i.serial(name), false)
		must.OK(t, i.same(i.ctx, name))
		i.sameAnswers(name)
		if label != "plain" {
			i.verify(name)
		}

		must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(below("www", name), "changed"), {Name: below("alias", name), Type: "CNAME"}}))
		told.await(i, name, i.serial(name), false)
		must.OK(t, i.same(i.ctx, name))
		i.sameAnswers(name)

		must.OK(t, i.api.DeleteZone(i.ctx, name))
		told.await(i, name, 0, true)
		must.OK(t, i.allSame(i.ctx))
	}
}

// A zone that is deleted and made again begins with a lower serial.
func TestDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	told := i.observe()
	name := zone.MustParseName("again.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name)))
	for n := range 5 {
		must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, fmt.Sprint(n))}))
	}
	told.await(i, name, i.serial(name), false)
	must.OK(t, i.api.DeleteZone(i.ctx, name))
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "another zone"))))
	i.eventually("made again", func(ctx context.Context) error { return i.same(ctx, name) })
}

func TestSigningAndUnsigning(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	name := zone.MustParseName("switch.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, manyTypes(name)...)))
	i.eventually("plain", func(ctx context.Context) error { return i.same(ctx, name) })
	for _, body := range []string{`{"dnssec":true}`, `{"nsec3param":"1 0 0 -"}`, `{"nsec3param":""}`, `{"dnssec":false}`} {
		must.OK(t, i.put(name, body))
		i.eventually(body, func(ctx context.Context) error { return i.same(ctx, name) })
		i.sameAnswers(name)
		if body != `{"dnssec":false}` {
			i.verify(name)
		}
	}
}

// A zone of the same name that a secondary PowerDNS already has, signed by its own keys, is taken over.
func TestTakesOver(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"secondary.take_over": "true"}})
	name := zone.MustParseName("taken.example")
	for _, s := range i.Secondaries {
		api, err := s.Client()
		must.OK(t, err)
		must.OK(t, api.CreateZoneWith(i.ctx, signed(spec(name, text(name, "the edge's own")), "")))
	}
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "the primary's"))))
	i.eventually("taken over", func(ctx context.Context) error { return i.same(ctx, name) })
	i.sameAnswers(name)
	for _, s := range i.Secondaries {
		api, err := s.Client()
		must.OK(t, err)
		keys, err := api.Cryptokeys(i.ctx, name)
		must.OK(t, err)
		if len(keys) > 0 {
			t.Errorf("%s still has %d keys of the zone that was there before", s.ID, len(keys))
		}
	}
}

// Without the operator's word a zone that PowerDNS has of its own is left alone, keys and all, and shows as failing.
func TestLeavesForeignZonesAlone(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	name := zone.MustParseName("own.example")
	s := i.Secondaries[0]
	api, err := s.Client()
	must.OK(t, err)
	must.OK(t, api.CreateZoneWith(i.ctx, signed(spec(name, text(name, "the edge's own")), "")))
	before, err := fetch(i.ctx, s.DNSAddr, name)
	must.OK(t, err)
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "the primary's"))))
	i.eventually("it shows", func(context.Context) error { return i.failing(s.ID, name) })
	after, err := fetch(i.ctx, s.DNSAddr, name)
	must.OK(t, err)
	must.OK(t, fleet.Equal(after, before))
	keys, err := api.Cryptokeys(i.ctx, name)
	must.OK(t, err)
	if len(keys) == 0 {
		t.Error("its keys are gone")
	}
}

func TestManyZonesByManyClients(t *testing.T) {
	t.Parallel()
	testManyZones(t, 400)
}

// testManyZones waits for one zone after the other: how long all of them take is the machine's.
func testManyZones(t *testing.T, zones int) {
	i := start(t, fleet.Options{})
	must.OK(t, createMany(i.ctx, i.api, "many", zones, 8))
	for n := range zones {
		name := numbered("many", n)
		i.eventually(name.String(), func(ctx context.Context) error { return i.same(ctx, name) })
	}
	i.eventually("many zones", i.allSame)
}

// createMany creates plain zones PREFIX0.example, PREFIX1.example and so on.
func createMany(ctx context.Context, api *powerdns.Client, prefix string, zones, clients int) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range clients {
		g.Go(func() error {
			for n := next.Add(1) - 1; int(n) < zones; n = next.Add(1) - 1 {
				name := numbered(prefix, int(n))
				if err := api.CreateZoneWith(ctx, spec(name, text(name, "first"))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func numbered(prefix string, n int) zone.Name {
	return zone.MustParseName(fmt.Sprintf("%s%d.example", prefix, n))
}

func TestLargeZone(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	told := i.observe()
	name := zone.MustParseName("large.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name)))
	const part = 10_000
	records := size(30_000, 100_000)
	for from := 0; from < records; from += part {
		sets := make([]powerdns.RRset, 0, part)
		for n := from; n < from+part; n++ {
			sets = append(sets, powerdns.RRset{Name: below(fmt.Sprintf("h%d", n), name), Type: "A", TTL: 300, Content: []string{fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)}})
		}
		must.OK(t, i.api.Patch(i.ctx, name, sets))
	}
	told.await(i, name, i.serial(name), false)
	must.OK(t, i.same(i.ctx, name))
	for _, change := range [][]powerdns.RRset{
		{{Name: below(fmt.Sprintf("h%d", records/2), name), Type: "A", TTL: 300, Content: []string{"192.0.2.50"}}},
		{ // several, of several types, removals too
			{Name: name, Type: "NS", TTL: 600, Content: []string{"ns3.example.net."}},
			{Name: name, Type: "MX", TTL: 300, Content: []string{"10 Mail.Example.NET."}},
			{Name: below("h1", name), Type: "TXT", TTL: 300, Content: []string{`"quote \" backslash \\ umlaut \195\164" "second"`}},
			{Name: below("h2", name), Type: "A", TTL: 300, Content: []string{"192.0.2.1", "192.0.2.2"}},
			{Name: below("h2", name), Type: "AAAA", TTL: 300, Content: []string{"2001:db8::1"}},
		},
		{{Name: below("h1", name), Type: "TXT"}, {Name: below("h2", name), Type: "A"}},
		{{Name: below("a.new.name", name), Type: "A", TTL: 300, Content: []string{"192.0.2.3"}}}, // makes empty non-terminals
		{{Name: below("h3", name), Type: "NS", TTL: 300, Content: []string{"ns.example.net."}}, {Name: below("h3", name), Type: "A"}},
		{{Name: below("h4", name), Type: "A"}}, // the name vanishes
	} {
		must.OK(t, i.api.Patch(i.ctx, name, change))
		told.await(i, name, i.serial(name), false)
		must.OK(t, i.same(i.ctx, name))
	}
	for _, s := range i.Secondaries {
		a, err := transfer.Ask(i.ctx, s.DNSAddr, below("new.name", name), dns.TypeA, transfer.AskOptions{Unique: true})
		must.OK(t, err)
		if a.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: an empty non-terminal is answered by %s", s.ID, dns.RcodeToString[a.Rcode])
		}
	}
}

// Changes that nobody told the proxy of are found by the sweep.
func TestChangesBypassingTheProxy(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"primary.sweep_interval": "1s"}})
	for n := range 20 {
		name := numbered("behind", n)
		must.OK(t, i.own.CreateZoneWith(i.ctx, spec(name, text(name, "by the API itself"))))
	}
	i.eventually("created", i.allSame)
	must.OK(t, i.own.Patch(i.ctx, numbered("behind", 3), []powerdns.RRset{text(numbered("behind", 3), "changed")}))
	must.OK(t, i.own.DeleteZone(i.ctx, numbered("behind", 4)))
	i.eventually("changed and deleted", i.allSame)
}

// A primary PowerDNS that lost its zones deletes nothing anywhere.
func TestEmptiedPrimary(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"primary.sweep_interval": "1s", "primary.scrub_period": "100ms"}})
	must.OK(t, createMany(i.ctx, i.api, "kept", 30, 4))
	i.eventually("created", i.allSame)
	before := map[string]*zone.Zone{}
	for _, s := range i.Secondaries {
		z, err := fetch(i.ctx, s.DNSAddr, numbered("kept", 7))
		must.OK(t, err)
		before[s.ID] = z
	}
	must.OK(t, i.Primary.Wipe(i.ctx))
	i.eventually("the deletion limit shows", func(context.Context) error { return i.notReady(fleet.Primary, "deletes") })
	for _, s := range i.Secondaries {
		for n := range 30 {
			if _, err := fetch(i.ctx, s.DNSAddr, numbered("kept", n)); err != nil {
				t.Errorf("%s: %v", s.ID, err)
			}
		}
		z, err := fetch(i.ctx, s.DNSAddr, numbered("kept", 7))
		must.OK(t, err)
		must.OK(t, fleet.Equal(z, before[s.ID]))
	}
	i.confirmDeletes()
	i.eventually("deleted after the operator's word", i.allSame)
}

// One zone that cannot be transferred shows with its reason and holds up nobody.
func TestOneBadZone(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	bad := zone.MustParseName("bad.example")
	must.OK(t, i.own.CreateZoneWith(i.ctx, spec(bad)))
	must.OK(t, i.own.Patch(i.ctx, bad, []powerdns.RRset{{Name: bad, Type: "SOA"}})) // PowerDNS refuses to transfer it then
	must.OK(t, i.api.SetMetadata(i.ctx, bad, "X-TOUCHED", []string{"1"}))
	must.OK(t, createMany(i.ctx, i.api, "good", 99, 4))
	i.eventually("the 99", func(ctx context.Context) error {
		for n := range 99 {
			if err := i.same(ctx, numbered("good", n)); err != nil {
				return err
			}
		}
		return nil
	})
	i.eventually("the bad one shows", func(context.Context) error { return i.failing(fleet.Primary, bad) })
}

// verify has an independent tool check the signatures and the chain of denial, on every secondary.
func (i *harness) verify(name zone.Name) {
	i.t.Helper()
	for _, s := range i.Secondaries {
		z, err := fetch(i.ctx, s.DNSAddr, name)
		must.OK(i.t, err)
		var b strings.Builder
		for r := range z.Records() {
			b.WriteString(r.String() + "\n")
		}
		file := filepath.Join(i.t.TempDir(), "zone")
		must.OK(i.t, os.WriteFile(file, []byte(b.String()), 0o600))
		if out, err := exec.Command("ldns-verify-zone", file).CombinedOutput(); err != nil {
			i.t.Errorf("%s: %s: ldns-verify-zone: %v\n%s", s.ID, name, err, out)
		}
	}
}

// Idle secondaries order transfers ahead. Where the word of a version comes to nothing, what follows is not harmed.
func TestOrderedAhead(t *testing.T) {
	i := start(t, fleet.Options{})
	name := zone.MustParseName("ahead.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "0"))))
	i.eventually("created", i.allSame)
	primary := i.connect(fleet.Primary)
	for n := range 20 {
		if n%2 == 0 {
			must.OK(t, primary.PublishComing(name))
			must.OK(t, primary.PublishComing(zone.MustParseName("unknown.example")))
		}
		must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, fmt.Sprint(n+1))}))
		i.eventually("changed", i.allSame)
	}
	for _, s := range i.Secondaries {
		body, err := get("http://" + i.Observe(s.ID) + "/metrics")
		must.OK(t, err)
		if !bytes.Contains(body, []byte("pdns_distribute_secondary_ordered_ahead_total ")) || bytes.Contains(body, []byte("ordered_ahead_total 0\n")) {
			t.Errorf("%s ordered nothing ahead", s.ID)
		}
	}
}
