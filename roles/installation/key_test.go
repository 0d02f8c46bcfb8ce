package installation

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/settings"
)

// keyHost is a proxy's folder.
type keyHost struct{ config, keys string }

func newKeyHost(t *testing.T, more string) keyHost {
	t.Helper()
	dir := t.TempDir()
	must.OK(t, os.Chmod(dir, 0o700))
	h := keyHost{filepath.Join(dir, "config.toml"), filepath.Join(dir, "keys.toml")}
	must.OK(t, os.WriteFile(filepath.Join(dir, "powerdns-api-key"), []byte("secret\n"), 0o600))
	begin := "[powerdns]\napi_key_file = \"powerdns-api-key\"\n[proxy]\nstate_dir = \"state\"\n"
	must.OK(t, os.WriteFile(h.config, []byte(begin+more), 0o600))
	return h
}

func (h keyHost) invocation(o options, args ...string) (command.Invocation, *bytes.Buffer, *bytes.Buffer) {
	var stdout, stderr bytes.Buffer
	return command.Invocation{Settings: settings.Sources{File: h.config}, Args: args, Options: o, Stdout: &stdout,
		Stderr: &stderr}, &stdout, &stderr
}

func (h keyHost) add(t *testing.T, o options, id string) string {
	t.Helper()
	in, stdout, _ := h.invocation(o, id)
	must.OK(t, KeyAdd(t.Context(), in))
	return strings.TrimSuffix(stdout.String(), "\n")
}

func acmeOptions(zones ...string) options {
	return options{texts: map[string]string{"acme": "true"}, lists: map[string][]string{"zone": zones}}
}

// TestKeyCommands adds, lists and removes keys, and reads what the proxy would.
func TestKeyCommands(t *testing.T) {
	h := newKeyHost(t, "")
	secret := h.add(t, acmeOptions("example.org", "a.example,b.example"), "acme-web1")
	if !strings.HasPrefix(secret, proxy.SecretPrefix) || len(secret) != len(proxy.SecretPrefix)+43 {
		t.Errorf("the secret is %q", secret)
	}
	h.add(t, options{
		texts: map[string]string{"expires": "2999-01-31", "deletes-per-hour": "10", "rate": "2.5"},
		lists: map[string][]string{"zone": {"*.customer.example"}, "verb": {"read,delete"}},
	}, "customer")
	keys, err := proxy.ReadKeysFile(h.keys)
	must.OK(t, err)
	if len(keys) != 2 || keys[0].ID != "acme-web1" || len(keys[0].Zones) != 3 || keys[1].Rate != 2.5 ||
		keys[1].DeletesPerHour != 10 {
		t.Errorf("%+v", keys)
	}
	text, err := os.ReadFile(h.keys)
	must.OK(t, err)
	if strings.Contains(string(text), secret) {
		t.Error("the secret itself is in the file")
	}
	for _, json := range []string{"", "true"} {
		in, stdout, _ := h.invocation(options{texts: map[string]string{"json": json}})
		must.OK(t, KeyList(t.Context(), in))
		if !strings.Contains(stdout.String(), "acme-web1") || !strings.Contains(stdout.String(), "2999-01-31") ||
			strings.Contains(stdout.String(), "sha256") {
			t.Errorf("list: %s", stdout)
		}
	}
	in, stdout, _ := h.invocation(options{}, "acme-web1")
	must.OK(t, KeyRemove(t.Context(), in))
	if keys, err := proxy.ReadKeysFile(h.keys); err != nil || len(keys) != 1 || keys[0].ID != "customer" {
		t.Errorf("%v, %v, %s", keys, err, stdout)
	}
	in, _, _ = h.invocation(options{}, "customer")
	must.OK(t, KeyRemove(t.Context(), in))
	if keys, err := proxy.ReadKeysFile(h.keys); err != nil || len(keys) != 0 {
		t.Errorf("%v, %v", keys, err)
	}
	h.add(t, acmeOptions("example.org"), "again")
}

