package broker_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
)

// spoiled writes the broker's configuration, with what it includes, and with something replaced.
func spoiled(t *testing.T, b *brokertest.Broker, old, new string) (file string) {
	t.Helper()
	dir := t.TempDir()
	replaced := false
	for _, name := range []string{"nats-server.conf", broker.AccountsFile} {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(b.ConfigFile()), name))
		must.OK(t, err)
		replaced = replaced || strings.Contains(string(text), old)
		changed := strings.Replace(string(text), old, new, 1)
		changed = strings.Replace(changed, strings.TrimPrefix(b.URL(), "tls://"), "127.0.0.1:-1", 1) // b itself may listen there
		must.OK(t, os.WriteFile(filepath.Join(dir, name), []byte(changed), 0o600))
	}
	if !replaced {
		t.Fatalf("%q isn't in the configuration", old)
	}
	return filepath.Join(dir, "nats-server.conf")
}

func TestServerRefuses(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	conf, err := os.ReadFile(b.ConfigFile())
	must.OK(t, err)
	tls := between(t, string(conf), "tls {", "}\n")
	store := between(t, string(conf), "jetstream {", "}\n")
	users, err := os.ReadFile(filepath.Join(filepath.Dir(b.ConfigFile()), broker.AccountsFile))
	must.OK(t, err)
	accounts := string(users)[strings.Index(string(users), "accounts {"):]
	for name, c := range map[string]struct{ old, new, want string }{
		"no tls":         {tls, "", "add tls {"},
		"tls not needed": {tls, tls + "allow_non_tls: true\n", "allow_non_tls"},
		"no jetstream":   {store, "", "add jetstream {"},
		"no store":       {"store_dir:", "#", "set it"},
		"no memory":      {"max_memory_store:", "#", "no max_memory_store"},
		"no disk":        {"max_file_store:", "#", "no max_file_store"},
		"no users":       {accounts, "", "no users are set"},
		"no password":    {accounts, "authorization { user: joe }", "without a password"},
		"empty password": {accounts, "accounts { A { users: [ { user: joe, password: \"\" } ] } }", "joe"},
		"anonymous":      {accounts, "accounts { A { users: [ { user: joe, password: secret } ] } }\nno_auth_user: joe", "no_auth_user"},
		"plain cluster":  {tls, tls + "cluster { name: c, listen: \"127.0.0.1:-1\" }\n", "cluster has no tls"},
		"monitoring":     {tls, tls + "http: \"127.0.0.1:8222\"\n", "monitoring answers without credentials"},
		"profiling":      {tls, tls + "prof_port: 6060\n", "prof_port"},
		"syntax":         {tls, "tls {", "nats-server.conf"},
		"no accounts":    {"include \"accounts.conf\"", "include \"none.conf\"", "none.conf"},
		"broken users":   {accounts, "accounts {", "accounts.conf"},
		"unknown key":    {tls, tls + "nonsense: 1\n", "nonsense"},
	} {
		_, err := broker.NewServer(spoiled(t, b, c.old, c.new), zerolog.Nop())
		if !errors.Is(err, broker.ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := broker.NewServer(filepath.Join(t.TempDir(), "none"), zerolog.Nop()); !errors.Is(err, broker.ErrConfig) {
		t.Errorf("missing file: %v", err)
	}
}

func between(t *testing.T, text, from, to string) string {
	t.Helper()
	begin := strings.Index(text, "\n"+from) + 1
	end := strings.Index(text[begin:], "\n"+to)
	if begin == 0 || end < 0 {
		t.Fatalf("%q isn't in the configuration", from)
	}
	return text[begin : begin+end+1+len(to)]
}

func TestServerEndsWithAnError(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	t.Run("port in use", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must.OK(t, err)
		defer listener.Close()
		expectEnd(t, spoiled(t, b, strings.TrimPrefix(b.URL(), "tls://"), listener.Addr().String()), "listening on port")
	})
	t.Run("store can't be written", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		must.OK(t, os.WriteFile(file, nil, 0o600))
		_, err := broker.NewServer(spoiled(t, b, "store_dir: \"", "store_dir: \""+file), zerolog.Nop())
		if err == nil || !strings.Contains(err.Error(), "store_dir") {
			t.Error(err)
		}
	})
}

