package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/operator"
	"pdns-distribute/roles/settings"
)

// quick are settings with which health looks often; scrubs and sweeps are off, so that it is health that finds things.
func quick(more map[string]string) map[string]string {
	set := map[string]string{
		"health.event_check_wait": "2s", "health.check_interval": "3s",
		"primary.scrub_period": "0s", "secondary.scrub_period": "0s", "primary.sweep_interval": "1h",
	}
	for key, value := range more {
		set[key] = value
	}
	return set
}

// status is what the command prints as JSON.
type status struct {
	OK       bool
	Leader   string
	Alarms   []health.Alarm
	Nodes    []health.Row
	Compared *health.Compared
}

func (i *harness) status(ctx context.Context) (s status, err error) {
	out, err := i.command(func(in command.Invocation) error { return operator.Status(ctx, in) }, flags{"json": true})
	if err != nil && !errors.Is(err, command.ErrNotInOrder) {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// alarm waits until an alarm of a node is raised, which says and advises something.
func (i *harness) alarm(kind, node string) (found health.Alarm) {
	i.t.Helper()
	i.eventually("alarm "+kind+" of "+node, func(ctx context.Context) error {
		s, err := i.status(ctx)
		if err != nil {
			return err
		}
		for _, a := range s.Alarms {
			if string(a.Kind) == kind && a.Node == node {
				found = a
				return nil
			}
		}
		return fmt.Errorf("there are only %+v", s.Alarms)
	})
	if found.What == "" || found.Remedy == "" || time.Since(found.Since) > time.Hour {
		i.t.Errorf("the alarm does not say enough: %+v", found)
	}
	return found
}

// noAlarms waits until everything is in order, and was compared.
func (i *harness) noAlarms() {
	i.t.Helper()
	i.eventually("no alarms", func(ctx context.Context) error {
		s, err := i.status(ctx)
		if err == nil && (s.Leader == "" || len(s.Alarms) > 0 || !s.OK || !s.Compared.Whole(time.Now(), time.Hour) || s.Compared.OnWay > 0) {
			err = fmt.Errorf("leader %q, ok %v, alarms %+v, compared %+v", s.Leader, s.OK, s.Alarms, s.Compared)
		}
		return err
	})
}

// What is wrong at a secondary is found and repaired by itself: zones that are missing, extra, or known to be other
// than they should.
func TestCheckFindsAndRepairs(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(nil)})
	must.OK(t, createMany(i.ctx, i.api, "checked", 20, 4))
	i.eventually("created", i.allSame)
	ns1, ns2 := i.Secondaries[0], i.Secondaries[1]

	// the role beside forgets its copy, and PowerDNS keeps what it had
	must.OK(t, i.StopRole(ns2.ID))
	must.OK(t, i.WipeStore(ns2.ID))
	edge, err := ns2.Client()
	must.OK(t, err)
	must.OK(t, edge.DeleteZone(i.ctx, numbered("checked", 3)))
	must.OK(t, edge.Patch(i.ctx, numbered("checked", 4), []powerdns.RRset{text(numbered("checked", 4), "by hand")}))
	must.OK(t, i.StartRole(i.ctx, ns2.ID))
	i.eventually("as published", i.allSame)

	// a zone of the role's that nobody published
	orphan := zone.MustParseName("orphan.example")
	edge, err = ns1.Client()
	must.OK(t, err)
	must.OK(t, edge.CreateZone(i.ctx, orphan, powerdns.Slave, i.masterOf(ns1, numbered("checked", 5))))
	must.OK(t, ns1.Restart(i.ctx)) // has it reviewed now and not within a minute
	i.eventually("the orphan is gone", i.allSame)
	i.noAlarms()
}

