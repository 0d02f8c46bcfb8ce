package roles

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"text/template"
	"time"

	"pdns-distribute/broker"
)

// Init is the command init: it writes a whole installation into a new folder.
func Init(_ context.Context, in Invocation) error {
	if len(in.Args) != 1 {
		return fmt.Errorf("%w: init: name the folder to write, for example: pdns-distribute init --broker broker.example.net --secondary ns1 --secondary ns2 ./installation", ErrUsage)
	}
	dir, err := filepath.Abs(in.Args[0])
	if err != nil {
		return err
	}
	plan := Installation{
		Dir: dir, Home: in.Options.String("home"), BrokerHost: in.Options.String("broker"), BrokerPort: brokerPort,
		Primary: in.Options.String("primary"), Proxy: in.Options.String("proxy"), Health: in.Options.StringSlice("health"),
		Secondaries: in.Options.StringSlice("secondary"),
	}
	if err := plan.Write(time.Now()); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	plan.explain(in.Stdout)
	return nil
}

// Installation is what init writes: a folder for each node, which is copied to the node's host, and the CA's key, which
// is not.
type Installation struct {
	Dir         string // to be made; absolute
	Home        string // where the folders will be on their hosts; "" means Dir
	BrokerHost  string // name or address by which nodes reach the broker
	BrokerPort  int
	Primary     string // node ids
	Proxy       string
	Health      []string
	Secondaries []string
}

const (
	brokerPort = 4222
	brokerID   = "broker1"

	nodeFile = "config.toml"
)

// observePorts lets several roles run on one host.
var observePorts = map[string]int{"broker": 9500, rolePrimary: 9501, "proxy": 9502, "health": 9503, roleSecondary: 9504}

// initNode is what the templates of one node's files are filled with.
type initNode struct {
	Role, ID  string
	File      string // the configuration, on its host
	Folder    string // that it is in
	Unit      string // of systemd
	Observe   string
	BrokerURL string
	APIPrefix string
	PowerDNS  bool
	APIKey    string
}

var (
	//go:embed templates/node.toml
	nodeTemplate string
	//go:embed templates/pdns.conf
	pdnsTemplate string
	//go:embed templates/unit.service
	unitTemplate string

	quoting    = template.FuncMap{"quote": strconv.Quote}
	nodeConfig = template.Must(template.New(nodeFile).Funcs(quoting).Parse(nodeTemplate))
	pdnsConfig = template.Must(template.New("pdns.conf").Funcs(quoting).Parse(pdnsTemplate))
	unitConfig = template.Must(template.New("unit.service").Parse(unitTemplate))
)

// Write makes the folder with all files, or nothing.
func (p Installation) Write(now time.Time) (err error) {
	if _, err := os.Stat(p.Dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already; nothing is overwritten: name a new folder", p.Dir)
	}
	files, err := p.files(now)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(p.Dir))
		}
	}()
	for _, f := range files {
		path := filepath.Join(p.Dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.content, f.mode); err != nil {
			return err
		}
	}
	return nil
}

type initFile struct {
	name    string
	content []byte
	mode    fs.FileMode
}

const (
	secret = fs.FileMode(0o600)
	public = fs.FileMode(0o644)
)

