package main

import (
	"os"
	"path/filepath"
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
		if strings.HasSuffix(name, "powerdns.md") || strings.HasSuffix(name, ".service") {
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
