package fleet_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/fleet"
)

// TestScopedKeyOfAFleet makes a key by the command while everything runs, and changes a record with it: the answer is
// held until all secondaries serve it. What is not in the key's scope does not get as far, and a removed key nowhere.
func TestScopedKeyOfAFleet(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	i.giveOwnKey()
	name, challenge := zone.MustParseName("acme.example"), zone.MustParseName("_acme-challenge.www.acme.example")
	path := zonesPath + "/" + name.ID()
	i.prefer("wait=60", "POST", zonesPath, `{"name":"acme.example.","kind":"Native","nameservers":["ns1.example.net."]}`)
	secret := i.key("add", "--acme", "--zone", "acme.example", "web1")
	i.reads(secret, path, http.StatusOK)
	i.with(secret, "PATCH", path, patchText(challenge, "token")).held(t, 204, proxy.StatusInSync, "2/2")
	if got := i.texts(challenge); !slices.Equal(got, []string{"token", "token"}) {
		t.Errorf("the secondaries answer %q", got)
	}
	i.with(secret, "PATCH", path, patchText(name, "token")).held(t, 403, "", "")
	i.with(secret, "DELETE", path, "").held(t, 403, "", "")
	if out := i.key("list"); !strings.Contains(out, "web1") {
		t.Errorf("listed: %s", out)
	}
	i.key("remove", "web1")
	i.reads(secret, path, http.StatusUnauthorized)
}

// giveOwnKey gives the proxy PowerDNS's own key, which `init` does not, and starts it again.
func (i *harness) giveOwnKey() {
	i.t.Helper()
	config, _ := i.Config(fleet.Proxy)
	text, err := os.ReadFile(config)
	must.OK(i.t, err)
	before, after, is := strings.Cut(string(text), "\n[proxy]")
	if !is {
		i.t.Fatalf("%s has no section proxy", config)
	}
	own := fmt.Sprintf("api_key_file = %q\n\n[proxy]", i.Primary.APIKeyFile())
	must.OK(i.t, os.WriteFile(config, []byte(before+own+after), 0o600))
	must.OK(i.t, i.StopRole(fleet.Proxy))
	must.OK(i.t, i.StartRole(i.ctx, fleet.Proxy))
}

// reads waits until a GET with the key is answered so.
func (i *harness) reads(key, path string, status int) {
	i.t.Helper()
	i.eventually("the proxy follows keys.toml", func(context.Context) error {
		if a := i.with(key, "GET", path, ""); a.status != status {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
}

// key runs the command key at the proxy's host, and returns what it prints.
func (i *harness) key(args ...string) string {
	i.t.Helper()
	path := program(i.t)
	config, _ := i.Config(fleet.Proxy)
	out, err := exec.CommandContext(i.ctx, path, append([]string{"key", args[0], "--config", config}, args[1:]...)...).Output()
	must.OK(i.t, err)
	return strings.TrimSpace(string(out))
}

// with sends a request with this API key, whose answer is to be held.
func (i *harness) with(key, method, path, body string) answer {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.ctx, method, i.ProxyURL+path, strings.NewReader(body))
	must.OK(i.t, err)
	req.Header.Set("X-API-Key", key)
	req.Header.Set("Prefer", "wait=60")
	return i.do(req)
}
