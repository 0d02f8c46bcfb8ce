package installation

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"pdns-distribute/private"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
)

// Write makes the folder with all files, or nothing.
func (p Installation) Write(now time.Time) (err error) {
	if _, err := os.Stat(p.Dir); !errors.Is(err, fs.ErrNotExist) {
		return command.Misuse("%s exists already, and holds no installation; nothing is overwritten: name a new folder", p.Dir)
	}
	files, err := p.files(now)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.Dir), 0o700); err != nil {
		return err
	}
	stage, err := os.MkdirTemp(filepath.Dir(p.Dir), filepath.Base(p.Dir)+".new-")
	if err != nil {
		return err
	}
	if err := writeAll(stage, files); err != nil {
		return errors.Join(err, os.RemoveAll(stage))
	}
	if err := os.Rename(stage, p.Dir); err != nil {
		return errors.Join(err, os.RemoveAll(stage))
	}
	return syncFolder(filepath.Dir(p.Dir))
}

// writeAll has all files on the disk when it returns nil: a power failure must not leave keys that are registered and
// empty.
func writeAll(dir string, files []initFile) error {
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := writeFile(path, f.content, f.mode); err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = syncFolder(path)
		}
		return err
	})
}

func writeFile(path string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncFolder has the names in a folder on the disk, where it may be opened and the file system can do that.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	if err = f.Sync(); errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// The files of a change stand below the installation's folder in one of these before they are put in their places.
const (
	prepared = ".prepared" // until all are written: counts for nothing
	decided  = ".decided"  // from then on: is carried through, by the next command if this one is interrupted
)

// change is what a command makes of an installation: what is registered, and files.
type change struct {
	dir string
	register
	files    []initFile
	archives []initFile // what becomes of the nodes' archives by it
	added    []string   // ids of nodes that the change adds
}

// alter lets one command at a time change an installation: all of it, or, with an error, nothing.
func alter(dir string, do func(*change) error) (*change, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := private.CheckFolder(dir); err != nil { // whoever can write here could register nodes
		return nil, err
	}
	if err := carryThrough(dir); err != nil {
		return nil, err
	}
	c := &change{dir: dir}
	if c.register, err = readRegister(dir); err != nil {
		return nil, notInstalled(dir, err)
	}
	if err := do(c); err != nil {
		return nil, err
	}
	kept, err := c.register.files()
	if err != nil {
		return nil, err
	}
	for _, f := range kept {
		c.put(f)
	}
	packed, err := c.register.archives(dir, c.files)
	if err != nil {
		return nil, err
	}
	c.archives = slices.DeleteFunc(packed, c.has)
	return c, c.commit()
}

func notInstalled(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return command.Misuse("%s holds no installation: there is no %s in it; name the folder that init wrote", dir, config.RegisterFile)
	}
	return err
}

// lock keeps other commands away until unlock, or until the process ends.
func lock(dir string) (unlock func() error, err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, notInstalled(dir, err)
	}
	err = syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = fmt.Errorf("%s is being changed by another command; wait for its end, and try again", dir)
	case err == nil:
		return folder.Close, nil
	}
	return nil, errors.Join(err, folder.Close())
}

// put has a file written, unless it is there already with this content. Of several with one name the last one counts.
func (c *change) put(f initFile) {
	c.files = slices.DeleteFunc(c.files, func(other initFile) bool { return other.name == f.name })
	if !c.has(f) {
		c.files = append(c.files, f)
	}
}

// has reports whether a file is there already with this content.
func (c *change) has(f initFile) bool {
	has, err := os.ReadFile(filepath.Join(c.dir, f.name))
	return err == nil && bytes.Equal(has, f.content)
}

func (c *change) commit() error {
	stage := filepath.Join(c.dir, prepared)
	if err := os.RemoveAll(stage); err != nil {
		return err
	}
	if err := os.Mkdir(stage, 0o700); err != nil {
		return err
	}
	if err := writeAll(stage, slices.Concat(c.files, c.archives)); err != nil {
		return errors.Join(err, os.RemoveAll(stage))
	}
	if err := os.Rename(stage, filepath.Join(c.dir, decided)); err != nil {
		return err
	}
	if err := syncFolder(c.dir); err != nil {
		return err
	}
	return carryThrough(c.dir)
}

// carryThrough puts the files of a change that is decided in their places.
func carryThrough(dir string) error {
	root := filepath.Join(dir, decided)
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var folders []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		switch place := filepath.Join(dir, name); {
		case err != nil:
			return err
		case entry.IsDir():
			folders = append(folders, place)
			return os.MkdirAll(place, 0o700)
		default:
			return os.Rename(path, place)
		}
	})
	for _, folder := range folders { // before what is left of the change is gone
		err = errors.Join(err, syncFolder(folder))
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(root)
}