// More zones there in vain than allowed wait for the operator's word.
func TestOrphansWaitForConfirmation(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(nil)})
	must.OK(t, createMany(i.ctx, i.api, "published", 5, 4))
	i.eventually("created", i.allSame)
	ns1 := i.Secondaries[0]
	edge, err := ns1.Client()
	must.OK(t, err)
	master := i.masterOf(ns1, numbered("published", 1))
	for n := range 6 {
		must.OK(t, edge.CreateZone(i.ctx, numbered("extra", n), powerdns.Slave, master))
	}
	must.OK(t, ns1.Restart(i.ctx))
	held := i.alarm("orphans", ns1.ID)
	if run := fmt.Sprint(held.Commands()); !strings.Contains(run, "sync --confirm-deletes ns1") || !strings.Contains(held.What, "6 zones that are not published") {
		t.Errorf("%+v", held)
	}
	out, err := i.sync(flags{"check": true, "node": "ns1"})
	if !errors.Is(err, command.ErrNotInOrder) || !strings.Contains(out, "6 orphan") {
		t.Errorf("%v\n%s", err, out)
	}
	if zones, err := edge.Zones(i.ctx); err != nil || len(zones) != 11 {
		t.Fatalf("%d zones, %v", len(zones), err)
	}
	out, err = i.sync(flags{"confirm-deletes": true}, "ns1") // a check that was due may have been quicker than the command's
	if err != nil || !strings.Contains(out, "Confirmed at secondary ns1: for 10m0s up to 6 zones") {
		t.Errorf("%v\n%s", err, out)
	}
	i.eventually("they are gone", i.allSame)
	i.noAlarms()
	if _, err = i.sync(flags{"confirm-deletes": true}, "ns7"); err == nil || !strings.Contains(err.Error(), `"ns7"`) {
		t.Errorf("a word for nobody: %v", err)
	}
}

// Zones at a secondary that others made and nobody published are a warning, and what it advises ends it.
func TestZonesOfOthers(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(map[string]string{"secondary.review_interval": "1s"})})
	must.OK(t, createMany(i.ctx, i.api, "published", 2, 2))
	ns1 := i.Secondaries[0]
	edge, err := ns1.Client()
	must.OK(t, err)
	moved, vain, left := numbered("others", 1), numbered("others", 2), numbered("others", 3)
	must.OK(t, edge.CreateZone(i.ctx, moved, powerdns.Slave, []string{"192.0.2.1"}))
	must.OK(t, edge.CreateZoneWith(i.ctx, spec(vain)))
	must.OK(t, edge.CreateZoneWith(i.ctx, spec(left)))
	warned := func(of string) {
		t.Helper()
		i.eventually("zones of others: "+of, func(context.Context) error {
			if a := i.alarm("extra", ns1.ID); !strings.Contains(a.What, of) {
				return errors.New(a.What)
			}
			return nil
		})
	}
	warned("(3), the first is " + moved.String())
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(moved)))
	i.eventually("it is taken over", func(ctx context.Context) error { return i.same(ctx, moved) })
	must.OK(t, edge.DeleteZone(i.ctx, vain))
	warned("(1), the first is " + left.String())
	_, set := i.Config(ns1.ID)
	set["secondary.extra_zones"] = "delete"
	must.OK(t, i.StopRole(ns1.ID))
	must.OK(t, i.StartRole(i.ctx, ns1.ID))
	i.eventually("it is deleted", i.allSame)
	i.noAlarms()
}

// A state that was acknowledged and never applied is told again.
func TestLostChange(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(map[string]string{"health.check_interval": "1h"})})
	must.OK(t, createMany(i.ctx, i.api, "lost", 3, 1))
	i.eventually("created", i.allSame)
	i.noAlarms()
	must.OK(t, i.StopRole("ns2"))
	name := numbered("lost", 1)
	must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "new")}))
	i.acknowledgeFor("ns2", name)
	must.OK(t, i.StartRole(i.ctx, "ns2"))
	i.eventually("told again", i.allSame)
}

