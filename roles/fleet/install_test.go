package fleet_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles"
	"pdns-distribute/roles/fleet"
)

// load is clients that change zones all the time. Any change that is refused fails the test.
type load struct {
	*installation
	stop    context.CancelFunc
	writing sync.WaitGroup
	changes atomic.Int64
}

// loadZones are made beforehand, and changed by as many clients.
const loadZones = 3

func (i *installation) load(prefix string) *load {
	i.t.Helper()
	must(i.t, createMany(i.ctx, i.api, prefix, loadZones, 1))
	i.eventually("created", i.allSame)
	ctx, cancel := context.WithCancel(i.ctx)
	l := &load{installation: i, stop: cancel}
	for n := range loadZones {
		l.writing.Go(func() { l.change(ctx, numbered(prefix, n)) })
	}
	i.t.Cleanup(l.end)
	return l
}

func (l *load) change(ctx context.Context, name zone.Name) {
	for n := 0; ctx.Err() == nil; n++ {
		err := l.api.Patch(l.ctx, name, []powerdns.RRset{text(name, fmt.Sprint(n))})
		if l.ctx.Err() != nil {
			return // the test is over
		}
		if err != nil && !strings.Contains(err.Error(), "answered 500") { // SQLite gives up at once when it is busy
			l.t.Errorf("change %d of %s: %v", n, name, err)
			return
		}
		l.changes.Add(1)
	}
}

// goOn waits for some more changes.
func (l *load) goOn() {
	l.t.Helper()
	from := l.changes.Load()
	l.eventually("changes go on", func(context.Context) error {
		if n := l.changes.Load() - from; n < 20 {
			return fmt.Errorf("only %d", n)
		}
		return nil
	})
}

// end stops the clients and compares everything.
func (l *load) end() {
	l.stop()
	l.writing.Wait()
}

func (l *load) settle() {
	l.t.Helper()
	l.end()
	l.eventually("nothing missing, nothing stale", l.allSame)
	l.eventually("no trouble", func(context.Context) error { return l.untroubled() })
}

// operate runs a command on the installation's folder, which is the one that the roles run from: nothing is to be copied.
func (i *installation) operate(run func(context.Context, roles.Invocation) error, options flags, args ...string) {
	i.t.Helper()
	must(i.t, run(i.ctx, roles.Invocation{Options: options, Args: append([]string{i.Install()}, args...), Stdout: io.Discard, Stderr: io.Discard}))
}

func (i *installation) restart(ids ...string) {
	i.t.Helper()
	for _, id := range ids {
		must(i.t, i.StopRole(id))
		must(i.t, i.StartRole(i.ctx, id))
	}
}

// Three brokers, each killed and started again in turn while clients write: nothing is lost.
func TestCluster(t *testing.T) {
	t.Parallel()
	path, err := program()
	must(t, err)
	i := start(t, fleet.Options{Program: path, Brokers: 3})
	l := i.load("clustered")
	for n := range 3 {
		id := fmt.Sprintf("broker%d", n+1)
		must(t, i.KillRole(id))
		l.goOn()
		must(t, i.StartRole(i.ctx, id))
		l.goOn()
	}
	l.settle()
	js := i.jetStream()
	for _, stream := range []string{"PDNS_TOUCH", "PDNS_ZONE", "PDNS_BLOB", "PDNS_STATUS"} {
		i.eventually(stream+" is on three brokers", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // nobody answers until a leader is found
			defer cancel()
			info, err := js.Stream(ctx, stream)
			if err != nil {
				return err
			}
			if n := info.CachedInfo().Config.Replicas; n != 3 {
				return fmt.Errorf("it is on %d", n)
			}
			return nil
		})
	}
}

// Secondaries come and go, and all keys are replaced, while clients write: nothing is lost, and nobody else notices.
func TestRotation(t *testing.T) {
	t.Parallel()
	path, err := program()
	must(t, err)
	i := start(t, fleet.Options{Program: path})
	l := i.load("rotated")
	hup := func() { must(t, i.Signal(fleet.Broker, syscall.SIGHUP)) }

	i.operate(roles.InitAdd, nil, "secondary", "ns3")
	hup()
	must(t, i.AddSecondary(i.ctx, "ns3", local.LMDB))
	l.goOn()

	for _, id := range []string{"ns1", fleet.Primary, fleet.Proxy, fleet.Health} {
		i.operate(roles.InitRotate, nil, "nkey", id)
		hup()
		l.goOn()
		if id == fleet.Proxy { // clients would notice
			continue
		}
		i.restart(id)
		i.operate(roles.InitRotate, flags{"finish": true}, "nkey", id)
		hup()
		l.goOn()
	}

	i.operate(roles.InitRotate, nil, "certificate", fleet.Broker)
	hup()
	i.restart("ns2") // connects anew
	l.goOn()

	i.operate(roles.InitRotate, nil, "signing", fleet.Primary)
	i.restart("ns1", "ns2", "ns3", fleet.Primary)
	l.goOn()
	i.eventually("signed anew", func(context.Context) error {
		_, err := i.sync(flags{"all": true})
		return err
	})
	i.operate(roles.InitRotate, flags{"finish": true}, "signing", fleet.Primary)
	i.restart("ns1", "ns2", "ns3")
	l.goOn()

	i.operate(roles.InitRemove, nil, "ns3")
	hup()
	removed := i.Secondaries[2]
	must(t, i.RemoveSecondary("ns3"))
	l.goOn()
	l.settle()
	if _, err := fetch(i.ctx, removed.DNSAddr, numbered("rotated", 0)); err == nil {
		t.Error("the removed PowerDNS answers")
	}
}
