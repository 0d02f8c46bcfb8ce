package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "pdns-distribute"

// imports are all that packages of this project import of it, by their paths below the module, "" for main. Tests are
// exempt.
var imports = map[string][]string{
	// the command line
	"": {
		"roles", "roles/command", "roles/config", "roles/demo", "roles/doctor", "roles/host",
		"roles/installation", "roles/operator", "roles/settings",
	},
	// composition, and what runs whole installations
	"roles": {
		"broker", "health", "private", "proxy", "roles/command", "roles/config", "roles/follow",
		"roles/health", "roles/heartbeat", "roles/node", "roles/observe", "roles/primary",
		"roles/secondary", "roles/work",
	},
	"roles/fleet": {
		"powerdns", "powerdns/local", "powerdns/zone", "roles", "roles/command", "roles/installation",
		"roles/settings",
	},
	"roles/demo": {
		"powerdns", "powerdns/local", "powerdns/transfer", "powerdns/zone", "roles/command",
		"roles/fleet", "roles/status",
	},
	"roles/bench": {
		"broker", "health", "powerdns", "powerdns/local", "powerdns/transfer", "powerdns/zone", "proxy",
		"roles/fleet", "roles/installation",
	},
	"roles/reference": {
		"powerdns", "roles/config", "roles/installation", "roles/monitoring", "roles/roff", "roles/settings",
	},
	"roles/soak": {
		"health", "powerdns", "powerdns/local", "powerdns/transfer", "powerdns/zone", "proxy",
		"roles/config", "roles/fleet", "roles/status",
	},
	// the five that never import each other, and doctor
	"roles/primary": {
		"broker", "dnssec", "health", "powerdns", "powerdns/origin", "powerdns/transfer", "powerdns/zone",
		"private", "roles/config", "roles/follow", "roles/heartbeat", "roles/index", "roles/node",
		"roles/status", "roles/work", "timing",
	},
	"roles/secondary": {
		"broker", "dnssec", "health", "powerdns", "powerdns/store", "powerdns/transfer", "powerdns/zone",
		"roles/checkpoint", "roles/config", "roles/node", "roles/work", "timing",
	},
	"roles/health": {
		"backoff", "broker", "dnssec", "health", "powerdns/transfer", "powerdns/zone", "roles/config",
		"roles/follow", "roles/index", "roles/node", "roles/page", "roles/status", "roles/work", "timing",
	},
	"roles/page": {"dnssec", "docs", "health", "powerdns/zone", "private", "roles/index", "roles/status"},
	"roles/installation": {
		"broker", "health", "powerdns/zone", "private", "proxy", "roles/command", "roles/config", "roles/host",
		"roles/settings",
	},
	"roles/host": {"broker", "health", "roles/command"},
	"roles/operator": {
		"broker", "health", "powerdns", "powerdns/store", "powerdns/transfer", "powerdns/zone", "proxy",
		"roles/command", "roles/config", "roles/follow", "roles/status", "roles/work",
	},
	"roles/doctor": {
		"broker", "health", "powerdns", "powerdns/origin", "powerdns/transfer", "powerdns/zone", "private",
		"proxy", "roles/command", "roles/config", "roles/host", "roles/observe", "roles/primary", "roles/settings",
		"roles/status",
	},
	// what they share
	"roles/status": {"broker", "health", "powerdns/zone", "roles/command", "roles/follow"},
	"roles/node": {
		"broker", "health", "powerdns", "powerdns/origin", "powerdns/transfer", "powerdns/zone",
		"roles/config", "roles/observe", "roles/work",
	},
	"roles/index":  {"broker", "dnssec", "health", "powerdns/zone", "roles/work"},
	"roles/follow": {"broker", "health", "proxy", "roles/config"},
	"roles/config": {
		"broker", "dnssec", "health", "powerdns", "powerdns/zone", "proxy", "roles/heartbeat",
		"roles/observe", "roles/settings",
	},
	"roles/command":    {"health", "private", "roles/roff", "roles/settings"},
	"roles/work":       {"backoff", "powerdns/zone"},
	"roles/checkpoint": {"powerdns/zone"},
	"roles/heartbeat":  {"powerdns", "powerdns/transfer", "powerdns/zone"},
	"roles/settings":   {"private"},
	"roles/observe":    {"private"},
	"roles/monitoring": {},
	"roles/roff":       {},
	"roles/roletest": {
		"broker", "broker/brokertest", "powerdns", "powerdns/local", "powerdns/local/localtest",
		"powerdns/must", "powerdns/transfer", "powerdns/zone",
	},
	// what the roles are made of
	"proxy":                    {"health", "powerdns/zone", "private", "timing"},
	"health":                   {"backoff", "powerdns/zone"},
	"dnssec":                   {"powerdns/zone"},
	"broker":                   {"backoff", "powerdns/zone", "private"},
	"broker/brokertest":        {"broker", "powerdns/local"},
	"powerdns":                 {"powerdns/host", "powerdns/zone", "private"},
	"powerdns/origin":          {"powerdns", "powerdns/transfer", "powerdns/zone"},
	"powerdns/store":           {"powerdns/zone", "private"},
	"powerdns/local":           {"powerdns", "powerdns/transfer"},
	"powerdns/local/localtest": {"powerdns/local", "powerdns/must"},
	"powerdns/must":            {},
	"powerdns/transfer":        {"powerdns/host", "powerdns/zone"},
	"powerdns/zone":            {},
	"powerdns/host":            {},
	"backoff":                  {},
	"private":                  {},
	"timing":                   {},
	"docs":                     {},
}