// TestKeyAddRefuses tries what must not be written.
func TestKeyAddRefuses(t *testing.T) {
	_, hash := proxy.NewSecret()
	h := newKeyHost(t,
		"[[proxy.key]]\nid = \"by-hand\"\nhash = \""+hash+"\"\nzones = [\"*\"]\nverbs = [\"read\"]\nexpires = 2999-01-31\n")
	h.add(t, acmeOptions("example.org"), "there")
	before, err := os.ReadFile(h.keys)
	must.OK(t, err)
	with := func(texts map[string]string, lists map[string][]string) options { return options{texts, lists} }
	for want, try := range map[string]struct {
		o    options
		args string
	}{
		"name one key":          {acmeOptions("a"), ""},
		"name one":              {acmeOptions("a"), "a b"},
		"already":               {acmeOptions("a"), "there"},
		"a key by-hand already": {acmeOptions("a"), "by-hand"},
		"the id is":             {acmeOptions("a"), "UPPER"},
		"zones: missing":        {acmeOptions(), "new"},
		"leave out --verb": {with(map[string]string{"acme": "true"}, map[string][]string{"zone": {"a"},
			"verb": {"read"}}), "new"},
		`"raed" is none of`: {with(nil, map[string][]string{"zone": {"a"}, "verb": {"raed"}}), "new"},
		"verbs: missing":    {with(nil, map[string][]string{"zone": {"a"}}), "new"},
		"is past": {with(map[string]string{"acme": "true", "expires": "2020-01-01"},
			map[string][]string{"zone": {"a"}}), "new"},
		"is no date": {with(map[string]string{"acme": "true", "expires": "soon"},
			map[string][]string{"zone": {"a"}}), "new"},
		"is not a whole number": {with(map[string]string{"deletes-per-hour": "many"},
			map[string][]string{"zone": {"a"}}), "new"},
		"--rate \"fast\" is not":     {with(map[string]string{"rate": "fast"}, map[string][]string{"zone": {"a"}}), "new"},
		"goes together with the ver": {with(nil, map[string][]string{"zone": {"a"}, "verb": {"delete"}}), "new"},
	} {
		in, stdout, _ := h.invocation(try.o, strings.Fields(try.args)...)
		err := KeyAdd(t.Context(), in)
		if !errors.Is(err, command.ErrUsage) || !strings.Contains(err.Error(), want) || stdout.Len() > 0 {
			t.Errorf("%v, want %s; printed %q", err, want, stdout)
		}
	}
	for id, want := range map[string]string{"absent": "no key absent", "by-hand": "stands in the configuration"} {
		in, _, _ := h.invocation(options{}, id)
		if err := KeyRemove(t.Context(), in); !errors.Is(err, command.ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("remove %s: %v", id, err)
		}
	}
	in, _, _ := h.invocation(options{})
	in.Settings.File = ""
	if err := KeyList(t.Context(), in); !errors.Is(err, command.ErrUsage) || !strings.Contains(err.Error(), "--config") {
		t.Errorf("without a configuration: %v", err)
	}
	after, err := os.ReadFile(h.keys)
	must.OK(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

// TestKeyAddNeedsPowerDNSsKey adds none to a proxy that could not use it, and would not start again with it.
func TestKeyAddNeedsPowerDNSsKey(t *testing.T) {
	h := newKeyHost(t, "")
	must.OK(t, os.WriteFile(h.config, []byte("[proxy]\nstate_dir = \"state\"\n"), 0o600))
	in, stdout, _ := h.invocation(acmeOptions("example.org"), "acme-web1")
	err := KeyAdd(t.Context(), in)
	if !errors.Is(err, command.ErrUsage) || !strings.Contains(err.Error(), "powerdns.api_key_file") || stdout.Len() > 0 {
		t.Errorf("%v; printed %q", err, stdout)
	}
	if _, err := os.Stat(h.keys); err == nil {
		t.Error("there is a file of keys")
	}
}

// TestKeyRemoveLeavesTheRest removes keys between what somebody wrote by hand.
func TestKeyRemoveLeavesTheRest(t *testing.T) {
	entry := func(id, more string) string {
		_, hash := proxy.NewSecret()
		return "[[proxy.key]] # of " + id + "\n" + more + "id = \"" + id + "\"\nhash = \"" + hash + "\"\nzones = [\n  \"example.org\",\n]\nverbs = [\"read\"]\n"
	}
	first, second, third := entry("first", "# a note\n"), entry("second", ""), entry("third", "")
	whole := "# head\n\n" + first + "\n# about second\n" + second + "\n\n# about third\n" + third + "# end\n"
	for id, want := range map[string]string{
		"first":  "# head\n\n\n# about second\n" + second + "\n\n# about third\n" + third + "# end\n",
		"second": "# head\n\n" + first + "\n# about second\n\n\n# about third\n" + third + "# end\n",
		"third":  "# head\n\n" + first + "\n# about second\n" + second + "\n\n# about third\n# end\n",
	} {
		h := newKeyHost(t, "")
		must.OK(t, os.WriteFile(h.keys, []byte(whole), 0o600))
		in, _, _ := h.invocation(options{}, id)
		must.OK(t, KeyRemove(t.Context(), in))
		if text, _ := os.ReadFile(h.keys); string(text) != want {
			t.Errorf("without %s: %s", id, text)
		}
	}
	h := newKeyHost(t, "")
	inline := strings.Replace("proxy = { key = [{ id = \"a\", hash = \"H\", zones = [\"*\"], verbs = [\"read\"] }] }\n",
		"H", strings.Split(first, "\"")[3], 1)
	must.OK(t, os.WriteFile(h.keys, []byte(inline), 0o600))
	in, _, _ := h.invocation(options{}, "a")
	if err := KeyRemove(t.Context(), in); err == nil || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("from another form: %v", err)
	}
}

// TestKeysInConfiguration reads [[proxy.key]] tables of a configuration, good ones and faulty ones, and reads them
// anew.
func TestKeysInConfiguration(t *testing.T) {
	_, hash := proxy.NewSecret()
	const rest = "\n[broker]\nurls = [\"tls://a\"]\nnkey_file = \"n\"\n"
	entry := "[[proxy.key]]\nid = \"a\"\nhash = \"" + hash + "\"\nzones = [\"*\"]\nverbs = [\"read\"]\n"
	h := newKeyHost(t, entry+"expires = 2999-01-31\nrate = 5\n"+rest)
	cfg, err := config.ForRole(settings.Sources{File: h.config}, "proxy")
	must.OK(t, err)
	if k := cfg.Proxy.Keys; len(k) != 1 || k[0].Expires != "2999-01-31" || k[0].Rate != 5 || cfg.Proxy.KeysFile != h.keys {
		t.Errorf("%+v, %s", k, cfg.Proxy.KeysFile)
	}
	must.OK(t, os.WriteFile(h.config, []byte("[proxy]\nstate_dir = \"state\"\n"+rest+"[powerdns]\napi_key_file = \"k\"\n"), 0o600))
	if again, err := cfg.Proxy.RereadKeys(); err != nil || len(again) != 0 {
		t.Errorf("read anew: %v, %v", again, err)
	}
	for want, text := range map[string]string{
		`config.toml:3: proxy.key: entry 1: unknown key "zone"`: strings.Replace(entry, "zones", "zone", 1),
		`config.toml:3: proxy.key: key a: verbs: "raed"`:        strings.Replace(entry, "read", "raed", 1),
		`config.toml:3: proxy.key: a text is not a list of`:     "key = \"x\"\n",
		`config.toml:3: proxy.key: is no list of tables`:        "key = [1]\n",
	} {
		must.OK(t, os.WriteFile(h.config, []byte("[proxy]\nstate_dir = \"state\"\n"+text+rest), 0o600))
		if _, err := config.ForRole(settings.Sources{File: h.config}, "proxy"); err == nil || !strings.Contains(err.Error(),
			want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	list, err := json.Marshal(cfg.Proxy.Keys)
	must.OK(t, err)
	env := []string{"PDNS_DISTRIBUTE_PROXY_KEY=" + string(list)}
	if cfg, err := config.Load(settings.Sources{Env: env}, "proxy"); err != nil || len(cfg.Proxy.Keys) != 1 {
		t.Errorf("from the environment: %v", err)
	}
}
