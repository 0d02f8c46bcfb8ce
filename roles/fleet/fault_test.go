package fleet_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

func proxyClient(certFile string) (*http.Client, error) {
	pem, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}, nil
}

// A secondary that was away, in part or as a whole, catches up by itself.
func TestAway(t *testing.T) {
	t.Parallel()
	changed, deleted := size(70, 200), size(10, 20)
	i := start(t, fleet.Options{})
	must.OK(t, createMany(i.ctx, i.api, "away", changed, 4))
	for what, away := range map[string]struct{ role, powerdns bool }{
		"the role":     {role: true},
		"its PowerDNS": {powerdns: true},
		"both":         {role: true, powerdns: true},
	} {
		t.Run(what, func(t *testing.T) {
			i := i.in(t)
			must.OK(t, createMany(i.ctx, i.api, "deleted", deleted, 4))
			i.eventually("created", i.allSame)
			s := i.Secondaries[1]
			if away.role {
				must.OK(t, i.StopRole(s.ID))
			}
			if away.powerdns {
				s.Server.Stop()
			}
			for n := range changed {
				name := numbered("away", n)
				must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "changed while away: "+what)}))
			}
			for n := range deleted {
				must.OK(t, i.api.DeleteZone(i.ctx, numbered("deleted", n)))
			}
			if away.powerdns {
				must.OK(t, s.Restart(i.ctx))
			}
			if away.role {
				must.OK(t, i.Launch(s.ID))
			}
			i.eventually("caught up", i.allSame)
		})
	}
}

// With the broker gone, a secondary goes on serving, also after a restart of its own or of its PowerDNS, and refills a
// PowerDNS that lost everything.
func TestTheEdgeStandsAlone(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"secondary.batches": "false"}})
	must.OK(t, createMany(i.ctx, i.api, "edge", 100, 4))
	name := zone.MustParseName("signed.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(name, manyTypes(name)...), "1 0 0 -")))
	i.eventually("created", i.allSame)

	must.OK(t, i.StopRole(fleet.Primary))
	must.OK(t, i.StopRole(fleet.Broker))
	for _, s := range i.Secondaries {
		must.OK(t, i.StopRole(s.ID))
		must.OK(t, s.Restart(i.ctx))
		must.OK(t, i.Launch(s.ID))
	}
	i.eventually("after restarts", i.allSame)

	for _, s := range i.Secondaries {
		must.OK(t, s.Wipe(i.ctx))
	}
	i.eventually("refilled", i.allSame)
	i.sameAnswers(name)
	for _, s := range i.Secondaries {
		log, err := os.ReadFile(s.LogFile())
		must.OK(t, err)
		if bytes.Contains(log, []byte("pdns-distribute-batch.invalid")) {
			t.Errorf("%s makes batches, which are off", s.ID)
		}
	}
}

// A broker that lost its disk is filled again from PowerDNS, and what happened meanwhile arrives.
func TestBrokerWiped(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	must.OK(t, createMany(i.ctx, i.api, "wiped", 100, 4))
	i.eventually("created", i.allSame)
	must.OK(t, i.StopRole(fleet.Broker))
	for n := range 10 {
		name := numbered("wiped", n)
		must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "while the broker was away")}))
	}
	must.OK(t, i.WipeBroker())
	must.OK(t, i.StartRole(i.ctx, fleet.Broker))
	i.eventually("the writes during the outage", i.allSame)

	name := numbered("wiped", 50)
	must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "after it")}))
	i.eventually("a write after it", i.allSame)
	i.complete("ns1", "ns2")
	i.noAlarms() // the health role is given states again, and compares
}

// A secondary whose own copy is lost fills it again.
func TestStoreLost(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	must.OK(t, createMany(i.ctx, i.api, "store", 50, 4))
	i.eventually("created", i.allSame)
	s := i.Secondaries[0]
	must.OK(t, i.StopRole(s.ID))
	must.OK(t, i.WipeStore(s.ID))
	must.OK(t, i.StartRole(i.ctx, s.ID))
	name := numbered("store", 5)
	must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "after the loss")}))
	i.eventually("after the loss", i.allSame)
	i.eventually("all zones are held again", func(context.Context) error { return i.holds(s.ID, 50) })
	i.complete("ns1", "ns2")
}

// A deletion that the broker lost with its disk arrives all the same.
func TestBrokerWipedAfterDeletion(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	must.OK(t, createMany(i.ctx, i.api, "wiped", 20, 4))
	i.eventually("created", i.allSame)
	must.OK(t, i.StopRole(fleet.Broker))
	must.OK(t, i.api.DeleteZone(i.ctx, numbered("wiped", 3)))
	must.OK(t, i.WipeBroker())
	must.OK(t, i.StartRole(i.ctx, fleet.Broker))
	i.eventually("deleted everywhere", i.allSame)

	away := i.Secondaries[1].ID
	must.OK(t, i.StopRole(away))
	must.OK(t, i.api.DeleteZone(i.ctx, numbered("wiped", 4)))
	i.eventually("deleted at the other one", func(ctx context.Context) error {
		if _, err := fetch(ctx, i.Secondaries[0].DNSAddr, numbered("wiped", 4)); err == nil {
			return errors.New("still there")
		}
		return nil
	})
	must.OK(t, i.StopRole(fleet.Broker))
	must.OK(t, i.WipeBroker())
	must.OK(t, i.StartRole(i.ctx, fleet.Broker))
	must.OK(t, i.StartRole(i.ctx, away))
	i.eventually("deleted at the one that was away", i.allSame)
}

