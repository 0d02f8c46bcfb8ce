//go:build campaign

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/fleet"
)

// follow runs the lines of this program that an alarm has for an operator, where they are to be run.
func (i *harness) follow(a health.Alarm) (outputs []string) {
	i.t.Helper()
	path := program(i.t)
	for _, line := range a.Commands() {
		own, is := strings.CutPrefix(line.Line, "pdns-distribute ")
		if !is {
			continue // a fleet has no units
		}
		file, set := i.Config(fleet.Health)
		if node, is := strings.CutPrefix(line.On, "the host of "); is {
			file, set = i.Config(node)
		}
		cmd := exec.CommandContext(i.ctx, "sh", "-c", path+" "+own)
		cmd.Env = append(os.Environ(), "PDNS_DISTRIBUTE_CONFIG="+file)
		for key, value := range set { // what this installation has besides its file
			cmd.Env = append(cmd.Env, "PDNS_DISTRIBUTE_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))+"="+value)
		}
		out, err := cmd.CombinedOutput()
		if exit, is := errors.AsType[*exec.ExitError](err); err != nil && (!is || exit.ExitCode() != 3) { // 3: it works, and shows what is wrong
			i.t.Errorf("%s: %v\n%s", line.Line, err, out)
		}
		outputs = append(outputs, string(out))
	}
	if len(outputs) == 0 {
		i.t.Errorf("no command is printed: %+v", a)
	}
	return outputs
}

// What an alarm tells an operator to run ends it, once what it names besides was done.
func TestRemedies(t *testing.T) {
	i := start(t, fleet.Options{Secondaries: []local.Backend{local.SQLite, local.SQLite}, Set: quick(map[string]string{
		"health.inactive_after": "10s", "primary.sweep_interval": "2s",
	})})
	must.OK(t, createMany(i.ctx, i.api, "remedy", 12, 4))
	i.eventually("created", i.allSame)
	i.noAlarms()
	ns1 := i.Secondaries[0]
	edge, err := ns1.Client()
	must.OK(t, err)
	foreign := numbered("foreign", 1)
	for _, test := range []struct {
		kind, node   string
		raise, first func()
	}{
		{
			kind: "orphans", node: "ns1", raise: func() {
				for n := range 15 {
					must.OK(t, edge.CreateZone(i.ctx, numbered("extra", n), powerdns.Slave, i.masterOf(ns1, numbered("remedy", 1))))
				}
				must.OK(t, ns1.Restart(i.ctx))
			},
		},
		{
			kind: "failing", node: "ns1", raise: func() {
				must.OK(t, edge.CreateZoneWith(i.ctx, spec(foreign)))
				must.OK(t, i.api.CreateZoneWith(i.ctx, spec(foreign)))
			}, first: func() { must.OK(t, edge.DeleteZone(i.ctx, foreign)) },
		},
		{
			kind: "not-ready", node: fleet.Primary, raise: func() {
				_, err := i.Primary.SQL(i.ctx, "delete from records where name like '%remedy%'; delete from domains where name like 'remedy%'")
				must.OK(t, err)
				must.OK(t, i.Primary.Restart(i.ctx))
			},
		},
		{
			kind: "inactive", node: "ns2", raise: func() { must.OK(t, i.StopRole("ns2")) },
		},
	} {
		t.Logf("%s of %s", test.kind, test.node)
		test.raise()
		a := i.alarm(test.kind, test.node)
		if test.kind == "not-ready" { // or it may be for another reason
			i.eventually("deletions are held", func(context.Context) error {
				if a = i.alarm(test.kind, test.node); !strings.Contains(a.What, "--confirm-deletes") {
					return errors.New(a.What)
				}
				return nil
			})
		}
		if test.first != nil {
			test.first()
		}
		t.Log(i.follow(a))
		i.noAlarms()
	}
}

// Where the remedy is to look, what is printed shows what is wrong.
func TestRemediesThatShow(t *testing.T) {
	i := start(t, fleet.Options{Set: quick(map[string]string{"health.event_check_wait": "1s"})})
	must.OK(t, createMany(i.ctx, i.api, "shown", 4, 4))
	i.eventually("created", i.allSame)
	i.noAlarms()
	other, err := local.Start(i.ctx, local.Options{Dir: filepath.Join(t.TempDir(), "other"), Backend: local.SQLite, Primary: true})
	must.OK(t, err)
	defer other.Stop()
	_, set := i.Config("ns2")
	set["secondary.public_addresses"] = other.DNSAddr
	must.OK(t, i.StopRole("ns2"))
	must.OK(t, i.StartRole(i.ctx, "ns2"))
	a := i.alarm("lame", "ns2")
	for _, out := range i.follow(a) {
		if !strings.Contains(out, "PowerDNS, asked by DNS") {
			t.Errorf("it shows nothing:\n%s", out)
		}
	}
}

// A queue that gives nothing is an alarm, though every node says that it is well, and so is a primary's word that is
// not true.
func TestQueueGivesNothing(t *testing.T) {
	i := start(t, fleet.Options{Set: quick(nil)})
	must.OK(t, createMany(i.ctx, i.api, "queued", 4, 4))
	i.eventually("created", i.allSame)
	i.noAlarms()
	queue := i.jetStream()
	_, err := queue.PauseConsumer(i.ctx, "PDNS_TOUCH", "primary", time.Now().Add(time.Hour))
	must.OK(t, err)
	must.OK(t, i.api.Patch(i.ctx, numbered("queued", 1), []powerdns.RRset{text(numbered("queued", 1), "new")}))
	i.eventually("the alarm", func(ctx context.Context) error {
		s, err := i.status(ctx)
		if !slices.ContainsFunc(s.Alarms, func(a health.Alarm) bool { return a.Kind == "touches-waiting" }) {
			return errors.Join(err, fmt.Errorf("%+v", s.Alarms))
		}
		return nil
	})
	_, err = queue.ResumeConsumer(i.ctx, "PDNS_TOUCH", "primary")
	must.OK(t, err)
	i.eventually("distributed", i.allSame)
	i.noAlarms()
}

// What PowerDNS lists says nothing of what it answers.
func TestListedAndNotServed(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(nil)})
	must.OK(t, createMany(i.ctx, i.api, "listed", 4, 4))
	i.eventually("created", i.allSame)
	i.noAlarms()
	other, err := local.Start(i.ctx, local.Options{Dir: filepath.Join(t.TempDir(), "other"), Backend: local.SQLite, Primary: true})
	must.OK(t, err)
	defer other.Stop()
	_, set := i.Config("ns2")
	right := set["powerdns.dns_address"]
	set["powerdns.dns_address"] = other.DNSAddr
	must.OK(t, i.StopRole("ns2"))
	must.OK(t, i.StartRole(i.ctx, "ns2"))
	out, err := i.sync(flags{"check": true})
	if !errors.Is(err, command.ErrNotInOrder) || !strings.Contains(out, "differs: 4 missing") {
		t.Errorf("%v\n%s", err, out)
	}
	i.eventually("it is an alarm", func(ctx context.Context) error {
		s, err := i.status(ctx)
		for _, a := range s.Alarms {
			if a.Node == "ns2" && (a.Kind == "differs" || a.Kind == "failing") {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("%+v", s.Alarms))
	})
	set["powerdns.dns_address"] = right
	must.OK(t, i.StopRole("ns2"))
	must.OK(t, i.StartRole(i.ctx, "ns2"))
	i.noAlarms()
}
