package installation

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/command"
)

// cluster is a running one of three brokers, as init writes it.
type cluster struct {
	installation
	brokers []runningBroker
}

func startCluster(t *testing.T) cluster {
	t.Helper()
	c := cluster{installation: writeInstallation(t, 3)}
	for _, n := range c.nodes()[:3] {
		c.brokers = append(c.brokers, c.runBroker(n))
	}
	return c
}

func (c cluster) reload() {
	c.t.Helper()
	for _, b := range c.brokers {
		b.reload()
	}
}

// run runs one of the commands below init on the installation.
func (i installation) run(cmd string, args ...string) (out string, err error) {
	i.t.Helper()
	var text strings.Builder
	in := command.Invocation{Args: append([]string{i.Dir}, args...), Stdout: &text, Options: options{}}
	if last := len(args) - 1; last >= 0 && args[last] == "--finish" {
		in.Args, in.Options = append([]string{i.Dir}, args[:last]...), options{texts: map[string]string{"finish": "yes"}}
	}
	switch cmd {
	case "add":
		err = InitAdd(i.t.Context(), in)
	case "remove":
		err = InitRemove(i.t.Context(), in)
	case "update":
		err = InitUpdate(i.t.Context(), in)
	default:
		err = InitRotate(i.t.Context(), in)
	}
	return text.String(), err
}

func (i installation) mustRun(command string, args ...string) (out string) {
	i.t.Helper()
	out, err := i.run(command, args...)
	must.OK(i.t, err)
	return out
}

// Who can write to an installation's folder could register nodes, and who can read the CA's key is any broker.
func TestInitRefusesOpenFiles(t *testing.T) {
	i := written(t, "a")
	key := filepath.Join(i.Dir, caKeyFile)
	for path, c := range map[string]struct {
		mode os.FileMode
		want string
	}{
		i.Dir: {0o777, "run: chmod go-w " + i.Dir}, key: {0o644, "run: chmod 600 " + key},
	} {
		info, err := os.Stat(path)
		must.OK(t, err)
		must.OK(t, os.Chmod(path, c.mode))
		before := i.pair()
		if _, err := i.run("rotate", "certificate", "broker1"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with mode %04o: %v", path, c.mode, err)
		}
		if after := i.pair(); after != before {
			t.Error("something was changed")
		}
		must.OK(t, os.Chmod(path, info.Mode().Perm()))
	}
	i.mustRun("rotate", "certificate", "broker1")
}

// pair is what a rotation of the certificate would change.
func (i installation) pair() string { return i.read("broker1/"+certFile) + i.read("broker1/"+keyFile) }

// dial connects to one broker as a node does, with a copy of the seed that the node has now.
func (i installation) dial(id, address string) (*nats.Conn, error) {
	i.t.Helper()
	return i.dialWith(id, address, i.copied(id, nkeyFile), i.copied(id, caFile))
}

func (i installation) copied(id, name string) (file string) {
	i.t.Helper()
	text, err := os.ReadFile(filepath.Join(i.Dir, id, name))
	must.OK(i.t, err)
	file = filepath.Join(i.t.TempDir(), name)
	must.OK(i.t, os.WriteFile(file, text, 0o600))
	return file
}

func (i installation) dialWith(id, address, seed, ca string) (*nats.Conn, error) {
	i.t.Helper()
	key, err := nats.NkeyOptionFromSeed(seed)
	must.OK(i.t, err)
	conn, err := nats.Connect("tls://"+address, key, nats.RootCAs(ca), nats.TLSHandshakeFirst(), nats.CustomInboxPrefix("_INBOX_"+id),
		nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.IgnoreAuthErrorAbort())
	if err == nil {
		i.t.Cleanup(conn.Close)
	}
	return conn, err
}

func (i installation) mustDial(id, address string) *nats.Conn {
	i.t.Helper()
	conn, err := i.dial(id, address)
	if err != nil {
		i.t.Fatalf("%s at %s: %v", id, address, err)
	}
	return conn
}