// A broker that went back to an earlier copy of its store, as after a power failure, gives sequences again.
func TestBrokerGoesBack(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	must.OK(t, createMany(i.ctx, i.api, "back", 5, 2))
	i.eventually("created", i.allSame)
	kept := t.TempDir()
	must.OK(t, i.StopRole(fleet.Broker))
	must.OK(t, os.CopyFS(kept, os.DirFS(i.BrokerStore())))
	must.OK(t, i.StartRole(i.ctx, fleet.Broker))

	name := numbered("back", 2)
	for n := range 40 {
		must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, fmt.Sprint(n))}))
		i.eventually("each arrives, so that sequences grow", func(ctx context.Context) error { return i.same(ctx, name) })
	}
	must.OK(t, i.StopRole(fleet.Broker))
	must.OK(t, i.WipeBroker())
	must.OK(t, os.CopyFS(i.BrokerStore(), os.DirFS(kept)))
	must.OK(t, os.Chmod(i.BrokerStore(), 0o700))
	must.OK(t, i.StartRole(i.ctx, fleet.Broker))
	must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "after that")}))
	i.eventually("arrives at a lower sequence", i.allSame)
}

// What PowerDNS did not take, at an unchanged serial, is not forgotten over a restart of the role.
func TestParkedOverRestart(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	name := zone.MustParseName("parked.example")
	z := spec(name, text(name, "first"))
	z.SOAEditAPI = "" // the serial stays
	must.OK(t, i.api.CreateZoneWith(i.ctx, z))
	i.eventually("created", i.allSame)

	s := i.Secondaries[0]
	edge, err := s.Client()
	must.OK(t, err)
	must.OK(t, edge.SetKind(i.ctx, name, powerdns.Native)) // which takes no transfers
	must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "second")}))
	i.eventually("it shows", func(context.Context) error { return i.failing(s.ID, name) })
	must.OK(t, i.StopRole(s.ID))
	must.OK(t, edge.SetKind(i.ctx, name, powerdns.Slave))
	must.OK(t, i.StartRole(i.ctx, s.ID))
	i.eventually("taken after the restart", i.allSame)
}

// Each process, PowerDNS's too, is killed in the middle of 500 creates, and started again.
func TestKilled(t *testing.T) {
	t.Parallel()
	path := program(t)
	i := start(t, fleet.Options{Program: path, Secondaries: []local.Backend{local.SQLite, local.LMDB}})
	const zones, clients = 500, 4
	role := func(id string) func() {
		return func() {
			must.OK(t, i.KillRole(id))
			must.OK(t, i.Launch(id))
			must.OK(t, i.AwaitReady(i.ctx, id))
		}
	}
	server := func(s *local.Server) func() {
		return func() {
			s.Kill()
			must.OK(t, s.Restart(i.ctx))
		}
	}
	first, second := i.Secondaries[0], i.Secondaries[1]
	victims := []func(){
		role(fleet.Primary), role(first.ID), role(fleet.Proxy), server(i.Primary), role(fleet.Broker), server(second.Server), role(second.ID),
	}

	var created atomic.Int64
	var writing sync.WaitGroup
	for c := range clients {
		writing.Go(func() {
			for n := c; n < zones; n += clients {
				if err := i.insist(numbered("killed", n)); err != nil {
					t.Error(err)
					return
				}
				created.Add(1)
			}
		})
	}
	for k, kill := range victims {
		share := int64((k + 1) * zones / (len(victims) + 1))
		i.eventually(fmt.Sprintf("%d created", share), func(context.Context) error {
			if n := created.Load(); n < share && !t.Failed() {
				return fmt.Errorf("only %d", n)
			}
			return nil
		})
		kill()
	}
	writing.Wait()
	i.eventually("nothing missing, nothing stale", i.allSame)
}

// insist creates a zone as a client does that repeats what was not answered. A PowerDNS that is killed within a create
// leaves a zone without a SOA (4.7.3).
func (i *harness) insist(name zone.Name) error {
	ctx, cancel := context.WithTimeout(i.ctx, patience)
	defer cancel()
	for {
		err := i.api.CreateZoneWith(ctx, spec(name, text(name, "kept")))
		if errors.Is(err, powerdns.ErrExists) {
			var info powerdns.ZoneInfo
			if info, err = i.own.Zone(ctx, name); err == nil && info.Serial == 0 {
				err = cmp.Or(i.api.DeleteZone(ctx, name), errors.New("it was half made"))
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
