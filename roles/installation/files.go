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
	"pdns-distribute/roles/host"
)

// The files of a node's folder that commands come back to.
const (
	nodeFile   = host.ConfigFile
	nkeyFile   = "node.nkey"
	signFile   = "sign.key"
	apiKeyFile = host.APIKeyFile
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
	File        string   // the configuration, on its host
	Folder      string   // that it is in
	Unit        string   // of systemd, for its role
	Elsewhere   bool     // the folder is not where the unit looks
	MorePorts   []string // that the unit does not know
	Observe     string
	BrokerURLs  []string
	Replicas    int
	APIPrefix   string
	TrustedKeys []string
	ConfirmKeys []string
	Replicated  bool // there are several primaries
	beside
}

// beside is the PowerDNS beside a node.
type beside struct {
	PowerDNS  bool // there is one, ...
	HasAPIKey bool // ... to which the node speaks by itself
	APIKey    string
}

var (
	//go:embed templates/node.toml
	nodeTemplate string
	//go:embed templates/pdns.conf
	pdnsTemplate string
	//go:embed templates/unit.conf
	dropInTemplate string

	quoting    = template.FuncMap{"quote": strconv.Quote, "list": quotedList}
	nodeConfig = template.Must(template.New(nodeFile).Funcs(quoting).Parse(nodeTemplate))
	pdnsConfig = template.Must(template.New(host.SnippetFile).Funcs(quoting).Parse(pdnsTemplate))
	dropIn     = template.Must(template.New(host.UnitFile).Parse(dropInTemplate))
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
		member: m, File: r.home(m.ID, nodeFile), Folder: r.home(m.ID), Unit: health.Unit(m.Role, m.ID),
		Elsewhere: r.Home != host.Home, MorePorts: r.morePorts(m),
		Observe: net.JoinHostPort("127.0.0.1", strconv.Itoa(observePorts[m.Role])),
		beside: beside{
			PowerDNS:  m.Role != health.RoleBroker && m.Role != health.RoleHealth,
			HasAPIKey: m.Role == health.RolePrimary || m.Role == health.RoleSecondary,
		},
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
		{nodeFile, nodeConfig, public, true}, {host.UnitFile, dropIn, public, n.Elsewhere || len(n.MorePorts) > 0},
		{host.SnippetFile, pdnsConfig, secret, n.HasAPIKey},
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
	if err != nil {
		return nil, err
	}
	files = append(files, kept...)
	packed, err := r.archives(p.Dir, files)
	return append(files, packed...), err
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
	return append(files, initFile{m.ID + "/" + host.ServerFile, conf, public}), err
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
	if r.Home == host.Home && r.Home != p.Dir {
		fmt.Fprintf(out, "Wrote %s: a folder for each node, and an archive of it.\n"+
			"Install the package on each host. Then put each node in its place there, by its line:\n\n", p.Dir)
		for _, m := range r.Nodes {
			fmt.Fprintf(out, "  %-12s %s\n", m.ID, r.installing(p.Dir, m))
		}
		fmt.Fprint(out, "\nEach line ends with the command that starts the role.\n")
	} else {
		fmt.Fprintf(out, "Wrote %s: a folder for each node, for %s on its host.\n\n", p.Dir, r.home("NODE"))
		for _, m := range r.Nodes {
			fmt.Fprintf(out, "  %-12s pdns-distribute %s --config %s\n", m.ID, m.Role, r.home(m.ID, nodeFile))
		}
		fmt.Fprint(out, "\nWhere there is a pdns.conf in the folder, add its lines to the configuration of the PowerDNS on that host.\n")
	}
	_, err = fmt.Fprintf(out, "Keep %s to yourself, and %s most of all: it signs certificates for brokers,\n"+
		"and no host needs it. Nodes are added, removed and given new keys there: see pdns-distribute init --help.\n",
		p.Dir, filepath.Join(p.Dir, caKeyFile))
	return err
}

// installing is the line that copies a node to its host, and puts it in its place there. Only brokers' hosts are known.
func (r register) installing(dir string, m member) string {
	name := "HOST"
	if m.Role == health.RoleBroker {
		name = m.host()
	}
	return "ssh root@" + name + " pdns-distribute install - < " + filepath.Join(dir, host.Archive(m.ID))
}
