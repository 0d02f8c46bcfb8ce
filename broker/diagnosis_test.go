package broker_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
)

func visit(t *testing.T, cfg broker.Config, role broker.Role, id string) (*broker.Diagnosis, error) {
	t.Helper()
	v, err := broker.Diagnose(t.Context(), cfg, broker.Options{Node: id, Role: role, Log: zerolog.Nop()}, cfg.URLs[0])
	if err == nil {
		t.Cleanup(func() { must.OK(t, v.Close(context.Background())) })
	}
	return v, err
}

func mustVisit(t *testing.T, b *brokertest.Broker, id string) *broker.Diagnosis {
	t.Helper()
	v, err := visit(t, b.Config(id), b.Role(id), id)
	must.OK(t, err)
	return v
}

// Each way of not getting in is told apart.
func TestConnectErrors(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		must.OK(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		return filepath.Join(dir, name)
	}
	another, err := broker.NewCA("another", time.Now())
	must.OK(t, err)
	key, err := broker.NewUserKey()
	must.OK(t, err)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must.OK(t, err)
	must.OK(t, closed.Close())
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	must.OK(t, err)
	defer plain.Close()
	go func() {
		for conn, err := plain.Accept(); err == nil; conn, err = plain.Accept() {
			_, _ = conn.Write([]byte("INFO {}\r\n"))
		}
	}()
	elsewhere, err := net.Listen("tcp", "127.0.0.2:0") // the same broker under another name
	must.OK(t, err)
	defer elsewhere.Close()
	go func() {
		for conn, err := elsewhere.Accept(); err == nil; conn, err = elsewhere.Accept() {
			if on, err := net.Dial("tcp", strings.TrimPrefix(b.URL(), "tls://")); err == nil {
				go io.Copy(on, conn)
				go io.Copy(conn, on)
			}
		}
	}()
	for name, c := range map[string]struct {
		spoil       func(*broker.Config)
		step, found string
		remedy      string
	}{
		"no such name": {func(c *broker.Config) { c.URLs[0] = "tls://broker.invalid:4222" }, "name", "broker.invalid", "getent hosts broker.invalid"},
		"nobody there": {func(c *broker.Config) { c.URLs[0] = "tls://" + closed.Addr().String() }, "tcp", "refused", "start the broker"},
		"no TLS":       {func(c *broker.Config) { c.URLs[0] = "tls://" + plain.Addr().String() }, "tls", "does not begin with TLS", "handshake_first"},
		"other CA":     {func(c *broker.Config) { c.CAFile = file("other.crt", another.CertPEM) }, "tls", "not signed by a CA in " + dir, "copy the ca.crt"},
		"system's CAs": {func(c *broker.Config) { c.CAFile = "" }, "tls", "no CA of this system", "set broker.ca_file"},
		"other name":   {func(c *broker.Config) { c.URLs[0] = "tls://" + elsewhere.Addr().String() }, "tls", "not for 127.0.0.2, but for localhost, 127.0.0.1", "broker.urls"},
		"other nkey":   {func(c *broker.Config) { c.NKeyFile = file("other.nkey", key.Seed) }, "login", "refuses the credentials", key.PublicKey},
	} {
		cfg := b.Config("primary1")
		cfg.URLs = slices.Clone(cfg.URLs)
		c.spoil(&cfg)
		_, err := visit(t, cfg, broker.RolePrimary, "primary1")
		var o *broker.ConnectError
		if !errors.As(err, &o) || o.Step != c.step || !strings.Contains(o.Found, c.found) || !strings.Contains(o.Remedy, c.remedy) {
			t.Errorf("%s: %+v (%v)", name, o, err)
		}
		if err != nil && strings.Contains(err.Error(), string(key.Seed[:20])) {
			t.Errorf("%s: the secret is shown: %v", name, err)
		}
	}
	if v := mustVisit(t, b, "primary1"); v.Version == "" || v.Certificate == nil {
		t.Errorf("%+v", v)
	} else if outdated, _ := v.Outdated(); outdated {
		t.Errorf("%s is outdated", v.Version)
	}
}

// What a node has too much is found by probes that change nothing, even where all of them are answered.
func TestExcessPermissions(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	before := streams(t, primary)
	for _, id := range []string{"sec1", "proxy1", "health1"} {
		v := mustVisit(t, b, id)
		if has := v.ExcessPermissions(t.Context()); len(has) > 0 {
			t.Errorf("%s: %q", id, has)
		}
		must.OK(t, v.CanAnnounce(t.Context()))
		if id != "sec1" {
			must.OK(t, v.CanTouch(t.Context()))
		} else if err := v.CanTouch(t.Context()); !errors.Is(err, broker.ErrNotPermitted) {
			t.Errorf("a secondary's touch: %v", err)
		}
	}
	must.OK(t, mustVisit(t, b, "primary2").CanAnnounce(t.Context()))
	core := mustVisit(t, b, "primary2").ExcessPermissions(t.Context()) // of the account that owns all
	for _, what := range []string{"publish states", "list streams", "look into", "create streams", "create consumers", "read any"} {
		if !slices.ContainsFunc(core, func(has string) bool { return strings.HasPrefix(has, what) }) {
			t.Errorf("the core cannot %s: %q", what, core)
		}
	}
	if i := slices.IndexFunc(core, func(has string) bool { return strings.Contains(has, "as a") || strings.HasPrefix(has, "pass for") }); i >= 0 {
		t.Errorf("a primary can %s", core[i])
	}
	if after := streams(t, primary); !reflect.DeepEqual(before, after) {
		t.Errorf("the probes left something behind:\n%v\n%v", before, after)
	}
}

