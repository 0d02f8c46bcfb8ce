package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// patience is longer than anything takes on a busy machine.
const patience = 2 * time.Minute

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
	o.Dir, o.Log, o.Version = filepath.Join(dir, "f"), &log, "test"
	if o.Primary == "" {
		o.Primary = local.SQLite
	}
	if o.Secondaries == nil {
		o.Secondaries = []local.Backend{local.SQLite, local.LMDB}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f, err := fleet.Start(ctx, o)
	i := &installation{Fleet: f, t: t, ctx: t.Context()}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the roles' log:\n%s", log.tail(20_000))
			for _, s := range f.Secondaries {
				text, _ := os.ReadFile(s.LogFile())
				t.Logf("the log of PowerDNS %s:\n%s", s.ID, text[max(0, len(text)-4000):])
			}
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

func (l *lockedBuffer) tail(n int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes()[max(0, l.b.Len()-n):])
}

// eventually repeats check until it returns nil: what it looks at is changed by other processes, which tell no event.
func (i *installation) eventually(what string, check func(ctx context.Context) error) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.ctx, patience)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			i.t.Fatalf("%s: %v", what, err)
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

// equal ignores what a secondary makes anew: NSEC, NSEC3 and NSEC3PARAM.
func equal(is, want *zone.Zone) error {
	removed, added := is.Diff(want)
	for _, r := range removed {
		if !r.Denial() {
			return fmt.Errorf("lacks %s", r)
		}
	}
	for _, r := range added {
		if !r.Denial() {
			return fmt.Errorf("has in excess %s", r)
		}
	}
	if is.Stable() != want.Stable() {
		return errors.New("the stable digests differ")
	}
	return nil
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

// observe connects with the credentials of the health role.
func (i *installation) observe() *observer {
	i.t.Helper()
	dir := filepath.Join(i.Dir, "roles", fleet.Health)
	text, err := os.ReadFile(filepath.Join(dir, "config.toml"))
	must(i.t, err)
	conn, err := broker.Connect(broker.Config{
		URLs: []string{urlIn(text)}, CAFile: filepath.Join(dir, "ca.crt"), NKeyFile: filepath.Join(dir, "node.nkey"),
	}, broker.Options{Node: fleet.Health, Log: zerolog.Nop()})
	must(i.t, err)
	must(i.t, conn.Wait(i.ctx))
	o := &observer{applied: map[string]map[zone.Name]health.Applied{}, history: map[string][]health.Applied{}, changed: make(chan struct{}, 1)}
	stop, err := conn.SubscribeApplied(i.ctx, o.hear)
	must(i.t, err)
	i.t.Cleanup(func() {
		stop()
		conn.Close(context.Background())
	})
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

// serial is the zone's in the primary PowerDNS.
func (i *installation) serial(name zone.Name) uint32 {
	i.t.Helper()
	info, err := i.own.Zone(i.ctx, name)
	must(i.t, err)
	return info.EditedSerial
}
