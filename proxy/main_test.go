package proxy

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

// TestOpenModes meets state that others can read: the journal is closed to them, the key may have been read already.
func TestOpenModes(t *testing.T) {
	cfg := newConfig(t)
	_, err := newProxy(cfg, nowhere, &queue{})
	must.OK(t, err)
	pending, key := filepath.Join(cfg.StateDir, "pending"), filepath.Join(cfg.StateDir, "proxy.key")
	must.OK(t, os.WriteFile(pending, []byte("\nchange example.org.\n"), 0o600))
	must.OK(t, os.Chmod(pending, 0o644))
	p, err := newProxy(cfg, nowhere, &queue{})
	must.OK(t, err)
	if p.Waiting() != 1 {
		t.Errorf("%d zones wait", p.Waiting())
	}
	wantMode(t, pending, 0o600)
	must.OK(t, os.Chmod(key, 0o640))
	if _, err := newProxy(cfg, nowhere, &queue{}); err == nil || !strings.Contains(err.Error(), "chmod 600 "+key) {
		t.Errorf("an open key: %v", err)
	}
	must.OK(t, os.Chmod(key, 0o600))
	must.OK(t, os.Chmod(cfg.StateDir, 0o755))
	if _, err := newProxy(cfg, nowhere, &queue{}); err == nil || !strings.Contains(err.Error(), "chmod 700 "+cfg.StateDir) {
		t.Errorf("an open folder: %v", err)
	}
}
