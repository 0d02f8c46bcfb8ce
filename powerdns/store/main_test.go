package store

import (
	"os"
	"path/filepath"
	"pdns-distribute/powerdns/must"
	"strings"
	"syscall"
	"testing"
)

// TestMain has folders of tests be their owner's alone, as state folders must.
func TestMain(m *testing.M) {
	syscall.Umask(0o077)
	os.Exit(m.Run())
}

// TestOpenModes meets a folder, and a file, that others can read.
func TestOpenModes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "zones.db")
	s, err := Open(file)
	must.OK(t, err)
	must.OK(t, s.Close())
	must.OK(t, os.Chmod(file, 0o644))
	must.OK(t, os.Chmod(dir, 0o750))
	if _, err := Open(file); err == nil || !strings.Contains(err.Error(), "chmod 700 "+dir) {
		t.Errorf("an open folder: %v", err)
	}
	must.OK(t, os.Chmod(dir, 0o700))
	s, err = Open(file)
	must.OK(t, err)
	must.OK(t, s.Close())
	info, err := os.Stat(file)
	must.OK(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file stays at %s", info.Mode())
	}
}
