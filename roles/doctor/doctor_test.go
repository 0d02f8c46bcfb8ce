package doctor

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/observe"
	"pdns-distribute/roles/settings"
)

type options struct {
	json bool
	role string
}

func (o options) Bool(string) bool          { return o.json }
func (o options) String(string) string      { return o.role }
func (options) StringSlice(string) []string { return nil }

func TestWhichRole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	for _, c := range []struct{ content, option, want, fault string }{
		{"[node]\nid = 'x'\n[secondary]\n", "", "secondary", ""},
		{"[server]\nconfig = 'nats.conf'\n", "", "broker", ""},
		{"[proxy]\n[health]\n", "", "", "--role"},
		{"[proxy]\n[health]\n", "health", "health", ""},
		{"[node]\n", "", "", "--role"},
		{"[node]\n", "secondery", "", `did you mean "secondary"?`},
	} {
		must.OK(t, os.WriteFile(file, []byte(c.content), 0o600))
		role, err := whichRole(command.Invocation{Settings: settings.Sources{File: file}, Options: options{role: c.option}})
		if role != c.want || (err != nil) != (c.fault != "") || err != nil && (!errors.Is(err, command.ErrUsage) || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%q, --role %q: %q, %v", c.content, c.option, role, err)
		}
	}
	if _, err := whichRole(command.Invocation{Options: options{}}); !errors.Is(err, command.ErrUsage) {
		t.Errorf("without a file: %v", err)
	}
}

// Faults of the configuration are findings like others, and exit as they do for the role.
func TestFaultyConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	must.OK(t, os.WriteFile(file, []byte("[health]\ninactive_after = \"1s\"\n[broker]\nurls = [\"nats://a\"]\nnkey_file = \"n\"\n"), 0o600))
	var out bytes.Buffer
	in := command.Invocation{Settings: settings.Sources{File: file}, Options: options{}, Stdout: &out}
	err := Run(t.Context(), in)
	var faults settings.Faults
	if !errors.As(err, &faults) || len(faults) != 2 || strings.Contains(err.Error(), "inactive_after") {
		t.Error(err)
	}
	for _, want := range []string{"FAIL  config " + file + ":2: health.inactive_after: 1s is too short", "FAIL  config " + file + ":4: broker.urls:", "0 ok, 0 warnings, 2 failures\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
	out.Reset()
	in.Settings.File, in.Options = file+".none", options{json: true}
	var r report
	if err := Run(t.Context(), in); !errors.As(err, &faults) {
		t.Error(err)
	}
	must.OK(t, json.Unmarshal(out.Bytes(), &r))
	if r.OK || len(r.Checks) != 1 || !strings.Contains(r.Checks[0].Found, "no such file") {
		t.Errorf("%+v", r)
	}
}

