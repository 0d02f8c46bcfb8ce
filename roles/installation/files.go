package installation

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/config"
)

// The files of a node's folder that commands come back to.
const (
	nodeFile   = "config.toml"
	nkeyFile   = "node.nkey"
	signFile   = "sign.key"
	apiKeyFile = "powerdns-api-key"
	caFile     = "ca.crt"
	caKeyFile  = "ca.key" // in no node's folder
	certFile   = "broker.crt"
	keyFile    = "broker.key"
)

// observePorts lets several roles run on one host.
var observePorts = map[string]int{
	health.RoleBroker: 9500, health.RolePrimary: 9501, health.RoleProxy: 9502, health.RoleHealth: 9503, health.RoleSecondary: 9504,
}

type initFile struct {
	name    string // below the installation's folder
	content []byte
	mode    fs.FileMode
}

const (
	secret = fs.FileMode(0o600)
	public = fs.FileMode(0o644)
)

// initNode is what the templates of one node's files are filled with.
type initNode struct {
	member
	File        string // the configuration, on its host
	Folder      string // that it is in
	State       string // the same below systemd's own place for states, if it is there
	Unit        string // of systemd
	Observe     string
	BrokerURLs  []string
	Replicas    int
	APIPrefix   string
	TrustedKeys []string
	ConfirmKeys []string
	Replicated  bool // there are several primaries
	beside
	limits
}

// beside is the PowerDNS beside a node.
type beside struct {
	PowerDNS  bool // there is one, ...
	HasAPIKey bool // ... to which the node speaks by itself
	APIKey    string
}

// limits are what a unit lets a role take of the host.
type limits struct {
	Memory     int    // MB
	MemoryFor  string // what that is enough for
	Tasks      int
	Listens    []string // protocol and port of each listener, as SocketBindAllow has them
	Interfaces bool     // it asks for the addresses of the host
	Public     bool     // the world talks to it
}

// SoftMemory is from where on Go frees memory harder, in MB.
func (l limits) SoftMemory() int { return l.Memory * 9 / 10 }

// limitsOf gives twice what a million zones were measured to take, or what all allowed connections do.
func (r register) limitsOf(m member) limits {
	const zones = "a million zones"
	observe := fmt.Sprintf("tcp:%d", observePorts[m.Role])
	l := limits{Memory: 4096, MemoryFor: zones, Tasks: 512, Listens: []string{observe}}
	switch m.Role {
	case health.RoleBroker:
		l.Tasks, l.Interfaces, l.Public = 1024, true, true
		l.Listens = append(l.Listens, fmt.Sprintf("tcp:%d", m.port()))
		if len(r.of(health.RoleBroker)) > 1 {
			l.Listens = append(l.Listens, fmt.Sprintf("tcp:%d", m.port()+routesBeyond))
		}
	case health.RoleProxy:
		l.Memory, l.MemoryFor, l.Interfaces, l.Public = 1024, "proxy.max_connections of 4,096", true, true
		l.Listens = append(l.Listens, "tcp:8443")
	case health.RoleSecondary:
		l.Listens = append(l.Listens, "tcp:5300", "udp:5300")
	}
	return l
}

var (
	//go:embed templates/node.toml
	nodeTemplate string
	//go:embed templates/pdns.conf
	pdnsTemplate string
	//go:embed templates/unit.service
	unitTemplate string

	quoting    = template.FuncMap{"quote": strconv.Quote, "list": quotedList}
	nodeConfig = template.Must(template.New(nodeFile).Funcs(quoting).Parse(nodeTemplate))
	pdnsConfig = template.Must(template.New("pdns.conf").Funcs(quoting).Parse(pdnsTemplate))
	unitConfig = template.Must(template.New("unit.service").Parse(unitTemplate))
)

// quotedList is what stands between the brackets of a list.
func quotedList(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = strconv.Quote(item)
	}
	return strings.Join(quoted, ", ")
}

func fill(t *template.Template, data any) ([]byte, error) {
	var text bytes.Buffer
	err := t.Execute(&text, data)
	return text.Bytes(), err
}

// node is a node with all that its files tell. Each listens for its observers on a port of its role, so that several
// fit on one host.
func (r register) node(m member) initNode {
	n := initNode{
		member: m, File: r.home(m.ID, nodeFile), Folder: r.home(m.ID), Unit: unitOf(m.ID),
		Observe: net.JoinHostPort("127.0.0.1", strconv.Itoa(observePorts[m.Role])),
		beside: beside{
			PowerDNS:  m.Role != health.RoleBroker && m.Role != health.RoleHealth,
			HasAPIKey: m.Role == health.RolePrimary || m.Role == health.RoleSecondary,
		},
	}
	n.limits = r.limitsOf(m)
	if below, is := strings.CutPrefix(n.Folder, "/var/lib/"); is {
		n.State = below
	}
	for _, b := range r.of(health.RoleBroker) {
		n.BrokerURLs = append(n.BrokerURLs, "tls://"+b.Address)
	}
	switch m.Role {
	case health.RolePrimary:
		n.Replicas, n.ConfirmKeys, n.Replicated = min(3, len(n.BrokerURLs)), r.confirming(), len(r.of(health.RolePrimary)) > 1
	case health.RoleHealth:
		n.APIPrefix, n.ConfirmKeys = broker.RemoteAPIPrefix, r.confirming()
	case health.RoleProxy:
		n.APIPrefix, n.Replicated = broker.RemoteAPIPrefix, len(r.of(health.RolePrimary)) > 1
	case health.RoleSecondary:
		n.APIPrefix, n.TrustedKeys = broker.RemoteAPIPrefix, r.trusted()
	}
	return n
}

func unitOf(id string) string { return "pdns-distribute-" + id + ".service" }

