package private_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/private"
)

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	must.OK(t, err)
	return info.Mode().Perm()
}

// write makes a file with this mode, whatever the umask says.
func write(t *testing.T, file string, mode fs.FileMode) {
	t.Helper()
	must.OK(t, os.WriteFile(file, []byte("content"), 0o600))
	must.OK(t, os.Chmod(file, mode))
}

// asRoot skips what only root can set up.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
}

// stranger is a user whom no host has.
const stranger = 64_321

func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for mode, good := range map[fs.FileMode]bool{
		0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o620: false, 0o602: false, 0o644: false, 0o610: false, 0o601: false,
	} {
		write(t, file, mode)
		err := private.Check(file)
		if (err == nil) != good || !good && !strings.HasSuffix(err.Error(), "; run: chmod 600 "+file) {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if text, err := private.Read(file); (err == nil) != good || good && string(text) != "content" {
			t.Errorf("mode %04o: read %q, %v", mode, text, err)
		}
	}
	testNoFile(t, private.Check)
}

func TestCheckPublic(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	for mode, good := range map[fs.FileMode]bool{
		0o600: true, 0o644: true, 0o444: true, 0o755: true, 0o664: false, 0o646: false, 0o666: false, 0o620: false, 0o602: false,
	} {
		write(t, file, mode)
		err := private.CheckPublic(file)
		if (err == nil) != good || !good && !strings.HasSuffix(err.Error(), "; run: chmod go-w "+file) {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if text, err := private.ReadPublic(file); (err == nil) != good || good && string(text) != "content" {
			t.Errorf("mode %04o: read %q, %v", mode, text, err)
		}
	}
	testNoFile(t, private.CheckPublic)
}

func testNoFile(t *testing.T, check func(string) error) {
	t.Helper()
	if err := check(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a folder: %v", err)
	}
	if err := check("/dev/null"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a device: %v", err)
	}
	for _, none := range []string{filepath.Join(t.TempDir(), "none"), ""} {
		if err := check(none); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", none, err)
		}
	}
}

// Who can write to a folder on the way to a file can put another one in its place.
func TestFoldersAbove(t *testing.T) {
	top := t.TempDir()
	above := filepath.Join(top, "above")
	folder := filepath.Join(above, "folder")
	must.OK(t, os.MkdirAll(folder, 0o755))
	file := filepath.Join(folder, "file")
	write(t, file, 0o600)
	for _, c := range []struct {
		path string
		mode fs.FileMode
		good bool
	}{
		{folder, 0o755, true}, {folder, 0o700, true}, {folder, 0o777 | fs.ModeSticky, true},
		{folder, 0o777, false}, {folder, 0o770, false}, {folder, 0o707, false},
		{above, 0o755, true}, {above, 0o777 | fs.ModeSticky, true}, {above, 0o775, false}, {above, 0o757, false},
	} {
		must.OK(t, os.Chmod(above, 0o755))
		must.OK(t, os.Chmod(folder, 0o755))
		must.OK(t, os.Chmod(c.path, c.mode))
		for what, check := range map[string]func(string) error{"secret": private.Check, "public": private.CheckPublic} {
			err := check(file)
			if (err == nil) != c.good || !c.good && !strings.HasSuffix(err.Error(), "; run: chmod go-w "+c.path) {
				t.Errorf("%s, %s with mode %v: %v", what, c.path, c.mode, err)
			}
		}
	}
}

// A symbolic link is as good as the folders that it is in and leads through.
func TestLinks(t *testing.T) {
	top := t.TempDir()
	closed, open, state := filepath.Join(top, "closed"), filepath.Join(top, "open"), filepath.Join(top, "state")
	for _, folder := range []string{closed, open, state} {
		must.OK(t, os.Mkdir(folder, 0o755))
	}
	must.OK(t, os.Chmod(open, 0o777))
	write(t, filepath.Join(closed, "file"), 0o600)
	write(t, filepath.Join(open, "file"), 0o600)
	link := func(target, at string) string {
		at = filepath.Join(top, at)
		must.OK(t, os.Symlink(target, at))
		return at
	}
	circle := link("circle", "circle")
	for path, bad := range map[string]string{
		link(filepath.Join(closed, "file"), "absolute"):                                    "",
		link("../closed/./file", "state/relative"):                                         "",
		link("state/relative", "twice"):                                                    "",
		filepath.Join(link("closed", "folder"), "file"):                                    "",
		link(filepath.Join(open, "file"), "into-open"):                                     open,
		link("../closed/file", "open/from-open"):                                           open,
		link("open/from-open", "through-open"):                                             open,
		top + "/" + filepath.Base(link("open", "folder-that-is-open")) + "/../closed/file": "", // of the link's target
	} {
		err := private.Check(path)
		if bad == "" && err != nil || bad != "" && (err == nil || !strings.HasSuffix(err.Error(), "chmod go-w "+bad)) {
			t.Errorf("%s: %v, want a fault of %q", path, err, bad)
		}
	}
	if err := private.Check(circle); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a circle: %v", err)
	}
	t.Chdir(closed)
	must.OK(t, private.Check("file"))
	must.OK(t, private.Check("../closed/file"))
}