func TestPrinted(t *testing.T) {
	var f findings
	f.ok("broker.login", "tls://a:4222", "connected as %s", "ns1")
	f.warn("disk.space", "/var", "500 MB are free", "make room")
	f.fail("powerdns.api", "http://b", "it refuses the API key", "use the right one")
	f.fail("powerdns.dns", "b:53", "no answer", "start it")
	f.run(here("systemctl start pdns"), anywhere("status"))
	var out bytes.Buffer
	must.OK(t, newReport("secondary", "ns1", f).print(&out, false))
	const want = `ok    broker tls://a:4222: connected as ns1
warn  disk /var: 500 MB are free
      make room
FAIL  powerdns http://b: it refuses the API key
      use the right one
FAIL  powerdns b:53: no answer
      start it
        systemctl start pdns
      on a host with a health role or a primary:
        pdns-distribute status
1 ok, 1 warning, 2 failures
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
	out.Reset()
	must.OK(t, newReport("secondary", "ns1", f[:2]).print(&out, true))
	const wantJSON = `{"version":1,"ok":true,"role":"secondary","node":"ns1","checks":[` +
		`{"check":"broker.login","object":"tls://a:4222","result":"ok","found":"connected as ns1"},` +
		`{"check":"disk.space","object":"/var","result":"warn","found":"500 MB are free","remedy":"make room"}]}` + "\n"
	if out.String() != wantJSON {
		t.Errorf("got:  %s\nwant: %s", out.String(), wantJSON)
	}
}

// judged is the result of the one finding that judge makes.
func judged(t *testing.T, judge func(f *findings)) string {
	t.Helper()
	var f findings
	judge(&f)
	if len(f) != 1 {
		t.Fatalf("%+v", f)
	}
	return f[0].Result
}

func TestLimits(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for left, want := range map[time.Duration]string{-day: fail, 0: fail, day: warn, 29 * day: warn, 31 * day: ok} {
		got := judged(t, func(f *findings) {
			f.end("", "", &x509.Certificate{NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.Add(left)}, now, "")
		})
		if got != want {
			t.Errorf("a certificate that ends in %s: %s", left, got)
		}
	}
	if got := judged(t, func(f *findings) {
		f.end("", "", &x509.Certificate{NotBefore: now.Add(day), NotAfter: now.Add(365 * day)}, now, "")
	}); got != fail {
		t.Errorf("a certificate that is not good yet: %s", got)
	}
	for ahead, want := range map[time.Duration]string{0: ok, time.Second: ok, 2 * time.Second: warn, -29 * time.Second: warn, 30 * time.Second: fail, -time.Hour: fail} {
		if got := judged(t, func(f *findings) { f.clock(broker.Clock{Known: true, Ahead: ahead}) }); got != want {
			t.Errorf("a clock that is %s ahead: %s", ahead, got)
		}
	}
	for _, c := range []struct {
		free, all uint64
		want      string
	}{{50, 100, fail}, {99, 500, fail}, {500, 1000, warn}, {2000, 30_000, warn}, {2000, 200_000, fail}, {2000, 10_000, ok}} {
		if got := judged(t, func(f *findings) { f.free("", c.free, c.all) }); got != c.want {
			t.Errorf("%d of %d MB free: %s", c.free, c.all, got)
		}
	}
}

func TestClockSaysWhichWay(t *testing.T) {
	var f findings
	f.clock(broker.Clock{Known: true, Ahead: 45 * time.Second})
	f.clock(broker.Clock{Known: true, Ahead: -45 * time.Second})
	f.clock(broker.Clock{})
	if len(f) != 2 || f[0].Found != "45s ahead of the broker's" || f[1].Found != "45s behind the broker's" {
		t.Errorf("%+v", f)
	}
}

// Of several authorities the one that lasts longest counts, and one that cannot be read is found.
func TestAuthorities(t *testing.T) {
	now := time.Now()
	ended, err := broker.NewCA("ended", now.AddDate(-11, 0, 0))
	must.OK(t, err)
	good, err := broker.NewCA("good", now)
	must.OK(t, err)
	path := filepath.Join(t.TempDir(), "ca.crt")
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"good":     {good.CertPEM, ok},
		"ended":    {ended.CertPEM, fail},
		"renewed":  {slices.Concat(ended.CertPEM, good.CertPEM), ok},
		"a key":    {good.KeyPEM, fail},
		"cut":      {good.CertPEM[:200], fail},
		"nonsense": {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), fail},
	} {
		must.OK(t, os.WriteFile(path, c.content, 0o600))
		if got := judged(t, func(f *findings) { f.authorities("broker.ca", named{"broker.ca_file", path}, now) }); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	var f findings
	f.folder("secondary.state_dir", filepath.Join(dir, "to", "be", "made"))
	if f[0].Result != ok || len(f) != 2 || f[1].Check != "disk.space" {
		t.Errorf("%+v", f)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it was made: %v, %v", left, err)
	}
}

// A role that is not ready says itself what to do, and what it says is passed on.
func TestLinesOfARunningRole(t *testing.T) {
	ready := observe.NewReadiness("powerdns", "proof")
	ready.Remedies(func(reason string) any { return health.CommandsFor(health.RolePrimary, "p1", reason) })
	server, err := observe.New(observe.Config{Listen: "127.0.0.1:0"}, prometheus.NewRegistry(), ready, zerolog.Nop())
	must.OK(t, err)
	go func() { _ = server.Run(t.Context()) }()
	var f findings
	f.readiness(t.Context(), "port.observe", observe.Config{Listen: server.Addr()})
	if lines := health.Lines(f[0].Run); !slices.Equal(lines, []string{"journalctl -n 50 -u pdns-distribute-primary@p1"}) {
		t.Errorf("%+v", f)
	}
}
