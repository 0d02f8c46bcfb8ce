package secondary

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/roletest"
)

// crowded is a queue in which many zones wait, and one that somebody waits for.
type crowded struct{ raised zone.Name }

func (crowded) Waiting() int        { return batchMost }
func (crowded) Idle() bool          { return true }
func (crowded) Busy(zone.Name) bool { return false }
func (c crowded) Rest(_ context.Context, name zone.Name) (raised <-chan struct{}, resume func()) {
	ch := make(chan struct{})
	if name == c.raised {
		close(ch)
	}
	return ch, func() {}
}

// bulkZone has a few records, the name's own among them.
func bulkZone(t *testing.T, name zone.Name, serial uint32) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(name, 0)
	for _, text := range []string{
		fmt.Sprintf("%s 3600 IN SOA ns1.example.net. hostmaster.example.net. %d 10800 3600 604800 3600", name, serial),
		fmt.Sprintf("%s 3600 IN NS ns1.example.net.", name),
		fmt.Sprintf("%s 3600 IN TXT \"this is %s\"", name, name),
		fmt.Sprintf("www.%s 3600 IN A 192.0.2.1", name),
	} {
		rr, err := dns.NewRR(text)
		must.OK(t, err)
		record, err := zone.NewRecord(rr)
		must.OK(t, err)
		must.OK(t, b.Add(record))
	}
	z, err := b.Zone()
	must.OK(t, err)
	return z
}

func bulkZones(t *testing.T, n int) (zones []*zone.Zone) {
	for i := range n {
		zones = append(zones, bulkZone(t, roletest.Numbered(i), 1))
	}
	return zones
}

// bulk is a PowerDNS that zones are made in by batches, and how it can be stopped beside the role.
type bulk struct {
	beside
	front  *front
	stop   context.CancelFunc // ends the role's loopback server and its batches
	ended  chan error
	listen string
}

// newBulk begins a role beside the server. Its loopback server listens where the one before did.
func newBulk(t *testing.T, server *local.Server, listen string) *bulk {
	t.Helper()
	direct, err := server.Client()
	must.OK(t, err)
	info, err := direct.Server(t.Context())
	must.OK(t, err)
	if !powerdns.TakesBatches(info.Version, map[string]string{"launch": string(server.Backend)}) {
		t.Skipf("PowerDNS %s makes no batches with %s", info.Version, server.Backend)
	}
	source := openSource(t, bulkZone(t, roletest.Named("stored"), 1))
	loopback, err := transfer.NewServer(transfer.Config{Listen: listen, OnTransfer: source.transferred}, source)
	must.OK(t, err)
	f := newFront(t, server)
	cfg := server.Config()
	cfg.APIURL = f.server.URL
	api, err := powerdns.NewClient(cfg)
	must.OK(t, err)
	address := loopback.Addr().String()
	a := newApplier(api, server.DNSAddr, address, source, config.SecondaryConfig{}, zerolog.Nop())
	a.batches.queue = crowded{}
	ctx, cancel := context.WithCancel(context.Background())
	b := &bulk{beside{a, server}, f, cancel, make(chan error, 1), address}
	go func() {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return loopback.Run(ctx) })
		group.Go(func() error { return a.makeBatches(ctx) })
		b.ended <- group.Wait()
	}()
	t.Cleanup(b.end)
	return b
}

// end returns when nothing of the role is left.
func (b *bulk) end() {
	b.stop()
	b.ended <- <-b.ended
}

// review lists what is there, and opens for batches.
func (b *bulk) review(t *testing.T) (names map[zone.Name]powerdns.ZoneInfo) {
	t.Helper()
	names = map[zone.Name]powerdns.ZoneInfo{}
	must.Eventually(t, func() error {
		zones, err := b.listZones(t.Context(), true)
		if err != nil {
			return err
		}
		b.adopt(zones, roletest.Noon)
		for _, info := range zones {
			names[info.Name] = info
		}
		return nil
	})
	return names
}

// takeAll has PowerDNS take the zones as background work.
func (b *bulk) takeAll(ctx context.Context, zones []*zone.Zone) error {
	var group errgroup.Group
	for _, z := range zones {
		group.Go(func() error {
			v, withdraw := b.source.stage(z)
			defer withdraw()
			v.bulk = true
			err := b.transfer(ctx, v, nil)
			if err == nil {
				b.source.committed(z)
			}
			return err
		})
	}
	return group.Wait()
}

