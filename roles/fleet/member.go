package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pdns-distribute/roles"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/settings"
)

// member is one role, in this process or in one of its own.
type member struct {
	id, role        string
	program, config string
	set             map[string]string
	observe         string
	log             io.Writer
	version         string

	cancel context.CancelFunc // of one in this process
	cmd    *exec.Cmd          // of one in its own
	done   chan error         // nil while it does not run
}

var commands = map[string]func(context.Context, command.Invocation) error{
	"broker": roles.RunBroker, "primary": roles.RunPrimary, "proxy": roles.RunProxy, "health": roles.RunHealth, "secondary": roles.RunSecondary,
}

func (m *member) start() error {
	if m.done != nil {
		return fmt.Errorf("%s runs already", m.id)
	}
	done := make(chan error, 1)
	if m.program == "" {
		ctx, cancel := context.WithCancel(context.Background())
		m.cancel, m.done = cancel, done
		go func() {
			done <- commands[m.role](ctx, command.Invocation{
				Settings: settings.Sources{File: m.config, Flags: m.set}, Stdout: m.log, Stderr: m.log, Version: m.version,
			})
		}()
		return nil
	}
	args := []string{m.role, "--config", m.config}
	for key, value := range m.set {
		args = append(args, "--set", key+"="+value)
	}
	m.cmd = exec.Command(m.program, args...)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // Ctrl-C is for whoever runs the fleet
	if err := startLate(m.cmd); err != nil {
		return err
	}
	m.done = done
	go func() { done <- m.cmd.Wait() }()
	return nil
}

// startLate starts a process that the kernel may wake late by what the units of an installation allow
// (TimerSlackNSec): a process has that from the thread that makes it.
func startLate(cmd *exec.Cmd) error {
	const prSetTimerSlack = 29 // prctl(2)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, uintptr(500*time.Microsecond), 0)
	defer func() { _, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 0, 0) }()
	return cmd.Start()
}

// passBetween puts other addresses in place of those that the member connects to.
func (m *member) passBetween(brokers []string, between func(to, address string) (string, error)) error {
	if m.role == "broker" {
		return nil
	}
	urls := make([]string, len(brokers))
	for n, address := range brokers {
		other, err := between("broker"+strconv.Itoa(n+1), address)
		if err != nil {
			return err
		}
		urls[n] = "tls://" + other
	}
	m.set["broker.urls"] = strings.Join(urls, ",")
	if api, is := m.set["powerdns.api_url"]; is {
		other, err := between("api", strings.TrimPrefix(api, "http://"))
		if err != nil {
			return err
		}
		m.set["powerdns.api_url"] = "http://" + other
	}
	dns, is := m.set["powerdns.dns_address"]
	if !is {
		return nil
	}
	other, err := between("dns", dns)
	m.set["powerdns.dns_address"] = other
	return err
}

// ended tells whether the member has ended by itself; it can be started again then.
func (m *member) ended() (bool, error) {
	select {
	case err := <-m.done: // nil, which never is ready, while it does not run
		m.done = nil
		return true, err
	default:
		return false, nil
	}
}

// stop ends the member in order and waits for it; one that does not run is no error.
func (m *member) stop() error {
	if m.done == nil {
		return nil
	}
	if m.cmd != nil {
		_ = m.cmd.Process.Signal(syscall.SIGTERM)
	} else {
		m.cancel()
	}
	err := <-m.done
	m.done = nil
	return err
}

func (m *member) kill() error {
	if m.cmd == nil {
		return errors.New("only processes can be killed")
	}
	if m.done == nil {
		return nil
	}
	if err := m.cmd.Process.Kill(); err != nil {
		return err
	}
	<-m.done
	m.done = nil
	return nil
}

func (m *member) signal(s os.Signal) error {
	if m.cmd == nil || m.done == nil {
		return errors.New("only processes that run get signals")
	}
	return m.cmd.Process.Signal(s)
}

func (m *member) pid() int {
	if m.cmd == nil || m.done == nil {
		return 0
	}
	return m.cmd.Process.Pid
}

// awaitReady asks /readyz until it says yes. A member that ended meanwhile is an error.
func (m *member) awaitReady(ctx context.Context) error {
	for {
		if ready(ctx, m.observe) {
			return nil
		}
		select {
		case err := <-m.done:
			m.done = nil
			return fmt.Errorf("%s ended: %w", m.id, errors.Join(err, errors.New("it should run")))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", m.id, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ready(ctx context.Context, address string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}
