package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/doctor"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/settings"
)

// finding is one of the doctor's, as programs read it.
type finding struct{ Check, Object, Result, Found, Remedy string }

// seed is the secret half of a user's nkey.
var seed = regexp.MustCompile(`\bSU[A-Z2-7]{56}\b`)

// examine runs the doctor for a node, with some settings changed.
func (i *harness) examine(id string, change map[string]string) ([]finding, error) {
	i.t.Helper()
	file, set := i.Config(id)
	set = maps.Clone(set)
	maps.Copy(set, change)
	var out bytes.Buffer
	begin := time.Now()
	err := doctor.Run(i.ctx, command.Invocation{
		Settings: settings.Sources{File: file, Flags: set}, Options: flags{"json": true}, Stdout: &out, Stderr: io.Discard,
	})
	if took := time.Since(begin); took > time.Minute {
		i.t.Errorf("it took %s", took)
	}
	var report struct {
		OK         bool
		Role, Node string
		Checks     []finding
	}
	must.OK(i.t, json.Unmarshal(out.Bytes(), &report))
	if report.OK != (err == nil) || err == nil && report.Node != id {
		i.t.Errorf("%v, and it says of %s %s: %v", err, report.Role, report.Node, report.OK)
	}
	if key := i.Primary.APIKey.Reveal(); strings.Contains(out.String(), key) || seed.MatchString(out.String()) {
		i.t.Errorf("a secret is shown:\n%s", out.String())
	}
	for _, c := range report.Checks {
		if (c.Remedy == "") != (c.Result == "ok") {
			i.t.Errorf("the remedy does not fit: %+v", c)
		}
	}
	return report.Checks, err
}

// notOK are the findings with another result, as their check and its result. That the installed PowerDNS is past its
// end is nothing of the installation's.
func notOK(checks []finding) (list []string) {
	for _, c := range checks {
		if c.Check == "powerdns.version" && c.Result == "warn" {
			continue
		}
		if entry := c.Result + " " + c.Check; c.Result != "ok" && !slices.Contains(list, entry) {
			list = append(list, entry)
		}
	}
	return list
}

func TestDoctorOfAHealthyInstallation(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	must.OK(t, createMany(i.ctx, i.api, "well", 3, 3))
	i.eventually("created", i.allSame)
	i.noAlarms()
	for id, wants := range map[string][]string{
		fleet.Broker:  {"server.config", "server.certificate", "disk.folder", "disk.space", "port.observe", "port.listen"},
		fleet.Primary: {"broker.tls", "broker.login", "broker.stream", "clock.skew", "powerdns.api", "powerdns.settings", "powerdns.dns", "powerdns.same", "powerdns.axfr", "sources.published"},
		fleet.Proxy:   {"broker.secret", "broker.ca", "broker.statuses", "broker.touch", "broker.permissions", "proxy.certificate", "powerdns.api", "disk.folder", "port.listen"},
		fleet.Health:  {"broker.login", "broker.stream", "clock.skew", "sources.compared"},
		"ns1":         {"broker.feed", "broker.permissions", "clock.skew", "disk.folder", "port.listen", "powerdns.settings", "powerdns.zones", "powerdns.same", "powerdns.axfr", "sources.answered"},
	} {
		checks, err := i.examine(id, nil)
		if bad := notOK(checks); err != nil || len(bad) > 0 {
			t.Errorf("%s: %v, %v\n%+v", id, err, bad, checks)
		}
		for _, want := range wants {
			if !slices.ContainsFunc(checks, func(c finding) bool { return c.Check == want }) {
				t.Errorf("%s: no finding about %s", id, want)
			}
		}
		if !slices.ContainsFunc(checks, func(c finding) bool {
			return c.Check == "port.observe" && strings.Contains(c.Found, "running, and ready")
		}) {
			t.Errorf("%s: it does not see that the role is running: %+v", id, checks)
		}
	}
	i.eventually("nothing came of it", i.allSame)
}

