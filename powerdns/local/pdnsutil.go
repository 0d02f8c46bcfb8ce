package local

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Version is the release of the pdns_server in a folder, or in PATH where that is "": such as 4.7.3.
func Version(ctx context.Context, programs string) (string, error) {
	program, err := (&Server{programs: programs}).find("pdns_server")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	if _, rest, is := strings.Cut(string(out), "Authoritative Server "); is {
		return strings.Fields(rest)[0], nil // it ends with an error at some releases
	}
	return "", fmt.Errorf("version of %s: %w\n%s", program, err, out)
}

// Pdnsutil runs pdnsutil of the server's release on the server's database, and returns what it prints. Names in
// arguments are complete, with their final dot or without: since 5.0 no name is relative to the zone.
//
// Where SQLite gives up ("database is locked") because the server beside it writes, it is run again until ctx ends:
// SQLite waits for nobody who writes after having read.
func (s *Server) Pdnsutil(ctx context.Context, args ...string) (string, error) {
	s.mu.Lock()
	program, err := s.find("pdnsutil")
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	for {
		cmd := exec.CommandContext(ctx, program, append([]string{"--config-dir=" + s.Dir}, args...)...)
		out, err := cmd.CombinedOutput()
		if err == nil {
			return string(out), nil
		}
		if ctx.Err() != nil || !strings.Contains(string(out), "database is locked") {
			return "", fmt.Errorf("pdnsutil %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// Move has a stopped server with SQLite or LMDB keep its zones in the other one from its next start on: pdnsutil of the
// server's release copies zones, keys and metadata.
func (s *Server) Move(ctx context.Context, to Backend) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	program, err := s.find("pdnsutil")
	if err != nil {
		return err
	}
	from := s.Backend
	s.Backend = to
	if err := s.createDatabase(); err != nil {
		return err
	}
	conf := s.databaseConf(from)
	maps.Copy(conf, s.databaseConf(to))
	conf["launch"] = string(from) + "," + string(to)
	dir, err := os.MkdirTemp("", "pdns-move-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := writeSettings(filepath.Join(dir, "pdns.conf"), conf); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "--config-dir="+dir, "b2b-migrate", string(from), string(to))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("move the zones of %s from %s to %s: %w\n%s", s.Dir, from, to, err, out)
	}
	return nil
}