// complete gives all members their settings.
func (b *bulk) complete(t *testing.T) (members int) {
	t.Helper()
	for {
		name, ok := b.batches.nextIncomplete()
		if !ok {
			return members
		}
		members++
		must.Eventually(t, func() error { return b.api.CompleteMember(t.Context(), name) })
	}
}

// wantAll wants all zones to be what they should be, and no batch to be left.
func (b *bulk) wantAll(t *testing.T, what string, zones []*zone.Zone) {
	t.Helper()
	for _, z := range zones {
		b.wantServed(t, what, z)
	}
	all, err := b.api.Zones(t.Context())
	must.OK(t, err)
	for _, info := range all {
		if info.Kind == powerdns.Consumer {
			t.Errorf("%s: %s is left", what, info.Name)
		}
	}
}

// front stands before PowerDNS's API.
type front struct {
	server *httptest.Server
	calls  atomic.Int64 // creations

	// at is asked before and after each call of a batch; nothing comes through any more when it returns true.
	at   func(step string) (dead bool)
	dead atomic.Bool
}

func newFront(t *testing.T, server *local.Server) *front {
	t.Helper()
	at, err := url.Parse(server.APIURL)
	must.OK(t, err)
	powerDNS := httputil.NewSingleHostReverseProxy(at)
	powerDNS.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	f := &front{at: func(string) bool { return false }}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		step := stepOf(r)
		if step == "create" {
			f.calls.Add(1)
		}
		if f.dead.Load() || step != "" && f.die("before "+step) {
			panic(http.ErrAbortHandler)
		}
		powerDNS.ServeHTTP(w, r)
		if step != "" && f.die("after "+step) {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(f.server.Close)
	return f
}

func (f *front) die(step string) bool {
	if f.at(step) {
		f.dead.Store(true)
	}
	return f.dead.Load()
}

// stepOf is what a batch does by the call; creations of members by themselves look like that of the batch.
func stepOf(r *http.Request) string {
	switch {
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/zones"):
		return "create"
	case !strings.Contains(r.URL.Path, "pdns-distribute-batch"):
		return ""
	case r.Method == http.MethodDelete:
		return "delete"
	case strings.HasSuffix(r.URL.Path, "axfr-retrieve"):
		return "retrieve"
	}
	return ""
}

func eachBackend(t *testing.T, test func(t *testing.T, backend local.Backend)) {
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		t.Run(string(backend), func(t *testing.T) { test(t, backend) })
	}
}

// A batch makes what single calls make: the same records and the same settings. Zones of others are left alone, and
// so are those that a foreign catalog has, and nothing but a failure comes of them.
func TestBatch(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend local.Backend) {
		b := newBulk(t, roletest.StartPowerDNS(t, local.Options{Backend: backend}), "127.0.0.1:0")
		b.review(t)
		zones := bulkZones(t, 40)
		foreign, alien := zones[0], zones[1]
		must.OK(t, b.api.CreateZoneWith(t.Context(), roletest.NativeZone(foreign.Name())))
		must.OK(t, b.api.CreateZone(t.Context(), alien.Name(), powerdns.Slave, []string{"192.0.2.1"}))
		b.request(t, http.MethodPut, "/zones/"+alien.Name().String(), `{"catalog":"other.example."}`)
		created := b.front.calls.Load()
		if err := b.takeAll(t.Context(), zones); err == nil || !strings.Contains(err.Error(), "of its own (kind Native)") {
			t.Errorf("a zone of somebody else: %v", err)
		}
		if members := b.complete(t); members != len(zones)-2 {
			t.Errorf("%d of %d zones were made by the batch", members, len(zones)-2)
		}
		if calls := b.front.calls.Load() - created; calls != 3 { // the batch, and two that are there
			t.Errorf("%d zones were created by calls", calls)
		}
		b.wantAll(t, "after the batch", zones[1:])
		if info := b.review(t)[foreign.Name()]; info.Kind != powerdns.Native {
			t.Errorf("the zone of somebody else became %+v", info)
		}
		must.OK(t, b.server.Restart(t.Context()))
		b.wantAll(t, "after a restart", zones[1:])
	})
}