// acknowledgeFor takes a secondary's states off its feed, as a role would that lies.
func (i *harness) acknowledgeFor(id string, name zone.Name) {
	i.t.Helper()
	conn := i.connect(id)
	ctx, stop := context.WithTimeout(i.ctx, patience)
	defer stop()
	must.OK(i.t, conn.Feed(ctx, func(m broker.FeedMsg) {
		if m.Ack() == nil && m.Zone == name {
			stop()
		}
	}, func(broker.FeedInfo) {}, nil))
	must.OK(i.t, conn.Close(i.ctx)) // which sends the acknowledgement
}

// Secondaries are asked where the world asks them.
func TestProofFromOutside(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(nil)})
	must.OK(t, createMany(i.ctx, i.api, "proof", 3, 1))
	signed := numbered("proof", 2)
	must.OK(t, i.put(signed, `{"dnssec":true}`))
	i.eventually("created", i.allSame)
	i.noAlarms()
	_, set := i.Config("ns2")
	right := set["secondary.public_addresses"]
	at := func(address string) {
		t.Helper()
		set["secondary.public_addresses"] = address
		must.OK(t, i.StopRole("ns2"))
		must.OK(t, i.StartRole(i.ctx, "ns2"))
	}
	at("127.0.0.1:1")
	i.alarm("unreachable-udp", "ns2")

	other, err := local.Start(i.ctx, local.Options{Dir: filepath.Join(t.TempDir(), "other"), Backend: local.SQLite, Primary: true})
	must.OK(t, err)
	defer other.Stop()
	at(other.DNSAddr)
	i.alarm("lame", "ns2")
	api, err := other.Client()
	must.OK(t, err)
	for n := range 3 {
		name := numbered("proof", n)
		serial := i.serial(name)
		if name != signed {
			serial += 1000
		}
		must.OK(t, api.CreateZoneWith(i.ctx, powerdns.ZoneSpec{Name: name, Kind: powerdns.Native, RRsets: []powerdns.RRset{
			{Name: name, Type: "SOA", TTL: 60, Content: []string{fmt.Sprintf("ns1.example. hostmaster.example. %d 1 1 1 1", serial)}},
			{Name: name, Type: "NS", TTL: 60, Content: []string{"ns1.example."}},
		}}))
	}
	i.alarm("serial", "ns2")
	i.alarm("unsigned", "ns2")

	at(right)
	i.noAlarms()
}

// Alarms come and go in status, on /readyz, in metrics, and at the webhook.
func TestAlarms(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var posted []string
	fails := 2
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if fails--; fails >= 0 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		var d struct{ Raised, Cleared []health.Group }
		if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
			t.Error(err)
		}
		for _, a := range d.Raised {
			posted = append(posted, "raised "+string(a.Kind)+" "+strings.Join(a.Nodes, ","))
		}
		for _, a := range d.Cleared {
			posted = append(posted, "cleared "+string(a.Kind)+" "+strings.Join(a.Nodes, ","))
		}
	}))
	defer hook.Close()
	i := start(t, fleet.Options{Set: quick(map[string]string{"health.inactive_after": "10s", "health.webhook": hook.URL})})
	i.noAlarms()
	must.OK(t, i.StopRole("ns2"))
	silent := i.alarm("inactive", "ns2")
	if lines := health.Lines(silent.Commands()); !slices.Contains(lines, "pdns-distribute forget ns2") {
		t.Errorf("%q", lines)
	}
	for path, want := range map[string]string{
		"/": "secondary ns2: no heartbeat for 10s", "/readyz": `"kind":"inactive","role":"secondary","nodes":["ns2"]`,
		"/distribute/v1/status": `"kind":"inactive","role":"secondary","node":"ns2"`,
		"/metrics":              `pdns_distribute_health_alarm{kind="inactive",level="alarm",node="ns2"} 1`,
	} {
		if text := i.get(fleet.Health, path); !strings.Contains(text, want) {
			t.Errorf("%s does not have %s:\n%s", path, want, text)
		}
	}
	must.OK(t, i.StartRole(i.ctx, "ns2"))
	i.noAlarms()
	i.showsZones()
	i.eventually("both were posted", func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(posted, "raised inactive ns2") || !slices.Contains(posted, "cleared inactive ns2") {
			return fmt.Errorf("%q", posted)
		}
		return nil
	})

	must.OK(t, i.StopRole("ns2"))
	i.alarm("inactive", "ns2")
	out, err := i.command(func(in command.Invocation) error { return operator.Forget(i.ctx, in) }, nil, "ns2")
	must.OK(t, err)
	if !strings.Contains(out, "ns2 is deregistered") {
		t.Error(out)
	}
	i.noAlarms()
	if _, err := i.command(func(in command.Invocation) error { return operator.Forget(i.ctx, in) }, nil, "ns1"); err == nil {
		t.Error("a node that is active was forgotten")
	}
}