// wantStayed makes sure that a connection has been there all the time.
func wantStayed(t *testing.T, what string, conns ...*nats.Conn) {
	t.Helper()
	for _, conn := range conns {
		if err := conn.Flush(); err != nil || conn.Stats().Reconnects != 0 || !conn.IsConnected() {
			t.Errorf("%s: the connection to %s was lost: %v, %d reconnects", what, conn.ConnectedAddr(), err, conn.Stats().Reconnects)
		}
	}
}

func wantCutOff(t *testing.T, what string, conn *nats.Conn) {
	t.Helper()
	for deadline := time.Now().Add(must.Patience); conn.IsConnected(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%s: the connection is still there", what)
			return
		}
	}
}

func (c cluster) wantRefusedEverywhere(what, id, seed string) {
	c.t.Helper()
	for _, address := range c.Brokers {
		if _, err := c.dialWith(id, address, seed, filepath.Join(c.Dir, id, caFile)); !errors.Is(err, nats.ErrAuthorization) {
			c.t.Errorf("%s at %s: %v", what, address, err)
		}
	}
}

// wantReplicated makes the streams, and waits until all three brokers have the one of states.
func (c cluster) wantReplicated() {
	c.t.Helper()
	primary := c.nodes()[3]
	cfg := c.config(primary)
	if cfg.Primary.Replicas != 3 || len(cfg.Broker.URLs) != 3 {
		c.t.Fatalf("the primary is to keep %d replicas at %v", cfg.Primary.Replicas, cfg.Broker.URLs)
	}
	conn := c.connect(cfg)
	js, err := jetstream.New(c.mustDial(primary.ID, c.Brokers[0]))
	must.OK(c.t, err)
	var found string
	for deadline := time.Now().Add(must.Patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err := conn.EnsureStreams(c.t.Context(), cfg.Primary.Replicas); err != nil {
			found = err.Error()
			continue
		}
		stream, err := js.Stream(c.t.Context(), "PDNS_ZONE")
		must.OK(c.t, err)
		info := stream.CachedInfo()
		current := 0
		for _, r := range info.Cluster.Replicas {
			if r.Current && !r.Offline {
				current++
			}
		}
		if info.Config.Replicas == 3 && current == 2 {
			return
		}
		found = "not all replicas are current"
	}
	c.t.Fatal("the streams are not kept by all brokers: ", found)
}

func TestClusterOfInit(t *testing.T) {
	must.NotShort(t)
	c := startCluster(t)
	c.wantReplicated()
	for _, n := range c.nodes()[3:] {
		for _, address := range c.Brokers {
			c.mustDial(n.ID, address)
		}
	}
	routes := member{Address: c.Brokers[1]}.routes()
	own, err := tls.LoadX509KeyPair(filepath.Join(c.Dir, "broker1", certFile), filepath.Join(c.Dir, "broker1", keyFile))
	must.OK(t, err)
	if greeting, err := c.greeted(routes, own); err != nil || !strings.HasPrefix(greeting, "INFO ") {
		t.Errorf("another broker gets %q: %v", greeting, err)
	}
	if greeting, err := c.greeted(routes); err == nil {
		t.Errorf("without a certificate there is a route: %s", greeting)
	}
	ca, err := broker.NewCA("pdns-distribute", time.Now())
	must.OK(t, err)
	forged, err := ca.NewServerCertificate([]string{"127.0.0.1"}, time.Now())
	must.OK(t, err)
	pair, err := tls.X509KeyPair(forged.CertPEM, forged.KeyPEM)
	must.OK(t, err)
	if greeting, err := c.greeted(routes, pair); err == nil {
		t.Errorf("with a certificate of another CA there is a route: %s", greeting)
	}
}

// greeted is what a broker says to another one that shows this certificate.
func (c cluster) greeted(address string, shown ...tls.Certificate) (string, error) {
	conn, err := tls.Dial("tcp", address, &tls.Config{Certificates: shown, RootCAs: c.authorities(), MinVersion: tls.VersionTLS13})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	must.OK(c.t, conn.SetDeadline(time.Now().Add(must.Patience)))
	greeting := make([]byte, 5)
	_, err = io.ReadFull(conn, greeting)
	return string(greeting), err
}

