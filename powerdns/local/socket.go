package local

import (
	"os"
	"path/filepath"
)

// maxSocketPath is the room for the path of a unix socket: sun_path less its closing zero, unix(7).
const maxSocketPath = 107

// makeSocketDir takes the server's own folder for the control socket, or a temporary one where its path is too long.
func (s *Server) makeSocketDir() (err error) {
	s.socketDir = s.Dir
	if len(filepath.Join(s.Dir, "pdns.controlsocket")) > maxSocketPath {
		s.socketDir, err = os.MkdirTemp("", "pdns-")
	}
	return err
}

func (s *Server) removeSocketDir() {
	if s.socketDir != s.Dir {
		_ = os.RemoveAll(s.socketDir)
	}
}
