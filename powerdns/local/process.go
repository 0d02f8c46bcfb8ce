package local

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// stopGrace is how long a server gets to end by itself.
const stopGrace = 10 * time.Second

// process is one run of pdns_server.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it is gone and reaped
}

// startProcess starts cmd. The goroutine that starts it waits for it too, on one thread: Linux sends the signal for
// the parent's death when the thread ends that made the child, and a goroutine's thread may end before the program.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in cmd.ProcessState
		}
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// stop asks the process to end, and insists when it doesn't. It may have ended already.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it is gone
	select {
	case <-p.exited:
	case <-time.After(stopGrace):
		p.kill()
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Signal(os.Kill)
	<-p.exited
}
