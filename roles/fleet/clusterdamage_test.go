//go:build campaign

package fleet_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/fleet"
)

// The disk of one of three brokers is full for a moment: nats-server shuts JetStream down there, and nobody would
// notice before the next broker fails.
func TestClusterWithAFullDisk(t *testing.T) {
	i := start(t, fleet.Options{Counts: fleet.Counts{Brokers: 3}})
	l := i.load("full")
	must.OK(t, i.StopRole("broker2"))
	store := filepath.Join(i.Install(), "broker2", "store")
	must.OK(t, os.RemoveAll(store))
	must.OK(t, os.Mkdir(store, 0o700))
	must.OK(t, syscall.Mount("tmpfs", store, "tmpfs", 0, "size=64m,mode=0700"))
	t.Cleanup(func() { _ = syscall.Unmount(store, syscall.MNT_DETACH) })
	must.OK(t, i.StartRole(i.ctx, "broker2"))
	ballast := filepath.Join(store, "ballast")
	f, err := os.Create(ballast)
	must.OK(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4<<10))
	}
	must.OK(t, f.Close())
	l.goOn()
	i.eventually("it says that its disk is full", func(ctx context.Context) error {
		text, err := i.readyz(ctx, "broker2")
		if !strings.Contains(text, `"disk"`) {
			return fmt.Errorf("%v %s", err, text)
		}
		return nil
	})
	time.Sleep(4 * time.Second) // as long as it was full where this was seen
	must.OK(t, os.Remove(ballast))
	ended, cancel := context.WithTimeout(i.ctx, patience)
	defer cancel()
	for ended.Err() == nil {
		if err := i.AwaitReady(ended, "broker2"); err != nil {
			t.Log(err)
			i.startAgain("broker2")
		}
		if text, err := i.readyz(ended, "broker2"); err == nil && strings.Contains(text, `{"ready":true`) {
			break
		}
	}
	l.goOn()
	l.settle()
	must.OK(t, i.StopRole("broker3")) // and the one that was full carries on
	must.OK(t, createMany(i.ctx, i.api, "carried", 5, 1))
	i.eventually("distributed by two brokers", i.allSame)
	must.OK(t, i.StartRole(i.ctx, "broker3"))
}

// A broker of three whose files are damaged puts its store aside, and is filled by the others.
func TestClusterWithDamagedFiles(t *testing.T) {
	i := start(t, fleet.Options{Counts: fleet.Counts{Brokers: 3}, Secondaries: []local.Backend{local.LMDB}})
	i.spoiled = true
	must.OK(t, createMany(i.ctx, i.api, "clustered", damagedZones, 4))
	i.eventually("created", i.allSame)
	for n, pattern := range []string{"CORE/streams/PDNS_ZONE/msgs/*.blk", "CORE/streams/PDNS_TOUCH/meta.inf", "*/_js_/S-*/msgs/*.blk", "*/_js_/_meta_/msgs/*.blk"} {
		id := fmt.Sprintf("broker%d", n%3+1)
		must.OK(t, i.StopRole(id))
		files, err := filepath.Glob(filepath.Join(i.Install(), id, "store", "jetstream", pattern))
		must.OK(t, err)
		if len(files) == 0 {
			t.Errorf("there is no %s", pattern)
			continue
		}
		content, err := os.ReadFile(files[0])
		must.OK(t, err)
		if len(content) > 0 {
			must.OK(t, os.WriteFile(files[0], damages["flipped bit"](rand.New(rand.NewPCG(uint64(n), 5)), content), 0o600))
		}
		i.startAgain(id)
		name := numbered("clustered", n)
		must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, strings.ReplaceAll(pattern, "*", "x"))}))
		i.eventually("the same after "+pattern, i.allSame)
		i.eventually("the broker tells of it: "+pattern, func(ctx context.Context) error {
			d, err := i.reported(ctx)
			if r := d.row(id); r.Repaired == "" || r.State != "ok" {
				return fmt.Errorf("%v, %+v", err, r)
			}
			return nil
		})
	}
}
