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
func (p *Program) found(of Command, args []string) (file string, err error) {
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
	if of.OfNode && len(args) > 0 {
		suited = slices.DeleteFunc(suited, func(n Node) bool { return n.ID != args[0] })
	}
	switch {
	case len(nodes) == 0:
		return "", nil
	case len(suited) == 0 && of.OfNode && len(args) > 0:
		return "", fmt.Errorf("this host has no node %s, only %s: run it where the node is, or name its configuration by --config",
			args[0], listed(nodes, Node.String))
	case len(suited) == 0:
		return "", fmt.Errorf("%s needs the configuration of %s, and this host has only that of %s: run it where such a node is, "+
			"or name a configuration by --config", of.Name, strings.Join(of.Of, " or "), listed(nodes, Node.String))
	case len(suited) > 1 && !of.AnyOf:
		return "", Misuse("%s is of one node, and this host has several: name one%s: %s",
			of.Name, byID(of), listed(suited, Node.where))
	case len(suited) > 1:
		fmt.Fprintf(p.Stderr, "%s: with the configuration of %s, %s\n", programName, suited[0], suited[0].File)
	}
	return suited[0].File, nil
}

// byID says how else than by --config a node can be named.
func byID(of Command) string {
	if of.OfNode {
		return fmt.Sprintf(" (%s %s NODE)", programName, of.Name)
	}
	return " by --config"
}

func (n Node) where() string { return n.ID + ", " + n.File }

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
