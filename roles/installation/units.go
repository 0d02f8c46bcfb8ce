package installation

import (
	_ "embed"
	"fmt"
	"text/template"

	"pdns-distribute/health"
)

//go:embed templates/unit.service
var unitTemplate string

var unitConfig = template.Must(template.New("unit.service").Parse(unitTemplate))

// unit is what the template of a role's unit is filled with.
type unit struct {
	Role string
	limits
}

// Units are the units that a package brings, by the names of their files: one for each role, of which each node is an
// instance. So each role has a user of its own, and an update of the package reaches the units of all nodes.
func Units() (map[string][]byte, error) {
	units := map[string][]byte{}
	for _, role := range []string{health.RoleBroker, health.RolePrimary, health.RoleProxy, health.RoleHealth, health.RoleSecondary} {
		text, err := fill(unitConfig, unit{role, limitsOf(role)})
		if err != nil {
			return nil, err
		}
		units[health.Unit(role, "")+".service"] = text
	}
	return units, nil
}

// limits are what a unit lets a role take of the host.
type limits struct {
	Memory     int    // MB
	MemoryFor  string // what that is enough for
	Tasks      int
	Listens    []string // protocol and port of each listener, as SocketBindAllow has them
	Interfaces bool     // it asks for the addresses of the host
	Peers      bool     // all that it talks to is in its configuration
}

// SoftMemory is from where on Go frees memory harder, in MB.
func (l limits) SoftMemory() int { return l.Memory * 9 / 10 }

// limitsOf gives twice what a million zones were measured to take, or what all allowed connections do.
func limitsOf(role string) limits {
	const zones = "a million zones"
	l := limits{Memory: 4096, MemoryFor: zones, Tasks: 512, Listens: []string{tcp(observePorts[role])}}
	switch role {
	case health.RoleBroker:
		l.Tasks, l.Interfaces = 1024, true
		l.Listens = append(l.Listens, tcp(brokerPort), tcp(brokerPort+routesBeyond))
	case health.RoleProxy:
		l.Memory, l.MemoryFor, l.Interfaces = 1024, "proxy.max_connections of 4,096", true
		l.Listens = append(l.Listens, tcp(8443))
	case health.RolePrimary:
		l.Peers = true
	case health.RoleSecondary:
		l.Peers = true
		l.Listens = append(l.Listens, tcp(5300), "udp:5300")
	}
	return l
}

func tcp(port int) string { return fmt.Sprintf("tcp:%d", port) }

// morePorts are those of a broker that is not at the port that its unit knows.
func (r register) morePorts(m member) (ports []string) {
	if m.Role != health.RoleBroker || m.port() == brokerPort {
		return nil
	}
	if ports = append(ports, tcp(m.port())); len(r.of(health.RoleBroker)) > 1 {
		ports = append(ports, tcp(m.port()+routesBeyond))
	}
	return ports
}
