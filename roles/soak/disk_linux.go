package main

import (
	"os"
	"path/filepath"
	"syscall"
)

// diskSize is that of a small disk: what is kept there is a few MB.
const diskSize = "size=96m,mode=0700"

// mount puts a small disk (tmpfs) where a folder is, with what is in it.
func mount(path string) error {
	kept, err := os.MkdirTemp(filepath.Dir(path), "kept")
	if err != nil {
		return err
	}
	defer os.RemoveAll(kept)
	if err := os.CopyFS(kept, os.DirFS(path)); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, diskSize); err != nil {
		return err
	}
	if err := os.CopyFS(path, os.DirFS(kept)); err != nil {
		return err
	}
	return tighten(path)
}

// tighten takes away what os.CopyFS gave to others.
func tighten(path string) error {
	return filepath.Walk(path, func(file string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if info.IsDir() {
			return os.Chmod(file, 0o700)
		}
		return os.Chmod(file, 0o600)
	})
}

func unmount(path string) error { return syscall.Unmount(path, 0) }