func expectEnd(t *testing.T, conf, want string) {
	t.Helper()
	server, err := broker.NewServer(conf, zerolog.Nop())
	must.OK(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Run(context.Background()) }()
	if err := receive(t, ended); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("ended with: %v", err)
	}
	select {
	case <-server.Ready():
		t.Error("was ready")
	default:
	}
}

func TestServerReload(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	b.AddSecondary("sec3")
	sec := b.Connect("sec3")
	must.OK(t, sec.PublishStatus(t.Context(), []byte("{}")))
	if !primary.Connected() {
		t.Error("the reload has cost the connections")
	}
}

// One reload is enough where an account comes that there was none of: so installations of an earlier version are
// updated.
func TestServerReloadOfNewAccounts(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}, Health: []string{"health1"}})
	conf := spoiled(t, b, "/store\"", "/store2\"")
	accounts := filepath.Join(filepath.Dir(conf), broker.AccountsFile)
	now, err := os.ReadFile(accounts)
	must.OK(t, err)
	core := strings.TrimSuffix(between(t, string(now), "  CORE {", "    exports: ["), "    exports: [")
	must.OK(t, os.WriteFile(accounts, []byte("accounts {\n  SYS {}\n"+core+"  }\n}\nsystem_account: SYS\n"), 0o600))
	server, err := broker.NewServer(conf, zerolog.Nop())
	must.OK(t, err)
	background(t, server.Run)
	receive(t, server.Ready())
	connect := func(id string) *broker.Conn {
		cfg := b.Config(id)
		cfg.URLs = []string{server.ClientURL()}
		c, err := broker.Connect(cfg, broker.Options{Node: id, Role: b.Role(id), Log: zerolog.Nop()})
		must.OK(t, err)
		t.Cleanup(func() { must.OK(t, c.Close(context.Background())) })
		reconnect(t, c)
		return c
	}
	ensure(t, connect("primary1"))
	must.OK(t, os.WriteFile(accounts, now, 0o600))
	must.OK(t, server.Reload())
	_, err = connect("health1").Statuses(t.Context())
	must.OK(t, err)
}

func TestServerReloadRefuses(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	conf := spoiled(t, b, "/store\"", "/store2\"")
	text, err := os.ReadFile(conf)
	must.OK(t, err)
	server, err := broker.NewServer(conf, zerolog.Nop())
	must.OK(t, err)
	background(t, server.Run)
	receive(t, server.Ready())
	if server.Addr() == nil || !strings.HasPrefix(server.ClientURL(), "tls://127.0.0.1:") {
		t.Errorf("listens at %v, %s", server.Addr(), server.ClientURL())
	}
	must.OK(t, server.Reload())
	accounts := filepath.Join(filepath.Dir(conf), broker.AccountsFile)
	must.OK(t, os.Chmod(accounts, 0o646))
	if err := server.Reload(); !errors.Is(err, broker.ErrConfig) || !strings.Contains(err.Error(), "chmod go-w "+accounts) {
		t.Errorf("reloading with accounts that anybody can write: %v", err)
	}
	must.OK(t, os.Chmod(accounts, 0o600))
	tls := between(t, string(text), "tls {", "}\n")
	must.OK(t, os.WriteFile(conf, []byte(strings.Replace(string(text), tls, "", 1)), 0o600))
	if err := server.Reload(); !errors.Is(err, broker.ErrConfig) || !strings.Contains(err.Error(), "add tls {") {
		t.Errorf("reloading without tls: %v", err)
	}
	must.OK(t, os.WriteFile(conf, []byte(strings.Replace(string(text), "/store2\"", "/store3\"", 1)), 0o600))
	if err := server.Reload(); !errors.Is(err, broker.ErrConfig) {
		t.Errorf("reloading with another store: %v", err)
	}
}

func TestServerLogs(t *testing.T) {
	var log logBuffer
	logger := zerolog.New(&log)
	brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}, Log: &logger})
	if !log.contains(`"info"`, "Server is ready") {
		t.Error("the server's log isn't passed on")
	}
}
