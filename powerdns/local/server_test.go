package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

var example = zone.MustParseName("example.org")

func eachBackend(t *testing.T, check func(*testing.T, Backend)) {
	for _, b := range []Backend{SQLite, LMDB} {
		t.Run(string(b), func(t *testing.T) { check(t, b) })
	}
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	must.HavePowerDNS(t)
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Start(t.Context(), o)
	must.OK(t, err)
	t.Cleanup(s.Stop)
	return s
}

// TestLife follows a server through all that can be done to it.
func TestLife(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		s := start(t, Options{Backend: b, Primary: true})
		createExample(t, s)
		wantRcode(t, s, dns.RcodeSuccess)

		dnsAddr, apiURL := s.DNSAddr, s.APIURL
		s.Kill()
		s.Stop()
		if _, err := exchange(t, s); err == nil {
			t.Error("a killed server answers")
		}
		must.OK(t, s.Restart(t.Context()))
		wantRcode(t, s, dns.RcodeSuccess)
		must.OK(t, s.Restart(t.Context()))
		wantRcode(t, s, dns.RcodeSuccess)

		must.OK(t, s.Wipe(t.Context()))
		wantRcode(t, s, dns.RcodeRefused)
		createExample(t, s)
		if s.DNSAddr != dnsAddr || s.APIURL != apiURL {
			t.Errorf("moved from %s, %s to %s, %s", dnsAddr, apiURL, s.DNSAddr, s.APIURL)
		}
	})
}

func TestStartOnDataOfBefore(t *testing.T) {
	eachBackend(t, func(t *testing.T, b Backend) {
		dir := t.TempDir()
		before := start(t, Options{Dir: dir, Backend: b})
		createExample(t, before)
		before.Stop()
		wantRcode(t, start(t, Options{Dir: dir, Backend: b}), dns.RcodeSuccess)
	})
}

func createExample(t *testing.T, s *Server) {
	t.Helper()
	c, err := s.Client()
	must.OK(t, err)
	must.OK(t, c.CreateZoneWith(t.Context(), powerdns.ZoneSpec{Name: example, Kind: powerdns.Native, Nameservers: []string{"ns.example."}}))
}

func wantRcode(t *testing.T, s *Server, want int) {
	t.Helper()
	answer, err := exchange(t, s)
	must.OK(t, err)
	if answer.Rcode != want {
		t.Errorf("answer %s, want %s", dns.RcodeToString[answer.Rcode], dns.RcodeToString[want])
	}
}

func exchange(t *testing.T, s *Server) (*dns.Msg, error) {
	t.Helper()
	question := new(dns.Msg)
	question.SetQuestion(example.String(), dns.TypeSOA)
	return dns.ExchangeContext(t.Context(), question, s.DNSAddr)
}

func TestSettings(t *testing.T) {
	tests := map[string]struct {
		options Options
		want    map[string]string
	}{
		"primary": {Options{Primary: true}, map[string]string{
			"primary": "yes", "secondary": "no", "query-cache-ttl": "20", "local-address": "127.0.0.1", "security-poll-suffix": "",
		}},
		"secondary": {Options{}, map[string]string{
			"primary": "no", "secondary": "yes", "query-cache-ttl": "0", "negquery-cache-ttl": "0", "zone-metadata-cache-ttl": "0",
		}},
		"own": {Options{Settings: map[string]string{"query-cache-ttl": "7", "primary": "yes"}}, map[string]string{
			"primary": "yes", "secondary": "yes", "query-cache-ttl": "7",
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := start(t, test.options).Client()
			must.OK(t, err)
			settings, err := c.Config(t.Context())
			must.OK(t, err)
			for key, want := range test.want {
				if got, ok := settings[key]; !ok || got != want {
					t.Errorf("%s=%s, want %s", key, got, want)
				}
			}
		})
	}
}

func TestPortTaken(t *testing.T) {
	s := start(t, Options{})
	s.Stop()
	listeners := map[string]func() (interface{ Close() error }, error){
		"API": func() (interface{ Close() error }, error) { return net.Listen("tcp", apiAddress(s.APIURL)) },
		"TCP": func() (interface{ Close() error }, error) { return net.Listen("tcp", s.DNSAddr) },
		"UDP": func() (interface{ Close() error }, error) { return net.ListenPacket("udp", s.DNSAddr) },
	}
	for name, listen := range listeners {
		t.Run(name, func(t *testing.T) {
			l, err := listen()
			must.OK(t, err)
			err = s.Restart(t.Context())
			must.OK(t, l.Close())
			if !errors.Is(err, errPortTaken) {
				t.Errorf("got %v, want %v", err, errPortTaken)
			}
		})
	}
	must.OK(t, s.Restart(t.Context()))
}