// A zone that somebody waits for leaves the batch that gathers, and not one that PowerDNS may know of.
func TestRaisedMember(t *testing.T) {
	b := newBatches()
	early, late, other := &member{}, &member{}, &member{}
	if !b.leave(early) {
		t.Error("a member may not leave before the batch is listed")
	}
	if listed := b.list([]*member{early, late, other}); len(listed) != 2 || listed[0] != late {
		t.Errorf("%d members are listed", len(listed))
	}
	if b.leave(late) {
		t.Error("a member leaves that is listed")
	}
}

// However soon somebody waits for a zone of a batch, it is made once.
func TestBatchWithARaisedMember(t *testing.T) {
	b := newBulk(t, roletest.StartPowerDNS(t, local.Options{}), "127.0.0.1:0")
	b.review(t)
	zones := bulkZones(t, 2*batchFrom)
	b.batches.queue = crowded{raised: zones[0].Name()}
	must.OK(t, b.takeAll(t.Context(), zones))
	members, calls := b.complete(t), int(b.front.calls.Load())
	if members < len(zones)-1 || members+calls != len(zones)+1 {
		t.Errorf("of %d zones %d were made by the batch, with %d calls", len(zones), members, calls)
	}
	b.wantAll(t, "in the end", zones)
}

// Members are zones like all others: also those that the process did not live to complete.
func TestIncompleteMembersAreCompleted(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend local.Backend) {
		b := newBulk(t, roletest.StartPowerDNS(t, local.Options{Backend: backend}), "127.0.0.1:0")
		b.review(t)
		zones := bulkZones(t, batchFrom)
		must.OK(t, b.takeAll(t.Context(), zones))
		for _, z := range zones {
			state, err := b.api.ZoneState(t.Context(), z.Name())
			must.OK(t, err)
			if wrong := state.Deviations(b.want(z)); len(wrong) == 0 || !powerdns.LeftByBatch(wrong) {
				t.Fatalf("a batch leaves %s", powerdns.Describe(wrong))
			}
			must.OK(t, b.proveState(t.Context(), z))
		}
		b.wantServed(t, "completed", zones[0])
		b.setMetadata(t, zones[0].Name(), "SOA-EDIT", "EPOCH")
		if b.proveState(t.Context(), zones[0]) == nil {
			t.Error("settings that somebody made are taken for those that a batch leaves")
		}
	})
}

// Zones that PowerDNS has, and that are looked at again because they are not as they were given, join no batch: it
// would not bring them.
func TestForgottenZonesJoinNoBatch(t *testing.T) {
	b := newBulk(t, roletest.StartPowerDNS(t, local.Options{}), "127.0.0.1:0")
	b.review(t)
	zones := bulkZones(t, batchFrom)
	must.OK(t, b.takeAll(t.Context(), zones))
	b.complete(t)
	for _, z := range zones {
		b.setMetadata(t, z.Name(), "SOA-EDIT", "EPOCH")
		b.forget(z.Name())
	}
	before := b.front.calls.Load()
	must.OK(t, b.takeAll(t.Context(), zones))
	if batches := int(b.front.calls.Load()-before) - len(zones); batches != 0 || b.complete(t) != 0 {
		t.Errorf("%d batches were made of zones that are there", batches)
	}
	b.wantAll(t, "put right", zones)
	gone := zones[0]
	must.OK(t, b.remove(t.Context(), gone.Name(), b.source, gone))
	if !b.isNew(gone.Name()) {
		t.Error("a zone that was removed is not made by a batch")
	}
}

// However many members PowerDNS asks for, it waits for the catalog zone's end but once.
func TestMembersAreHeldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatch(nil)
		begin := time.Now()
		for range 10 {
			if err := b.hold(); !errors.Is(err, errHeld) {
				t.Errorf("while the catalog zone is there a member is given: %v", err)
			}
		}
		if held := time.Since(begin); held != heldPatience {
			t.Errorf("PowerDNS waits for %s", held)
		}
		close(b.gone)
		must.OK(t, b.hold())
	})
}

