package fleet_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/operator"
)

// Settings of a secondary PowerDNS that a pdns.conf may have for other reasons: zones are distributed all the same.
func TestSettingsOfSecondaries(t *testing.T) {
	t.Parallel()
	set := map[string]string{"default-soa-edit": "INCREMENT-WEEKS", "default-soa-edit-signed": "INCEPTION-INCREMENT"}
	if own := ownAddress(t); own != "" {
		set["query-local-address"] = own
	}
	i := start(t, fleet.Options{Settings: set})
	plain, withKeys := numbered("plain", 1), numbered("keys", 1)
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(plain, text(plain, "1"))))
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(withKeys, text(withKeys, "1")), "")))
	i.eventually("created", i.allSame)
	must.OK(t, i.api.Patch(i.ctx, plain, []powerdns.RRset{text(plain, "2")}))
	must.OK(t, i.api.Patch(i.ctx, withKeys, []powerdns.RRset{text(withKeys, "2")}))
	i.eventually("changed", i.allSame)
	i.noAlarms()
}

// With settings that keep zones from being distributed a role is not ready, and says which; those that only harm are
// warnings. A failing zone's reason names the former. It ends when they are gone.
func TestBreakingSettings(t *testing.T) {
	t.Parallel()
	ofSecondary, ofPrimary := map[string]string{}, map[string]string{}
	i := start(t, fleet.Options{
		Secondaries: []local.Backend{local.SQLite}, Settings: ofSecondary, OfPrimary: ofPrimary, Set: quick(nil),
	})
	i.noAlarms()
	ofSecondary["secondary"], ofSecondary["max-ent-entries"], ofPrimary["disable-axfr"] = "no", "10", "yes"
	must.OK(t, i.Secondaries[0].Restart(i.ctx))
	must.OK(t, i.Primary.Restart(i.ctx))
	i.eventually("the secondary is not ready", func(context.Context) error { return i.notReady("ns1", "settings") })
	i.eventually("the primary is not ready", func(context.Context) error { return i.notReady(fleet.Primary, "settings") })
	first := numbered("broken", 1)
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(first, text(first, "1"))))
	i.eventually("the reason names the setting", func(context.Context) error { return i.failsBecause(first, fleet.Primary, "disable-axfr") })
	if a := i.alarm("settings", "ns1"); !strings.Contains(a.What, "max-ent-entries=10") || strings.Contains(a.What, "secondary=no") {
		t.Errorf("%+v", a)
	}
	delete(ofPrimary, "disable-axfr")
	must.OK(t, i.Primary.Restart(i.ctx))
	must.OK(t, i.put(first, `{"account":"touched"}`))
	i.eventually("the reason names the setting", func(context.Context) error { return i.failsBecause(first, "ns1", "secondary=no") })
	delete(ofSecondary, "secondary")
	delete(ofSecondary, "max-ent-entries")
	must.OK(t, i.Secondaries[0].Restart(i.ctx))
	must.OK(t, i.put(first, `{"account":"touched again"}`))
	i.eventually("served", i.allSame)
	i.noAlarms()
}

// failsBecause returns nil when the zone's status says that it fails at the node, with these parts of the reason.
func (i *harness) failsBecause(name zone.Name, node string, parts ...string) error {
	out, _ := i.command(func(in command.Invocation) error { return operator.Status(i.ctx, in) }, nil, name.String())
	_, reason, _ := strings.Cut(out, node+" fails since ")
	for _, part := range parts {
		if !strings.Contains(reason, part) {
			return fmt.Errorf("%q is missing in\n%s", part, out)
		}
	}
	return nil
}

// ownAddress is an address of this host beside loopback, "" where there is none.
func ownAddress(t *testing.T) string {
	addresses, err := net.InterfaceAddrs()
	must.OK(t, err)
	for _, a := range addresses {
		if own, is := a.(*net.IPNet); is && !own.IP.IsLoopback() && own.IP.To4() != nil {
			return own.IP.String()
		}
	}
	return ""
}
