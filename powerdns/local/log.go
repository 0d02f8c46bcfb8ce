package local

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
)

// LogFile is where all runs of the server write what they have to say.
func (s *Server) LogFile() string { return filepath.Join(s.Dir, "pdns.log") }

// openLog opens the log file for a new run, behind what earlier ones wrote.
func (s *Server) openLog() (*os.File, error) {
	f, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	s.logStart, err = f.Seek(0, io.SeekEnd)
	return f, err
}

// logTail is the end of what the last run wrote, for errors.
func (s *Server) logTail() string {
	f, err := os.Open(s.LogFile())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, s.logStart, 1<<20))
	if err != nil {
		return err.Error()
	}
	const enough = 2000
	return string(bytes.TrimSpace(text[max(0, len(text)-enough):]))
}
