package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/settings"
)

func TestFaultsOfTheConfiguration(t *testing.T) {
	for key, test := range map[string]struct{ value, want string }{
		"node.id":                    {"a.b", `node id "a.b"; use 1 to 63 of a-z, 0-9, - and _`},
		"server.config":              {"", `server.config: name the nats-server configuration file, such as "/etc/pdns-distribute/nats.conf"`},
		"primary.workers":            {"0", "primary.workers: 0 is not between 1 and 256"},
		"primary.sweep_interval":     {"999ms", "primary.sweep_interval: 999ms is too short; use 1s or more"},
		"primary.notify_listen":      {"localhost:5353", `primary.notify_listen: "localhost:5353" is not an IP address with a port, such as "127.0.0.1:5300"`},
		"primary.max_delete_percent": {"101", "primary.max_delete_percent: 101 is not between 0 and 100"},
		"primary.max_zone_mb":        {"2048", "primary.max_zone_mb: 2048 is not between 1 and 2047"},
		"primary.transfer_timeout":   {"0s", "primary.transfer_timeout: 0s is too short; use 1s or more"},
		"primary.replicas":           {"2", "primary.replicas: 2 is none of 1, 3 and 5"},
		"secondary.transfer_listen":  {":5300", `secondary.transfer_listen: ":5300" is not an IP address with a port, such as "127.0.0.1:5300"`},
		"secondary.state_dir":        {"", "secondary.state_dir: the secondary needs a folder for its copy of the zones"},
		"secondary.workers":          {"257", "secondary.workers: 257 is not between 1 and 256"},
		"proxy.listen":               {"8443", `proxy.listen: "8443" is not an address with a port, such as ":8443"`},
		"proxy.state_dir":            {"", "proxy.state_dir: the proxy needs a folder to keep its own certificate and pending touches in"},
		"proxy.tls_key":              {"proxy.key", "proxy.tls_cert: tls_cert and tls_key go together; give both, or none to have the proxy make its own pair"},
		"proxy.names":                {"dns.example.net:8443", `proxy.names: "dns.example.net:8443" is no host name or address; write it as "dns.example.net" or "192.0.2.53", without a port`},
		"proxy.upstream_timeout":     {"0s", `proxy.upstream_timeout: 0s is not a positive duration, such as "5s"`},
		"proxy.store_patience":       {"-1s", `proxy.store_patience: -1s is not a positive duration, such as "5s"`},
		"health.inactive_after":      {"1s", "health.inactive_after: 1s is too short, nodes send a heartbeat every 5s; use 10s or more"},
	} {
		section, _, _ := strings.Cut(key, ".")
		t.Run(key, func(t *testing.T) {
			_, err := Load(settings.Sources{Flags: map[string]string{key: test.value}}, section)
			var faults settings.Faults
			if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %s", err, test.want)
			}
			if section == "node" {
				return
			}
			if _, err := Load(settings.Sources{Flags: map[string]string{key: test.value}}); err != nil {
				t.Errorf("a role that does not use the section is kept from starting: %v", err)
			}
		})
	}
}

func TestAllFaultsAreShownAtOnce(t *testing.T) {
	_, err := Load(settings.Sources{Flags: map[string]string{
		"primary.workers": "0", "primary.replicas": "2", "primary.notify_listen": "x", "node.id": "UPPER", "log.level": "loud",
	}}, "primary")
	var faults settings.Faults
	if !errors.As(err, &faults) || len(faults) != 5 {
		t.Errorf("error is %v, want 5 faults", err)
	}
}

func TestNodeIsNamedAfterItsHost(t *testing.T) {
	host, err := os.Hostname()
	must.OK(t, err)
	cfg, err := Load(settings.Sources{})
	must.OK(t, err)
	if want, _, _ := strings.Cut(strings.ToLower(host), "."); cfg.Node.ID != want {
		t.Errorf("node id is %q, want %q", cfg.Node.ID, want)
	}
}

func TestRelativePathsCountFromTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.toml")
	must.OK(t, os.WriteFile(file, []byte(`
[broker]
urls = ["tls://broker:4222"]
ca_file = "ca.crt"
nkey_file = "../keys/node.nkey"
[server]
config = "nats.conf"
[proxy]
state_dir = "state"
tls_cert = "/etc/ssl/proxy.crt"
tls_key = "tls/proxy.key"
`), 0o600))
	cfg, err := Load(settings.Sources{File: file}, "broker", "server", "proxy")
	must.OK(t, err)
	for what, test := range map[string]struct{ got, want string }{
		"beside it":    {cfg.Broker.CAFile, filepath.Join(dir, "ca.crt")},
		"elsewhere":    {cfg.Broker.NKeyFile, filepath.Join(filepath.Dir(dir), "keys", "node.nkey")},
		"below it":     {cfg.Proxy.TLSKey, filepath.Join(dir, "tls", "proxy.key")},
		"absolute":     {cfg.Proxy.TLSCert, "/etc/ssl/proxy.crt"},
		"a folder":     {cfg.Proxy.StateDir, filepath.Join(dir, "state")},
		"of the nats":  {cfg.Server.Config, filepath.Join(dir, "nats.conf")},
		"not set":      {cfg.Broker.CertFile, ""},
		"not relative": {cfg.Secondary.StateDir, "/var/lib/pdns-distribute/secondary"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", what, test.got, test.want)
		}
	}
}
