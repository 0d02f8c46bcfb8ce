package broker_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

func TestConfigValidate(t *testing.T) {
	good := func() broker.Config {
		return broker.Config{URLs: []string{"tls://broker.example:4222"}, NKeyFile: "n"}
	}
	for name, c := range map[string]struct {
		spoil func(*broker.Config)
		want  []string // none: no fault
	}{
		"good":               {func(*broker.Config) {}, nil},
		"password":           {func(c *broker.Config) { c.NKeyFile, c.User, c.PasswordFile = "", "u", "p" }, nil},
		"no urls":            {func(c *broker.Config) { c.URLs = nil }, []string{"broker.urls: is empty"}},
		"plain":              {func(c *broker.Config) { c.URLs[0] = "nats://127.0.0.1:4222" }, []string{"broker.urls:", `"tls://127.0.0.1:4222"`}},
		"websocket":          {func(c *broker.Config) { c.URLs[0] = "wss://b" }, []string{"broker.urls:"}},
		"no host":            {func(c *broker.Config) { c.URLs[0] = "tls://" }, []string{"broker.urls:"}},
		"bare host":          {func(c *broker.Config) { c.URLs[0] = "broker:4222" }, []string{"broker.urls:"}},
		"path":               {func(c *broker.Config) { c.URLs[0] = "tls://b/x" }, []string{"broker.urls:"}},
		"password in url":    {func(c *broker.Config) { c.URLs[0] = "tls://u:secret@b" }, []string{"broker.urls:", "broker.nkey_file"}},
		"bad escape":         {func(c *broker.Config) { c.URLs[0] = "tls://u:secret%@b" }, []string{"broker.urls:"}},
		"no credentials":     {func(c *broker.Config) { c.NKeyFile = "" }, []string{"broker.nkey_file: is missing"}},
		"two credentials":    {func(c *broker.Config) { c.TokenFile = "t" }, []string{"broker.nkey_file and broker.token_file"}},
		"no password":        {func(c *broker.Config) { c.NKeyFile, c.User = "", "u" }, []string{"broker.password_file: is missing"}},
		"password only":      {func(c *broker.Config) { c.PasswordFile = "p" }, []string{"broker.user: is missing"}},
		"certificate only":   {func(c *broker.Config) { c.CertFile = "c" }, []string{"broker.key_file: is missing"}},
		"certificate alone":  {func(c *broker.Config) { c.NKeyFile, c.CertFile, c.KeyFile = "", "c", "k" }, nil},
		"certificate beside": {func(c *broker.Config) { c.CertFile, c.KeyFile = "c", "k" }, nil},
		"key only":           {func(c *broker.Config) { c.KeyFile = "k" }, []string{"broker.cert_file: is missing"}},
		"wildcard prefix":    {func(c *broker.Config) { c.APIPrefix = "P.>" }, []string{"broker.api_prefix:"}},
		"dot after prefix":   {func(c *broker.Config) { c.InboxPrefix = "I." }, []string{"broker.inbox_prefix:"}},
		"all faults at once": {func(c *broker.Config) { *c = broker.Config{CertFile: "c", User: "u", APIPrefix: " "} },
			[]string{"broker.urls:", "broker.key_file:", "broker.password_file:", "broker.api_prefix:"}},
	} {
		cfg := good()
		c.spoil(&cfg)
		err := cfg.Validate()
		if (err == nil) != (c.want == nil) || err != nil && !errors.Is(err, broker.ErrConfig) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q isn't in: %v", name, part, err)
			}
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the password is shown: %v", name, err)
		}
	}
}

func TestConnectRefusesReadableSecret(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	cfg := b.Config("primary1")
	must.OK(t, os.Chmod(cfg.NKeyFile, 0o640))
	_, err := broker.Connect(cfg, broker.Options{Node: "primary1", Role: broker.RolePrimary})
	if !errors.Is(err, broker.ErrConfig) || !strings.Contains(err.Error(), "chmod 600 "+cfg.NKeyFile) {
		t.Errorf("group-readable nkey: %v", err)
	}
	cfg.NKeyFile = t.TempDir()
	if _, err := broker.Connect(cfg, broker.Options{Node: "primary1", Role: broker.RolePrimary}); !errors.Is(err, broker.ErrConfig) {
		t.Errorf("directory as nkey: %v", err)
	}
	cfg.NKeyFile = filepath.Join(cfg.NKeyFile, "none")
	if _, err := broker.Connect(cfg, broker.Options{Node: "primary1", Role: broker.RolePrimary}); !errors.Is(err, broker.ErrConfig) {
		t.Errorf("missing nkey: %v", err)
	}
}

