package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pdns-distribute/roles/config"
	"pdns-distribute/roles/settings"
)

// TestReferenceIsNew compares the documents with what the source says now.
func TestReferenceIsNew(t *testing.T) {
	root := filepath.Join("..", "..")
	made, err := documents(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range made {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || string(got) != want {
			t.Errorf("%s does not say what the source says (%v): run make man", name, err)
		}
		if !strings.Contains(name, "settings") && !strings.Contains(name, "toml") {
			continue
		}
		for _, key := range settings.Describe(new(config.Config)) {
			if !strings.Contains(want, key.Name) || !strings.Contains(want, key.Env) {
				t.Errorf("%s lacks %s", name, key.Name)
			}
		}
	}
}

// Keys stand for the fields that a comment names.
func TestCommentsNameTheirKeys(t *testing.T) {
	keys := map[string]string{"Workers": "workers", "StateDir": "state_dir"}
	got := paragraphs("Workers is how many\nzones, in StateDir.\n\nMore Worker.\n", keys)
	if len(got) != 2 || got[0].with("`") != "`workers` is how many zones, in `state_dir`." || got[1].with("`") != "More Worker." {
		t.Errorf("got %+v", got)
	}
	e := entry{about: got}
	if !e.names(settings.Key{Name: "secondary.workers"}) || e.names(settings.Key{Name: "secondary.take_over"}) {
		t.Error("a comment names what it does not, or the other way round")
	}
	if got := aboutSection("NodeConfig is the section [node], of all. It has an id.", "NodeConfig"); got != "It has an id." {
		t.Errorf("got %q", got)
	}
}

// TestAllMetricsAreRead counts the metrics that the source names: none is declared where docs/metrics.md does not look.
func TestAllMetricsAreRead(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := metrics(root)
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`Name:\s*"(pdns_distribute_\w+)"`)
	count := 0
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range declared.FindAllStringSubmatch(string(text), -1) {
			count++
			if !strings.Contains(page, "| `"+found[1]+"` |") {
				t.Errorf("docs/metrics.md lacks %s of %s: add the file to places in metrics.go", found[1], path)
			}
		}
		return err
	})
	if err != nil || count < 40 {
		t.Errorf("%d metrics were found: %v", count, err)
	}
}
