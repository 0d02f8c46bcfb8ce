package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pdns-distribute/roles/settings"
)

// Node is a node that is installed on this host.
type Node struct{ ID, Role, File string }

// found is the configuration of a node on this host, for a command line that names none. "" means that there is no
// node, or that the environment says what is needed.
func (p *Program) found(of Command) (file string, err error) {
	if len(of.Of) == 0 || p.Nodes == nil || slices.ContainsFunc(p.Environ, isSetting) {
		return "", nil
	}
	nodes, err := p.Nodes()
	if err != nil {
		return "", fmt.Errorf("find the configuration of a node on this host: %w", err)
	}
	suited := slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return !slices.Contains(of.Of, n.Role) })
	slices.SortStableFunc(suited, func(a, b Node) int {
		return cmp.Compare(slices.Index(of.Of, a.Role), slices.Index(of.Of, b.Role))
	})
	switch {
	case len(nodes) == 0:
		return "", nil
	case len(suited) == 0:
		return "", fmt.Errorf("%s needs the configuration of %s, and this host has only that of %s: run it where such a node is, "+
			"or name a configuration by --config", of.Name, strings.Join(of.Of, " or "), listed(nodes, Node.String))
	case len(suited) > 1 && !of.AnyOf:
		return "", Misuse("%s is of one node, and this host has several: name one by --config: %s",
			of.Name, listed(suited, func(n Node) string { return n.File }))
	case len(suited) > 1:
		fmt.Fprintf(p.Stderr, "%s: with the configuration of %s, %s\n", programName, suited[0], suited[0].File)
	}
	return suited[0].File, nil
}

// String names the node, such as "secondary ns1".
func (n Node) String() string { return n.Role + " " + n.ID }

func listed(nodes []Node, name func(Node) string) string {
	var names []string
	for _, n := range nodes {
		names = append(names, name(n))
	}
	return strings.Join(names, ", ")
}

// isSetting reports whether a variable of the environment is a setting.
func isSetting(variable string) bool {
	return strings.HasPrefix(variable, settings.EnvPrefix) && !strings.HasPrefix(variable, settings.FileVariable+"=")
}
