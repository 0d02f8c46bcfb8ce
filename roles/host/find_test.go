package host

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"pdns-distribute/roles/command"
)

// Nodes are found by their configurations; what is no node's keeps nobody waiting.
func TestNodes(t *testing.T) {
	home := t.TempDir()
	put := func(name, text string) string {
		file := filepath.Join(home, name, ConfigFile)
		must(t, os.MkdirAll(filepath.Dir(file), 0o700))
		must(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	want := []command.Node{
		{ID: "hidden", Role: "primary", File: put("hidden", "[node]\nid = \"hidden\"\n[primary]\n")},
		{ID: "ns1", Role: "secondary", File: put("ns1", "[node]\nid = \"ns1\"\n[secondary]\n")},
	}
	put("broken", "[node")
	put("of nobody", "[powerdns]\n")
	must(t, os.Mkdir(filepath.Join(home, "state"), 0o700))
	must(t, os.Mkdir(filepath.Join(home, "pipe"), 0o700))
	must(t, syscall.Mkfifo(filepath.Join(home, "pipe", ConfigFile), 0o600))
	found, err := Nodes(home)()
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("%v, %v", found, err)
	}
	if found, err := Nodes(filepath.Join(home, "none"))(); err != nil || found != nil {
		t.Errorf("without a home: %v, %v", found, err)
	}
}