func TestLongPath(t *testing.T) {
	s := start(t, Options{Dir: filepath.Join(t.TempDir(), strings.Repeat("long/", 30))})
	if s.socketDir == s.Dir {
		t.Errorf("control socket in %s", s.Dir)
	}
	s.Stop()
	if _, err := os.Stat(s.socketDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left behind: %v", s.socketDir, err)
	}
}

func TestFailureShowsTheLog(t *testing.T) {
	must.HavePowerDNS(t)
	_, err := Start(t.Context(), Options{Dir: t.TempDir(), Settings: map[string]string{"no-such-setting": "1"}})
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "no-such-setting") {
		t.Errorf("got %v", err)
	}
}

func TestUnknownBackend(t *testing.T) {
	if _, err := Start(t.Context(), Options{Dir: t.TempDir(), Backend: "bind"}); err == nil {
		t.Error("started")
	}
}

func TestCancelledStart(t *testing.T) {
	must.HavePowerDNS(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := Start(ctx, Options{Dir: t.TempDir()}); !errors.Is(err, enough) {
		t.Errorf("got %v, want %v", err, enough)
	}
}

func TestMissingProgram(t *testing.T) {
	if _, err := find("no-such-program"); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "apt-get install pdns-server") {
		t.Errorf("got %v", err)
	}
}

// A server runs the programs of a folder, and those of another one from its next start on.
func TestPrograms(t *testing.T) {
	must.HavePowerDNS(t)
	dir := t.TempDir()
	for _, program := range []string{"pdns_server", "pdnsutil"} {
		path, err := find(program)
		must.OK(t, err)
		must.OK(t, os.Symlink(path, filepath.Join(dir, program)))
	}
	s := start(t, Options{Programs: dir})
	createExample(t, s)
	zones, err := s.Pdnsutil(t.Context(), "list-all-zones")
	must.OK(t, err)
	if !strings.Contains(zones, "example.org") {
		t.Errorf("pdnsutil lists %q", zones)
	}
	c, err := s.Client()
	must.OK(t, err)
	info, err := c.Server(t.Context())
	must.OK(t, err)
	if version, err := Version(t.Context(), dir); version != info.Version {
		t.Errorf("version %q, %v, want %s", version, err, info.Version)
	}
	empty := t.TempDir()
	s.SetPrograms(empty)
	if err := s.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), empty) {
		t.Errorf("got %v, want an error about %s", err, empty)
	}
}

// Zones move from one backend to the other one.
func TestMove(t *testing.T) {
	s := start(t, Options{Backend: LMDB, Primary: true})
	createExample(t, s)
	s.Stop()
	must.OK(t, s.Move(t.Context(), SQLite))
	must.OK(t, s.Restart(t.Context()))
	wantRcode(t, s, dns.RcodeSuccess)
}

// asParent makes this test binary start a server and say its pid, instead of testing.
const asParent = "PDNS_DISTRIBUTE_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asParent); dir != "" {
		s, err := Start(context.Background(), Options{Dir: dir})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.process.cmd.Process.Pid)
		select {}
	}
	os.Exit(m.Run())
}

func TestServerDiesWithItsParent(t *testing.T) {
	must.HavePowerDNS(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), asParent+"="+t.TempDir())
	out, err := parent.StdoutPipe()
	must.OK(t, err)
	must.OK(t, parent.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = parent.Process.Kill()
	_ = parent.Wait() // killed: an error by design
	must.OK(t, err)

	status := filepath.Join("/proc", strings.TrimSpace(line), "status")
	must.Eventually(t, func() error {
		if alive(status) {
			return fmt.Errorf("server %s outlives its parent", line)
		}
		return nil
	})
}

// alive: there is such a process, and it is not just waiting to be reaped.
func alive(status string) bool {
	text, err := os.ReadFile(status)
	return err == nil && !strings.Contains(string(text), "State:\tZ")
}
