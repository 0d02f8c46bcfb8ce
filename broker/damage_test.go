package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// damages are what disks and file systems do to a file.
var damages = map[string]func(r *rand.Rand, file string) error{
	"flipped bit": rewritten(func(r *rand.Rand, text []byte) []byte {
		text[r.IntN(len(text))] ^= 1 << r.IntN(8)
		return text
	}),
	"zeroed page": rewritten(func(r *rand.Rand, text []byte) []byte {
		at := r.IntN(len(text)+4095) / 4096 * 4096
		clear(text[min(at, len(text)):min(at+4096, len(text))])
		return text
	}),
	"cut off": rewritten(func(r *rand.Rand, text []byte) []byte { return text[:r.IntN(len(text))] }),
	"emptied": rewritten(func(*rand.Rand, []byte) []byte { return nil }),
	"removed": func(_ *rand.Rand, file string) error { return os.Remove(file) },
}

func rewritten(change func(r *rand.Rand, text []byte) []byte) func(*rand.Rand, string) error {
	return func(r *rand.Rand, file string) error {
		text, err := os.ReadFile(file)
		if err != nil || len(text) == 0 {
			return err
		}
		return os.WriteFile(file, change(r, text), 0o600)
	}
}

// inStore are the files of a store, as patterns.
var inStore = []string{
	"PDNS_ZONE/msgs/*.blk", "PDNS_ZONE/msgs/index.db", "PDNS_ZONE/meta.inf", "PDNS_ZONE/meta.sum", "PDNS_ZONE/obs/*/o.dat", "PDNS_ZONE/obs/*/meta.inf",
	"PDNS_TOUCH/msgs/*.blk", "PDNS_TOUCH/msgs/index.db", "PDNS_TOUCH/meta.inf", "PDNS_TOUCH/obs/*/o.dat",
	"PDNS_BLOB/msgs/*.blk", "PDNS_BLOB/msgs/index.db", "PDNS_BLOB/meta.inf",
	"KV_pdns_lease/msgs/*.blk", "KV_pdns_lease/meta.inf", "PDNS_STATUS/meta.inf",
}

// TestDamagedStore walks some of the files and kinds, by turns: DAMAGE_ROUNDS walks them all, with so many seeds each.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	rounds, _ := strconv.Atoi(os.Getenv("DAMAGE_ROUNDS"))
	if rounds == 0 {
		for _, c := range []struct{ file, what string }{
			{"PDNS_ZONE/msgs/*.blk", "flipped bit"}, {"PDNS_TOUCH/msgs/*.blk", "zeroed page"}, {"PDNS_ZONE/meta.inf", "flipped bit"},
		} {
			t.Run(c.file+" "+c.what, func(t *testing.T) {
				t.Parallel()
				damageStore(t, c.file, c.what, 1)
			})
		}
		return
	}
	for _, file := range inStore {
		for _, what := range slices.Sorted(maps.Keys(damages)) {
			for seed := range uint64(rounds) {
				t.Run(fmt.Sprintf("%s %s %d", file, what, seed), func(t *testing.T) { damageStore(t, file, what, seed) })
			}
		}
	}
}

const damagedZones = 30