// Whatever is wrong is found, with a remedy, and nothing else is called wrong.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	must.OK(t, createMany(i.ctx, i.api, "ill", 3, 3))
	i.eventually("created", i.allSame)
	dir := t.TempDir()
	file := func(name string, content []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		must.OK(t, os.WriteFile(path, content, mode))
		return path
	}
	stranger, err := broker.NewUserKey()
	must.OK(t, err)
	ca, err := broker.NewCA("another", time.Now())
	must.OK(t, err)
	elsewhere, err := local.Start(i.ctx, local.Options{Dir: filepath.Join(dir, "other"), Primary: true, Settings: map[string]string{"disable-axfr": "yes"}})
	must.OK(t, err)
	defer elsewhere.Stop()
	blank, err := local.Start(i.ctx, local.Options{Dir: filepath.Join(dir, "blank"), Settings: map[string]string{
		"query-cache-ttl": "20", "zone-metadata-cache-ttl": "60", "secondary": "no", "autosecondary": "yes", "loglevel": "3",
	}})
	must.OK(t, err)
	defer blank.Stop()
	own, err := blank.Client()
	must.OK(t, err)
	must.OK(t, createMany(i.ctx, own, "own", 5, 1))
	closed, err := local.Start(i.ctx, local.Options{Dir: filepath.Join(dir, "closed"), Primary: true, Settings: map[string]string{"allow-axfr-ips": "192.0.2.1"}})
	must.OK(t, err)
	defer closed.Stop()
	api, err := closed.Client()
	must.OK(t, err)
	must.OK(t, createMany(i.ctx, api, "closed", 1, 1))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must.OK(t, err)
	defer taken.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connections are taken, and nothing comes of them
	must.OK(t, err)
	defer silent.Close()
	must.OK(t, os.Mkdir(filepath.Join(dir, "open"), 0o755))
	longPast := time.Now().AddDate(-4, 0, 0)
	oldCA, err := broker.NewCA("old", longPast)
	must.OK(t, err)
	ended, err := oldCA.NewServerCertificate([]string{"proxy.example"}, longPast)
	must.OK(t, err)
	beside := func(s *local.Server) map[string]string {
		return map[string]string{"powerdns.api_url": s.APIURL, "powerdns.dns_address": s.DNSAddr, "powerdns.api_key_file": s.APIKeyFile()}
	}
	for _, c := range []struct {
		what, node string
		change     map[string]string
		want       []string
	}{
		{"another CA", "ns1", map[string]string{"broker.ca_file": file("other.crt", ca.CertPEM, 0o644)}, []string{"fail broker.tls"}},
		{"no CA", "ns1", map[string]string{"broker.ca_file": file("seed.crt", []byte("none"), 0o644)}, []string{"fail broker.ca"}},
		{"an unknown nkey", "ns1", map[string]string{"broker.nkey_file": file("other.nkey", stranger.Seed, 0o600)}, []string{"fail broker.login"}},
		{"an nkey that others can read", fleet.Primary, map[string]string{"broker.nkey_file": file("open.nkey", stranger.Seed, 0o644)}, []string{"fail broker.secret"}},
		{"no nkey", "ns1", map[string]string{"broker.nkey_file": filepath.Join(dir, "none.nkey")}, []string{"fail broker.secret"}},
		{"no such broker", "ns1", map[string]string{"broker.urls": "tls://broker.invalid:4222"}, []string{"fail broker.name"}},
		{"another node's id", "ns1", map[string]string{"node.id": "ns2"}, []string{"fail broker.presence", "fail broker.feed"}},
		{"another role's nkey", "ns1", map[string]string{"broker.nkey_file": filepath.Join(i.Dir, "roles", fleet.Primary, "node.nkey")}, []string{"fail broker.presence", "fail broker.feed"}},
		{"wrong API key", "ns1", map[string]string{"powerdns.api_key_file": file("wrong-key", []byte("wrong"), 0o600)}, []string{"fail powerdns.api"}},
		{"wrong API", "ns1", map[string]string{"powerdns.api_url": "http://" + i.Observe(fleet.Proxy)}, []string{"fail powerdns.api"}},
		{"wrong API for the proxy", fleet.Proxy, map[string]string{"powerdns.api_url": "http://" + i.Observe(fleet.Proxy)}, []string{"fail powerdns.api"}},
		{"DNS of another server", "ns1", map[string]string{"powerdns.dns_address": i.Secondaries[1].DNSAddr}, []string{"fail powerdns.same"}},
		{"no DNS", "ns1", map[string]string{"powerdns.dns_address": taken.Addr().String()}, []string{"fail powerdns.dns"}},
		{"unfit secondary", "ns1", beside(blank), []string{"fail powerdns.settings", "warn powerdns.settings"}},
		{"unfit primary", fleet.Primary, beside(elsewhere), []string{"fail powerdns.settings"}},
		{"silence", "ns1", map[string]string{
			"broker.urls": "tls://" + silent.Addr().String(), "powerdns.api_url": "http://" + silent.Addr().String(), "powerdns.dns_address": silent.Addr().String(),
		}, []string{"fail broker.tls", "fail powerdns.api", "fail powerdns.dns"}},
		{"no transfer", fleet.Primary, beside(closed), []string{"warn powerdns.settings", "fail powerdns.axfr"}},
		{"too many rights", fleet.Health, map[string]string{
			"node.id": fleet.Primary, "broker.nkey_file": filepath.Join(i.Dir, "roles", fleet.Primary, "node.nkey"), "broker.api_prefix": "$JS.API",
		}, []string{"fail broker.presence", "fail broker.permissions"}},
		{"state_dir is a file", "ns1", map[string]string{"secondary.state_dir": file("state", nil, 0o600)}, []string{"fail disk.folder"}},
		{"state_dir cannot be", "ns1", map[string]string{"secondary.state_dir": file("state", nil, 0o600) + "/below"}, []string{"fail disk.folder"}},
		{"state_dir is open", "ns1", map[string]string{"secondary.state_dir": filepath.Join(dir, "open")}, []string{"fail disk.folder"}},
		{"observed by another role", "ns1", map[string]string{"observe.listen": i.Observe(fleet.Health)}, []string{"fail port.observe"}},
		{"a stranger's port", fleet.Health, map[string]string{"observe.listen": taken.Addr().String()}, []string{"fail port.observe"}},
		{"an address of another host", fleet.Proxy, map[string]string{"proxy.listen": "192.0.2.1:443"}, []string{"fail port.listen"}},
		{"no pair", fleet.Proxy, map[string]string{"proxy.tls_cert": file("c.crt", ended.CertPEM, 0o644), "proxy.tls_key": file("c.key", ca.KeyPEM, 0o600)}, []string{"fail proxy.certificate"}},
		{"an ended pair", fleet.Proxy, map[string]string{"proxy.tls_cert": file("d.crt", ended.CertPEM, 0o644), "proxy.tls_key": file("d.key", ended.KeyPEM, 0o600)}, []string{"fail proxy.certificate"}},
		{"unsigned", fleet.Primary, map[string]string{"primary.sign_key_file": ""}, []string{"warn primary.sign_key_file"}},
		{"no key to sign with", fleet.Primary, map[string]string{"primary.sign_key_file": filepath.Join(dir, "none.key")}, []string{"fail primary.sign_key_file"}},
		{"signatures are not verified", "ns1", map[string]string{"secondary.trusted_keys": ""}, []string{"warn secondary.trusted_keys"}},
		{"no nats.conf", fleet.Broker, map[string]string{"server.config": filepath.Join(dir, "none.conf")}, []string{"fail server.config"}},
	} {
		checks, err := i.examine(c.node, c.change)
		if bad := notOK(checks); !slices.Equal(bad, c.want) {
			t.Errorf("%s: %v, want %v\n%+v", c.what, bad, c.want, checks)
		}
		if fails := slices.ContainsFunc(c.want, func(w string) bool { return strings.HasPrefix(w, "fail") }); errors.Is(err, command.ErrNotInOrder) != fails {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	for _, c := range []struct {
		node, path string
		mode       os.FileMode
		want       string // the check that fails, and its remedy
	}{
		{"ns1", "ns1/config.toml", 0o666, "config.settings: put it right"},
		{"ns1", "ns1/ca.crt", 0o664, "broker.ca: chmod go-w "},
		{"ns1", "ns1/node.nkey", 0o640, "broker.secret: chmod 600 "},
		{"ns1", "ns1/state", 0o755, "disk.folder: chmod 700 "},
		{"ns1", "ns1", 0o777, "config.settings: put it right"},
		{fleet.Primary, fleet.Primary + "/sign.key", 0o644, "primary.sign_key_file: chmod 600 "},
		{fleet.Proxy, fleet.Proxy + "/state/proxy.key", 0o604, "proxy.certificate: chmod 600 "},
		{fleet.Proxy, fleet.Proxy + "/state/proxy.crt", 0o606, "proxy.certificate: chmod go-w "},
		{fleet.Broker, fleet.Broker + "/accounts.conf", 0o666, "server.config: chmod go-w "},
		{fleet.Broker, fleet.Broker + "/broker.key", 0o644, "server.config: chmod 600 "},
		{fleet.Broker, fleet.Broker + "/store", 0o750, "disk.folder: chmod 700 "},
	} {
		path := filepath.Join(i.Install(), c.path)
		info, err := os.Stat(path)
		must.OK(t, err)
		must.OK(t, os.Chmod(path, c.mode))
		checks, _ := i.examine(c.node, nil)
		must.OK(t, os.Chmod(path, info.Mode().Perm()))
		name, remedy, _ := strings.Cut(c.want, ": ")
		if strings.HasPrefix(remedy, "chmod") {
			remedy += path
		}
		if !slices.ContainsFunc(checks, func(f finding) bool {
			return f.Check == name && f.Result == "fail" && strings.HasPrefix(f.Remedy, remedy) && strings.Contains(f.Object+f.Found, path)
		}) {
			t.Errorf("%s with mode %04o: %+v", c.path, c.mode, checks)
		}
	}
	checks, _ := i.examine("ns1", beside(blank))
	if !slices.ContainsFunc(checks, func(c finding) bool { return strings.Contains(c.Found, "5 zones, of them 5 of other kinds than Slave") }) {
		t.Errorf("zones that the secondary has of its own are not told: %+v", checks)
	}
	for setting, want := range map[string]finding{
		"secondary=no: PowerDNS takes no zones": {Result: "fail", Remedy: "set secondary in pdns.conf to yes, and restart PowerDNS"},
		"autosecondary=yes: ":                   {Result: "warn", Remedy: "set autosecondary in pdns.conf to no, and restart PowerDNS"},
		"loglevel=3: ":                          {Result: "ok"},
	} {
		if !slices.ContainsFunc(checks, func(c finding) bool {
			return strings.HasPrefix(c.Found, setting) && c.Result == want.Result && c.Remedy == want.Remedy
		}) {
			t.Errorf("%s is not found as %+v: %+v", setting, want, checks)
		}
	}
	i.eventually("nothing came of it", i.allSame)
}

// What is away or altered is found by those who need it.
func TestDoctorFindsWhatIsAway(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Secondaries: []local.Backend{local.SQLite, local.SQLite}})
	must.OK(t, createMany(i.ctx, i.api, "away", 3, 3))
	i.eventually("created", i.allSame)
	wants := func(what, node string, want ...string) []finding {
		t.Helper()
		checks, err := i.examine(node, nil)
		if bad := notOK(checks); !slices.Equal(bad, want) {
			t.Errorf("%s: %s: %v, want %v (%v)\n%+v", what, node, bad, want, err, checks)
		}
		return checks
	}

	must.OK(t, i.StopRole("ns1"))
	wants("stopped", "ns1")
	_, set := i.Config("ns1")
	taken, err := net.Listen("tcp", set["secondary.transfer_listen"])
	must.OK(t, err)
	wants("its port taken", "ns1", "fail port.listen")
	must.OK(t, taken.Close())
	must.OK(t, i.WipeStore("ns1"))
	wants("its store wiped", "ns1")

	i.Secondaries[0].Kill()
	wants("PowerDNS killed", "ns1", "fail powerdns.api", "fail powerdns.dns", "warn powerdns.public")
	i.Primary.Kill()
	wants("PowerDNS killed", fleet.Proxy, "fail powerdns.api")

	must.OK(t, i.StopRole(fleet.Primary))
	js := i.jetStream()
	s, err := js.Stream(i.ctx, "PDNS_ZONE")
	must.OK(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgsPerSubject = 2
	_, err = js.UpdateStream(i.ctx, cfg)
	must.OK(t, err)
	checks := wants("altered stream", fleet.Health, "fail broker.stream")
	if !slices.ContainsFunc(checks, func(c finding) bool { return c.Found == "max_msgs_per_subject is 2, should be 1" }) {
		t.Errorf("%+v", checks)
	}
	must.OK(t, js.DeleteStream(i.ctx, "PDNS_ZONE"))
	wants("missing stream", fleet.Health, "warn broker.stream")
	must.OK(t, i.StopRole("ns2"))
	wants("missing stream", "ns2", "warn broker.feed")
	must.OK(t, js.DeleteStream(i.ctx, "PDNS_TOUCH"))
	wants("missing queue", fleet.Proxy, "warn broker.touch", "fail powerdns.api")

	must.OK(t, i.StopRole(fleet.Broker))
	wants("broker stopped", fleet.Broker)
	wants("broker stopped", "ns2", "fail broker.tcp")
	i.eventually("the role notices", func(context.Context) error {
		if checks, _ := i.examine(fleet.Proxy, nil); !slices.Equal(notOK(checks), []string{"warn port.observe", "fail broker.tcp", "fail powerdns.api"}) {
			return fmt.Errorf("%+v", checks)
		}
		return nil
	})
	i.certifyBroker(time.Now().AddDate(-3, 0, 0))
	must.OK(t, i.Launch(fleet.Broker))
	i.eventually("the broker is there", func(context.Context) error {
		conn, err := net.Dial("tcp", i.brokerAddress())
		if err == nil {
			conn.Close()
		}
		return err
	})
	wants("ended certificate", "ns2", "fail broker.tls")
	wants("ended certificate", fleet.Broker, "fail server.certificate")
}

