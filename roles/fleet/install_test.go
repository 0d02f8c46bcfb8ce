package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/installation"
	"pdns-distribute/roles/operator"
)

// load is clients that change zones all the time. Any change that is refused fails the test.
type load struct {
	*harness
	stop    context.CancelFunc
	writing sync.WaitGroup
	changes atomic.Int64
}

// loadZones are made beforehand, and changed by as many clients.
const loadZones = 3

func (i *harness) load(prefix string) *load {
	i.t.Helper()
	must.OK(i.t, createMany(i.ctx, i.api, prefix, loadZones, 1))
	i.eventually("created", i.allSame)
	ctx, cancel := context.WithCancel(i.ctx)
	l := &load{harness: i, stop: cancel}
	for n := range loadZones {
		l.writing.Go(func() { l.change(ctx, numbered(prefix, n)) })
	}
	i.t.Cleanup(l.end)
	return l
}

// changePause is the least time between two changes of a client. Without it clients use up a quick machine, too.
const changePause = 200 * time.Millisecond

// change changes a zone again and again. It rests for longer than a change took, so that the roles have the machine,
// too.
func (l *load) change(ctx context.Context, name zone.Name) {
	for n := 0; ctx.Err() == nil; n++ {
		begin := time.Now()
		err := l.api.Patch(l.ctx, name, []powerdns.RRset{text(name, fmt.Sprint(n))})
		if l.ctx.Err() != nil {
			return // the test is over
		}
		if err != nil && !strings.Contains(err.Error(), "answered 500") { // SQLite gives up at once when it is busy
			l.t.Errorf("change %d of %s: %v", n, name, err)
			return
		}
		l.changes.Add(1)
		select {
		case <-ctx.Done():
		case <-time.After(max(changePause, 3*time.Since(begin))):
		}
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

// operate runs a command on the installation's folder, which is the one that the roles run from: nothing is to be
// copied.
func (i *harness) operate(run func(context.Context, command.Invocation) error, options flags, args ...string) {
	i.t.Helper()
	must.OK(i.t, run(i.ctx, command.Invocation{Options: options, Args: append([]string{i.Install()}, args...), Stdout: io.Discard, Stderr: io.Discard}))
}

func (i *harness) restart(ids ...string) {
	i.t.Helper()
	for _, id := range ids {
		must.OK(i.t, i.StopRole(id))
		must.OK(i.t, i.StartRole(i.ctx, id))
	}
}

// Three brokers, each killed and started again in turn while clients write: nothing is lost.
func TestCluster(t *testing.T) {
	t.Parallel()
	path := program(t)
	i := start(t, fleet.Options{Program: path, Counts: fleet.Counts{Brokers: 3}})
	l := i.load("clustered")
	for n := range 3 {
		id := fmt.Sprintf("broker%d", n+1)
		must.OK(t, i.KillRole(id))
		l.goOn()
		must.OK(t, i.StartRole(i.ctx, id))
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
	path := program(t)
	i := start(t, fleet.Options{Program: path})
	l := i.load("rotated")
	hup := func() { must.OK(t, i.Signal(fleet.Broker, syscall.SIGHUP)) }

	i.operate(installation.InitAdd, nil, "secondary", "ns3")
	hup()
	must.OK(t, i.AddSecondary(i.ctx, "ns3", local.LMDB))
	l.goOn()

	for _, id := range []string{"ns1", fleet.Primary, fleet.Proxy, fleet.Health} {
		i.operate(installation.InitRotate, nil, "nkey", id)
		hup()
		l.goOn()
		if id == fleet.Proxy { // clients would notice
			continue
		}
		i.restart(id)
		i.operate(installation.InitRotate, flags{"finish": true}, "nkey", id)
		hup()
		l.goOn()
	}

	i.operate(installation.InitRotate, nil, "certificate", fleet.Broker)
	hup()
	i.restart("ns2") // connects anew
	l.goOn()

	i.operate(installation.InitRotate, nil, "signing", fleet.Primary)
	i.restart("ns1", "ns2", "ns3", fleet.Primary)
	l.goOn()
	i.eventually("signed anew", func(context.Context) error {
		_, err := i.sync(flags{"all": true})
		return err
	})
	i.operate(installation.InitRotate, flags{"finish": true}, "signing", fleet.Primary)
	i.restart("ns1", "ns2", "ns3")
	l.goOn()

	i.operate(installation.InitRemove, nil, "ns3")
	hup()
	removed := i.Secondaries[2]
	must.OK(t, i.RemoveSecondary("ns3"))
	l.goOn()
	l.settle()
	if _, err := fetch(i.ctx, removed.DNSAddr, numbered("rotated", 0)); err == nil {
		t.Error("the removed PowerDNS answers")
	}
}

// An installation of before has accounts and configurations that lack what this version needs: roles, doctor and status
// say so, and init update brings it there.
func TestOlderInstallation(t *testing.T) {
	t.Parallel()
	path := program(t)
	i := start(t, fleet.Options{Program: path})
	must.OK(t, createMany(i.ctx, i.api, "older", 3, 1))
	i.eventually("created", i.allSame)
	edit := func(name string, pattern, with string) {
		t.Helper()
		file := filepath.Join(i.Install(), name)
		text, err := os.ReadFile(file)
		must.OK(t, err)
		edited := regexp.MustCompile(pattern).ReplaceAll(text, []byte(with))
		if bytes.Equal(edited, text) {
			t.Fatalf("%s has nothing like %s", name, pattern)
		}
		must.OK(t, os.WriteFile(file, edited, 0o644))
	}
	accounts := fleet.Broker + "/accounts.conf"
	edit(accounts, `pdns\.status\.(primary|health|proxy|secondary)\.`, "pdns.status.")
	edit(fleet.Health+"/config.toml", `(?m)^(api_prefix|confirm_keys) = .*\n`, "")
	edit(fleet.Primary+"/config.toml", `(?m)^confirm_keys = .*\n`, "")
	hup := func() { must.OK(t, i.Signal(fleet.Broker, syscall.SIGHUP)) }
	hup()
	for _, id := range []string{fleet.Primary, fleet.Proxy, "ns1"} {
		i.eventually(id+" says what the broker does not permit", func(context.Context) error { return i.notReady(id, "rights") })
		checks, err := i.examine(id, nil)
		at := slices.IndexFunc(checks, func(c finding) bool { return c.Check == "broker.presence" && c.Result == "fail" })
		if err == nil || at < 0 || !strings.Contains(checks[at].Remedy, "init update") {
			t.Errorf("%s: the doctor finds %v", id, notOK(checks))
		}
	}
	must.OK(t, i.StopRole(fleet.Health))
	starting, cancel := context.WithTimeout(i.ctx, 2*time.Second)
	_ = i.StartRole(starting, fleet.Health) // it starts, and does not get ready while the broker refuses it
	cancel()
	if _, err := i.command(func(in command.Invocation) error { return operator.Status(i.ctx, in) }, nil); !errors.Is(err, broker.ErrRefused) {
		t.Errorf("status: %v", err)
	}

	i.operate(installation.InitUpdate, nil)
	hup()
	i.restart(fleet.Primary, fleet.Health)
	must.OK(t, createMany(i.ctx, i.api, "updated", 3, 1))
	i.eventually("served", i.allSame)
	i.noAlarms()
	for _, id := range []string{fleet.Primary, fleet.Health} {
		text, err := os.ReadFile(filepath.Join(i.Install(), id, "config.toml"))
		must.OK(t, err)
		if n := strings.Count(string(text), "confirm_keys = [\"U"); n != 1 {
			t.Errorf("%s has confirm_keys %d times:\n%s", id, n, text)
		}
	}
}
