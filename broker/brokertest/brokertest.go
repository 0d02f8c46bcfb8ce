// Package brokertest starts a real broker for tests: TLS, nkeys and accounts as `init` sets them up, on a port of its
// own and a store in the test's temporary directory.
//
//	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}, Secondaries: []string{"sec1"}})
//	primary := b.Connect("primary1")
//	primary.EnsureStreams(ctx, 1)
package brokertest

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/local"
)

// patience is longer than anything takes on a busy machine.
const patience = 30 * time.Second

// Options are the ids of the users that may connect.
type Options struct {
	Primaries, Health, Proxies, Secondaries []string

	// Disk is the folder that its store is made in. Default: one of the test.
	Disk string

	// Log gets the broker's and the connections' log. Default: nothing is logged.
	Log *zerolog.Logger
}

// Broker is a broker that can be stopped, wiped and started again under the same address. Its methods must be called
// by the test's goroutine; failures end the test.
type Broker struct {
	t     testing.TB
	dir   string
	log   zerolog.Logger
	conf  broker.ServerConf
	users broker.Accounts
	roles map[string]broker.Role

	server *broker.Server
	stop   context.CancelFunc
	ended  chan error
}

// Start starts a broker that is stopped when the test ends.
func Start(t testing.TB, opt Options) *Broker {
	t.Helper()
	b := &Broker{t: t, dir: t.TempDir(), log: zerolog.Nop(), roles: map[string]broker.Role{}}
	if opt.Log != nil {
		b.log = *opt.Log
	}
	b.makeCertificates()
	listen, err := local.FreeAddress()
	b.must(err)
	b.conf = broker.ServerConf{
		ServerName: "test", Listen: listen, StoreDir: filepath.Join(cmp.Or(opt.Disk, b.dir), "store"),
		CertFile: b.path("server.crt"), KeyFile: b.path("server.key"), CAFile: b.path("ca.crt"),
		MaxFile: 1 << 30, MaxMemory: 64 << 20,
	}
	b.users = broker.Accounts{
		Primaries: b.makeUsers(broker.RolePrimary, opt.Primaries), Health: b.makeUsers(broker.RoleHealth, opt.Health),
		Proxies: b.makeUsers(broker.RoleProxy, opt.Proxies), Secondaries: b.makeUsers(broker.RoleSecondary, opt.Secondaries),
	}
	b.Start()
	t.Cleanup(b.Stop)
	return b
}

func (b *Broker) path(name string) string { return filepath.Join(b.dir, name) }

func (b *Broker) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *Broker) write(name string, content []byte) {
	b.t.Helper()
	b.must(os.WriteFile(b.path(name), content, 0o600))
}

func (b *Broker) makeCertificates() {
	b.t.Helper()
	ca, err := broker.NewCA("test CA", time.Now())
	b.must(err)
	server, err := ca.NewServerCertificate([]string{"127.0.0.1", "localhost"}, time.Now())
	b.must(err)
	b.write("ca.crt", ca.CertPEM)
	b.write("server.crt", server.CertPEM)
	b.write("server.key", server.KeyPEM)
}

func (b *Broker) makeUsers(role broker.Role, ids []string) []broker.User {
	b.t.Helper()
	var users []broker.User
	for _, id := range ids {
		key, err := broker.NewUserKey()
		b.must(err)
		b.write(id+".nkey", key.Seed)
		b.roles[id] = role
		users = append(users, broker.User{ID: id, PublicKeys: []string{key.PublicKey}})
	}
	return users
}

// AddSecondary adds a user to the running broker.
func (b *Broker) AddSecondary(id string) {
	b.t.Helper()
	b.users.Secondaries = append(b.users.Secondaries, b.makeUsers(broker.RoleSecondary, []string{id})...)
	b.writeConf()
	b.must(b.server.Reload())
}

