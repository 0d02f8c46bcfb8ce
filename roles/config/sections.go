package config

import (
	"maps"
	"slices"

	"pdns-distribute/health"
	"pdns-distribute/roles/settings"
)

// sections are those of the configuration that each role uses, besides those that every role does.
var sections = map[string][]string{
	health.RolePrimary:   {"broker", "powerdns", "primary", "dnssec"},
	health.RoleSecondary: {"broker", "powerdns", "secondary"},
	health.RoleProxy:     {"broker", "powerdns", "proxy"},
	health.RoleHealth:    {"broker", "health", "dnssec"},
	health.RoleBroker:    {"server"},
}

// everybodys are the sections that every role uses.
var everybodys = []string{"node", "log", "observe"}

// Roles returns the names of all roles, sorted.
func Roles() []string { return slices.Sorted(maps.Keys(sections)) }

// RolesWith returns the roles that read a section, sorted.
func RolesWith(section string) []string {
	all := Roles()
	if slices.Contains(everybodys, section) {
		return all
	}
	return slices.DeleteFunc(all, func(role string) bool { return !slices.Contains(sections[role], section) })
}

// ForRole reads the configuration as a role does when it starts. Its error is of type [settings.Faults].
func ForRole(from settings.Sources, role string) (Config, error) {
	return Load(from, sections[role]...)
}

// roleBySection is the role that alone reads a section.
var roleBySection = map[string]string{
	"primary": health.RolePrimary, "secondary": health.RoleSecondary, "proxy": health.RoleProxy, "health": health.RoleHealth,
	"server": health.RoleBroker,
}

// RolesIn are the roles that a configuration file is for, by its sections.
func RolesIn(file string) (found []string, err error) {
	names, err := settings.Sections(file)
	for _, name := range names {
		if role, is := roleBySection[name]; is {
			found = append(found, role)
		}
	}
	return found, err
}
