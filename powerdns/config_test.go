package powerdns_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v10"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
)

func goodConfig() powerdns.Config {
	return powerdns.Config{
		APIURL: "http://127.0.0.1:8081", APIKey: "hunter2", ServerID: "localhost", DNSAddress: "127.0.0.1:53",
		Timeout: 10 * time.Second, ListTimeout: 5 * time.Minute, Connections: 8,
	}
}

func TestDefaults(t *testing.T) {
	var cfg powerdns.Config
	must.OK(t, env.ParseWithOptions(&cfg, env.Options{Environment: map[string]string{"API_KEY": "hunter2"}}))
	if cfg != goodConfig() {
		t.Errorf("defaults are %+v", cfg)
	}
}

func TestValidate(t *testing.T) {
	must.OK(t, goodConfig().Validate())
	keyless := goodConfig()
	keyless.APIKey, keyless.Keyless = "", true
	must.OK(t, keyless.Validate())
	tests := map[string]struct {
		change func(*powerdns.Config)
		want   string
	}{
		"no socket":    {func(c *powerdns.Config) { c.APIURL = "unix:" }, "powerdns.api_url: "},
		"odd socket":   {func(c *powerdns.Config) { c.APIURL = "unix:/run/../api.sock" }, "powerdns.api_url: "},
		"no scheme":    {func(c *powerdns.Config) { c.APIURL = "127.0.0.1:8081" }, "powerdns.api_url: "},
		"other scheme": {func(c *powerdns.Config) { c.APIURL = "ftp://127.0.0.1" }, "powerdns.api_url: "},
		"with path":    {func(c *powerdns.Config) { c.APIURL += "/api/v1/" }, "powerdns.api_url: "},
		"with user":    {func(c *powerdns.Config) { c.APIURL = "http://u:p@127.0.0.1:8081" }, "powerdns.api_url: "},
		"no key":       {func(c *powerdns.Config) { c.APIKey = "" }, "powerdns.api_key: "},
		"two keys":     {func(c *powerdns.Config) { c.APIKeyFile = "key" }, "powerdns.api_key: "},
		"no server":    {func(c *powerdns.Config) { c.ServerID = "" }, "powerdns.server_id: "},
		"no port":      {func(c *powerdns.Config) { c.DNSAddress = "127.0.0.1" }, "powerdns.dns_address: "},
		"no host":      {func(c *powerdns.Config) { c.DNSAddress = ":53" }, "powerdns.dns_address: "},
		"no timeout":   {func(c *powerdns.Config) { c.Timeout = 0 }, "powerdns.timeout: "},
		"negative":     {func(c *powerdns.Config) { c.ListTimeout = -1 }, "powerdns.list_timeout: "},
		"none":         {func(c *powerdns.Config) { c.Connections = 0 }, "powerdns.api_connections: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := goodConfig()
			test.change(&cfg)
			err := cfg.Validate()
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s…", err, test.want)
			}
			if _, err := powerdns.NewClient(cfg); err == nil {
				t.Error("NewClient takes it")
			}
		})
	}
}

func TestValidateNamesAllFaults(t *testing.T) {
	err := powerdns.Config{}.Validate()
	for line := range strings.Lines(err.Error()) {
		if !strings.HasPrefix(line, "powerdns.") {
			t.Errorf("line %q names no key", line)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 7 {
		t.Errorf("%d faults in %v", n, err)
	}
}

func TestKeyFile(t *testing.T) {
	tests := map[string]struct {
		text string
		mode os.FileMode
		want string // within the error; empty: none
	}{
		"good":          {"hunter2\n", 0o600, ""},
		"read-only":     {"hunter2", 0o400, ""},
		"for the group": {"hunter2", 0o640, "chmod 600"},
		"for all":       {"hunter2", 0o604, "chmod 600"},
		"empty":         {"\n", 0o600, "empty"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := goodConfig()
			cfg.APIKey, cfg.APIKeyFile = "", filepath.Join(t.TempDir(), "key")
			must.OK(t, os.WriteFile(cfg.APIKeyFile, []byte(test.text), 0o600))
			must.OK(t, os.Chmod(cfg.APIKeyFile, test.mode))
			_, err := powerdns.NewClient(cfg)
			if test.want == "" {
				must.OK(t, err)
			} else if err == nil || !strings.HasPrefix(err.Error(), "powerdns.api_key_file: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	cfg := goodConfig()
	cfg.APIKey, cfg.APIKeyFile = "", filepath.Join(t.TempDir(), "missing")
	_, err := powerdns.NewClient(cfg)
	wantError(t, err, os.ErrNotExist)
}

func TestSecretIsNeverShown(t *testing.T) {
	secret := powerdns.Secret("hunter2")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
		for _, v := range []any{secret, &secret, goodConfig(), []powerdns.Secret{secret}} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "hunter2") || strings.Contains(got, fmt.Sprintf("%x", "hunter2")) {
				t.Errorf("%s of %T gives %s", verb, v, got)
			}
		}
	}
	text, err := json.Marshal(goodConfig())
	must.OK(t, err)
	if strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), "***") {
		t.Errorf("JSON is %s", text)
	}
	var read powerdns.Secret
	must.OK(t, read.UnmarshalText([]byte("hunter2")))
	if read.Reveal() != "hunter2" {
		t.Errorf("read %q", read.Reveal())
	}
}