// files makes everything in memory first, so that a fault leaves nothing behind.
func (p Installation) files(now time.Time) ([]initFile, error) {
	ca, err := broker.NewCA("pdns-distribute", now)
	if err != nil {
		return nil, err
	}
	cert, err := ca.NewServerCertificate(p.brokerNames(), now)
	if err != nil {
		return nil, err
	}
	nodes := p.nodes()
	if err := checkIDs(nodes); err != nil {
		return nil, err
	}
	conf := p.serverConf()
	files := []initFile{
		{"ca.crt", ca.CertPEM, public},
		{"ca.key", ca.KeyPEM, secret},
		{brokerID + "/broker.crt", cert.CertPEM, public},
		{brokerID + "/broker.key", cert.KeyPEM, secret},
	}
	for _, n := range nodes {
		files = append(files, initFile{n.ID + "/ca.crt", ca.CertPEM, public})
		more, err := n.files(&conf)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	text, err := conf.Render()
	return append(files, initFile{brokerID + "/nats.conf", text, public}), err
}

// checkIDs makes sure that no two nodes get the same folder; the broker's configuration checks the rest.
func checkIDs(nodes []initNode) error {
	role := map[string]string{}
	for _, n := range nodes {
		if other, taken := role[n.ID]; taken {
			return fmt.Errorf("%q is the id of the %s already; name the %s differently", n.ID, other, n.Role)
		}
		role[n.ID] = n.Role
	}
	return nil
}

// files makes one node's own files, and its user in the broker's configuration.
func (n initNode) files(conf *broker.ServerConf) ([]initFile, error) {
	config, err := fill(nodeConfig, n)
	if err != nil {
		return nil, err
	}
	unit, err := fill(unitConfig, n)
	if err != nil {
		return nil, err
	}
	files := []initFile{{n.ID + "/" + nodeFile, config, public}, {n.ID + "/" + n.Unit, unit, public}}
	if n.Role == "broker" {
		return files, nil
	}
	key, err := broker.NewUserKey()
	if err != nil {
		return nil, err
	}
	user := broker.User{ID: n.ID, PublicKey: key.PublicKey}
	switch n.Role {
	case roleSecondary:
		conf.Secondaries = append(conf.Secondaries, user)
	case "proxy":
		conf.Proxies = append(conf.Proxies, user)
	default:
		conf.Core = append(conf.Core, user)
	}
	files = append(files, initFile{n.ID + "/node.nkey", key.Seed, secret})
	if n.PowerDNS {
		pdns, err := fill(pdnsConfig, n)
		if err != nil {
			return nil, err
		}
		files = append(files,
			initFile{n.ID + "/powerdns-api-key", []byte(n.APIKey + "\n"), secret}, initFile{n.ID + "/pdns.conf", pdns, secret})
	}
	return files, nil
}

func fill(t *template.Template, n initNode) ([]byte, error) {
	var text bytes.Buffer
	err := t.Execute(&text, n)
	return text.Bytes(), err
}

// nodes lists all nodes. Each listens for its observers on a port of its own, so that several fit on one host.
func (p Installation) nodes() []initNode {
	primaryKey := rand.Text() // proxy and primary stand beside the same PowerDNS
	nodes := []initNode{
		{Role: "broker", ID: brokerID},
		{Role: "primary", ID: p.Primary, PowerDNS: true, APIKey: primaryKey},
		{Role: "proxy", ID: p.Proxy, PowerDNS: true, APIKey: primaryKey, APIPrefix: broker.RemoteAPIPrefix},
	}
	for _, id := range p.Health {
		nodes = append(nodes, initNode{Role: "health", ID: id})
	}
	for _, id := range p.Secondaries {
		nodes = append(nodes, initNode{Role: roleSecondary, ID: id, PowerDNS: true, APIKey: rand.Text(), APIPrefix: broker.RemoteAPIPrefix})
	}
	for i := range nodes {
		n := &nodes[i]
		n.Observe = net.JoinHostPort("127.0.0.1", strconv.Itoa(observePorts[n.Role]))
		n.BrokerURL = "tls://" + net.JoinHostPort(p.BrokerHost, strconv.Itoa(p.BrokerPort))
		n.File, n.Folder, n.Unit = p.home(n.ID, nodeFile), p.home(n.ID), "pdns-distribute-"+n.ID+".service"
	}
	return nodes
}

// serverConf is the broker's configuration without its users.
func (p Installation) serverConf() broker.ServerConf {
	listen := "0.0.0.0"
	if ip := net.ParseIP(p.BrokerHost); ip != nil && ip.IsLoopback() {
		listen = p.BrokerHost
	}
	return broker.ServerConf{
		ServerName: brokerID, Listen: net.JoinHostPort(listen, strconv.Itoa(p.BrokerPort)), StoreDir: p.home(brokerID, "store"),
		CertFile: p.home(brokerID, "broker.crt"), KeyFile: p.home(brokerID, "broker.key"), CAFile: p.home(brokerID, "ca.crt"),
	}
}

func (p Installation) brokerNames() []string {
	names := []string{p.BrokerHost}
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if name != p.BrokerHost {
			names = append(names, name)
		}
	}
	return names
}

// home is a path as it will be on the node's host.
func (p Installation) home(parts ...string) string {
	root := p.Home
	if root == "" {
		root = p.Dir
	}
	return filepath.Join(append([]string{root}, parts...)...)
}

// explain tells the operator what was written and what to do with it.
func (p Installation) explain(out io.Writer) {
	fmt.Fprintf(out, "Wrote %s: a folder for each node, to be copied to its host as %s.\n\n", p.Dir, p.home("NODE"))
	nodes := p.nodes()
	for _, n := range nodes {
		fmt.Fprintf(out, "  %-12s pdns-distribute %s --config %s\n", n.ID, n.Role, n.File)
	}
	fmt.Fprintf(out, "\nWhere there is a pdns.conf in the folder, add its lines to the configuration of the PowerDNS on that host.\n"+
		"For systemd there is a unit in each folder, such as "+nodes[0].ID+"/"+nodes[0].Unit+".\n"+
		"Keep %s to yourself: it signs certificates for brokers, and no host needs it.\n", filepath.Join(p.Dir, "ca.key"))
}
