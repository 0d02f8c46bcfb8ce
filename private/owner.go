package private

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// ActAsOwner makes a process of root that of the user whom a file belongs to, for good: with its groups, and without
// root's rights. So an operator's command, run by root, may use the files of a role, sees what the role would see, and
// leaves nothing behind that the role could not read. For a file of root, such as one that was copied over the role's,
// the owner of its folder counts. It does nothing for others than root, and for files of root in a folder of root.
func ActAsOwner(file string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(file)
	if err == nil && ownerOf(info) == 0 {
		info, err = os.Stat(filepath.Dir(file))
	}
	if err != nil || ownerOf(info) == 0 {
		return nil // whoever reads the file says why it cannot be
	}
	uid, gid := ownerOf(info), int(info.Sys().(*syscall.Stat_t).Gid)
	groups := []int{gid}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		if main, err := strconv.Atoi(u.Gid); err == nil {
			gid, groups = main, append(groups, main)
		}
	}
	if err := become(uid, gid, groups); err != nil {
		return fmt.Errorf("%s belongs to %s; run this as %s: %w", file, named(uid), named(uid), err)
	}
	return nil
}

// ActAs makes a process of root that of a user, for good: with its groups, and without root's rights. It does nothing
// for others than root.
func ActAs(name string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, errUID := strconv.Atoi(u.Uid)
	gid, errGID := strconv.Atoi(u.Gid)
	groups := []int{gid}
	ids, err := u.GroupIds()
	if err := errors.Join(errUID, errGID, err); err != nil {
		return err
	}
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil {
			groups = append(groups, n)
		}
	}
	if err := become(uid, gid, groups); err != nil {
		return fmt.Errorf("run this as %s: %w", name, err)
	}
	return nil
}

// Owner is the name of the user whom a file belongs to, "" if that is not known.
func Owner(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return ""
	}
	return User(ownerOf(info))
}

// User is the name of a user, its number if it has none.
func User(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func become(uid, gid int, groups []int) error {
	for _, step := range []func() error{
		func() error { return syscall.Setgroups(groups) },
		func() error { return syscall.Setgid(gid) },
		func() error { return syscall.Setuid(uid) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
