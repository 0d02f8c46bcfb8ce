package config

import (
	"pdns-distribute/powerdns"
	"pdns-distribute/roles/heartbeat"
)

// Distributes reports whether secondaries are to have a zone that PowerDNS lists.
func (c PrimaryConfig) Distributes(z powerdns.ZoneInfo) bool {
	switch z.Kind {
	case powerdns.Native, powerdns.Master:
		return z.Name != heartbeat.Name
	}
	return z.Kind == powerdns.Slave && c.IncludeSlaves
}
