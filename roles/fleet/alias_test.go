//go:build campaign

package fleet_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/operator"
)

// target is a PowerDNS that stands for a resolver: it has the zone that ALIAS records lead into.
func target(t *testing.T) (*local.Server, func(addresses ...string)) {
	t.Helper()
	must.HavePowerDNS(t)
	server, err := local.Start(t.Context(), local.Options{Dir: t.TempDir(), Primary: true, Settings: map[string]string{
		"cache-ttl": "0", "query-cache-ttl": "0", "negquery-cache-ttl": "0",
	}})
	must.OK(t, err)
	t.Cleanup(server.Stop)
	api, err := server.Client()
	must.OK(t, err)
	name := zone.MustParseName("target.example")
	must.OK(t, api.CreateZoneWith(t.Context(), spec(name)))
	return server, func(addresses ...string) {
		t.Helper()
		set := powerdns.RRset{Name: below("web", name), Type: "A", TTL: 60, Content: addresses}
		must.OK(t, api.Patch(t.Context(), name, []powerdns.RRset{set}))
	}
}

func aliasOf(owner zone.Name) powerdns.RRset {
	return powerdns.RRset{Name: owner, Type: "ALIAS", TTL: 60, Content: []string{"web.target.example."}}
}

// answered waits until every secondary answers with these addresses, signed or not.
func (i *harness) answered(name zone.Name, signed bool, addresses ...string) {
	i.t.Helper()
	slices.Sort(addresses)
	i.eventually(fmt.Sprint(name, " leads to ", addresses), func(ctx context.Context) error {
		for _, s := range i.Secondaries {
			answer, err := transfer.Ask(ctx, s.DNSAddr, name, dns.TypeA, transfer.AskOptions{Unique: true, DNSSEC: true})
			if err != nil {
				return err
			}
			var found []string
			signatures := 0
			for _, r := range answer.Answer {
				if r.Covered() == dns.TypeA {
					signatures++
				}
				if r.Type() != dns.TypeA {
					continue
				}
				content, err := r.Content()
				if err != nil {
					return err
				}
				found = append(found, content)
			}
			slices.Sort(found)
			if !slices.Equal(found, addresses) || signed != (signatures > 0) {
				return fmt.Errorf("%s: %v, %d signatures", s.ID, found, signatures)
			}
		}
		return nil
	})
}

// Where PowerDNS expands ALIAS records as it transfers a zone, the addresses that secondaries answer with follow those
// of the target, in signed zones with valid signatures, at the serial that was. What the resolver fails to find stays.
func TestAliasesFollowTheirTarget(t *testing.T) {
	t.Parallel()
	resolver, set := target(t)
	set("192.0.2.1")
	i := start(t, fleet.Options{
		OfPrimary: map[string]string{"outgoing-axfr-expand-alias": "ignore-errors", "resolver": resolver.DNSAddr},
		Set:       quick(map[string]string{"primary.alias_interval": "1s"}),
	})
	plain, secure, nsec3 := zone.MustParseName("plain.example"), zone.MustParseName("secure.example"), zone.MustParseName("nsec3.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(plain, aliasOf(plain))))
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(secure, aliasOf(secure), aliasOf(below("www", secure))), "")))
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(nsec3, aliasOf(below("a.b", nsec3))), "1 0 0 -")))
	served := func(addresses ...string) {
		t.Helper()
		i.answered(plain, false, addresses...)
		for _, name := range []zone.Name{secure, below("www", secure), below("a.b", nsec3)} {
			i.answered(name, true, addresses...)
		}
		i.verify(secure)
		i.verify(nsec3)
		i.eventually("the same", i.allSame)
	}
	served("192.0.2.1")
	before := i.serial(secure)
	set("192.0.2.2", "192.0.2.3")
	served("192.0.2.2", "192.0.2.3")
	if now := i.serial(secure); now != before {
		t.Errorf("the serial went from %d to %d", before, now)
	}
	i.noAlarms()

	resolver.Stop() // the resolver
	version, err := i.own.Server(i.ctx)
	must.OK(t, err)
	kind := "unresolved"
	if strings.HasPrefix(version.Version, "4.7") || strings.HasPrefix(version.Version, "4.8") {
		kind = "failing" // it transfers nothing then
	}
	i.alarm(kind, fleet.Primary)
	i.answered(secure, true, "192.0.2.2", "192.0.2.3")
	i.answered(plain, false, "192.0.2.2", "192.0.2.3")
	must.OK(t, resolver.Restart(i.ctx))
	set("192.0.2.4")
	served("192.0.2.4")
	i.noAlarms()
}

// Without that, no secondary answers at such names of a signed zone, and of an unsigned one only with settings of its
// own: both is said.
func TestUnansweredAliases(t *testing.T) {
	t.Parallel()
	resolver, set := target(t)
	set("192.0.2.1")
	i := start(t, fleet.Options{
		OfPrimary: map[string]string{"expand-alias": "yes", "resolver": resolver.DNSAddr},
		Set:       quick(nil),
	})
	plain, secure := zone.MustParseName("plain.example"), zone.MustParseName("secure.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(secure, aliasOf(secure)), "")))
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(plain, aliasOf(plain))))
	i.eventually("the same", i.allSame)
	i.answered(secure, false)
	i.answered(plain, false)
	if a := i.alarm("unanswered", fleet.Primary); !a.Warning || !strings.Contains(a.What, "(1), the first is secure.example.") {
		t.Errorf("%+v", a)
	}
	out, _ := i.command(func(in command.Invocation) error { return operator.Status(i.ctx, in) }, flags{}, "secure.example")
	if !strings.Contains(out, "NODATA at names with ALIAS records") {
		t.Error(out)
	}
	for _, s := range i.Secondaries {
		must.OK(t, s.Restart(i.ctx)) // what it lacks is looked at
		if a := i.alarm("settings", s.ID); !strings.Contains(a.What, "expand-alias=no") || !strings.Contains(a.What, "the first is plain.example.") {
			t.Errorf("%+v", a)
		}
	}
	must.OK(t, i.api.Patch(i.ctx, secure, []powerdns.RRset{{Name: secure, Type: "ALIAS"}}))
	must.OK(t, i.api.DeleteZone(i.ctx, plain))
	i.eventually("the same", i.allSame)
	for _, s := range i.Secondaries {
		must.OK(t, s.Restart(i.ctx))
	}
	i.noAlarms()
}