// streams is what there is on the broker.
func streams(t *testing.T, c *broker.Conn) map[string]jetstream.StreamState {
	t.Helper()
	found := map[string]jetstream.StreamState{}
	list := c.JetStream().ListStreams(t.Context())
	for info := range list.Info() {
		found[info.Config.Name] = info.State
	}
	must.OK(t, list.Err())
	return found
}

func TestLooks(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}, Proxies: []string{"proxy1"}, Secondaries: []string{"sec1", "sec2"}})
	core, sec, proxy := mustVisit(t, b, "primary1"), mustVisit(t, b, "sec1"), mustVisit(t, b, "proxy1")
	found, clock, err := core.LookAtStreams(t.Context(), 1)
	must.OK(t, err)
	if len(found) != 6 || slices.ContainsFunc(found, func(i broker.Inspected) bool { return !i.Missing }) || clock.Known {
		t.Errorf("of an empty broker: %+v, %+v", found, clock)
	}
	if _, _, err := sec.LookAtFeed(t.Context()); !errors.Is(err, broker.ErrGone) {
		t.Errorf("a feed without streams: %v", err)
	}
	if err := proxy.CanTouch(t.Context()); !errors.Is(err, broker.ErrGone) {
		t.Errorf("a touch without streams: %v", err)
	}
	if names := streams(t, core.Conn); len(names) > 0 {
		t.Errorf("looking made %v", names)
	}

	ensure(t, core.Conn)
	found, clock, err = core.LookAtStreams(t.Context(), 1)
	must.OK(t, err)
	if slices.ContainsFunc(found, func(i broker.Inspected) bool { return i.Missing || i.Deviations != nil }) || !clock.Known || clock.Ahead.Abs() > time.Second {
		t.Errorf("%+v, %+v", found, clock)
	}
	if _, _, err := sec.LookAtFeed(t.Context()); !errors.Is(err, broker.ErrGone) {
		t.Errorf("a feed that is not provisioned: %v", err)
	}
	must.OK(t, core.ProvisionFeed(t.Context(), "sec1"))
	if feed, clock, err := sec.LookAtFeed(t.Context()); err != nil || feed.Node != "sec1" || !clock.Known {
		t.Errorf("%+v, %+v, %v", feed, clock, err)
	}
	must.OK(t, core.PublishStatus(t.Context(), []byte("{}")))
	if n, err := proxy.CountStatuses(t.Context()); n != 1 || err != nil {
		t.Errorf("%d statuses, %v", n, err)
	}

	asAnother, err := visit(t, b.Config("sec2"), broker.RoleSecondary, "sec1") // the id of one node, the nkey of another
	must.OK(t, err)
	for what, err := range map[string]error{
		"another's feed":    second(asAnother.LookAtFeed(t.Context())),
		"streams":           second(sec.LookAtStreams(t.Context(), 1)),
		"a secondary reads": last(sec.CountStatuses(t.Context())),
	} {
		if !errors.Is(err, broker.ErrNotPermitted) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[A, B any](_ A, _ B, err error) error { return err }

func last[A any](_ A, err error) error { return err }

func TestDeviationsAreSeen(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	s, err := primary.JetStream().Stream(t.Context(), "PDNS_ZONE")
	must.OK(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgsPerSubject = 2
	_, err = primary.JetStream().UpdateStream(t.Context(), cfg)
	must.OK(t, err)
	must.OK(t, primary.JetStream().DeleteConsumer(t.Context(), "PDNS_TOUCH", "primary"))
	found, _, err := primary.InspectStreams(t.Context(), 1)
	must.OK(t, err)
	for _, i := range found {
		want := []broker.Deviation(nil)
		if i.Object == "stream PDNS_ZONE" {
			want = []broker.Deviation{{Object: i.Object, Setting: "max_msgs_per_subject", Is: "2", ShouldBe: "1"}}
		}
		if !slices.Equal(i.Deviations, want) || i.Missing != strings.HasPrefix(i.Object, "consumer") {
			t.Errorf("%+v", i)
		}
	}
}

func TestInspectServer(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	b.Stop()
	b.Start() // under the address that it was given
	facts, err := broker.InspectServer(b.ConfigFile())
	must.OK(t, err)
	if "tls://"+facts.Listen != b.URL() || facts.StoreDir == "" || !slices.Contains(facts.Certificate.DNSNames, "localhost") {
		t.Errorf("%+v", facts)
	}
	if _, err := broker.InspectServer(spoiled(t, b, "max_file_store:", "#")); !errors.Is(err, broker.ErrConfig) || !strings.Contains(err.Error(), "no max_file_store") {
		t.Error(err)
	}
}
