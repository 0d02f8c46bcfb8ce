package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pdns-distribute/powerdns"
)

// Backend is where a server keeps its zones.
type Backend string

// The backends that a server can be started with.
const (
	SQLite     Backend = "gsqlite3"
	LMDB       Backend = "lmdb"
	PostgreSQL Backend = "gpgsql" // of a database server that runs already; Options.Settings say where
	MySQL      Backend = "gmysql" // likewise
)

// Options say what server to start.
type Options struct {
	Dir     string  // folder of the server, made when missing; a database that is there is used as it stands
	Backend Backend // default SQLite
	Primary bool    // a primary, else a secondary with the recommended cache settings
	Socket  bool    // its API listens at a Unix socket, for 5.0 and later

	// Programs is the folder with pdns_server and pdnsutil, such as that of another release; default those in PATH.
	Programs string

	// Settings are more lines for pdns.conf; they override those of this package.
	Settings map[string]string
}

// Server is a pdns_server process with its data. Its methods are safe for concurrent use and act one after another.
// The fields are not changed after Start, but for Backend by Move.
type Server struct {
	Dir     string
	Backend Backend
	Primary bool
	DNSAddr string          // host:port, UDP and TCP
	APIURL  string          // without /api/v1
	APIKey  powerdns.Secret // made anew by each Start; also in APIKeyFile

	socket   bool   // of the API
	id       string // tells this server from all others, over DNS
	settings map[string]string

	mu        sync.Mutex // held for the whole of each operation
	programs  string     // folder of pdns_server, "" where PATH has it
	clock     time.Duration
	process   *process
	socketDir string
	logStart  int64 // where in the log file the last start begins
}

// portAttempts is how often Start picks other ports when another program was quicker to bind them.
const portAttempts = 10

// Start starts a server and returns when it answers. A server that doesn't come up is ended, and the error shows the
// end of its log; ErrMissing where PowerDNS isn't installed.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := newServer(o)
	if err != nil {
		return nil, err
	}
	for range portAttempts {
		if err = s.pickPorts(); err != nil {
			break
		}
		if err = s.start(ctx); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func newServer(o Options) (*Server, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Dir:      dir,
		Backend:  o.Backend,
		Primary:  o.Primary,
		APIKey:   powerdns.Secret(rand.Text()),
		id:       rand.Text(),
		socket:   o.Socket,
		settings: o.Settings,
		programs: o.Programs,
	}
	if s.Backend == "" {
		s.Backend = SQLite
	}
	if known := []Backend{SQLite, LMDB, PostgreSQL, MySQL}; !slices.Contains(known, s.Backend) {
		return nil, fmt.Errorf("start PowerDNS: backend %q is none of %s", s.Backend, known)
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, err
	}
	return s, os.WriteFile(s.APIKeyFile(), []byte(s.APIKey.Reveal()+"\n"), 0o600)
}

func (s *Server) pickPorts() error {
	dnsAddr, err := FreeAddress()
	if err != nil {
		return err
	}
	apiAddr, err := FreeAddress()
	if err != nil {
		return err
	}
	s.DNSAddr, s.APIURL = dnsAddr, "http://"+apiAddr
	if s.socket {
		s.APIURL = "unix:" + filepath.Join(s.Dir, "api.sock")
	}
	return nil
}

// Config is the configuration with which package powerdns reaches this server.
func (s *Server) Config() powerdns.Config {
	return powerdns.Config{
		APIURL:      s.APIURL,
		APIKey:      s.APIKey,
		ServerID:    "localhost",
		DNSAddress:  s.DNSAddr,
		Timeout:     10 * time.Second,
		ListTimeout: 5 * time.Minute,
		Connections: 8,
	}
}

// APIKeyFile is a file that holds the API key, as powerdns.api_key_file names one.
func (s *Server) APIKeyFile() string { return filepath.Join(s.Dir, "api-key") }

// Client is a new client of this server.
func (s *Server) Client() (*powerdns.Client, error) {
	return powerdns.NewClient(s.Config())
}

// Stop lets the server end in order (SIGTERM), and waits for it. The data stays. Stopping twice is fine.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process.stop()
	s.removeSocketDir()
}

// Kill ends the server at once (SIGKILL). The data stays as it is at that instant.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process.kill()
	s.removeSocketDir()
}

// Signal sends a signal to the server's process, such as SIGSTOP. Restart starts one that is stopped anew.
func (s *Server) Signal(signal os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.cmd.Process.Signal(signal)
}

// PID is the process id of a server that runs.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.cmd.Process.Pid
}

// Restart stops the server, where it is running, and starts it on the same ports and data.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process.stop()
	return s.start(ctx)
}

// SetPrograms has the server run another release, whose programs are in the folder, from its next start on.
func (s *Server) SetPrograms(folder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.programs = folder
}

// SetClock has the server's clock be so far off, from its next start on.
func (s *Server) SetClock(off time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = off
}

// findFaketime finds the library that shows a process another time.
func findFaketime() (string, error) {
	found, err := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	if err == nil && len(found) == 0 {
		err = errors.New("libfaketime is missing; on Debian: apt-get install faketime")
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// Wipe kills the server, removes all its zones and keys, and starts it on the same ports with an empty database.
func (s *Server) Wipe(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process.kill()
	if err := os.RemoveAll(s.databaseDir()); err != nil {
		return err
	}
	return s.start(ctx)
}

// start starts a process and waits until it answers; one that doesn't is ended.
func (s *Server) start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return fmt.Errorf("start PowerDNS in %s: %w", s.Dir, err)
	}
	err := s.waitReady(ctx)
	if err == nil {
		return nil
	}
	s.process.kill()
	s.removeSocketDir()
	return fmt.Errorf("start PowerDNS in %s: %w; the end of its log:\n%s", s.Dir, err, s.logTail())
}

func (s *Server) launch() error {
	program, err := s.find("pdns_server")
	if err != nil {
		return err
	}
	if err := s.createDatabase(); err != nil {
		return err
	}
	if err := s.makeSocketDir(); err != nil {
		return err
	}
	if err := s.writeConf(); err != nil {
		return err
	}
	return s.run(program)
}

func (s *Server) run(program string) error {
	log, err := s.openLog()
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(program, "--config-dir="+s.Dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	if s.clock != 0 {
		library, err := findFaketime()
		if err != nil {
			return err
		}
		cmd.Env = append(os.Environ(), "LD_PRELOAD="+library, fmt.Sprintf("FAKETIME=%+ds",
			int(s.clock.Seconds())), "FAKETIME_DONT_FAKE_MONOTONIC=1")
	}
	s.process, err = startProcess(cmd)
	return err
}