// The owner of a file can change its mode at any time, and that of a folder what is in it.
func TestOwners(t *testing.T) {
	asRoot(t)
	top := t.TempDir()
	folder := filepath.Join(top, "folder")
	must.OK(t, os.Mkdir(folder, 0o755))
	file := filepath.Join(folder, "file")
	write(t, file, 0o600)
	must.OK(t, private.Check(file))
	for _, path := range []string{file, folder} {
		must.OK(t, os.Chown(path, stranger, 0))
		for what, check := range map[string]func(string) error{"secret": private.Check, "public": private.CheckPublic} {
			want := fmt.Sprintf("%s: it belongs to uid %d, and this process is that of root; run: chown 0 %s", path, stranger, path)
			if err := check(file); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s, %s of a stranger: %v", what, path, err)
			}
		}
		must.OK(t, os.Chown(path, 0, 0))
	}
	must.OK(t, os.Chmod(folder, 0o777|fs.ModeSticky))
	link := filepath.Join(folder, "link")
	must.OK(t, os.Symlink(file, link))
	must.OK(t, private.Check(link))
	must.OK(t, os.Lchown(link, stranger, 0))
	if err := private.Check(link); err == nil || !strings.HasPrefix(err.Error(), link+": it belongs to") {
		t.Errorf("a stranger's link in a sticky folder: %v", err)
	}
}

// TestFolder makes one with an open umask, and meets one that is open.
func TestFolder(t *testing.T) {
	top := t.TempDir()
	before := syscall.Umask(0)
	defer syscall.Umask(before)
	path := filepath.Join(top, "a", "b")
	for range 2 {
		must.OK(t, private.Folder(path))
	}
	if got := mode(t, path); got != 0o700 {
		t.Errorf("mode %04o", got)
	}
	for _, wide := range []fs.FileMode{0o750, 0o701, 0o777} {
		must.OK(t, os.Chmod(path, wide))
		if err := private.Folder(path); err == nil || !strings.HasSuffix(err.Error(), "run: chmod 700 "+path) || mode(t, path) != wide {
			t.Errorf("mode %04o: %v, and then %04o", wide, err, mode(t, path))
		}
	}
	must.OK(t, os.Chmod(path, 0o700))
	must.OK(t, os.Chmod(filepath.Dir(path), 0o777))
	if err := private.Folder(path); err == nil || !strings.HasSuffix(err.Error(), "run: chmod go-w "+filepath.Dir(path)) {
		t.Errorf("an open folder above: %v", err)
	}
}

func TestTighten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must.OK(t, private.Tighten(file))
	write(t, file, 0o664)
	must.OK(t, private.Tighten(file))
	if got := mode(t, file); got != 0o600 {
		t.Errorf("mode %04o", got)
	}
}

func TestFaults(t *testing.T) {
	dir := t.TempDir()
	var errs []error
	for _, name := range []string{"a", "b"} {
		write(t, filepath.Join(dir, name), 0o666)
		errs = append(errs, fmt.Errorf("%s: %w", name, private.Check(filepath.Join(dir, name))))
	}
	found := private.Faults(fmt.Errorf("at fault: %w", errors.Join(append(errs, fs.ErrNotExist)...)))
	if len(found) != 2 || found[0].Path != filepath.Join(dir, "a") || found[1].Remedy != "chmod 600 "+filepath.Join(dir, "b") {
		t.Errorf("%+v", found)
	}
	if found := private.Faults(nil); found != nil {
		t.Errorf("of no error: %v", found)
	}
}

// A command that root runs becomes the owner of the configuration: what root may read is no news to a role.
func TestActAsOwner(t *testing.T) {
	if file := os.Getenv("TEST_ACT_AS_OWNER"); file != "" { // in a process of its own, since there is no way back
		must.OK(t, private.ActAsOwner(file))
		groups, err := os.Getgroups()
		must.OK(t, err)
		_, err = os.ReadFile(os.Getenv("TEST_OF_ROOT"))
		fmt.Println("acts as", os.Getuid(), os.Geteuid(), os.Getgid(), groups, private.Check(file), errors.Is(err, fs.ErrPermission))
		return
	}
	asRoot(t)
	dir := t.TempDir()
	must.OK(t, os.Chmod(filepath.Dir(dir), 0o755))
	ofRoot, theirs := filepath.Join(dir, "of-root"), filepath.Join(dir, "config.toml")
	write(t, ofRoot, 0o600)
	write(t, theirs, 0o600)
	must.OK(t, os.Chown(theirs, stranger, stranger+1))
	copied := filepath.Join(dir, "theirs", "copied.toml")
	must.OK(t, os.Mkdir(filepath.Dir(copied), 0o700))
	write(t, copied, 0o644)
	must.OK(t, os.Chown(filepath.Dir(copied), stranger, stranger+1))
	for file, want := range map[string]string{
		copied: fmt.Sprintf("acts as %d %d %d [%d] ", stranger, stranger, stranger+1, stranger+1),
		theirs: fmt.Sprintf("acts as %d %d %d [%d] <nil> true\n", stranger, stranger, stranger+1, stranger+1),
		ofRoot: "acts as 0 0 0 ",
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestActAsOwner$")
		cmd.Env = append(os.Environ(), "TEST_ACT_AS_OWNER="+file, "TEST_OF_ROOT="+ofRoot)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s: %v\n%s, want %s", file, err, out, want)
		}
	}
}
