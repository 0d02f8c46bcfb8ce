package installation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/host"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/settings"
)

// options are a command's flags.
type options struct {
	texts map[string]string
	lists map[string][]string
}

func (o options) Bool(name string) bool { return o.texts[name] != "" }

func (o options) String(name string) string { return o.texts[name] }

func (o options) StringSlice(name string) []string { return o.lists[name] }

// initAs runs the command init.
func initAs(dir, home, brokers string, out io.Writer, secondaries ...string) error {
	return Init(context.Background(), command.Invocation{
		Args: []string{dir}, Stdout: out, Stderr: io.Discard,
		Options: options{map[string]string{"home": home}, map[string][]string{
			"broker": {brokers}, "primary": {"primary1"}, "proxy": {"proxy1"}, "health": {"health1"}, "secondary": secondaries,
		}},
	})
}

func initInto(dir, home string, out io.Writer) error {
	return initAs(dir, home, "broker.example.net", out, "ns1, ns2")
}

func TestInitWritesAnInstallation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "installation")
	var out bytes.Buffer
	must.OK(t, initInto(dir, "", &out))

	want := map[string]fs.FileMode{"ca.crt": 0o644, "ca.key": 0o600, "broker1/broker.crt": 0o644, "broker1/broker.key": 0o600, "broker1/nats.conf": 0o644, "broker1/accounts.conf": 0o644,
		"installation.toml": 0o644, "primary1/sign.key": 0o600}
	for _, id := range []string{"broker1", "primary1", "proxy1", "health1", "ns1", "ns2"} {
		want[id+"/ca.crt"], want[id+"/config.toml"], want[id+".tar.gz"] = 0o644, 0o644, 0o600
		if id != "broker1" {
			want[id+"/node.nkey"] = 0o600
		}
		if id == "primary1" || id == "ns1" || id == "ns2" {
			want[id+"/powerdns-api-key"], want[id+"/pdns.conf"] = 0o600, 0o600
		}
	}
	if got := tree(t, dir); !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	wantOut := strings.ReplaceAll(`Wrote DIR: a folder for each node, and an archive of it.
Install the package on each host. Then put each node in its place there, by its line:

  broker1      ssh root@broker.example.net pdns-distribute install - < DIR/broker1.tar.gz
  primary1     ssh root@HOST pdns-distribute install - < DIR/primary1.tar.gz
  proxy1       ssh root@HOST pdns-distribute install - < DIR/proxy1.tar.gz
  health1      ssh root@HOST pdns-distribute install - < DIR/health1.tar.gz
  ns1          ssh root@HOST pdns-distribute install - < DIR/ns1.tar.gz
  ns2          ssh root@HOST pdns-distribute install - < DIR/ns2.tar.gz
`, "DIR", dir)
	if !strings.HasPrefix(out.String(), wantOut) || !strings.Contains(out.String(), filepath.Join(dir, "ca.key")+" most of all") {
		t.Errorf("got  %s\nwant %s", out.String(), wantOut)
	}
}

// tree lists all files with their modes, and wants folders to be the owner's alone.
func tree(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	files := map[string]fs.FileMode{}
	must.OK(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if mode := info.Mode().Perm(); mode != 0o700 {
				t.Errorf("folder %s has mode %04o", path, mode)
			}
			return nil
		}
		name, err := filepath.Rel(dir, path)
		files[name] = info.Mode().Perm()
		return err
	}))
	return files
}

// What systemd itself says of the units: they are understood, and no role keeps a privilege.
func TestUnits(t *testing.T) {
	units, err := Units()
	must.OK(t, err)
	if len(units) != 5 {
		t.Errorf("there are %d units", len(units))
	}
	for name, text := range units {
		role := strings.TrimSuffix(strings.TrimPrefix(name, "pdns-distribute-"), "@.service")
		want := strings.ReplaceAll("\nUser=pdns-distribute-ROLE\nGroup=pdns-distribute-ROLE\n"+
			"ExecStart=/usr/bin/pdns-distribute ROLE --config /var/lib/pdns-distribute/%i/config.toml\n", "ROLE", role)
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %s:%s", name, want, text)
		}
		wantStrict(t, name, text, nil)
	}
}

// wantStrict has systemd judge a unit, with a drop-in unless that is nil.
func wantStrict(t *testing.T, name string, text, dropIn []byte) {
	t.Helper()
	unit := filepath.Join(t.TempDir(), strings.Replace(name, "@.", "@node1.", 1))
	must.OK(t, os.WriteFile(unit, text, 0o600))
	if dropIn != nil {
		must.OK(t, os.Mkdir(unit+".d", 0o700))
		must.OK(t, os.WriteFile(filepath.Join(unit+".d", host.UnitFile), dropIn, 0o600))
	}
	if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", unit).CombinedOutput(); err != nil || !strings.Contains(string(out), "Overall exposure level") || strings.Contains(string(out), "ignoring") {
		t.Errorf("%s: %v\n%s", unit, err, out)
	}
	wantUnderstood(t, unit)
}

