package fleet_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/fleet"
)

// What PowerDNS obeys of a zone besides its records is ours, too: of zones that were somebody else's secondaries, and
// of those that somebody changes at a secondary.
func TestAllThatIsObeyed(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"secondary.scrub_period": "0s"}})
	t.Run("moved in", func(t *testing.T) { i.in(t).movedIn() })
	t.Run("key", func(t *testing.T) {
		i := i.in(t)
		name := i.created("key.example", spec)
		i.atSecondaries(http.MethodPost, "/zones/key.example./cryptokeys", `{"keytype":"csk","active":true}`)
		i.syncedAgain(name)
		i.atSecondaries(http.MethodPost, "/zones/key.example./cryptokeys", `{"keytype":"csk","active":true}`)
		i.changed(name)
	})
	t.Run("NSEC3 parameters", func(t *testing.T) {
		i := i.in(t)
		name := i.created("chain.example", func(n zone.Name, more ...powerdns.RRset) powerdns.ZoneSpec {
			return signed(spec(n, more...), "1 0 0 -")
		})
		i.atSecondaries(http.MethodPut, "/zones/chain.example.", `{"nsec3param":"1 0 0 ab"}`)
		i.syncedAgain(name)
		i.verify(name)
		i.atSecondaries(http.MethodPut, "/zones/chain.example.", `{"nsec3param":""}`)
		i.changed(name)
	})
	t.Run("former versions", func(t *testing.T) {
		i := i.in(t)
		name := i.created("former.example", spec)
		i.atSecondaries(http.MethodPut, "/zones/former.example.", `{"soa_edit":""}`)
		i.syncedAgain(name)
	})
}

// movedIn creates zones that the secondaries have from another master, with all that keeps a transfer from another one.
func (i *harness) movedIn() {
	i.atSecondaries(http.MethodPost, "/tsigkeys", `{"name":"mig","algorithm":"hmac-sha256"}`)
	for n, settings := range []string{`{"slave_tsig_key_ids":["mig."]}`, `{"account":"customer7"}`, `{"catalog":"cat.example."}`} {
		name := numbered("moved", n)
		for _, s := range i.Secondaries {
			edge, err := s.Client()
			must.OK(i.t, err)
			must.OK(i.t, edge.CreateZone(i.ctx, name, powerdns.Slave, []string{"192.0.2.1"}))
			must.OK(i.t, edge.SetMetadata(i.ctx, name, "AXFR-SOURCE", []string{"192.0.2.1"}))
			must.OK(i.t, edge.SetMetadata(i.ctx, name, "IXFR", []string{"1"}))
		}
		i.atSecondaries(http.MethodPut, "/zones/"+name.ID(), settings)
		body := fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":["ns1.example.net."]}`, name)
		i.prefer("wait=60", http.MethodPost, zonesPath, body).held(i.t, http.StatusCreated, proxy.StatusInSync, "2/2")
		must.OK(i.t, i.same(i.ctx, name))
		i.changed(name)
	}
}

// created creates a zone.
func (i *harness) created(origin string, spec func(zone.Name, ...powerdns.RRset) powerdns.ZoneSpec) zone.Name {
	i.t.Helper()
	name := zone.MustParseName(origin)
	must.OK(i.t, i.api.CreateZoneWith(i.ctx, spec(name,
		text(name, "first"), text(below("a.b.ent", name), "first"), text(below("*.wild", name), "first"))))
	i.eventually("created", func(ctx context.Context) error { return i.same(ctx, name) })
	return name
}

// changed changes the zone, and wants the change to be served everywhere.
func (i *harness) changed(name zone.Name) {
	i.t.Helper()
	body := fmt.Sprintf(`{"rrsets":[{"name":%q,"type":"A","ttl":60,"changetype":"REPLACE","records":[{"content":"192.0.2.9"}]}]}`, name)
	i.prefer("wait=60", http.MethodPatch, zonesPath+"/"+name.ID(), body).held(i.t, http.StatusNoContent, proxy.StatusInSync, "2/2")
	must.OK(i.t, i.same(i.ctx, name))
	i.sameAnswers(name)
}

// syncedAgain wants sync to put the zone right at all secondaries.
func (i *harness) syncedAgain(name zone.Name) {
	i.t.Helper()
	before := i.obeyed(name)
	out, err := i.sync(nil, name.String())
	if err != nil || !strings.Contains(out, "1 served everywhere") {
		i.t.Errorf("%s%v", out, err)
	}
	i.sameAnswers(name)
	for n, state := range i.obeyed(name) {
		wrong := len(state.Keys) > 0 || fmt.Sprint(state.Metadata["SOA-EDIT"]) != "[NONE]"
		if wrong || fmt.Sprint(state) == fmt.Sprint(before[n]) {
			i.t.Errorf("%s: sync left %+v", i.Secondaries[n].ID, state)
		}
	}
}

// obeyed is what each secondary PowerDNS obeys of the zone.
func (i *harness) obeyed(name zone.Name) (states []powerdns.ZoneState) {
	i.t.Helper()
	for _, s := range i.Secondaries {
		edge, err := s.Client()
		must.OK(i.t, err)
		state, err := edge.ZoneState(i.ctx, name)
		must.OK(i.t, err)
		states = append(states, state)
	}
	return states
}

// atSecondaries makes a call to the API of every secondary PowerDNS.
func (i *harness) atSecondaries(method, path, body string) {
	i.t.Helper()
	for _, s := range i.Secondaries {
		i.eventually(method+" "+path, func(ctx context.Context) error { // SQLite gives up at once when it is busy
			url := s.APIURL + "/api/v1/servers/localhost" + path
			req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
			must.OK(i.t, err)
			req.Header.Set("X-API-Key", s.APIKey.Reveal())
			resp, err := http.DefaultClient.Do(req)
			must.OK(i.t, err)
			resp.Body.Close()
			if resp.StatusCode > 299 {
				return fmt.Errorf("%s: %s", s.ID, resp.Status)
			}
			return nil
		})
	}
}
