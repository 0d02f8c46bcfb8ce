package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/operator"
	"pdns-distribute/roles/settings"
)

const patience = must.Patience

// program is the path of the built program, for tests that kill processes.
func program(t *testing.T) string {
	t.Helper()
	must.HavePowerDNS(t)
	must.OK(t, build())
	return filepath.Join(programDir, "pdns-distribute")
}

var (
	programDir string // "" unless it was built
	build      = sync.OnceValue(func() (err error) {
		if programDir, err = os.MkdirTemp("", "pdns-distribute-test-"); err != nil {
			return err
		}
		out, err := exec.Command("go", "build", "-o", programDir, "pdns-distribute").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		return err
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(programDir)
	os.Exit(code)
}

// harness is a fleet under test. Failures end the test.
type harness struct {
	*fleet.Fleet
	t   *testing.T
	ctx context.Context
	api *powerdns.Client // through the proxy
	own *powerdns.Client // straight to the primary PowerDNS

	attacked bool // by a broken-in broker; else no secondary may say that it is
	spoiled  bool // files were damaged; else nobody may say so
}

func start(t *testing.T, o fleet.Options) *harness {
	t.Helper()
	must.HavePowerDNS(t)
	dir, err := os.MkdirTemp("", "fleet") // t.TempDir makes paths too long for sockets
	must.OK(t, err)
	var log lockedBuffer
	if o.Set == nil {
		o.Set = map[string]string{}
	}
	o.Set["log.level"] = "debug"
	o.Set["health.max_load"] = "0" // tests load the machine, and that is no alarm here
	o.Dir, o.Log, o.Version = filepath.Join(dir, "f"), &log, "test"
	if o.Primary == "" {
		o.Primary = local.SQLite
	}
	if o.Secondaries == nil {
		o.Secondaries = []local.Backend{local.SQLite, local.LMDB}
	}
	// The primary's answers are compared with: PowerDNS 4.7.3 does not flush its caches when a zone's settings change.
	if o.OfPrimary == nil {
		o.OfPrimary = map[string]string{}
	}
	for _, ttl := range []string{"query-cache-ttl", "negquery-cache-ttl", "cache-ttl", "zone-metadata-cache-ttl", "dnssec-key-cache-ttl"} {
		if o.OfPrimary[ttl] == "" {
			o.OfPrimary[ttl] = "0"
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f, err := fleet.Start(ctx, o)
	i := &harness{Fleet: f, t: t, ctx: t.Context()}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
		if !i.attacked && bytes.Contains(log.b.Bytes(), []byte("the broker withholds or rolls back")) {
			t.Error("a secondary says that the broker withholds states, and it does not")
		}
		if !i.spoiled && (bytes.Contains(log.b.Bytes(), []byte("store was damaged")) || bytes.Contains(log.b.Bytes(), []byte("copy was damaged"))) {
			t.Error("a role says that its files were damaged, and nobody did that")
		}
		if t.Failed() || os.Getenv("KEEP") != "" {
			keepLogs(t, f, &log)
		}
		os.RemoveAll(dir)
	})
	if err != nil {
		t.Fatal(err)
	}
	through := f.Primary.Config()
	through.APIURL, through.CAFile, through.Timeout = f.ProxyURL, f.ProxyCert, patience
	i.api, err = powerdns.NewClient(through)
	must.OK(t, err)
	i.own, err = f.Primary.Client()
	must.OK(t, err)
	return i
}

// in is the harness for a subtest that shares the fleet.
func (i *harness) in(t *testing.T) *harness {
	sub := *i
	sub.t, sub.ctx = t, t.Context()
	return &sub
}

// keepLogs writes the logs of a failed test where they can be read.
func keepLogs(t *testing.T, f *fleet.Fleet, log *lockedBuffer) {
	dir, err := os.MkdirTemp("", "fleet-failed-")
	if err != nil {
		t.Error(err)
		return
	}
	t.Logf("the logs are in %s", dir)
	os.WriteFile(filepath.Join(dir, "roles.log"), log.b.Bytes(), 0o600)
	files := map[string]string{"primary": f.Primary.LogFile()}
	for n, s := range f.Secondaries {
		files[fmt.Sprintf("ns%d", n+1)] = s.LogFile()
	}
	for name, file := range files {
		text, _ := os.ReadFile(file)
		os.WriteFile(filepath.Join(dir, name+".log"), text, 0o600)
	}
}

// lockedBuffer collects the log of roles that all write at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// eventually repeats check until it returns nil: what it looks at is changed by other processes, which tell no event.
// Between two looks it rests for longer than the look took: tests run beside each other, and looking without a rest
// keeps the machine from what the test waits for.
func (i *harness) eventually(what string, check func(ctx context.Context) error) {
	i.t.Helper()
	i.repeat(what, 20*time.Millisecond, check)
}

// repeat is eventually for a check that itself does something, at most once in the pause. A look that began in time may
// end later: on a busy machine it takes long to compare hundreds of zones.
func (i *harness) repeat(what string, pause time.Duration, check func(ctx context.Context) error) {
	i.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		begin := time.Now()
		ctx, cancel := context.WithTimeout(i.ctx, patience)
		err := check(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			i.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(max(pause, min(5*time.Since(begin), time.Second)))
	}
}

func fetch(ctx context.Context, address string, name zone.Name) (*zone.Zone, error) {
	return transfer.Fetch(ctx, transfer.FetchOptions{Address: address}, name)
}

// same compares a zone on every secondary with the primary, record by record.
func (i *harness) same(ctx context.Context, name zone.Name) error {
	want, err := fetch(ctx, i.Primary.DNSAddr, name)
	if err != nil {
		return err
	}
	for _, s := range i.Secondaries {
		is, err := fetch(ctx, s.DNSAddr, name)
		if err != nil {
			return fmt.Errorf("%s: %w", s.ID, err)
		}
		if err := fleet.Equal(is, want); err != nil {
			return fmt.Errorf("%s: %w", s.ID, err)
		}
	}
	return nil
}

// allSame compares exactly the zones of the primary PowerDNS: each on every secondary, and no others there.
func (i *harness) allSame(ctx context.Context) error {
	zones, err := i.own.Zones(ctx)
	if err != nil {
		return err
	}
	for _, s := range i.Secondaries {
		if err := i.sameList(ctx, s, zones); err != nil {
			return fmt.Errorf("%s: %w", s.ID, err)
		}
	}
	for _, z := range zones {
		if err := i.same(ctx, z.Name); err != nil {
			return fmt.Errorf("zone %s: %w", z.Name, err)
		}
	}
	return nil
}

func (i *harness) sameList(ctx context.Context, s *fleet.Secondary, want []powerdns.ZoneInfo) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	has, err := api.Zones(ctx)
	if err != nil {
		return err
	}
	left := map[zone.Name]uint32{}
	for _, z := range has {
		left[z.Name] = z.Serial
	}
	for _, z := range want {
		serial, is := left[z.Name]
		if !is || serial != z.Serial {
			return fmt.Errorf("zone %s: serial %d (there: %v), want %d", z.Name, serial, is, z.Serial)
		}
		delete(left, z.Name)
	}
	if len(left) > 0 {
		return fmt.Errorf("%d zones too many: %v", len(left), left)
	}
	return nil
}

// observer hears what secondaries tell.
type observer struct {
	mu      sync.Mutex
	applied map[string]map[zone.Name]health.Applied // by node
	history map[string][]health.Applied
	changed chan struct{}
}

// roleIn is the role that a configuration is for.
func roleIn(t *testing.T, file string) broker.Role {
	t.Helper()
	found, err := config.RolesIn(file)
	must.OK(t, err)
	return broker.Role(found[0])
}

// connect connects to the broker with the credentials of a node.
func (i *harness) connect(id string) *broker.Conn {
	i.t.Helper()
	dir := filepath.Join(i.Dir, "roles", id)
	text, err := os.ReadFile(filepath.Join(dir, "config.toml"))
	must.OK(i.t, err)
	prefix := ""
	if bytes.Contains(text, []byte("api_prefix")) {
		prefix = broker.RemoteAPIPrefix
	}
	conn, err := broker.Connect(broker.Config{
		URLs: []string{urlIn(text)}, CAFile: filepath.Join(dir, "ca.crt"), NKeyFile: filepath.Join(dir, "node.nkey"), APIPrefix: prefix,
	}, broker.Options{Node: id, Role: roleIn(i.t, filepath.Join(dir, "config.toml")), Log: zerolog.Nop()})
	must.OK(i.t, err)
	must.OK(i.t, conn.Wait(i.ctx))
	i.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// observe listens with the credentials of the health role.
func (i *harness) observe() *observer {
	i.t.Helper()
	conn := i.connect(fleet.Health)
	o := &observer{applied: map[string]map[zone.Name]health.Applied{}, history: map[string][]health.Applied{}, changed: make(chan struct{}, 1)}
	stop, err := conn.SubscribeApplied(i.ctx, o.hear)
	must.OK(i.t, err)
	i.t.Cleanup(stop)
	return o
}

func urlIn(config []byte) string {
	at := bytes.Index(config, []byte("tls://"))
	end := bytes.IndexByte(config[at:], '"')
	return string(config[at : at+end])
}

func (o *observer) hear(node string, notice []byte) {
	var a health.Applied
	if json.Unmarshal(notice, &a) != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.applied[node] == nil {
		o.applied[node] = map[zone.Name]health.Applied{}
	}
	o.applied[node][a.Zone] = a
	o.history[node] = append(o.history[node], a)
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// await returns when every secondary has told that it applied the zone at this serial, or that it is gone.
func (o *observer) await(i *harness, name zone.Name, serial uint32, gone bool) {
	i.t.Helper()
	deadline := time.After(patience)
	for {
		o.mu.Lock()
		n := 0
		for _, s := range i.Secondaries {
			if a, ok := o.applied[s.ID][name]; ok && a.Gone == gone && (gone || a.Serial == serial) {
				n++
			}
		}
		o.mu.Unlock()
		if n == len(i.Secondaries) {
			return
		}
		select {
		case <-o.changed:
		case <-deadline:
			i.t.Fatalf("zone %s, serial %d, gone %v: only %d secondaries told that it was applied", name, serial, gone, n)
		}
	}
}

// confirmDeletes is what an operator types.
func (i *harness) confirmDeletes() {
	i.t.Helper()
	file, set := i.Config(fleet.Health)
	must.OK(i.t, operator.Sync(i.ctx, command.Invocation{
		Settings: settings.Sources{File: file, Flags: set}, Options: flags{"confirm-deletes": true}, Stdout: io.Discard, Stderr: io.Discard,
	}))
}

// flags are those that are set on a command line.
type flags map[string]any

func (f flags) Bool(name string) bool            { b, _ := f[name].(bool); return b }
func (f flags) String(name string) string        { s, _ := f[name].(string); return s }
func (f flags) StringSlice(name string) []string { s, _ := f[name].([]string); return s }

// serial is the zone's in the primary PowerDNS.
func (i *harness) serial(name zone.Name) uint32 {
	i.t.Helper()
	info, err := i.own.Zone(i.ctx, name)
	must.OK(i.t, err)
	return info.EditedSerial
}