// A node that is not where its unit looks for it, or listens elsewhere, has a drop-in for that.
func TestDropIns(t *testing.T) {
	units, err := Units()
	must.OK(t, err)
	dir := filepath.Join(t.TempDir(), "installation")
	must.OK(t, initInto(dir, "/srv/pdns", io.Discard))
	for id, role := range map[string]string{"broker1": "broker", "ns1": "secondary"} {
		text, err := os.ReadFile(filepath.Join(dir, id, host.UnitFile))
		must.OK(t, err)
		want := strings.NewReplacer("ROLE", role, "NODE", id).Replace("\nExecStart=\nExecStart=/usr/bin/pdns-distribute ROLE --config /srv/pdns/NODE/config.toml\n" +
			"StateDirectory=\nReadWritePaths=/srv/pdns/NODE\n")
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %s:%s", id, want, text)
		}
		name := "pdns-distribute-" + role + "@.service"
		wantStrict(t, name, units[name], text)
	}
	dir = filepath.Join(t.TempDir(), "installation")
	must.OK(t, initAs(dir, "", "a:4444,b,c", io.Discard, "ns1"))
	text, err := os.ReadFile(filepath.Join(dir, "broker1", host.UnitFile))
	if err != nil || !strings.Contains(string(text), "\n[Service]\nSocketBindAllow=tcp:4444\nSocketBindAllow=tcp:6444\n") {
		t.Errorf("%v: %s", err, text)
	}
	for _, id := range []string{"broker2", "ns1"} {
		if _, err := os.Stat(filepath.Join(dir, id, host.UnitFile)); !os.IsNotExist(err) {
			t.Errorf("%s has a drop-in that it does not need: %v", id, err)
		}
	}
}

// wantUnderstood has systemd read a unit. That the program and its user are not on this host does not count.
func wantUnderstood(t *testing.T, unit string) {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, unit+":") || strings.Contains(line, "ignoring") {
			t.Error(line)
		}
	}
}