func (i *harness) get(id, path string) string {
	i.t.Helper()
	text, err := i.read(id, path)
	must.OK(i.t, err)
	return text
}

// read gets what a role shows.
func (i *harness) read(id, path string) (string, error) {
	res, err := http.Get("http://" + i.Observe(id) + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// Whatever the primary's API says wrongly, nothing is deleted for it, and afterwards all is well by itself.
func TestPrimaryAPISaysWrong(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(map[string]string{"primary.sweep_interval": "1s", "primary.scrub_period": "1s"})})
	must.OK(t, createMany(i.ctx, i.api, "safe", 12, 4))
	i.eventually("created", i.allSame)
	api := newLiar(t, i.Primary.APIURL)
	_, set := i.Config(fleet.Primary)
	set["powerdns.api_url"] = api.URL
	must.OK(t, i.StopRole(fleet.Primary))
	must.OK(t, i.StartRole(i.ctx, fleet.Primary))
	for _, lie := range []string{"empty list", "empty list, and no zone", "500", "half", "not JSON"} {
		asked := api.lie(lie)
		for range 2 {
			select {
			case <-asked:
			case <-time.After(patience):
				t.Fatalf("%s: nobody asks any more", lie)
			}
		}
		if strings.HasSuffix(lie, "no zone") { // all seem to be gone, but for DNS
			i.eventually("the doubt", func(context.Context) error {
				if what := i.alarm("not-ready", fleet.Primary).What; !strings.Contains(what, "its DNS answers with it") {
					return errors.New(what)
				}
				return nil
			})
		}
		must.OK(t, i.allSame(i.ctx))
	}
	i.alarm("not-ready", fleet.Primary)
	api.lie("")
	must.OK(t, i.api.Patch(i.ctx, numbered("safe", 1), []powerdns.RRset{text(numbered("safe", 1), "after")}))
	i.eventually("all is well", i.allSame)
	i.noAlarms()
}

// liar is an API that says something else than PowerDNS behind it.
type liar struct {
	*httptest.Server
	mu    sync.Mutex
	how   string
	asked chan struct{} // a value for each time that the list of zones was asked for
}

