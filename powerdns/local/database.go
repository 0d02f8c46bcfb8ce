package local

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed schema.sql
var schema string

// databaseDir holds nothing but the database, so that emptying it is removing the folder.
func (s *Server) databaseDir() string { return filepath.Join(s.Dir, "db") }

func (s *Server) databaseFile(b Backend) string { return filepath.Join(s.databaseDir(), string(b)) }

// createDatabase makes the database unless there is one. PowerDNS makes that of lmdb itself.
func (s *Server) createDatabase() error {
	if err := os.MkdirAll(s.databaseDir(), 0o700); err != nil {
		return err
	}
	if s.Backend != SQLite {
		return nil
	}
	if _, err := os.Stat(s.databaseFile(SQLite)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return createSQLite(s.databaseFile(SQLite))
}

// createSQLite builds the database under another name first, so that one that is there is always whole.
func createSQLite(file string) error {
	sqlite3, err := find("sqlite3")
	if err != nil {
		return err
	}
	unfinished := file + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	cmd := exec.Command(sqlite3, "-batch", "-bail", unfinished)
	cmd.Stdin = strings.NewReader("BEGIN;" + schema + "COMMIT;")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("create database %s: %w: %s", file, err, out)
	}
	return os.Rename(unfinished, file)
}

// SQL runs statements on the database of a server with SQLite, beside it or while it is stopped, and returns what they
// print.
func (s *Server) SQL(ctx context.Context, statements string) (string, error) {
	if s.Backend != SQLite {
		return "", fmt.Errorf("the database of %s is %s, not %s", s.Dir, s.Backend, SQLite)
	}
	sqlite3, err := find("sqlite3")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, sqlite3, "-batch", "-bail", "-cmd", ".timeout 5000", s.databaseFile(SQLite))
	cmd.Stdin = strings.NewReader(statements)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", statements, err, out)
	}
	return string(out), nil
}

// ErrMissing: a program that this package runs is not installed; the text says how to get it.
var ErrMissing = errors.New("not found: run 'make setup', or " +
	"'apt-get install pdns-server pdns-backend-sqlite3 pdns-backend-lmdb sqlite3'")

// find is the path of a program of the server's release.
func (s *Server) find(program string) (string, error) {
	if s.programs == "" {
		return find(program)
	}
	return exec.LookPath(filepath.Join(s.programs, program))
}

// find looks for a program in PATH, and where Debian keeps servers, which is not in every user's PATH.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath(filepath.Join("/usr/sbin", program)); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s %w", program, ErrMissing)
}
