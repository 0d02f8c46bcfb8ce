package observe

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Systemd tells the service manager that started this process that it has begun, that it lives, and that it ends
// (sd_notify(3), sd_watchdog_enabled(3)). Without one it does nothing. Readiness is no part of it: a role that waits for
// its broker has begun.
type Systemd struct {
	socket   string
	watchdog time.Duration // how often it wants to hear that the process lives; 0: it does not
}

// NewSystemd reads the environment, by which the manager says where it listens.
func NewSystemd() Systemd {
	s := Systemd{socket: os.Getenv("NOTIFY_SOCKET")}
	if strings.HasPrefix(s.socket, "@") { // an abstract one
		s.socket = "\x00" + s.socket[1:]
	}
	if of := os.Getenv("WATCHDOG_PID"); of == "" || of == strconv.Itoa(os.Getpid()) {
		if usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
			s.watchdog = time.Duration(usec) * time.Microsecond / 2
		}
	}
	return s
}

// Run tells until ctx ends. A process that stands still tells nothing, and is started anew.
func (s Systemd) Run(ctx context.Context) error {
	if s.socket == "" {
		return nil
	}
	if err := s.tell("READY=1"); err != nil {
		return err
	}
	defer s.tell("STOPPING=1") // it learns of the end in any case
	if s.watchdog == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(s.watchdog)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.tell("WATCHDOG=1"); err != nil {
				return err
			}
		}
	}
}

func (s Systemd) tell(what string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell systemd %s: %w; does RestrictAddressFamilies leave AF_UNIX?", what, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(what)); err != nil {
		return fmt.Errorf("tell systemd %s: %w", what, err)
	}
	return nil
}
