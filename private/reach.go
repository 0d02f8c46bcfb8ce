package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links Linux follows on one way (path_resolution(7)).
const maxLinks = 40

// reach goes to path as the kernel does, name by name and link by link, and refuses a folder on the way in which others
// could put something else in place of the next name. What it returns is no symbolic link.
func reach(path string) (fs.FileInfo, error) {
	rest, err := names(path)
	if err != nil {
		return nil, err
	}
	at, links := "/", 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at) // which holds no link
			continue
		}
		next := filepath.Join(at, name)
		if err := guarded(at, next); err != nil {
			return nil, asOpened(path, err)
		}
		target, err := os.Readlink(next)
		if err != nil { // it is no link, which guarded has found to be there
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return os.Lstat(at)
}

// asOpened words an error as that of who opens the path.
func asOpened(path string, err error) error {
	if failed, is := errors.AsType[*fs.PathError](err); is {
		return &fs.PathError{Op: "open", Path: path, Err: failed.Err}
	}
	return err
}

// names are those on the way from the root. They are not cleaned: "a/../b" is not "b" where a is a link.
func names(path string) ([]string, error) {
	if path == "" {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if filepath.IsAbs(path) {
		return strings.Split(path, "/"), nil
	}
	here, err := os.Getwd()
	return strings.Split(here+"/"+path, "/"), err
}

// guarded refuses a folder in which others can put something in place of an entry.
func guarded(folder, entry string) error {
	is, err := os.Lstat(entry)
	if err != nil {
		return err
	}
	above, err := os.Lstat(folder)
	if err != nil {
		return err
	}
	if err := owned(folder, above); err != nil {
		return err
	}
	mode := above.Mode()
	switch {
	case mode.Perm()&writeRight == 0:
		return nil
	case mode&fs.ModeSticky != 0:
		return owned(entry, is)
	}
	const found = "others than its owner can write to this folder (mode %04o), and so replace %s"
	return &Fault{folder, fmt.Sprintf(found, mode.Perm(), entry), closing(folder)}
}
