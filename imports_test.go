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

// arrow lets packages import others of this project. Paths are those below the module, empty for main; x/... is x and
// all below it.
type arrow struct{ from, to string }

// arrows are all there are. Tests are exempt.
var arrows = []arrow{
	{"", "roles/..."},
	{"roles/...", "roles/..."},
	{"roles/...", "broker/..."},
	{"roles/...", "powerdns/..."},
	{"roles/...", "proxy/..."},
	{"roles/...", "health/..."},
	{"roles/...", "dnssec/..."},
	{"broker/...", "broker/..."},
	{"proxy/...", "proxy/..."},
	{"proxy/...", "health/..."},
	{"health/...", "health/..."},
	{"dnssec/...", "dnssec/..."},
	{"powerdns/local", "powerdns"},
	{"powerdns/local", "powerdns/transfer"},
	{"/...", "powerdns/zone"},
	{"/...", "roles/private"},
}

// speakers says which packages alone may import what from outside: NATS and DNS are each spoken in one place.
var speakers = []struct {
	outside string // prefix of import paths
	inside  []string
}{
	{"github.com/nats-io/", []string{"broker/..."}},
	{"github.com/miekg/dns", []string{"powerdns/...", "roles/demo/...", "roles/bench/..."}},
}

// vague are names that don't say what a package is about.
var vague = []string{"utils", "common", "helpers", "models", "types"}

func TestImports(t *testing.T) {
	for _, p := range listPackages(t) {
		if slices.Contains(vague, p.Name) || slices.Contains(vague, path.Base(p.ImportPath)) {
			t.Errorf("%s: name the package by what it is about", p.ImportPath)
		}
		for _, imported := range p.Imports {
			if !mayImport(p.ImportPath, imported) {
				t.Errorf("%s must not import %s (arrows and speakers in imports_test.go)", p.ImportPath, imported)
			}
		}
	}
}

func TestImportsRule(t *testing.T) {
	for _, test := range []struct {
		from, to string
		want     bool
	}{
		{"", "roles", true},
		{"", "roles/demo", true},
		{"", "powerdns/zone", true},
		{"", "broker", false},
		{"roles/demo", "powerdns/local", true},
		{"roles", "", false},
		{"proxy", "powerdns/zone", true},
		{"proxy", "powerdns", false},
		{"proxy", "broker", false},
		{"powerdns", "powerdns/transfer", false},
		{"powerdns/local", "powerdns", true},
		{"powerdns/zone", "powerdns", false},
	} {
		if got := mayImport(path.Join(module, test.from), path.Join(module, test.to)); got != test.want {
			t.Errorf("%q imports %q: %v, want %v", test.from, test.to, got, test.want)
		}
	}
	if mayImport(module+"/health", "github.com/nats-io/nats.go/jetstream") || !mayImport(module+"/broker", "github.com/nats-io/nkeys") {
		t.Error("NATS is for package broker alone")
	}
	if mayImport(module+"/dnssec", "github.com/miekg/dns") || !mayImport(module+"/powerdns/zone", "github.com/miekg/dns") {
		t.Error("DNS is for package powerdns alone")
	}
}

// mayImport judges one import of a package by both full paths.
func mayImport(importer, imported string) bool {
	from, _ := within(importer)
	if to, ours := within(imported); ours {
		return slices.ContainsFunc(arrows, func(a arrow) bool { return covers(a.from, from) && covers(a.to, to) })
	}
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
	Imports    []string
}

func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Imports", "./...").Output()
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
