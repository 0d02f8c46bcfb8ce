package local

import "syscall"

// childAttributes: the child dies with this program, and a Ctrl-C at the terminal reaches this program alone, which
// then stops its servers in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
