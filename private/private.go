// Package private keeps the files of a role to their owner. It is the one place that says what that means:
//
//   - a secret is read by its owner alone;
//   - a file that decides what a role does (a configuration, a certificate authority) is written by its owner alone;
//   - the same holds for the state folder of a role;
//   - the owner is the user of this process, or root;
//   - nobody else may put something in the file's place: each folder on the way to it, symbolic links included, belongs
//     to one of these two, and others cannot write to it. A sticky folder, such as /tmp, may be written by all; there
//     the entry itself has to belong to one of the two.
//
// Group members count as others. It also makes the certificates that the program signs itself, for their keys are
// secrets.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

const (
	anyRight   fs.FileMode = 0o077 // of others than the owner
	writeRight fs.FileMode = 0o022
)

// ErrNotRegular is what folders, devices and the like are refused with.
var ErrNotRegular = errors.New("is no regular file")

// Fault is a file or folder that is open to others. Doctor shows its parts.
type Fault struct {
	Path   string // that has to be changed: the file, or a folder above it
	Found  string // a sentence about Path
	Remedy string // the command to run
}

// Error says what is wrong and what to do.
func (f *Fault) Error() string { return f.Path + ": " + f.Found + "; run: " + f.Remedy }

// Faults are all that an error is made of.
func Faults(err error) (faults []*Fault) {
	if fault, is := err.(*Fault); is {
		return []*Fault{fault}
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		return Faults(err.Unwrap())
	case interface{ Unwrap() []error }:
		for _, each := range err.Unwrap() {
			faults = append(faults, Faults(each)...)
		}
	}
	return faults
}

// Check refuses a file with a secret in it that others can read or replace (a [*Fault]), and what is no regular file.
func Check(file string) error {
	info, err := reachFile(file)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&anyRight != 0 {
		return &Fault{file, fmt.Sprintf("others than its owner can read it (mode %04o)", mode), "chmod 600 " + file}
	}
	return nil
}

// CheckPublic refuses a file that decides something, and that others can write or replace (a [*Fault]), and what is no
// regular file. Anybody may read it.
func CheckPublic(file string) error {
	info, err := reachFile(file)
	if err != nil {
		return err
	}
	return unwritable(file, info)
}

// CheckFolder refuses a folder that others can write to or replace (a [*Fault]), and what is no folder.
func CheckFolder(path string) error {
	info, err := reach(path)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", path)
	}
	if err := owned(path, info); err != nil {
		return err
	}
	return unwritable(path, info)
}

// Read reads a file with a secret in it, once it has passed [Check].
func Read(file string) ([]byte, error) {
	if err := Check(file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// ReadPublic reads a file that has passed [CheckPublic].
func ReadPublic(file string) ([]byte, error) {
	if err := CheckPublic(file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// ReadRegular reads a regular file of this user or root that others may write or read: how it is to be guarded is known
// only once it is read. Whoever calls it checks that before the content counts.
func ReadRegular(file string) ([]byte, error) {
	if _, err := reachFile(file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// Folder makes a folder for state, mode 0700 whatever the umask says. One that is there and open to others is refused,
// not tightened: a wrong path, such as /etc, would be closed to the whole host.
func Folder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return CheckState(path)
}

// CheckState refuses a folder for state that is open to others (a [*Fault]), as [Folder] does, and makes none.
func CheckState(path string) error {
	if err := CheckFolder(path); err != nil {
		if fault, is := errors.AsType[*Fault](err); is && fault.Path == path && fault.Remedy == closing(path) {
			fault.Remedy = "chmod 700 " + path
		}
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&anyRight != 0 {
		const found = "others than its owner can look into it (mode %04o); if it is for this program alone"
		return &Fault{path, fmt.Sprintf(found, mode), "chmod 700 " + path}
	}
	return nil
}

// Tighten takes a file of the program's own, in a folder of [Folder], from others: it may have been restored with other
// rights. One that is not there is no error.
func Tighten(file string) error {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || info.Mode().Perm()&anyRight == 0 {
		return err
	}
	return os.Chmod(file, info.Mode().Perm()&^anyRight)
}

// reachFile follows the way to a regular file of this user or root.
func reachFile(file string) (fs.FileInfo, error) {
	info, err := reach(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s %w", file, ErrNotRegular)
	}
	return info, owned(file, info)
}

// unwritable refuses what others can write to.
func unwritable(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&writeRight != 0 {
		return &Fault{path, fmt.Sprintf("others than its owner can write to it (mode %04o)", mode), closing(path)}
	}
	return nil
}

func closing(path string) string { return "chmod go-w " + path }

// owned refuses what belongs to somebody else: its owner can change its mode at any time.
func owned(path string, info fs.FileInfo) error {
	owner, me := ownerOf(info), os.Geteuid()
	if owner == 0 || owner == me {
		return nil
	}
	return &Fault{
		path, fmt.Sprintf("it belongs to %s, and this process is that of %s", named(owner), named(me)),
		fmt.Sprintf("chown %d %s, or start the program as %s", me, path, named(owner)),
	}
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// named is a user by name, if this host knows one.
func named(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}
