package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/settings"
)

// patience is longer than anything takes on a busy machine.
const patience = time.Minute

// program is the built program, for tests that kill processes.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pdns-distribute-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "pdns-distribute")
	out, err := exec.Command("go", "build", "-o", path, "pdns-distribute").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// installation is a fleet under test. Failures end the test.
type installation struct {
	*fleet.Fleet
	t   *testing.T
	ctx context.Context
	api *powerdns.Client // through the proxy
	own *powerdns.Client // straight to the primary PowerDNS
}

func start(t *testing.T, o fleet.Options) *installation {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet") // t.TempDir makes paths too long for sockets
	must(t, err)
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
		o.OfPrimary[ttl] = "0"
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f, err := fleet.Start(ctx, o)
	i := &installation{Fleet: f, t: t, ctx: t.Context()}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() || os.Getenv("KEEP") != "" {
			keepLogs(t, f, &log)
		}
		os.RemoveAll(dir)
	})
	if err != nil {
		t.Fatal(err)
	}
	i.api, err = f.Client()
	must(t, err)
	i.own, err = f.Primary.Client()
	must(t, err)
	return i
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
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
func (i *installation) eventually(what string, check func(ctx context.Context) error) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.ctx, patience)
	defer cancel()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			i.t.Fatalf("%s: %v", what, last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func fetch(ctx context.Context, address string, name zone.Name) (*zone.Zone, error) {
	return transfer.Fetch(ctx, transfer.FetchOptions{Address: address}, name)
}

// same compares a zone on every secondary with the primary, record by record.
func (i *installation) same(ctx context.Context, name zone.Name) error {
	want, err := fetch(ctx, i.Primary.DNSAddr, name)
	if err != nil {
		return err
	}
	for _, s := range i.Secondaries {
		is, err := fetch(ctx, s.DNSAddr, name)
		if err != nil {
			return fmt.Errorf("%s: %w", s.ID, err)
		}
		if err := equal(is, want); err != nil {
			return fmt.Errorf("%s: %w", s.ID, err)
		}
	}
	return nil
}

// equal compares record by record. It ignores what a secondary makes anew, NSEC, NSEC3 and NSEC3PARAM, and the bytes of
// signatures: two transfers at a time can make a signer sign twice, and ECDSA signatures are random.
func equal(is, want *zone.Zone) error {
	left := map[string]int{}
	for r := range is.Records() {
		left[stable(r)]++
	}
	for r := range want.Records() {
		if left[stable(r)]--; left[stable(r)] < 0 && !r.Denial() {
			return fmt.Errorf("lacks %s", r)
		}
	}
	for record, n := range left {
		if n > 0 && record != "" {
			return fmt.Errorf("has in excess %s", record)
		}
	}
	if is.Stable() != want.Stable() {
		return errors.New("the stable digests differ")
	}
	return nil
}

// stable is the text of a record without a signature's bytes, and "" of one that is ignored.
func stable(r zone.Record) string {
	if r.Denial() {
		return ""
	}
	text := r.String()
	if r.Covered() != 0 {
		text = text[:strings.LastIndexByte(text, ' ')]
	}
	return strings.ToLower(text)
}

// allSame compares exactly the zones of the primary PowerDNS: each on every secondary, and no others there.
func (i *installation) allSame(ctx context.Context) error {
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

func (i *installation) sameList(ctx context.Context, s *fleet.Secondary, want []powerdns.ZoneInfo) error {
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

// connect connects to the broker with the credentials of a node.
func (i *installation) connect(id string) *broker.Conn {
	i.t.Helper()
	dir := filepath.Join(i.Dir, "roles", id)
	text, err := os.ReadFile(filepath.Join(dir, "config.toml"))
	must(i.t, err)
	prefix := ""
	if bytes.Contains(text, []byte("api_prefix")) {
		prefix = broker.RemoteAPIPrefix
	}
	conn, err := broker.Connect(broker.Config{
		URLs: []string{urlIn(text)}, CAFile: filepath.Join(dir, "ca.crt"), NKeyFile: filepath.Join(dir, "node.nkey"), APIPrefix: prefix,
	}, broker.Options{Node: id, Log: zerolog.Nop()})
	must(i.t, err)
	must(i.t, conn.Wait(i.ctx))
	i.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// observe listens with the credentials of the health role.
func (i *installation) observe() *observer {
	i.t.Helper()
	conn := i.connect(fleet.Health)
	o := &observer{applied: map[string]map[zone.Name]health.Applied{}, history: map[string][]health.Applied{}, changed: make(chan struct{}, 1)}
	stop, err := conn.SubscribeApplied(i.ctx, o.hear)
	must(i.t, err)
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
func (o *observer) await(i *installation, name zone.Name, serial uint32, gone bool) {
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
func (i *installation) confirmDeletes() {
	i.t.Helper()
	file, set := i.Config(fleet.Health)
	must(i.t, roles.Sync(i.ctx, roles.Invocation{
		Settings: settings.Sources{File: file, Flags: set}, Options: flags{"confirm-deletes": true}, Stdout: io.Discard, Stderr: io.Discard,
	}))
}

// flags are those that are set on a command line.
type flags map[string]any

func (f flags) Bool(name string) bool     { b, _ := f[name].(bool); return b }
func (f flags) String(name string) string { s, _ := f[name].(string); return s }
func (flags) StringSlice(string) []string { return nil }

// serial is the zone's in the primary PowerDNS.
func (i *installation) serial(name zone.Name) uint32 {
	i.t.Helper()
	info, err := i.own.Zone(i.ctx, name)
	must(i.t, err)
	return info.EditedSerial
}
