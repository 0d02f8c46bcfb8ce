package private_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pdns-distribute/roles/private"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Mode().Perm()
}

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(file, nil, 0o600))
	for mode, good := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o620: false, 0o644: false} {
		must(t, os.Chmod(file, mode))
		err := private.Check(file)
		if (err == nil) != good || !good && !strings.HasSuffix(err.Error(), "; run: chmod 600 "+file) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if err := private.Check(filepath.Dir(file)); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a folder: %v", err)
	}
	if err := private.Check(file + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
}

// TestFolder makes one with an open umask, and meets one that is open.
func TestFolder(t *testing.T) {
	before := syscall.Umask(0)
	defer syscall.Umask(before)
	path := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		must(t, private.Folder(path))
	}
	if got := mode(t, path); got != 0o700 {
		t.Errorf("mode %04o", got)
	}
	for _, wide := range []fs.FileMode{0o750, 0o701, 0o777} {
		must(t, os.Chmod(path, wide))
		if err := private.Folder(path); err == nil || !strings.HasSuffix(err.Error(), "run: chmod 700 "+path) || mode(t, path) != wide {
			t.Errorf("mode %04o: %v, and then %04o", wide, err, mode(t, path))
		}
	}
}

func TestTighten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, private.Tighten(file))
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, os.Chmod(file, 0o664))
	must(t, private.Tighten(file))
	if got := mode(t, file); got != 0o600 {
		t.Errorf("mode %04o", got)
	}
}