// A catalog zone that PowerDNS does not delete is deleted again until it does, and that is said once.
func TestCatalogZoneStays(t *testing.T) {
	const refusals = 3
	var calls atomic.Int64
	powerDNS := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) <= refusals {
			w.WriteHeader(http.StatusUnprocessableEntity)
		} else {
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer powerDNS.Close()
	api, err := powerdns.NewClient(powerdns.Config{
		APIURL: powerDNS.URL, Keyless: true, ServerID: "localhost", DNSAddress: "127.0.0.1:1",
		Timeout: time.Minute, ListTimeout: time.Minute, Connections: 1,
	})
	must.OK(t, err)
	var log bytes.Buffer
	source := openSource(t, bulkZone(t, roletest.Named("stored"), 1))
	a := newApplier(api, "", "", source, config.SecondaryConfig{}, zerolog.New(&log).Level(zerolog.InfoLevel))
	must.OK(t, a.endCatalog(t.Context(), powerdns.NewBatchName()))
	if said := strings.Count(log.String(), "failed to delete a catalog zone"); calls.Load() != refusals+1 || said != 1 {
		t.Errorf("after %d calls it was said %d times", calls.Load(), said)
	}
}

// Whatever is killed at whatever step of a batch, no zone is lost, none stays out, and nothing of the batch is left.
func TestBatchIsKilled(t *testing.T) {
	for _, k := range []kill{
		{"PowerDNS", "before delete", local.SQLite}, // it has the members, and asks for them
		{"role", "before delete", local.SQLite},
		{"both", "after retrieve", local.LMDB},
	} {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			k.test(t)
		})
	}
}

// kill is what is killed when, beside a call that a batch makes.
type kill struct {
	what, step string
	backend    local.Backend
}

func (k kill) String() string { return fmt.Sprintf("%s %s, %s", k.what, k.step, k.backend) }

func (k kill) test(t *testing.T) {
	server := roletest.StartPowerDNS(t, local.Options{Backend: k.backend})
	b := newBulk(t, server, "127.0.0.1:0")
	b.review(t)
	zones := bulkZones(t, 2*batchFrom)
	earlier, later := zones[:batchFrom], zones[batchFrom:]
	must.OK(t, b.takeAll(t.Context(), earlier))
	if b.complete(t) != len(earlier) {
		t.Fatal("there was no batch")
	}
	var reached atomic.Bool
	b.front.at = func(at string) bool {
		if at != k.step || !reached.CompareAndSwap(false, true) {
			return false
		}
		if k.what != "role" {
			server.Kill()
		}
		if k.what == "PowerDNS" {
			must.OK(t, server.Restart(context.WithoutCancel(t.Context())))
			return false
		}
		b.stop()
		return true
	}
	err := b.takeAll(b.context(t), later)
	if !reached.Load() {
		t.Fatal("nothing was killed")
	}
	if k.what != "PowerDNS" {
		b.end()
		b = b.next(t, earlier)
		err = errors.New("it was killed")
	}
	if left := b.review(t); len(left) < len(earlier) {
		t.Errorf("%d zones are left of %d", len(left), len(earlier))
	}
	must.Eventually(t, func() error {
		if err != nil {
			err = b.takeAll(t.Context(), later)
		}
		return err
	})
	b.complete(t)
	b.wantAll(t, "afterwards", zones)
	next := bulkZones(t, 3*batchFrom)[2*batchFrom:]
	must.OK(t, b.takeAll(t.Context(), next))
	if left := b.review(t); len(left) != len(zones)+len(next) {
		t.Errorf("after another batch %d zones are left of %d", len(left), len(zones)+len(next))
	}
}

// context ends when the role is killed.
func (b *bulk) context(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		b.ended <- <-b.ended
		cancel()
	}()
	return ctx
}

// next is the role after one that was killed. Before it begins, PowerDNS asks for what was left, and is refused, while
// the zones of before are served.
func (b *bulk) next(t *testing.T, served []*zone.Zone) *bulk {
	t.Helper()
	must.OK(t, b.server.Restart(t.Context()))
	straight, err := b.server.Client()
	must.OK(t, err)
	all, err := straight.Zones(t.Context())
	must.OK(t, err)
	for _, info := range all {
		if info.IsBatch() {
			must.OK(t, straight.Retrieve(t.Context(), info.Name))
		}
	}
	for _, z := range served {
		must.OK(t, transfer.ProveAll(t.Context(), b.dns, z))
	}
	return newBulk(t, b.server, b.listen)
}
