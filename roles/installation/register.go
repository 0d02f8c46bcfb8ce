package installation

import (
	"bytes"
	_ "embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/pelletier/go-toml/v2"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
)

const (
	brokerPort = 4222
	// routesBeyond lies between a broker's port for nodes and the one for other brokers: 4222 and 6222.
	routesBeyond = 2000
)

// register is what is installed, as installation.toml keeps it. It holds no secrets.
type register struct {
	Home  string   `toml:"home"` // where the folders are on their hosts
	Nodes []member `toml:"node"`
}

// member is a node that is installed. The first of its keys is the one in its folder; another one is being replaced
// by it.
type member struct {
	ID       string   `toml:"id"`
	Role     string   `toml:"role"`
	Address  string   `toml:"address"`   // of a broker, host:port
	NKeys    []string `toml:"nkeys"`     // public; of all but brokers
	SignKeys []string `toml:"sign_keys"` // public; of primaries
}

//go:embed templates/installation.toml
var registerText string

var registerTemplate = template.Must(template.New(config.RegisterFile).Funcs(quoting).Parse(registerText))

// readRegister reads the register of an installation. Where there is none, that is fs.ErrNotExist.
func readRegister(dir string) (r register, err error) {
	file := filepath.Join(dir, config.RegisterFile)
	text, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %w; put it back as init wrote it", file, err)
	}
	return r, nil
}

func (r register) render() ([]byte, error) { return fill(registerTemplate, r) }

// find returns a node, nil if there is none of this id.
func (r register) find(id string) *member {
	for i := range r.Nodes {
		if r.Nodes[i].ID == id {
			return &r.Nodes[i]
		}
	}
	return nil
}

func (r register) of(role string) (nodes []member) {
	for _, m := range r.Nodes {
		if m.Role == role {
			nodes = append(nodes, m)
		}
	}
	return nodes
}

// admit registers a node, if neither its id nor its address is another one's.
func (r *register) admit(m member) error {
	if err := broker.CheckNodeID(m.ID); err != nil {
		return fmt.Errorf("%w: %w", command.ErrUsage, err)
	}
	for _, other := range r.Nodes {
		if other.ID == m.ID {
			return command.Misuse("%q is the id of the %s already; name the %s differently", m.ID, other.Role, m.Role)
		}
		if other.Address == m.Address && m.Address != "" {
			return command.Misuse("--broker: %s is named twice; name each broker once", m.Address)
		}
	}
	r.Nodes = append(r.Nodes, m)
	return nil
}

// enroll makes a node's keys and registers it. Their secret halves are files for its folder.
func (r *register) enroll(m member) (secrets []initFile, err error) {
	if m.Role != health.RoleBroker {
		file, err := m.newNKey()
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, file)
	}
	if m.Role == health.RolePrimary {
		file, err := m.newSignKey()
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, file)
	}
	return secrets, r.admit(m)
}

// newNKey makes a node's next nkey, beside the one that it has.
func (m *member) newNKey() (initFile, error) {
	key, err := broker.NewUserKey()
	if err != nil {
		return initFile{}, err
	}
	m.NKeys = append([]string{key.PublicKey}, m.NKeys...)
	return initFile{m.ID + "/" + nkeyFile, key.Seed, secret}, nil
}

// newSignKey makes a primary's next key to sign states with, beside the one that it has.
func (m *member) newSignKey() (initFile, error) {
	key, err := zone.NewSignKey()
	if err != nil {
		return initFile{}, err
	}
	text, err := key.MarshalPEM()
	if err != nil {
		return initFile{}, err
	}
	m.SignKeys = append([]string{key.Public().String()}, m.SignKeys...)
	return initFile{m.ID + "/" + signFile, text, secret}, nil
}

// accounts are the brokers' users.
func (r register) accounts() (a broker.Accounts) {
	for _, m := range r.Nodes {
		user := broker.User{ID: m.ID, PublicKeys: m.NKeys}
		switch m.Role {
		case health.RolePrimary:
			a.Primaries = append(a.Primaries, user)
		case health.RoleHealth:
			a.Health = append(a.Health, user)
		case health.RoleProxy:
			a.Proxies = append(a.Proxies, user)
		case health.RoleSecondary:
			a.Secondaries = append(a.Secondaries, user)
		}
	}
	return a
}

// trusted are the keys that secondaries take states from.
func (r register) trusted() (keys []string) {
	for _, m := range r.of(health.RolePrimary) {
		keys = append(keys, m.SignKeys...)
	}
	return keys
}

// confirming are the nkeys of the nodes on which an operator may confirm held deletions.
func (r register) confirming() (keys []string) {
	for _, role := range []string{health.RolePrimary, health.RoleHealth} {
		for _, m := range r.of(role) {
			keys = append(keys, m.NKeys...)
		}
	}
	return keys
}

// home is a path as it will be on the node's host.
func (r register) home(parts ...string) string {
	return filepath.Join(append([]string{r.Home}, parts...)...)
}

// brokerAddress makes host:port of what names a broker.
func brokerAddress(text string, clustered bool) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.Trim(text, "[]"), strconv.Itoa(brokerPort)
	}
	highest := 65535
	if clustered {
		highest -= routesBeyond
	}
	if number, err := strconv.Atoi(port); err != nil || number < 1 || number > highest {
		return "", command.Misuse("--broker %s: its port is not between 1 and %d", text, highest)
	}
	if host == "" || strings.ContainsAny(host, "/@ \t\"") {
		return "", command.Misuse("--broker %s: give a host name or an address, such as broker.example.net or 192.0.2.1:4222", text)
	}
	return net.JoinHostPort(host, port), nil
}

func (m member) host() string {
	host, _, _ := net.SplitHostPort(m.Address) // was made by brokerAddress
	return host
}

func (m member) port() int {
	_, port, _ := net.SplitHostPort(m.Address)
	number, _ := strconv.Atoi(port)
	return number
}

// routes is where other brokers reach this one.
func (m member) routes() string {
	return net.JoinHostPort(m.host(), strconv.Itoa(m.port()+routesBeyond))
}
