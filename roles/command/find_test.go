package command_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"pdns-distribute/roles/command"
)

// A tool that is told no configuration takes that of a node on its host, the one that serves it best. It says which it
// took of several, or asks, and says where it would work.
func TestConfigurationOfANodeOnThisHost(t *testing.T) {
	node := func(role, id string) command.Node {
		return command.Node{ID: id, Role: role, File: "/nodes/" + id + "/config.toml"}
	}
	primary, health, other, ns1 := node("primary", "p"), node("health", "h"), node("health", "i"), node("secondary", "ns1")
	hidden := errors.New("only root can read it")
	for what, c := range map[string]struct {
		args    []string
		environ []string
		nodes   []command.Node
		err     error
		file    string // that it is run with
		said    string
		code    int
	}{
		"one":                   {args: []string{"status"}, nodes: []command.Node{ns1, health}, file: health.File},
		"the better one":        {args: []string{"status"}, nodes: []command.Node{primary, health}, file: health.File, said: "health h, /nodes/h/config.toml"},
		"one of two":            {args: []string{"status"}, nodes: []command.Node{health, other}, file: health.File, said: "health h"},
		"none that may":         {args: []string{"status"}, nodes: []command.Node{ns1}, said: "needs the configuration of health or primary, and this host has only that of secondary ns1", code: 1},
		"no node":               {args: []string{"status"}},
		"of the one node":       {args: []string{"doctor"}, nodes: []command.Node{ns1}, file: ns1.File},
		"of which node":         {args: []string{"doctor"}, nodes: []command.Node{health, ns1}, said: "(pdns-distribute doctor NODE): h, /nodes/h/config.toml, ns1, /nodes/ns1/config.toml", code: 2},
		"of a named node":       {args: []string{"doctor", "ns1"}, nodes: []command.Node{health, ns1}, file: ns1.File},
		"of a node elsewhere":   {args: []string{"doctor", "ns2"}, nodes: []command.Node{health, ns1}, said: "this host has no node ns2, only health h, secondary ns1", code: 1},
		"told":                  {args: []string{"status", "--config", "mine"}, nodes: []command.Node{health}, file: "mine"},
		"told by environment":   {args: []string{"status"}, environ: []string{"PDNS_DISTRIBUTE_CONFIG=its"}, nodes: []command.Node{health}, file: "its"},
		"set by environment":    {args: []string{"status"}, environ: []string{"PDNS_DISTRIBUTE_NODE_ID=x"}, nodes: []command.Node{health}},
		"may not be looked for": {args: []string{"status"}, err: hidden, said: hidden.Error(), code: 1},
		"a role":                {args: []string{"proxy"}, nodes: []command.Node{health}},
	} {
		var stderr bytes.Buffer
		ran, file := false, ""
		run := func(_ context.Context, in command.Invocation) error {
			ran, file = true, in.Settings.File
			return nil
		}
		p := command.Program{
			Commands: []command.Command{
				{Name: "proxy", Group: command.Role, Configured: true, Run: run},
				{Name: "status", Group: command.Role, Configured: true, Of: []string{"health", "primary"}, AnyOf: true, Run: run},
				{
					Name: "doctor", Group: command.Role, Arguments: "[NODE]", Configured: true, OfNode: true,
					Of: []string{"health", "primary", "secondary"}, Run: run,
				},
			},
			File: "/none", Environ: c.environ, Stderr: &stderr, Stdout: &stderr,
			Nodes: func() ([]command.Node, error) { return c.nodes, c.err },
		}
		code := p.Run(append([]string{"pdns-distribute"}, c.args...))
		if code != c.code || ran != (c.code == 0) || file != c.file || !strings.Contains(stderr.String(), c.said) || c.said == "" && stderr.Len() > 0 {
			t.Errorf("%s: exit %d, ran %v with %q, said %q", what, code, ran, file, &stderr)
		}
	}
}