// folder makes the files of a node's folder, besides its secret keys.
func (r register) folder(m member, apiKey string, caCert []byte) ([]initFile, error) {
	n := r.node(m)
	n.APIKey = apiKey
	files := []initFile{{m.ID + "/" + caFile, caCert, public}}
	for _, f := range []struct {
		name string
		text *template.Template
		mode fs.FileMode
		is   bool
	}{
		{nodeFile, nodeConfig, public, true}, {n.Unit, unitConfig, public, true}, {"pdns.conf", pdnsConfig, secret, n.HasAPIKey},
	} {
		if !f.is {
			continue
		}
		text, err := fill(f.text, n)
		if err != nil {
			return nil, err
		}
		files = append(files, initFile{m.ID + "/" + f.name, text, f.mode})
	}
	if n.HasAPIKey {
		files = append(files, initFile{m.ID + "/" + apiKeyFile, []byte(apiKey + "\n"), secret})
	}
	return files, nil
}

// files makes everything in memory first, so that a fault leaves nothing behind.
func (p Installation) files(now time.Time) ([]initFile, error) {
	members, err := p.members()
	if err != nil {
		return nil, err
	}
	ca, err := broker.NewCA("pdns-distribute", now)
	if err != nil {
		return nil, err
	}
	r := register{Home: p.home()}
	files := []initFile{{caFile, ca.CertPEM, public}, {caKeyFile, ca.KeyPEM, secret}}
	for _, m := range members {
		secrets, err := r.enroll(m)
		if err != nil {
			return nil, err
		}
		files = append(files, secrets...)
	}
	ofPrimary := rand.Text() // all primaries stand beside the same PowerDNS
	for _, m := range r.Nodes {
		apiKey := ofPrimary
		if m.Role == health.RoleSecondary {
			apiKey = rand.Text()
		}
		more, err := r.folder(m, apiKey, ca.CertPEM)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	for _, b := range r.of(health.RoleBroker) {
		more, err := r.brokerFiles(b, ca, now)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	kept, err := r.files()
	return append(files, kept...), err
}

// files are those that follow from what is registered: they change with it.
func (r register) files() ([]initFile, error) {
	accounts, err := r.accounts().Render()
	if err != nil {
		return nil, err
	}
	text, err := r.render()
	if err != nil {
		return nil, err
	}
	files := []initFile{{config.RegisterFile, text, public}}
	for _, b := range r.of(health.RoleBroker) {
		files = append(files, initFile{b.ID + "/" + broker.AccountsFile, accounts, public})
	}
	return files, nil
}

// brokerFiles are a broker's own configuration, and its certificate with the key.
func (r register) brokerFiles(m member, ca broker.Certificate, now time.Time) ([]initFile, error) {
	files, err := m.certificate(ca, now)
	if err != nil {
		return nil, err
	}
	conf, err := r.serverConf(m).Render()
	return append(files, initFile{m.ID + "/nats.conf", conf, public}), err
}

// certificate is another one for a broker, for the host by which it is reached and for its own host.
func (m member) certificate(ca broker.Certificate, now time.Time) ([]initFile, error) {
	names := []string{m.host()}
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if name != m.host() {
			names = append(names, name)
		}
	}
	c, err := ca.NewServerCertificate(names, now)
	return []initFile{{m.ID + "/" + certFile, c.CertPEM, public}, {m.ID + "/" + keyFile, c.KeyPEM, secret}}, err
}

func (r register) serverConf(m member) broker.ServerConf {
	listen := "0.0.0.0"
	if ip := net.ParseIP(m.host()); ip != nil && ip.IsLoopback() {
		listen = m.host()
	} else if m.host() == "localhost" {
		listen = "127.0.0.1"
	}
	conf := broker.ServerConf{
		ServerName: m.ID, Listen: net.JoinHostPort(listen, strconv.Itoa(m.port())), StoreDir: r.home(m.ID, "store"),
		CertFile: r.home(m.ID, certFile), KeyFile: r.home(m.ID, keyFile), CAFile: r.home(m.ID, caFile),
	}
	brokers := r.of(health.RoleBroker)
	if len(brokers) == 1 {
		return conf
	}
	conf.Cluster = &broker.Cluster{
		Name: "pdns-distribute", Listen: net.JoinHostPort(listen, strconv.Itoa(m.port()+routesBeyond)), Advertise: m.routes(),
	}
	for _, other := range brokers {
		if other.ID != m.ID {
			conf.Cluster.Routes = append(conf.Cluster.Routes, "tls://"+other.routes())
		}
	}
	return conf
}

// explain tells the operator what was written and what to do with it.
func (p Installation) explain(out io.Writer) error {
	r, err := readRegister(p.Dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Wrote %s: a folder for each node, to be copied to its host as %s.\n\n", p.Dir, r.home("NODE"))
	for _, m := range r.Nodes {
		fmt.Fprintf(out, "  %-12s pdns-distribute %s --config %s\n", m.ID, m.Role, r.home(m.ID, nodeFile))
	}
	_, err = fmt.Fprintf(out, "\nWhere there is a pdns.conf in the folder, add its lines to the configuration of the PowerDNS on that host.\n"+
		"For systemd there is a unit in each folder, such as %s/%s, which runs the role\n"+
		"as the user pdns-distribute-ROLE, such as pdns-distribute-%s: the folder has to be that user's.\n"+
		"Keep %s to yourself, and %s most of all: it signs certificates for brokers,\n"+
		"and no host needs it. Nodes are added, removed and given new keys there: see pdns-distribute init --help.\n",
		r.Nodes[0].ID, unitOf(r.Nodes[0].ID), r.Nodes[0].Role, p.Dir, filepath.Join(p.Dir, caKeyFile))
	return err
}
