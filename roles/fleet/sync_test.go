package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/operator"
	"pdns-distribute/roles/settings"
)

// command runs one of the operator's commands.
func (i *harness) command(run func(in command.Invocation) error, options flags, args ...string) (string, error) {
	i.t.Helper()
	file, set := i.Config(fleet.Health)
	var out bytes.Buffer
	err := run(command.Invocation{
		Settings: settings.Sources{File: file, Flags: set}, Options: options, Args: args, Stdout: &out, Stderr: io.Discard,
	})
	return out.String(), err
}

func (i *harness) sync(options flags, args ...string) (string, error) {
	return i.command(func(in command.Invocation) error { return operator.Sync(i.ctx, in) }, options, args...)
}

// What is wrong at secondaries is put right at the operator's word, and told.
func TestSync(t *testing.T) {
	i := start(t, fleet.Options{Set: map[string]string{"primary.scrub_period": "0s", "secondary.scrub_period": "0s"}})
	must.OK(t, createMany(i.ctx, i.api, "synced", 10, 4))
	i.eventually("created", i.allSame)
	i.noAlarms() // and nothing is compared again so soon
	first, second := i.Secondaries[0], i.Secondaries[1]
	alter := func(s *fleet.Secondary, n int) {
		edge, err := s.Client()
		must.OK(t, err)
		must.OK(t, edge.Patch(i.ctx, numbered("synced", n), []powerdns.RRset{text(numbered("synced", n), "by hand")}))
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
	must.OK(t, i.allSame(i.ctx))

	alter(first, 3)
	alter(second, 4)
	edge, err := second.Client()
	must.OK(t, err)
	must.OK(t, edge.DeleteZone(i.ctx, numbered("synced", 5)))
	orphan := zone.MustParseName("orphan.example")
	must.OK(t, edge.CreateZone(i.ctx, orphan, powerdns.Slave, i.masterOf(second, numbered("synced", 6))))
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
	must.OK(t, i.allSame(i.ctx))
	must.OK(t, transfer.ProveGone(i.ctx, second.DNSAddr, orphan))
	if out, err = i.sync(flags{"all": true}); strings.Contains(out, "altered") || err != nil {
		t.Errorf("nothing was wrong: %s%v", out, err)
	}

	for _, wrong := range [][]string{{}, {"a..b"}} {
		if _, err := i.sync(nil, wrong...); !errors.Is(err, command.ErrUsage) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if out, err := i.sync(flags{"node": "nobody"}, numbered("synced", 1).String()); !errors.Is(err, command.ErrNotInOrder) || !strings.Contains(out, "no such secondary") {
		t.Errorf("%s%v", out, err)
	}
}

// A deletion that meets a sync of the same zone is not lost, and nobody is told that it is served before it is.
func TestSyncBesideDeletions(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"primary.max_delete_percent": "100"}}) // a touch that was replaced is no longer the proxy's
	const zones, deleted = 60, 30
	must.OK(t, createMany(i.ctx, i.api, "both", zones, 4))
	i.eventually("created", i.allSame)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := i.sync(flags{"all": true}); err != nil && !errors.Is(err, command.ErrNotInOrder) {
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
func (i *harness) masterOf(s *fleet.Secondary, name zone.Name) []string {
	i.t.Helper()
	edge, err := s.Client()
	must.OK(i.t, err)
	info, err := edge.Zone(i.ctx, name)
	must.OK(i.t, err)
	return info.Masters
}

// How a zone stands is shown to the operator.
func TestStatusOfAZone(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"secondary.scrub_period": "0s", "health.check_interval": "1h"}}) // what is shown is not repaired meanwhile
	name := zone.MustParseName("shown.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "1"))))
	must.OK(t, i.put(name, `{"dnssec":true}`))
	i.eventually("created", i.allSame)
	i.noAlarms() // and all sources can be asked
	status := func(options flags, args ...string) (string, error) {
		return i.command(func(in command.Invocation) error { return operator.Status(i.ctx, in) }, options, args...)
	}
	i.eventually("told", func(context.Context) error { // that it is transferred is not that it is proven
		_, err := status(nil, name.String())
		return err
	})
	out, err := status(flags{"json": true}, "Shown.example")
	must.OK(t, err)
	var z struct {
		Zone        string
		InSync      bool `json:"in_sync"`
		Published   struct{ Serial, Expires uint32 }
		Secondaries []struct {
			Node   string
			InSync bool `json:"in_sync"`
			Serves struct{ Serial, Expires uint32 }
		}
		Sources []struct {
			Node, Source string
			Equal        bool
			Serial       uint32
		}
	}
	must.OK(t, json.Unmarshal([]byte(out), &z))
	if z.Zone != name.String() || !z.InSync || z.Published.Serial != i.serial(name) || z.Published.Expires == 0 || len(z.Secondaries) != 2 {
		t.Errorf("%+v", z)
	}
	for _, s := range z.Secondaries {
		if !s.InSync || s.Serves != z.Published {
			t.Errorf("%+v", s)
		}
	}
	if len(z.Sources) != 3+2*4 {
		t.Errorf("%d sources were asked: %+v", len(z.Sources), z.Sources)
	}
	for _, s := range z.Sources {
		if !s.Equal || s.Serial != z.Published.Serial && (s.Node != fleet.Primary || s.Source != "powerdns") {
			t.Errorf("%+v", s)
		}
	}
	edge, err := i.Secondaries[0].Client()
	must.OK(t, err)
	must.OK(t, edge.DeleteZone(i.ctx, name))
	if out, err := status(nil, name.String()); !errors.Is(err, command.ErrNotInOrder) || !strings.Contains(strings.Join(strings.Fields(out), " "), "ns1 PowerDNS, asked by DNS no such zone differs") {
		t.Errorf("a zone that is not there any more: %v\n%s", err, out)
	}
	must.OK(t, i.StopRole("ns2"))
	must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "2")}))
	i.eventually("shown as behind", func(context.Context) error {
		out, err := status(nil, name.String())
		if !errors.Is(err, command.ErrNotInOrder) || !strings.Contains(out, "ns2        no (no answer)") || !strings.Contains(out, "ns1        yes") {
			return errors.New(out)
		}
		return nil
	})
}