// speakers says which packages alone may import what from outside: NATS and DNS are each spoken in one place.
var speakers = []struct {
	outside string // prefix of import paths
	inside  []string
}{
	{"github.com/nats-io/", []string{"broker/..."}},
	{"github.com/miekg/dns", []string{"powerdns/...", "roles/demo/...", "roles/bench/...", "roles/soak/..."}},
}

// vague are names that don't say what a package is about.
var vague = []string{"utils", "common", "helpers", "models", "types"}

func TestImports(t *testing.T) {
	for _, p := range listPackages(t) {
		if slices.Contains(vague, p.Name) || slices.Contains(vague, path.Base(p.ImportPath)) {
			t.Errorf("%s: name the package by what it is about", p.ImportPath)
		}
		from, _ := within(p.ImportPath)
		var ours []string
		for _, imported := range p.Imports {
			if to, is := within(imported); is {
				ours = append(ours, to)
			} else if !maySpeak(from, imported) {
				t.Errorf("%s must not import %s (speakers in imports_test.go)", p.ImportPath, imported)
			}
		}
		if want, known := imports[from]; !known || !slices.Equal(ours, want) {
			t.Errorf("%s imports %q, and imports_test.go says %q: is the arrow meant? Draw it there, and in docs/design.md", p.ImportPath, ours, want)
		}
	}
}

// No package imports what stands above it or beside it.
func TestRolesAreApart(t *testing.T) {
	apart := []string{"roles/primary", "roles/secondary", "roles/health", "roles/installation", "roles/operator"}
	for from, list := range imports {
		for _, to := range list {
			switch {
			case slices.Contains(apart, from) && slices.Contains(apart, to):
				t.Errorf("%s imports %s: roles share what is in a package of its own", from, to)
			case !strings.HasPrefix(from, "roles") && from != "" && strings.HasPrefix(to, "roles"):
				t.Errorf("%s imports %s, which stands above it", from, to)
			}
		}
	}
	if maySpeak("health", "github.com/nats-io/nats.go/jetstream") || !maySpeak("broker", "github.com/nats-io/nkeys") {
		t.Error("NATS is for package broker alone")
	}
	if maySpeak("dnssec", "github.com/miekg/dns") || !maySpeak("powerdns/zone", "github.com/miekg/dns") {
		t.Error("DNS is for package powerdns alone")
	}
}

// maySpeak judges one import from outside.
func maySpeak(from, imported string) bool {
	for _, s := range speakers {
		if strings.HasPrefix(imported, s.outside) {
			return slices.ContainsFunc(s.inside, func(pattern string) bool { return covers(pattern, from) })
		}
	}
	return true
}

// within cuts the module off an import path.
func within(importPath string) (below string, ours bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// covers tells whether pattern, such as roles/..., is about the package.
func covers(pattern, pkg string) bool {
	tree, isTree := strings.CutSuffix(pattern, "/...")
	if !isTree {
		return pkg == pattern
	}
	return tree == "" || pkg == tree || strings.HasPrefix(pkg, tree+"/")
}

// listedPackage is what 'go list -json' says of a package. Imports leaves out those of tests.
type listedPackage struct {
	ImportPath string
	Name       string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Dir,GoFiles,Imports", "./...").Output()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	var list []listedPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return list
		case err != nil:
			t.Fatal(err)
		}
		list = append(list, p)
	}
}
