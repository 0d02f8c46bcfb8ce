package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/settings"
)

// command runs one of the operator's commands.
func (i *installation) command(run func(in roles.Invocation) error, options flags, args ...string) (string, error) {
	i.t.Helper()
	file, set := i.Config(fleet.Health)
	var out bytes.Buffer
	err := run(roles.Invocation{
		Settings: settings.Sources{File: file, Flags: set}, Options: options, Args: args, Stdout: &out, Stderr: io.Discard,
	})
	return out.String(), err
}

func (i *installation) sync(options flags, args ...string) (string, error) {
	return i.command(func(in roles.Invocation) error { return roles.Sync(i.ctx, in) }, options, args...)
}

// What is wrong at secondaries is put right at the operator's word, and told.
func TestSync(t *testing.T) {
	i := start(t, fleet.Options{Set: map[string]string{"primary.scrub_rate": "0", "secondary.scrub_rate": "0"}})
	must(t, createMany(i.ctx, i.api, "synced", 10, 4))
	i.eventually("created", i.allSame)
	first, second := i.Secondaries[0], i.Secondaries[1]
	alter := func(s *fleet.Secondary, n int) {
		edge, err := s.Client()
		must(t, err)
		must(t, edge.Patch(i.ctx, numbered("synced", n), []powerdns.RRset{text(numbered("synced", n), "by hand")}))
	}
	wants := func(out string, err error, want ...string) {
		t.Helper()
		for _, w := range want {
			if err != nil || !strings.Contains(out, w) {
				t.Errorf("%q is not in:\n%s%v", w, out, err)
			}
		}
	}

	alter(first, 1)
	alter(second, 2)
	out, err := i.sync(nil, numbered("synced", 1).String(), "SYNCED2.example")
	wants(out, err, "2 zones, 2 served everywhere", "ns1 had lost or altered 1", "ns2 had lost or altered 1")
	must(t, i.allSame(i.ctx))

	alter(first, 3)
	alter(second, 4)
	edge, err := second.Client()
	must(t, err)
	must(t, edge.DeleteZone(i.ctx, numbered("synced", 5)))
	orphan := zone.MustParseName("orphan.example")
	must(t, edge.CreateZone(i.ctx, orphan, powerdns.Slave, i.masterOf(second, numbered("synced", 6))))
	out, err = i.sync(flags{"node": "ns2"})
	wants(out, err, "10 zones, 10 served everywhere", "ns2 had lost or altered 2")
	if strings.Contains(out, "ns1") {
		t.Errorf("ns1 was not asked to:\n%s", out)
	}
	if i.same(i.ctx, numbered("synced", 3)) == nil {
		t.Error("ns1 took a zone again that only ns2 was to take")
	}
	out, err = i.sync(flags{"all": true})
	wants(out, err, "10 zones, 10 served everywhere", "ns1 had lost or altered 1")
	out, err = i.sync(nil, orphan.String())
	wants(out, err, "1 zones, 1 served everywhere")
	must(t, i.allSame(i.ctx))
	must(t, transfer.ProveGone(i.ctx, second.DNSAddr, orphan))
	if out, err = i.sync(flags{"all": true}); strings.Contains(out, "altered") || err != nil {
		t.Errorf("nothing was wrong: %s%v", out, err)
	}

	for _, wrong := range [][]string{{}, {"a..b"}} {
		if _, err := i.sync(nil, wrong...); !errors.Is(err, roles.ErrUsage) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if out, err := i.sync(flags{"node": "nobody"}, numbered("synced", 1).String()); !errors.Is(err, roles.ErrNotInOrder) || !strings.Contains(out, "no such secondary") {
		t.Errorf("%s%v", out, err)
	}
}

// A deletion that meets a sync of the same zone is not lost, and nobody is told that it is served before it is.
func TestSyncBesideDeletions(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"primary.max_delete_percent": "100"}}) // a touch that was replaced is no longer the proxy's
	const zones, deleted = 60, 30
	must(t, createMany(i.ctx, i.api, "both", zones, 4))
	i.eventually("created", i.allSame)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := i.sync(flags{"all": true}); err != nil && !errors.Is(err, roles.ErrNotInOrder) {
			t.Error(err)
		}
	})
	for n := range deleted {
		wg.Go(func() {
			name := numbered("both", n)
			a := i.prefer("wait=60", "DELETE", zonesPath+"/"+name.ID(), "")
			for a.status == 500 { // SQLite gives up at once when it is busy
				a = i.prefer("wait=60", "DELETE", zonesPath+"/"+name.ID(), "")
			}
			a.held(t, 204, proxy.StatusInSync, "2/2")
			for _, s := range i.Secondaries {
				if err := transfer.ProveGone(i.ctx, s.DNSAddr, name); err != nil {
					t.Errorf("%s: %v, and yet %v", s.ID, err, a.header)
				}
			}
		})
	}
	wg.Wait()
	i.eventually("all deletions", i.allSame)
}

// masterOf is how the role's loopback server is written in its PowerDNS.
func (i *installation) masterOf(s *fleet.Secondary, name zone.Name) []string {
	i.t.Helper()
	edge, err := s.Client()
	must(i.t, err)
	info, err := edge.Zone(i.ctx, name)
	must(i.t, err)
	return info.Masters
}

// How a zone stands is shown to the operator.
func TestStatusOfAZone(t *testing.T) {
	i := start(t, fleet.Options{})
	name := zone.MustParseName("shown.example")
	must(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "1"))))
	must(t, i.put(name, `{"dnssec":true}`))
	i.eventually("created", i.allSame)
	status := func(options flags, args ...string) (string, error) {
		return i.command(func(in roles.Invocation) error { return roles.Status(i.ctx, in) }, options, args...)
	}
	out, err := status(flags{"json": true}, "Shown.example")
	must(t, err)
	var z struct {
		Zone        string
		InSync      bool `json:"in_sync"`
		Published   struct{ Serial, Expires uint32 }
		Secondaries []struct {
			Node   string
			InSync bool `json:"in_sync"`
			Serves struct{ Serial, Expires uint32 }
		}
	}
	must(t, json.Unmarshal([]byte(out), &z))
	if z.Zone != name.String() || !z.InSync || z.Published.Serial != i.serial(name) || z.Published.Expires == 0 || len(z.Secondaries) != 2 {
		t.Errorf("%+v", z)
	}
	for _, s := range z.Secondaries {
		if !s.InSync || s.Serves != z.Published {
			t.Errorf("%+v", s)
		}
	}
	must(t, i.StopRole("ns2"))
	must(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "2")}))
	i.eventually("shown as behind", func(context.Context) error {
		out, err := status(nil, name.String())
		if !errors.Is(err, roles.ErrNotInOrder) || !strings.Contains(out, "ns2        no, it has not told") || !strings.Contains(out, "ns1        yes") {
			return errors.New(out)
		}
		return nil
	})
}
