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

// Systemd notifies the service manager that started this process when the process has begun, that it lives, and when
// it ends (sd_notify(3), sd_watchdog_enabled(3)). Without a service manager it does nothing. Readiness is no part of
// it: a role that waits for its broker has begun.
type Systemd struct {
	socket   string
	watchdog time.Duration // how often the manager expects a notice that the process lives; 0: never
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

// Run notifies until ctx ends. A process that hangs does not, and is restarted by the watchdog.
func (s Systemd) Run(ctx context.Context) error {
	if s.socket == "" {
		return nil
	}
	if err := s.notify("READY=1"); err != nil {
		return err
	}
	defer s.notify("STOPPING=1") // the manager learns of the end in any case
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
			if err := s.notify("WATCHDOG=1"); err != nil {
				return err
			}
		}
	}
}

func (s Systemd) notify(what string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd of %s: %w; does RestrictAddressFamilies allow AF_UNIX?", what, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(what)); err != nil {
		return fmt.Errorf("notify systemd of %s: %w", what, err)
	}
	return nil
}
