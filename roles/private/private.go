// Package private keeps what is secret on a host to its owner: no other user of the host may read it. It is the one place
// that says what that means.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// others are the permissions that nobody but the owner may have.
const others fs.FileMode = 0o077

// Check refuses a file with a secret in it that others than its owner can read, and what is no regular file. Its error says
// what to do.
func Check(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", file)
	case Open(info):
		return fmt.Errorf("%s (mode %04o) is readable by others than its owner; run: chmod 600 %s", file, info.Mode().Perm(), file)
	}
	return nil
}

// Open tells whether others than its owner have any right to a file or folder.
func Open(info fs.FileInfo) bool { return info.Mode().Perm()&others != 0 }

// Folder makes a folder for state, mode 0700 whatever the umask says. One that is there and open to others is refused, not
// tightened: a wrong path, such as /etc, would be closed to the whole host.
func Folder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if Open(info) {
		return fmt.Errorf("%s (mode %04o) is open to others than its owner; if it is for this program alone, run: chmod 700 %s", path, info.Mode().Perm(), path)
	}
	return nil
}

// Tighten takes a file of the program's own from others: it may have been restored with other rights. One that is not there
// is no error.
func Tighten(file string) error {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !Open(info) {
		return err
	}
	return os.Chmod(file, info.Mode().Perm()&^others)
}
