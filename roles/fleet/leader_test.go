package fleet_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// leads tells whether a health role runs and says that it leads.
func (i *harness) leads(id string) bool {
	text, err := i.read(id, "/metrics")
	return err == nil && strings.Contains(text, "\npdns_distribute_health_leads 1\n")
}

// leader waits for a health role to lead that is not the one given, and makes sure that no other one does.
func (i *harness) leader(not string) (id string) {
	i.t.Helper()
	begin := time.Now()
	i.eventually("a leader", func(context.Context) error {
		for _, id = range []string{"health1", "health2"} {
			if id != not && i.leads(id) {
				return nil
			}
		}
		return fmt.Errorf("none but %q", not)
	})
	i.t.Logf("%s leads after %s", id, time.Since(begin).Round(100*time.Millisecond))
	return id
}

// A health role that leads and is stopped, without knowing, is followed by another one, and does not act any more when
// it goes on.
func TestLeaderIsStopped(t *testing.T) {
	t.Parallel()
	path := program(t)
	i := start(t, fleet.Options{Program: path, Counts: fleet.Counts{Healths: 2}, Set: quick(map[string]string{"health.check_interval": "1h"})})
	must.OK(t, createMany(i.ctx, i.api, "led", 3, 1))
	i.eventually("created", i.allSame)
	old := i.leader("")
	must.OK(t, i.Signal(old, syscall.SIGSTOP))
	i.leader(old)
	must.OK(t, i.Signal(old, syscall.SIGCONT))
	for range 20 { // it goes on, and has not noticed anything
		if i.leads(old) {
			t.Fatal("two lead")
		}
	}

	// the new one acts, though somebody who may touch zones names a term that is never over ...
	name := numbered("led", 1)
	conn := i.connect(fleet.Primary)
	endless, err := broker.ParseTerm("9223372036854775807-18446744073709551615")
	must.OK(t, err)
	_, err = conn.PublishTouch(i.ctx, name, broker.Touch{Cause: broker.Ordered, Again: broker.ToAll, Term: endless})
	must.OK(t, err)
	i.eventually("the touch is done with", i.untouched(conn, name))
	must.OK(t, i.StopRole("ns2"))
	must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "new")}))
	i.acknowledgeFor("ns2", name)
	must.OK(t, i.StartRole(i.ctx, "ns2"))
	i.eventually("told again", i.allSame)
	if regexp.MustCompile(`pdns_distribute_health_repairs_total{.*} [1-9]`).MatchString(i.get(old, "/metrics")) {
		t.Error("the one that was stopped gave orders")
	}

	// ... and what the old one may have been about to send is dropped
	before, err := conn.LastState(i.ctx, name)
	must.OK(t, err)
	late, err := broker.ParseTerm("1-1")
	must.OK(t, err)
	_, err = conn.PublishTouch(i.ctx, name, broker.Touch{Cause: broker.Ordered, Again: broker.ToAll, Term: late})
	must.OK(t, err)
	i.eventually("the touch is done with", i.untouched(conn, name))
	if after, err := conn.LastState(i.ctx, name); err != nil || after.Seq != before.Seq {
		t.Errorf("an order of before was followed: %v", err)
	}
}

// untouched returns a condition: no touch of the zone waits or is in hand.
func (i *harness) untouched(conn *broker.Conn, name zone.Name) func(context.Context) error {
	return func(ctx context.Context) error {
		if pending, _, err := conn.PendingTouch(ctx, name); err != nil || pending {
			return fmt.Errorf("pending: %v, %v", pending, err)
		}
		return nil
	}
}

// A health role that leads and is cut off from the broker leads no more before another one does.
func TestLeaderIsCutOff(t *testing.T) {
	t.Parallel()
	path := program(t)
	i := start(t, fleet.Options{Program: path, Counts: fleet.Counts{Healths: 2}, Set: quick(nil)})
	cable := newCable(t, i.broker())
	for _, id := range []string{"health1", "health2"} {
		must.OK(t, i.StopRole(id))
	}
	_, set := i.Config("health1")
	set["broker.urls"] = "tls://" + cable.address()
	must.OK(t, i.StartRole(i.ctx, "health1"))
	if id := i.leader(""); id != "health1" {
		t.Fatalf("%s leads", id)
	}
	must.OK(t, i.StartRole(i.ctx, "health2"))
	cable.cut()
	i.eventually("the other one leads", func(context.Context) error {
		if !i.leads("health2") {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	if i.leads("health1") {
		t.Error("two lead")
	}
	cable.repair()
	i.noAlarms()
	if i.leads("health1") == i.leads("health2") {
		t.Error("both lead, or none")
	}
}

// broker is where the broker listens.
func (i *harness) broker() string {
	i.t.Helper()
	text, err := os.ReadFile(filepath.Join(i.Dir, "roles", fleet.Primary, "config.toml"))
	must.OK(i.t, err)
	return strings.TrimPrefix(urlIn(text), "tls://")
}

// cable stands between a client and a server. While it is cut nothing passes, and nobody is told.
type cable struct {
	listener net.Listener
	to       string

	mu   sync.Mutex
	open chan struct{} // closed while it is whole
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must.OK(t, err)
	c := &cable{listener: l, to: to, open: make(chan struct{})}
	close(c.open)
	t.Cleanup(func() { l.Close(); c.repair() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(conn)
		}
	}()
	return c
}

func (c *cable) address() string { return c.listener.Addr().String() }

func (c *cable) whole() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = make(chan struct{})
}

func (c *cable) repair() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.open:
	default:
		close(c.open)
	}
}

func (c *cable) carry(client net.Conn) {
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		client.Close()
		return
	}
	pass := func(to, from net.Conn) {
		defer to.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			<-c.whole()
			if _, fault := to.Write(buf[:n]); err != nil || fault != nil {
				return
			}
		}
	}
	go pass(server, client)
	pass(client, server)
}
