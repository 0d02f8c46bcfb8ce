package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// host is where a node is installed.
type host struct {
	root string // "/", or where a test keeps a host
	home string // of all nodes: Home, but for tests

	run    func(name string, args ...string) error              // changes users and services
	active func(unit string) bool                               // the unit runs, or is started at the next boot
	owner  func(user string) (uid, gid int, known bool)         // of a role's files
	chown  func(root *os.Root, name string, uid, gid int) error // as root may

	lookup func(name string) ([]netip.Addr, error) // of a host name, or the address that it is
	own    func() ([]netip.Addr, error)            // of this host
}

// thisHost is the one that the program runs on.
func thisHost() host {
	return host{
		root: "/", home: Home, run: run, active: active, owner: owner, chown: (*os.Root).Lchown, lookup: lookup, own: ownAddresses,
	}
}

// at is the place of a file of the host.
func (h host) at(path string) string { return filepath.Join(h.root, path) }

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func active(unit string) bool {
	return run("systemctl", "--quiet", "is-active", unit) == nil || run("systemctl", "--quiet", "is-enabled", unit) == nil
}

func owner(name string) (uid, gid int, known bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, false
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return uid, gid, uidErr == nil && gidErr == nil
}

// ownerOf is whom a file belongs to.
func ownerOf(info fs.FileInfo) (uid, gid int) {
	stat := info.Sys().(*syscall.Stat_t)
	return int(stat.Uid), int(stat.Gid)
}

// unitAt is where the unit of a role is; "" if the host has none.
func (h host) unitAt(role string) string {
	for _, folder := range []string{"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		path := filepath.Join(folder, "pdns-distribute-"+role+"@.service")
		if _, err := os.Stat(h.at(path)); err == nil {
			return path
		}
	}
	return ""
}

// replace writes a file below a folder, whole or not at all, in place of whatever has its name.
func replace(folder *os.Root, f File, chown func(name string) error) (err error) {
	staged := "." + f.Name + ".new"
	if err := folder.Remove(staged); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := folder.OpenFile(staged, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode)
	if err != nil {
		return err
	}
	_, err = file.Write(f.Content)
	err = errors.Join(err, file.Chmod(f.Mode), file.Sync(), file.Close())
	if err == nil {
		err = chown(staged)
	}
	if err == nil {
		err = folder.Rename(staged, f.Name)
	}
	if err != nil {
		return errors.Join(err, folder.Remove(staged))
	}
	return nil
}