func (c cluster) authorities() *x509.CertPool {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.Dir, caFile))
	must.OK(c.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

func TestNodesComeAndGoByReload(t *testing.T) {
	c := startCluster(t)
	ns1, ns2 := c.mustDial("ns1", c.Brokers[0]), c.mustDial("ns2", c.Brokers[1])
	health := c.mustDial("health1", c.Brokers[2])

	c.mustRun("add", "secondary", "ns3")
	c.wantRefusedEverywhere("before the reload", "ns3", c.copied("ns3", nkeyFile))
	c.reload()
	for _, address := range c.Brokers {
		c.mustDial("ns3", address)
	}
	wantStayed(t, "added", ns1, ns2, health)

	seed := c.copied("ns2", nkeyFile)
	c.mustRun("remove", "ns2")
	c.reload()
	wantCutOff(t, "removed", ns2)
	must.OK(t, os.Rename(filepath.Join(c.Dir, "ns3", caFile), filepath.Join(c.Dir, "ns2.crt")))
	must.OK(t, os.Mkdir(filepath.Join(c.Dir, "ns2"), 0o700))
	must.OK(t, os.Rename(filepath.Join(c.Dir, "ns2.crt"), filepath.Join(c.Dir, "ns2", caFile)))
	c.wantRefusedEverywhere("removed", "ns2", seed)
	wantStayed(t, "removed", ns1, health)
}

func TestKeysAreRotatedUnderway(t *testing.T) {
	must.NotShort(t)
	c := startCluster(t)
	c.wantReplicated()
	others := []*nats.Conn{c.mustDial("ns2", c.Brokers[0]), c.mustDial("proxy1", c.Brokers[1]), c.mustDial("health1", c.Brokers[2])}

	seed, old := c.copied("ns1", nkeyFile), c.mustDial("ns1", c.Brokers[0])
	c.mustRun("rotate", "nkey", "ns1")
	c.reload()
	wantStayed(t, "two nkeys", old)
	renewed := c.mustDial("ns1", c.Brokers[1])
	c.mustRun("rotate", "nkey", "ns1", "--finish")
	c.reload()
	wantCutOff(t, "one nkey", old)
	c.wantRefusedEverywhere("the old nkey", "ns1", seed)
	wantStayed(t, "one nkey", renewed)

	client, routes := c.Brokers[1], member{Address: c.Brokers[1]}.routes()
	before, beforeRoutes := c.shown(client), c.shown(routes)
	c.mustRun("rotate", "certificate", "broker2")
	c.reload()
	if c.shown(client).Equal(before) || c.shown(routes).Equal(beforeRoutes) {
		t.Error("the new certificate is not shown")
	}

	c.mustRun("rotate", "ca")
	c.reload()
	knowsBoth := c.mustDial("ns1", client)
	if _, err := c.run("rotate", "ca", "--finish"); err == nil || !strings.Contains(err.Error(), "broker1 has a certificate of the old CA still") {
		t.Errorf("finished with certificates of the old CA: %v", err)
	}
	for _, id := range []string{"broker1", "broker2", "broker3"} {
		c.mustRun("rotate", "certificate", id)
		c.reload()
		for _, address := range c.Brokers {
			c.mustDial("ns1", address)
		}
	}
	c.mustRun("rotate", "ca", "--finish")
	c.reload()
	for _, address := range c.Brokers {
		c.mustDial("ns1", address)
	}
	wantStayed(t, "rotated", append(others, knowsBoth)...)
	c.brokers[1].stop() // which has to be let in by the others again, and filled
	must.OK(t, os.RemoveAll(filepath.Join(c.Dir, "broker2", "store")))
	c.brokers[1] = c.runBroker(c.nodes()[1])
	c.wantReplicated()
}

// shown is the certificate that a broker shows.
func (c cluster) shown(address string) *x509.Certificate {
	c.t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: c.authorities()})
	must.OK(c.t, err)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}
