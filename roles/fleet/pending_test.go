package fleet_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/fleet"
)

// A change that waits at one proxy for the broker is not in sync, whatever proxy is asked, before it is served. A proxy
// that is asked for it when there is a broker has it served, even if the one where it waits is gone.
func TestPendingChangeIsNotInSync(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Counts: fleet.Counts{Proxies: 2}, Secondaries: []local.Backend{local.SQLite}})
	name := zone.MustParseName("pending.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "before"))))
	i.eventually("created", i.allSame)
	must.OK(t, i.StopRole(fleet.Broker))
	change := i.patched(name, "pending")
	if !strings.HasPrefix(change, "0-") {
		t.Fatalf("change %s is not pending", change)
	}
	must.OK(t, i.StopRole(fleet.Proxy))
	must.OK(t, i.StartRole(i.ctx, fleet.Broker))
	must.OK(t, i.AwaitReady(i.ctx, "proxy2"))
	if status := i.standing("proxy2", change, "30"); status != proxy.StatusInSync {
		t.Errorf("proxy2 says %s of a change that waits at proxy1, which does not run", status)
	}
	if texts := i.texts(name); texts[0] != "pending" {
		t.Errorf("proxy2 said INSYNC, and %q is served", texts)
	}

	must.OK(t, i.StartRole(i.ctx, fleet.Proxy))
	i.eventually("served", i.allSame)
	must.OK(t, i.StopRole(fleet.Broker))
	change = i.patched(name, "pending again")
	must.OK(t, i.StartRole(i.ctx, fleet.Broker))
	if status := i.standing(fleet.Proxy, change, "30"); status != proxy.StatusInSync {
		t.Errorf("the proxy that stored its touch says %s", status)
	}
	must.OK(t, i.allSame(i.ctx))
}

// patched changes a zone through the first proxy, and returns the change's id.
func (i *harness) patched(name zone.Name, value string) string {
	i.t.Helper()
	body, err := json.Marshal(map[string]any{"rrsets": []powerdns.RRset{text(name, value)}})
	must.OK(i.t, err)
	res := i.requestThrough(fleet.Proxy, http.MethodPatch, "/api/v1/servers/localhost/zones/"+name.ID(), string(body), "")
	if res.StatusCode != http.StatusNoContent {
		i.t.Fatalf("PATCH: %s", res.Status)
	}
	return res.Header.Get(proxy.HeaderChange)
}

// standing is the status of a change that a proxy tells.
func (i *harness) standing(id, change, wait string) string {
	i.t.Helper()
	res := i.requestThrough(id, http.MethodGet, "/distribute/v1/changes/"+change, "", "wait="+wait)
	var is struct{ Status string }
	must.OK(i.t, json.NewDecoder(res.Body).Decode(&is))
	return is.Status
}

func (i *harness) requestThrough(id, method, path, body, prefer string) *http.Response {
	i.t.Helper()
	address, cert := i.ProxyAt(id)
	client, err := proxyClient(cert)
	must.OK(i.t, err)
	req, err := http.NewRequestWithContext(i.ctx, method, address+path, strings.NewReader(body))
	must.OK(i.t, err)
	req.Header.Set("X-API-Key", i.Primary.APIKey.Reveal())
	req.Header.Set("Prefer", prefer)
	res, err := client.Do(req)
	must.OK(i.t, err)
	text, err := io.ReadAll(res.Body)
	must.OK(i.t, err)
	res.Body.Close()
	res.Body = io.NopCloser(strings.NewReader(string(text)))
	return res
}
