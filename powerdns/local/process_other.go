//go:build !linux

package local

import "syscall"

// childAttributes: only Linux can tie the life of a child to this program's.
func childAttributes() *syscall.SysProcAttr { return nil }