// A unit lets its role listen where the configuration says, and nowhere else.
func TestUnitsAllowTheirPorts(t *testing.T) {
	i := writeInstallation(t, 3)
	units, err := Units()
	must.OK(t, err)
	for _, n := range i.nodes() {
		cfg := i.config(n)
		want := map[string]bool{"tcp " + cfg.Observe.Listen: true}
		switch n.Role {
		case "broker":
			facts, err := broker.InspectServer(cfg.Server.Config)
			must.OK(t, err)
			want["tcp "+facts.Listen], want["tcp "+facts.Routes] = true, true
			want["tcp :4222"], want["tcp :6222"] = true, true // which the unit allows to all brokers
		case "proxy":
			want["tcp "+cfg.Proxy.Listen] = true
		case health.RoleSecondary:
			want["tcp "+cfg.Secondary.TransferListen], want["udp "+cfg.Secondary.TransferListen] = true, true
		}
		var allowed, needed []string
		for address := range want {
			protocol, listen, _ := strings.Cut(address, " ")
			_, port, err := net.SplitHostPort(listen)
			must.OK(t, err)
			needed = append(needed, protocol+":"+port)
		}
		text := units["pdns-distribute-"+n.Role+"@.service"]
		more, err := os.ReadFile(filepath.Join(i.Dir, n.ID, host.UnitFile))
		must.OK(t, err)
		for line := range strings.Lines(string(text) + string(more)) {
			if port, is := strings.CutPrefix(strings.TrimSpace(line), "SocketBindAllow="); is {
				allowed = append(allowed, port)
			}
		}
		slices.Sort(allowed)
		slices.Sort(needed)
		if !slices.Equal(allowed, needed) {
			t.Errorf("%s may listen at %v, and listens at %v", n.ID, allowed, needed)
		}
		for _, limit := range []string{"\nMemoryMax=", "\nTasksMax=", "\nLimitCORE=0\n", "\nSocketBindDeny=1-65535\n"} {
			if !strings.Contains(string(text), limit) {
				t.Errorf("%s lacks %q", n.Unit, limit)
			}
		}
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.key")
	must.OK(t, os.WriteFile(file, []byte("precious"), 0o600))
	for _, existing := range []string{dir, file} {
		err := initInto(existing, "", io.Discard)
		if want := existing + " exists already, and holds no installation; nothing is overwritten: name a new folder"; !errors.Is(err, command.ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	entries, err := os.ReadDir(dir)
	must.OK(t, err)
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" || len(entries) != 1 {
		t.Errorf("the folder holds %v, and in it %q", entries, text)
	}
}

func TestInitRefusesIDsAndLeavesNothing(t *testing.T) {
	plain := Installation{Brokers: []string{"127.0.0.1"}, Primaries: []string{"primary1"}, Proxies: []string{"proxy1"}, Health: []string{"health1"}, Secondaries: []string{"ns1"}}
	for want, change := range map[string]func(*Installation){
		`"ns1" is the id of the secondary already; name the secondary differently`:  func(i *Installation) { i.Secondaries = []string{"ns1", "ns1"} },
		`"broker1" is the id of the broker already; name the secondary differently`: func(i *Installation) { i.Secondaries = []string{"broker1"} },
		`"primary1" is the id of the primary already; name the proxy differently`:   func(i *Installation) { i.Proxies = []string{"primary1"} },
		`"ns.1"`:                     func(i *Installation) { i.Secondaries = []string{"ns.1"} },
		`"../ns1"`:                   func(i *Installation) { i.Secondaries = []string{"../ns1"} },
		`2 brokers are as good as 1`: func(i *Installation) { i.Brokers = []string{"a", "b"} },
		`0 brokers are as good as 1`: func(i *Installation) { i.Brokers = nil },
		`a:4222 is named twice`:      func(i *Installation) { i.Brokers = []string{"a", "b", "a:4222"} },
		`tls://a: its port`:          func(i *Installation) { i.Brokers = []string{"tls://a"} },
		`a b: give a host name`:      func(i *Installation) { i.Brokers = []string{"a b"} },
		`a:65535: its port is not between 1 and 63535`: func(i *Installation) { i.Brokers = []string{"a:65535", "b", "c"} },
		`an installation needs a primary`:              func(i *Installation) { i.Primaries = nil },
		`""`:                                           func(i *Installation) { i.Primaries = []string{""} },
	} {
		plan := plain
		plan.Dir = filepath.Join(t.TempDir(), "installation")
		change(&plan)
		if err := plan.Write(time.Now()); !errors.Is(err, command.ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s in it", err, want)
		}
		if _, err := os.Stat(plan.Dir); !os.IsNotExist(err) {
			t.Errorf("%s: the folder is there: %v", want, err)
		}
	}
}

// installation is what init wrote, for a broker that can run here.
type installation struct {
	Installation
	t *testing.T
}

func writeInstallation(t *testing.T, brokers int) installation {
	t.Helper()
	i := installation{Installation{
		Dir: filepath.Join(t.TempDir(), "installation"), Primaries: []string{"primary1"}, Proxies: []string{"proxy1"},
		Health: []string{"health1"}, Secondaries: []string{"ns1", "ns2"},
	}, t}
	for range brokers {
		i.Brokers = append(i.Brokers, freeForBroker(t))
	}
	must.OK(t, i.Write(time.Now()))
	return i
}

// freeForBroker is a free address whose port for routes is free, too.
func freeForBroker(t *testing.T) string {
	t.Helper()
	for {
		address, err := local.FreeAddress()
		must.OK(t, err)
		if routes, err := net.Listen("tcp", (member{Address: address}).routes()); err == nil {
			must.OK(t, routes.Close())
			return address
		}
	}
}

// nodes are those that are installed by now.
func (i installation) nodes() (nodes []initNode) {
	i.t.Helper()
	r, err := readRegister(i.Dir)
	must.OK(i.t, err)
	for _, m := range r.Nodes {
		nodes = append(nodes, r.node(m))
	}
	return nodes
}

// config loads a node's file as its role does.
func (i installation) config(n initNode) config.Config {
	i.t.Helper()
	cfg, err := config.ForRole(settings.Sources{File: filepath.Join(i.Dir, n.ID, "config.toml")}, n.Role)
	must.OK(i.t, err)
	return cfg
}

func TestWhatInitWritesIsInOrder(t *testing.T) {
	i := writeInstallation(t, 1)
	keys, listens := map[string]string{}, map[string]bool{}
	for _, n := range i.nodes() {
		cfg := i.config(n)
		if cfg.Node.ID != n.ID {
			t.Errorf("%s: its id is %q", n.ID, cfg.Node.ID)
		}
		if n.Role != health.RoleSecondary { // these have a host each
			if listens[cfg.Observe.Listen] {
				t.Errorf("%s: another role listens at %s, too", n.ID, cfg.Observe.Listen)
			}
			listens[cfg.Observe.Listen] = true
		}
		if n.Role == "proxy" && (cfg.PowerDNS.APIURL == "" || cfg.PowerDNS.APIKeyFile != "") {
			t.Errorf("the proxy's PowerDNS is at %q, with the key in %q", cfg.PowerDNS.APIURL, cfg.PowerDNS.APIKeyFile)
		}
		if !n.HasAPIKey {
			continue
		}
		if _, err := powerdns.NewClient(cfg.PowerDNS); err != nil {
			t.Errorf("%s: %v", n.ID, err)
		}
		key, err := os.ReadFile(cfg.PowerDNS.APIKeyFile)
		must.OK(t, err)
		keys[n.ID] = strings.TrimSpace(string(key))
		conf, err := os.ReadFile(filepath.Join(i.Dir, n.ID, "pdns.conf"))
		must.OK(t, err)
		if !strings.Contains(string(conf), "\napi-key="+keys[n.ID]+"\n") {
			t.Errorf("%s: PowerDNS is given another API key:\n%s", n.ID, conf)
		}
		if is := strings.Contains(string(conf), "\nsecondary=yes\n"); is != (n.Role == health.RoleSecondary) {
			t.Errorf("%s: PowerDNS is made a secondary: %v", n.ID, is)
		}
	}
	if keys["ns1"] == keys["ns2"] || keys["ns1"] == keys["primary1"] || len(keys["ns1"]) < 20 {
		t.Errorf("keys of PowerDNS: %v", keys)
	}
}

func TestBrokerOfInitLetsItsNodesInAndNobodyElse(t *testing.T) {
	i := writeInstallation(t, 1)
	nodes := i.nodes()
	i.runBroker(nodes[0])
	for _, n := range nodes[1:] {
		conn := i.connect(i.config(n))
		ctx, cancel := context.WithTimeout(t.Context(), must.Patience)
		if err := conn.Wait(ctx); err != nil {
			t.Errorf("%s: %v", n.ID, err)
		}
		cancel()
	}

	member := i.config(nodes[4])
	stranger := member
	key, err := broker.NewUserKey()
	must.OK(t, err)
	stranger.Broker.NKeyFile = filepath.Join(t.TempDir(), "node.nkey")
	must.OK(t, os.WriteFile(stranger.Broker.NKeyFile, key.Seed, 0o600))
	i.wantRefused(stranger, "Authorization Violation")

	deceived := member // by a broker with a certificate of another CA
	ca, err := broker.NewCA("another", time.Now())
	must.OK(t, err)
	deceived.Broker.CAFile = filepath.Join(t.TempDir(), "ca.crt")
	must.OK(t, os.WriteFile(deceived.Broker.CAFile, ca.CertPEM, 0o600))
	i.wantRefused(deceived, "certificate signed by unknown authority")
}

// runningBroker is one that runs in this process.
type runningBroker struct{ reload, stop func() }

func (i installation) runBroker(n initNode) runningBroker {
	i.t.Helper()
	cfg := i.config(n)
	cfg.Observe.Listen = ""
	b, err := roles.NewBroker(cfg, node.Deps{Version: "test", Log: io.Discard})
	must.OK(i.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		must.OK(i.t, <-ended)
	})
	i.t.Cleanup(stop)
	select {
	case <-b.Server.Ready():
	case err := <-ended:
		i.t.Fatal("the broker ended: ", err)
	case <-time.After(must.Patience):
		i.t.Fatal("the broker is not ready")
	}
	return runningBroker{stop: stop, reload: func() {
		i.t.Helper()
		must.OK(i.t, b.Server.Reload())
	}}
}

func (i installation) connect(cfg config.Config) *broker.Conn {
	i.t.Helper()
	conn, err := broker.Connect(cfg.Broker, broker.Options{Node: cfg.Node.ID, Role: i.role(cfg.Node.ID), Log: zerolog.Nop()})
	must.OK(i.t, err)
	i.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// role is that of a node that is or was installed; where it is not known any more, any will do.
func (i installation) role(id string) broker.Role {
	r, err := readRegister(i.Dir)
	must.OK(i.t, err)
	if m := r.find(id); m != nil {
		return broker.Role(m.Role)
	}
	return broker.RoleSecondary
}

// wantRefused waits for the reason why there is no connection, which is told by no event.
func (i installation) wantRefused(cfg config.Config, reason string) {
	i.t.Helper()
	conn := i.connect(cfg)
	for deadline := time.Now().Add(must.Patience); ; time.Sleep(10 * time.Millisecond) {
		err := conn.Err()
		switch {
		case conn.Connected():
			i.t.Errorf("%s: let in", reason)
			return
		case err != nil && strings.Contains(err.Error(), reason):
			return
		case time.Now().After(deadline):
			i.t.Errorf("kept out because of %v, want %s", err, reason)
			return
		}
	}
}

func TestInitWithoutAFolder(t *testing.T) {
	err := Init(t.Context(), command.Invocation{Stdout: io.Discard, Options: options{}})
	if !errors.Is(err, command.ErrUsage) || !strings.Contains(fmt.Sprint(err), "init: wrong usage: name the folder to write, for example: pdns-distribute init ") {
		t.Errorf("error is %v", err)
	}
}