// Start starts the stopped broker, under the address it had. Somebody else may hold that port for a moment: it was free
// only when it was chosen, and while the broker is stopped.
func (b *Broker) Start() {
	b.t.Helper()
	for begin := time.Now(); ; time.Sleep(portPause) {
		err := b.run()
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) || time.Since(begin) > patience {
			b.t.Fatal("broker ended: ", err)
		}
	}
}

// portPause is between two attempts to have a port that is in use.
const portPause = 20 * time.Millisecond

// run returns when the broker is ready, or why it ended.
func (b *Broker) run() error {
	b.t.Helper()
	b.Prepare()
	ctx, stop := context.WithCancel(context.Background())
	b.stop, b.ended = stop, make(chan error, 1)
	go func() { b.ended <- b.server.Run(ctx) }()
	select {
	case <-b.server.Ready():
	case err := <-b.ended:
		stop()
		b.stop = nil
		return err
	case <-time.After(patience):
		b.t.Fatal("broker isn't ready")
	}
	return nil
}

// Prepare makes the server that Start starts.
func (b *Broker) Prepare() {
	b.t.Helper()
	b.writeConf()
	var err error
	b.server, err = broker.NewServer(b.ConfigFile(), b.log)
	b.must(err)
}

// StoreDir is where the broker keeps its streams.
func (b *Broker) StoreDir() string { return b.conf.StoreDir }

func (b *Broker) writeConf() {
	b.t.Helper()
	text, err := b.conf.Render()
	b.must(err)
	b.write("nats-server.conf", text)
	text, err = b.users.Render()
	b.must(err)
	b.write(broker.AccountsFile, text)
}

// Stop stops the broker and waits for its end. Connections to it go on trying. Stopping it twice is harmless.
func (b *Broker) Stop() {
	b.t.Helper()
	if b.stop == nil {
		return
	}
	b.stop()
	b.stop = nil
	if err := <-b.ended; err != nil {
		b.t.Error("broker ended: ", err)
	}
}

// Wipe stops the broker, deletes its store, and starts it again.
func (b *Broker) Wipe() {
	b.t.Helper()
	b.Stop()
	b.must(os.RemoveAll(b.conf.StoreDir))
	b.Start()
}

// Copy keeps what the stopped broker has stored. back, while it is stopped, has it store that and nothing else.
func (b *Broker) Copy() (back func()) {
	b.t.Helper()
	kept := b.path("kept")
	b.must(os.CopyFS(kept, os.DirFS(b.conf.StoreDir)))
	return func() {
		b.t.Helper()
		b.must(os.RemoveAll(b.conf.StoreDir))
		b.must(os.Rename(kept, b.conf.StoreDir))
		b.must(os.Chmod(b.conf.StoreDir, 0o700))
	}
}

// ConfigFile is the broker's configuration file; its accounts are in another one beside it.
func (b *Broker) ConfigFile() string { return b.path("nats-server.conf") }

// URL is where clients connect.
func (b *Broker) URL() string { return "tls://" + b.conf.Listen }

// Server is the one that runs.
func (b *Broker) Server() *broker.Server { return b.server }

// Role is that of the node with this id.
func (b *Broker) Role(id string) broker.Role { return b.roles[id] }

// Config is what the node with this id connects with.
func (b *Broker) Config(id string) broker.Config {
	c := broker.Config{URLs: []string{b.URL()}, CAFile: b.path("ca.crt"), NKeyFile: b.path(id + ".nkey")}
	if b.roles[id] != broker.RolePrimary {
		c.APIPrefix = broker.RemoteAPIPrefix
	}
	return c
}

// Connect connects the node with this id, and closes the connection when the test ends.
func (b *Broker) Connect(id string) *broker.Conn {
	b.t.Helper()
	conn, err := broker.Connect(b.Config(id), broker.Options{Node: id, Role: b.roles[id], Log: b.log})
	b.must(err)
	b.t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil && b.stop != nil {
			b.t.Error("close connection of ", id, ": ", err)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b.must(conn.Wait(ctx))
	return conn
}