// jetStream is for what no command does.
func (i *harness) jetStream() jetstream.JetStream {
	i.t.Helper()
	dir := filepath.Join(i.Dir, "roles", fleet.Primary)
	key, err := nats.NkeyOptionFromSeed(filepath.Join(dir, "node.nkey"))
	must.OK(i.t, err)
	nc, err := nats.Connect("tls://"+i.brokerAddress(), nats.RootCAs(filepath.Join(dir, "ca.crt")), nats.TLSHandshakeFirst(), key,
		nats.CustomInboxPrefix("_INBOX_"+fleet.Primary))
	must.OK(i.t, err)
	i.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must.OK(i.t, err)
	return js
}

func (i *harness) brokerAddress() string {
	i.t.Helper()
	text, err := os.ReadFile(filepath.Join(i.Dir, "roles", fleet.Health, "config.toml"))
	must.OK(i.t, err)
	return strings.TrimPrefix(urlIn(text), "tls://")
}

// certifyBroker gives the broker a certificate that was made at another time.
func (i *harness) certifyBroker(at time.Time) {
	i.t.Helper()
	dir := filepath.Join(i.Dir, "roles")
	var ca broker.Certificate
	var err error
	ca.CertPEM, err = os.ReadFile(filepath.Join(dir, "ca.crt"))
	must.OK(i.t, err)
	ca.KeyPEM, err = os.ReadFile(filepath.Join(dir, "ca.key"))
	must.OK(i.t, err)
	made, err := ca.NewServerCertificate([]string{"127.0.0.1"}, at)
	must.OK(i.t, err)
	must.OK(i.t, os.WriteFile(filepath.Join(dir, fleet.Broker, "broker.crt"), made.CertPEM, 0o644))
	must.OK(i.t, os.WriteFile(filepath.Join(dir, fleet.Broker, "broker.key"), made.KeyPEM, 0o600))
}
