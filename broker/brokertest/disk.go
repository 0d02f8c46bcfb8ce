package brokertest

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// SmallDisk mounts a disk of so many megabytes for the test. Only root may mount: as anybody else the test is skipped.
func SmallDisk(t testing.TB, megabytes int) (dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a disk can be mounted by root only")
	}
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", megabytes)); err != nil {
		t.Fatal("mount a small disk: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
