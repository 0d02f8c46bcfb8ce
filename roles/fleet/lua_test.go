package fleet_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// LUA records in an unsigned zone travel as they are, and each secondary computes its answers.
func TestLuaRecords(t *testing.T) {
	t.Parallel()
	must.HavePowerDNS(t)
	version, err := local.Version(t.Context(), "")
	must.OK(t, err)
	computes := map[string]string{"enable-lua-records": "yes"}
	if !strings.HasPrefix(version, "4.") && !strings.HasPrefix(version, "5.0.") {
		computes["enable-lua-record-updates"] = "yes"
	}
	i := start(t, fleet.Options{OfPrimary: computes, Settings: computes})
	name := numbered("lua", 1)
	lua := func(address string) powerdns.RRset {
		content := fmt.Sprintf(`A "'%s'"`, address)
		return powerdns.RRset{Name: below("www", name), Type: "LUA", TTL: 60, Content: []string{content}}
	}
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, lua("192.0.2.1"))))
	i.eventually("created", func(ctx context.Context) error { return i.computed(ctx, below("www", name), "192.0.2.1") })
	must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{lua("192.0.2.2")}))
	i.eventually("changed", func(ctx context.Context) error { return i.computed(ctx, below("www", name), "192.0.2.2") })
	must.OK(t, i.same(i.ctx, name))
	i.noAlarms()
}

// computed returns nil when every secondary answers with this address alone.
func (i *harness) computed(ctx context.Context, name zone.Name, address string) error {
	for _, s := range i.Secondaries {
		answer, err := transfer.Ask(ctx, s.DNSAddr, name, dns.TypeA, transfer.AskOptions{Unique: true})
		if err != nil {
			return err
		}
		if len(answer.Answer) != 1 || !strings.HasSuffix(answer.Answer[0].String(), address) {
			return fmt.Errorf("%s: %s A is answered with %v, want %s", s.ID, name, answer.Answer, address)
		}
	}
	return nil
}