func TestConnectRefusesUnreadableCertificates(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	for name, spoil := range map[string]func(*broker.Config){
		"missing CA":          func(c *broker.Config) { c.CAFile += ".none" },
		"CA is a seed":        func(c *broker.Config) { c.CAFile = c.NKeyFile },
		"nkey is no key":      func(c *broker.Config) { must.OK(t, os.Chmod(c.CAFile, 0o600)); c.NKeyFile = c.CAFile },
		"missing certificate": func(c *broker.Config) { c.CertFile, c.KeyFile = c.CAFile+".none", c.NKeyFile },
	} {
		cfg := b.Config("primary1")
		spoil(&cfg)
		conn, err := broker.Connect(cfg, broker.Options{Node: "primary1", Role: broker.RolePrimary})
		if !errors.Is(err, broker.ErrConfig) || conn != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConnectRefusesBadNode(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	for _, self := range []broker.Sender{
		{Role: broker.RolePrimary, Node: "a.b"}, {Role: broker.RolePrimary}, {Node: "primary1"}, {Role: "broker", Node: "primary1"}, {Role: "*", Node: "primary1"},
	} {
		if _, err := broker.Connect(b.Config("primary1"), broker.Options{Node: self.Node, Role: self.Role}); !errors.Is(err, broker.ErrConfig) {
			t.Errorf("%v: %v", self, err)
		}
	}
}

// refused connects in vain and returns why.
func refused(t *testing.T, cfg broker.Config, node string) error {
	t.Helper()
	conn, err := broker.Connect(cfg, broker.Options{Node: node, Role: broker.RolePrimary})
	must.OK(t, err)
	defer func() { must.OK(t, conn.Close(context.Background())) }()
	// The first attempt is made by Connect, the second one reports; more would do no harm.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err = conn.Wait(ctx); err == nil {
		t.Fatal("connected")
	}
	if _, err := conn.PublishTouch(t.Context(), zone.Root, order("sec1")); !errors.Is(err, broker.ErrDisconnected) {
		t.Errorf("publishing without a connection: %v", err)
	}
	return err
}

func TestConnectRefused(t *testing.T) {
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	dir := t.TempDir()
	t.Run("other CA", func(t *testing.T) {
		t.Parallel()
		ca, err := broker.NewCA("another", time.Now())
		must.OK(t, err)
		cfg := b.Config("primary1")
		cfg.CAFile = filepath.Join(dir, "other.crt")
		must.OK(t, os.WriteFile(cfg.CAFile, ca.CertPEM, 0o600))
		if err := refused(t, cfg, "primary1"); !strings.Contains(err.Error(), "unknown authority") {
			t.Error(err)
		}
	})
	t.Run("system CAs", func(t *testing.T) {
		t.Parallel()
		cfg := b.Config("primary1")
		cfg.CAFile = ""
		if err := refused(t, cfg, "primary1"); !strings.Contains(err.Error(), "unknown authority") {
			t.Error(err)
		}
	})
	t.Run("other nkey", func(t *testing.T) {
		t.Parallel()
		key, err := broker.NewUserKey()
		must.OK(t, err)
		cfg := b.Config("primary1")
		cfg.NKeyFile = filepath.Join(dir, "other.nkey")
		must.OK(t, os.WriteFile(cfg.NKeyFile, key.Seed, 0o600))
		if err := refused(t, cfg, "primary1"); !strings.Contains(err.Error(), "Authorization") {
			t.Error(err)
		}
	})
}

func TestConnectBeforeBroker(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	b.Stop()
	conn, err := broker.Connect(b.Config("primary1"), broker.Options{Node: "primary1", Role: broker.RolePrimary})
	must.OK(t, err)
	defer func() { must.OK(t, conn.Close(context.Background())) }()
	if conn.Connected() {
		t.Error("connected to nothing")
	}
	if _, err := conn.PublishTouch(t.Context(), zone.Root, order("sec1")); !errors.Is(err, broker.ErrDisconnected) {
		t.Error(err)
	}
	connected, stop := conn.Connections()
	defer stop()
	b.Start()
	receive(t, connected)
	ensure(t, conn)
	b.Stop()
	b.Start()
	receive(t, connected)
	_, err = conn.PublishTouch(t.Context(), zone.Root, order("sec1"))
	must.OK(t, err)
}

func TestAskGivesUpWhenConnectionIsLost(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	sub, err := primary.NATS().SubscribeSync("pdns.status.primary.primary1")
	must.OK(t, err)
	// With a listener and without its stream, the status waits for an answer that no one gives.
	must.OK(t, primary.JetStream().DeleteStream(t.Context(), "PDNS_STATUS"))
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience) // it gives up long before
	defer cancel()
	go func() { ended <- primary.PublishStatus(ctx, []byte("{}")) }()
	_, err = sub.NextMsg(patience)
	must.OK(t, err)
	b.Stop()
	if err := receive(t, ended); !errors.Is(err, broker.ErrDisconnected) {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	ended := make(chan error, 1)
	go func() { ended <- primary.Touches(t.Context(), func(broker.TouchMsg) {}, nil) }()
	must.OK(t, primary.Close(t.Context()))
	receive(t, primary.Done())
	if err := receive(t, ended); !errors.Is(err, broker.ErrClosed) {
		t.Error(err)
	}
	if _, err := primary.PublishTouch(t.Context(), zone.Root, order("sec1")); !errors.Is(err, broker.ErrClosed) {
		t.Error(err)
	}
	if err := primary.Wait(t.Context()); !errors.Is(err, broker.ErrClosed) {
		t.Error(err)
	}
	must.OK(t, primary.Close(t.Context())) // again
}

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) contains(parts ...string) bool {
	for line := range strings.Lines(l.all()) {
		found := true
		for _, p := range parts {
			found = found && strings.Contains(line, p)
		}
		if found {
			return true
		}
	}
	return false
}

func TestViolationsAreLogged(t *testing.T) {
	b, _ := start(t)
	var log logBuffer
	sec, err := broker.Connect(b.Config("sec1"), broker.Options{Node: "sec1", Role: broker.RoleSecondary, Log: zerolog.New(&log)})
	must.OK(t, err)
	defer func() { must.OK(t, sec.Close(context.Background())) }()
	reconnect(t, sec)
	must.OK(t, sec.NATS().Publish("pdns.zone.com", nil))
	eventually(t, func() bool { return log.contains(`"error"`, "pdns.zone.com") })
}