func newLiar(t *testing.T, to string) *liar {
	target, err := url.Parse(to)
	must.OK(t, err)
	truth := httputil.NewSingleHostReverseProxy(target)
	l := &liar{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := strings.HasSuffix(r.URL.Path, "/zones")
		l.mu.Lock()
		how := l.how
		if list && l.asked != nil {
			select {
			case l.asked <- struct{}{}:
			default:
			}
		}
		l.mu.Unlock()
		switch {
		case list && how == "500":
			w.WriteHeader(http.StatusInternalServerError)
		case list && strings.HasPrefix(how, "empty list"):
			io.WriteString(w, "[]")
		case list && how == "half":
			io.WriteString(w, `[{"id": "safe0.example.", "name": "safe0.example.", "kind": "Native", "serial": 1},`)
		case list && how == "not JSON":
			io.WriteString(w, "<html>")
		case strings.HasSuffix(how, "no zone") && strings.Contains(r.URL.Path, "/zones/"):
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"error": "Not Found"}`)
		default:
			truth.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *liar) lie(how string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.how, l.asked = how, make(chan struct{}, 100)
	return l.asked
}

// Two processes with the id of one node are told of. Clocks of PowerDNS servers that are off by ten minutes matter to
// nobody.
func TestDuplicateNodeIDsAndClocks(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(nil)})
	for n, s := range []*local.Server{i.Primary, i.Secondaries[0].Server, i.Secondaries[1].Server} {
		s.SetClock([]time.Duration{10 * time.Minute, -10 * time.Minute, 0}[n])
		must.OK(t, s.Restart(i.ctx))
	}
	name := numbered("clock", 1)
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "1"))))
	must.OK(t, i.put(name, `{"dnssec":true}`))
	i.eventually("signed", i.allSame)
	i.verify(name)
	i.noAlarms()

	file, set := i.Config("ns2")
	set = maps.Clone(set)
	listen, err := local.FreeAddress()
	must.OK(t, err)
	set["secondary.state_dir"], set["secondary.transfer_listen"], set["observe.listen"] = filepath.Join(t.TempDir(), "duplicate"), listen, ""
	ctx, stop := context.WithCancel(i.ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- roles.RunSecondary(ctx, command.Invocation{Settings: settings.Sources{File: file, Flags: set}, Stdout: io.Discard, Stderr: io.Discard})
	}()
	i.alarm("duplicate-node-id", "ns2")
	stop()
	must.OK(t, <-ended)
	i.noAlarms()
}

// Without the broker a health role says just that, and takes nobody else for silent, neither then nor afterwards.
func TestBrokerAwayIsOneAlarm(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(map[string]string{"health.inactive_after": "10s"})})
	i.noAlarms()
	must.OK(t, i.StopRole(fleet.Broker))
	i.eventually("the alarm", func(context.Context) error {
		if kinds := i.kindsAt(fleet.Health); !slices.Equal(kinds, []string{"no-broker"}) {
			return fmt.Errorf("%q", kinds)
		}
		return nil
	})
	must.OK(t, i.StartRole(i.ctx, fleet.Broker))
	i.eventually("all is well, without another alarm", func(context.Context) error {
		kinds := i.kindsAt(fleet.Health)
		for _, kind := range kinds {
			if kind != "no-broker" && kind != "not-ready" {
				t.Errorf("alarm %q", kind)
			}
		}
		if len(kinds) > 0 {
			return fmt.Errorf("%q", kinds)
		}
		return nil
	})
}

// kindsAt are the alarms that a health role shows.
func (i *harness) kindsAt(id string) (kinds []string) {
	i.t.Helper()
	var s status
	must.OK(i.t, json.Unmarshal([]byte(i.get(id, "/distribute/v1/status")), &s))
	for _, a := range s.Alarms {
		kinds = append(kinds, string(a.Kind))
	}
	return kinds
}

// showsZones makes a zone, and looks at it as a person does: by a part of its name, at each secondary, and as a change.
func (i *harness) showsZones() {
	i.t.Helper()
	must.OK(i.t, createMany(i.ctx, i.api, "paged", 1, 1))
	i.eventually("created", i.allSame)
	name := numbered("paged", 0)
	text := strings.TrimSuffix(name.String(), ".")
	for path, want := range map[string][]string{
		"/zones?q=" + text[2:]: {"<mark>" + text[2:] + "</mark>"},
		"/zone?name=" + text:   {"2 as published</h2>", "proxy proxy1", "at 2 in "},
		"/":                    {"/zone?name=" + text, "no heartbeat for 10s; excluded"},
	} {
		i.eventually(path, func(context.Context) error {
			shown := i.get(fleet.Health, path)
			for _, each := range want {
				if !strings.Contains(shown, each) {
					return fmt.Errorf("it lacks %s: %s", each, shown)
				}
			}
			return nil
		})
	}
}