// A command with the configuration of a role that may not ask ends at once and says whose it needs.
func TestCommandsNeedAConfigurationThatMayAsk(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	for _, id := range []string{fleet.Proxy, "ns1"} {
		file, set := i.Config(id)
		for name, try := range map[string]struct {
			run     func(context.Context, command.Invocation) error
			options flags
		}{
			"status":                 {operator.Status, nil},
			"sync --check":           {operator.Sync, flags{"check": true}},
			"sync --confirm-deletes": {operator.Sync, flags{"confirm-deletes": true}},
		} {
			ctx, cancel := context.WithTimeout(i.ctx, patience)
			err := try.run(ctx, command.Invocation{
				Settings: settings.Sources{File: file, Flags: set}, Options: try.options, Stdout: io.Discard, Stderr: io.Discard,
			})
			if !errors.Is(err, command.ErrUsage) || !strings.Contains(err.Error(), "of a primary or a health role") || ctx.Err() != nil {
				t.Errorf("%s of %s: %v", name, id, err)
			}
			cancel()
		}
	}
}

// The doctor finds scoped keys that the proxy cannot use, which would keep it from starting again.
func TestDoctorOfScopedKeys(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	file := filepath.Join(t.TempDir(), "keys.toml")
	must.OK(t, os.Chmod(filepath.Dir(file), 0o700))
	hash := "sha256:" + strings.Repeat("0", 64)
	must.OK(t, os.WriteFile(file, []byte("[[proxy.key]]\nid = \"a\"\nhash = \""+hash+"\"\nzones = [\"*\"]\nverbs = [\"read\"]\n"), 0o600))
	of := func(change map[string]string) finding {
		change["proxy.keys_file"] = file
		checks, _ := i.examine(fleet.Proxy, change)
		at := slices.IndexFunc(checks, func(c finding) bool { return c.Check == "proxy.keys" })
		if at < 0 {
			t.Fatalf("nothing of keys: %v", checks)
		}
		return checks[at]
	}
	if c := of(map[string]string{}); c.Result != "fail" || !strings.Contains(c.Remedy, "powerdns.api_key_file") {
		t.Errorf("without PowerDNS's key: %v", c)
	}
	if c := of(map[string]string{"powerdns.api_key_file": i.ownKeyFile()}); c.Result != "ok" {
		t.Errorf("with it: %v", c)
	}
	must.OK(t, os.WriteFile(file, []byte("[[proxy.key]]\nid = 1\n"), 0o600))
	if c := of(map[string]string{"powerdns.api_key_file": i.ownKeyFile()}); c.Result != "fail" {
		t.Errorf("a file with a fault: %v", c)
	}
}

// ownKeyFile is a file with the API key of the primary PowerDNS.
func (i *harness) ownKeyFile() string {
	i.t.Helper()
	file := filepath.Join(i.t.TempDir(), "key")
	must.OK(i.t, os.Chmod(filepath.Dir(file), 0o700))
	must.OK(i.t, os.WriteFile(file, []byte(i.Primary.APIKey.Reveal()), 0o600))
	return file
}
