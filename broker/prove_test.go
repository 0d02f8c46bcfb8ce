package broker_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
)

// watchProofs runs the proofs of the broker that runs, and gives them.
func watchProofs(t *testing.T, b *brokertest.Broker) (proofs <-chan broker.Proof, ended <-chan error, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	given, over := make(chan broker.Proof, 1), make(chan error, 1)
	done := make(chan struct{})
	b.Server().ProveEvery(200 * time.Millisecond)
	go func() {
		defer close(done)
		over <- b.Server().Watch(ctx, func(p broker.Proof) []byte {
			select {
			case <-given:
			default:
			}
			given <- p
			return []byte(`{"zones":0}`)
		})
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return given, over, stop
}

// The proofs leave nothing that anybody else would meet: no state, no touch, and statuses and chunks of their own
// alone.
func TestProofOfSoundBroker(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}, Secondaries: []string{"sec1"}})
	conn := b.Connect("primary1")
	_, err := conn.EnsureStreams(t.Context(), 1)
	must.OK(t, err)
	proofs, ended, _ := watchProofs(t, b)
	select {
	case p := <-proofs:
		if len(p.Faults) != 0 {
			t.Fatal(p.Faults)
		}
		if len(p.Streams) != 4 {
			t.Error(p.Streams)
		}
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("no proof")
	}
	for stream, want := range map[string]uint64{"PDNS_ZONE": 0, "PDNS_TOUCH": 0, "PDNS_BLOB": 1} {
		s, err := conn.JetStream().Stream(t.Context(), stream)
		must.OK(t, err)
		if n := s.CachedInfo().State.LastSeq; n != want {
			t.Errorf("%s: %d messages were stored", stream, n)
		}
	}
	eventually(t, func() bool {
		statuses, err := conn.Statuses(t.Context())
		must.OK(t, err)
		return statuses["test"].Role == broker.RoleBroker
	})
	must.OK(t, b.Server().Reload()) // and the broker is let in as before
	select {
	case <-proofs:
	case <-time.After(patience):
		t.Fatal("no proof")
	}
	select {
	case p := <-proofs:
		if len(p.Faults) != 0 {
			t.Error(p.Faults)
		}
	case <-time.After(patience):
		t.Fatal("no proof")
	}
}

// fill takes all the room that is left on a disk, until it is called back.
func fill(t *testing.T, dir string) (back func()) {
	t.Helper()
	file := filepath.Join(dir, "ballast")
	f, err := os.Create(file)
	must.OK(t, err)
	block := make([]byte, 64<<10)
	for size := len(block); size > 0; {
		if _, err := f.Write(block[:size]); err != nil {
			size /= 2
		}
	}
	must.OK(t, f.Close())
	return func() { must.OK(t, os.Remove(file)) }
}

// nats-server keeps a write error until it is started again, whatever room there is.
func TestFullDisk(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	disk := brokertest.SmallDisk(t, 48)
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}, Disk: disk})
	conn := b.Connect("primary1")
	_, err := conn.EnsureStreams(t.Context(), 1)
	must.OK(t, err)
	proofs, ended, _ := watchProofs(t, b)
	wantFaults(t, proofs, ended, "")
	back := fill(t, disk)
	for i := range 64 { // until the disk says so
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := conn.PutBlob(ctx, bytes.Repeat([]byte{byte(i)}, 400<<10))
		if cancel(); err != nil {
			break
		}
	}
	wantFaults(t, proofs, ended, broker.FaultDisk)
	back()
	select {
	case err := <-ended:
		if !errors.Is(err, broker.ErrStuck) {
			t.Fatal(err)
		}
		t.Log(err)
	case <-time.After(patience):
		t.Fatal("the broker goes on as it is")
	}
	b.Stop()
	back = fill(t, disk)
	waits := make(chan broker.Fault, 100)
	b.Prepare()
	started := make(chan struct{})
	go func() {
		defer close(started)
		b.Server().ProveEvery(50 * time.Millisecond)
		b.Server().AwaitRoom(t.Context(), func(f broker.Fault) { waits <- f })
	}()
	if f := <-waits; f.What != broker.FaultDisk {
		t.Error(f)
	}
	back()
	<-started
	b.Start()
	proofs, ended, _ = watchProofs(t, b)
	wantFaults(t, proofs, ended, "")
	eventually(t, func() bool {
		_, err := conn.PutBlob(t.Context(), []byte("there is room"))
		return err == nil
	})
}

// wantFaults waits until the broker finds a fault of the kind, "" for none.
func wantFaults(t *testing.T, proofs <-chan broker.Proof, ended <-chan error, what string) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case p := <-proofs:
			if what == "" && len(p.Faults) == 0 || slices.ContainsFunc(p.Faults, func(f broker.Fault) bool { return f.What == what }) {
				t.Log(p.Faults)
				return
			}
		case err := <-ended:
			t.Fatal("ended: ", err)
		case <-late:
			t.Fatalf("no fault %q was found", what)
		}
	}
}

// Whoever learned the broker's own key would have to be within its process.
func TestOwnKeyCountsWithinTheProcess(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	ca := nats.RootCAs(b.Config("primary1").CAFile)
	conn, err := nats.Connect(b.URL(), b.Server().OwnKey(), ca, nats.TLSHandshakeFirst())
	if err == nil {
		conn.Close()
		t.Error("it was let in from the network")
	}
	conn, err = nats.Connect("", b.Server().OwnKey(), nats.InProcessServer(b.Server().NATS()))
	must.OK(t, err)
	defer conn.Close()
	for _, subject := range []string{"pdns.zone.org.example", "pdns.touch.primary.primary1.org.example", "pdns.sweep.primary.primary1", "$JS.API.STREAM.DELETE.PDNS_ZONE"} {
		must.OK(t, conn.Publish(subject, nil))
		must.OK(t, conn.Flush())
		if err := conn.LastError(); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v", subject, err)
		}
	}
}