// damageStore fills a broker, damages a file of it while it is stopped, and looks what becomes of it once it is
// repaired and started: nothing is given that was not put, all zones can be published, and everybody gets all.
func damageStore(t *testing.T, pattern, what string, seed uint64) {
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}, Proxies: []string{"proxy1"}, Secondaries: []string{"sec1"}})
	primary, proxy := b.Connect("primary1"), b.Connect("proxy1")
	ensure(t, primary)
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	want := map[zone.Name]string{}
	for n := range damagedZones {
		name := zone.MustParseName(fmt.Sprintf("z%d.example.", n))
		want[name] = strings.Repeat(fmt.Sprintf("content %d ", n), 40)
		_, err := primary.PublishState(t.Context(), name, []byte(want[name]), broker.StateHeader{Kind: broker.KindZone, Published: time.Now()}, 0)
		must.OK(t, err)
		_, err = proxy.PublishTouch(t.Context(), name, broker.Touch{Cause: broker.Changed})
		must.OK(t, err)
		_, err = primary.PutBlob(t.Context(), []byte(want[name]))
		must.OK(t, err)
	}
	before := ensure(t, primary)
	proofs, ended, stopProofs := watchProofs(t, b)
	wantFaults(t, proofs, ended, "")
	stopProofs()
	b.Stop()
	files, err := filepath.Glob(filepath.Join(b.StoreDir(), "jetstream", "CORE", "streams", pattern))
	must.OK(t, err)
	if len(files) == 0 {
		t.Skip("there is no such file")
	}
	r := rand.New(rand.NewPCG(seed, 2))
	must.OK(t, damages[what](r, files[r.IntN(len(files))]))
	startRepaired(t, b)
	reconnect(t, primary)
	reconnect(t, proxy)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var after broker.Streams
	eventually(t, func() bool {
		after, err = primary.EnsureStreams(ctx, 1)
		return err == nil
	})
	seqs := map[zone.Name]uint64{}
	caughtUp := make(chan struct{})
	stopWatch := background(t, func(ctx context.Context) error {
		return primary.WatchStates(ctx, broker.StateWatcher{
			State: func(s broker.StateMsg) { seqs[s.Zone] = s.Seq }, CaughtUp: func() { close(caughtUp) },
		})
	})
	receive(t, caughtUp)
	stopWatch()
	for name, content := range want {
		last, err := primary.LastState(ctx, name)
		if err == nil && string(last.Data) != content {
			t.Errorf("%s: another content", name)
		}
		if (err == nil) != (seqs[name] != 0) || err != nil && !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("%s: read: %v, watched: %d", name, err, seqs[name])
		}
	}
	if len(seqs) < len(want) && before.Created.Equal(after.Created) {
		t.Errorf("%d states are gone, and nothing tells the primaries", len(want)-len(seqs))
	}
	for name := range want { // all can be edited
		want[name] += "edited"
		if _, err := primary.PublishState(ctx, name, []byte(want[name]), broker.StateHeader{Kind: broker.KindZone, Published: time.Now()}, seqs[name]); err != nil {
			t.Errorf("%s: publish: %v", name, err)
		}
		if _, err := proxy.PublishTouch(ctx, name, broker.Touch{Cause: broker.Changed}); err != nil {
			t.Errorf("%s: touch: %v", name, err)
		}
		if hash, err := primary.PutBlob(ctx, []byte(want[name])); err != nil {
			t.Errorf("%s: blob: %v", name, err)
		} else if data, err := primary.GetBlob(ctx, hash); err != nil || !bytes.Equal(data, []byte(want[name])) {
			t.Errorf("%s: blob: %v", name, err)
		}
	}
	must.OK(t, primary.ProvisionFeed(ctx, "sec1"))
	states, _ := feed(t, b.Connect("sec1"), nil)
	got := map[zone.Name]string{}
	for len(got) < len(want) || !maps.Equal(got, want) {
		m := receive(t, states)
		got[m.Zone] = string(m.Data)
		must.OK(t, m.Ack())
	}
	queued, _ := touches(t, primary, nil)
	touched := map[zone.Name]bool{}
	for len(touched) < len(want) {
		m := receive(t, queued)
		touched[m.Zone] = true
		must.OK(t, m.Ack())
	}
	proofs, ended, _ = watchProofs(t, b)
	wantFaults(t, proofs, ended, "")
}

// startRepaired starts a broker as its role does: it is repaired before, and again where its proofs say so.
func startRepaired(t *testing.T, b *brokertest.Broker) {
	t.Helper()
	for range 3 {
		b.Prepare()
		done, err := b.Server().Repair(t.Context())
		must.OK(t, err)
		t.Log(done)
		b.Start()
		proofs, ended, stop := watchProofs(t, b)
		select {
		case <-proofs:
			stop()
			return
		case err := <-ended:
			if !errors.Is(err, broker.ErrDamaged) {
				t.Fatal(err)
			}
			t.Log(err)
		case <-time.After(patience):
			t.Fatal("no proof")
		}
		b.Stop()
	}
	t.Fatal("the broker is repaired again and again")
}

// What the embedded server writes is read as it does itself: else a later version's store would be taken for damaged.
func TestBlocksOfServer(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	seqs := make([]uint64, 50)
	for n := range 200 {
		name, content := zone.MustParseName(fmt.Sprintf("z%d.example.", n%50)), []byte(strings.Repeat("x", n))
		var err error
		seqs[n%50], err = primary.PublishState(t.Context(), name, content, broker.StateHeader{Kind: broker.KindZone}, seqs[n%50])
		must.OK(t, err)
		_, err = primary.PutBlob(t.Context(), content)
		must.OK(t, err)
	}
	b.Stop()
	b.Prepare()
	done, err := b.Server().Repair(t.Context())
	must.OK(t, err)
	if done != "" {
		t.Error(done)
	}
}

// What the disk does to a running server's store is found before the server has to read it.
func TestDamageWhileItRuns(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	for n := range 20 {
		publish(t, primary, fmt.Sprintf("z%d.example", n), strings.Repeat("x", 100+n))
	}
	proofs, ended, _ := watchProofs(t, b)
	wantFaults(t, proofs, ended, "")
	files, err := filepath.Glob(filepath.Join(b.StoreDir(), "jetstream", "CORE", "streams", "PDNS_ZONE", "msgs", "*.blk"))
	must.OK(t, err)
	must.OK(t, damages["flipped bit"](rand.New(rand.NewPCG(3, 3)), files[0]))
	late := time.After(patience)
	for {
		select {
		case <-proofs:
			continue
		case err := <-ended:
			if !errors.Is(err, broker.ErrDamaged) {
				t.Fatal(err)
			}
		case <-late:
			t.Fatal("nobody found it")
		}
		break
	}
	b.Stop()
	b.Prepare()
	done, err := b.Server().Repair(t.Context())
	must.OK(t, err)
	if !strings.Contains(done, "PDNS_ZONE") {
		t.Error(done)
	}
	b.Start()
	proofs, ended, _ = watchProofs(t, b)
	wantFaults(t, proofs, ended, "")
}
