package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A running server's blocks are read again and again: those that changed with each scan, the others in turns. So what
// changes on the disk is found before the server, which trips over it, has to read it.

const (
	proofsPerScan = 12       // a scan a minute
	scanBudget    = 32 << 20 // bytes of unchanged blocks in a scan: less than a thousandth of a core
)

// scanner remembers what was read, and what looked damaged the last time.
type scanner struct {
	store   string
	read    map[string]scanned
	suspect map[string]int // blocks that seemed damaged, and where
}

type scanned struct {
	size    int64
	changed time.Time
	at      time.Time
}

func newScanner(store string) *scanner {
	return &scanner{store: store, read: map[string]scanned{}, suspect: map[string]int{}}
}

// scan returns what is damaged, "" if nothing. A server that writes may be seen in the middle of that: only what is
// found at the same place twice counts.
func (s *scanner) scan(now time.Time) (damaged string) {
	r := repair{store: s.store}
	suspect, budget := map[string]int{}, int64(scanBudget)
	for _, folder := range r.streams() {
		if _, err := os.Stat(filepath.Join(folder, metaKey)); err == nil {
			continue
		}
		blocks, err := blocksOf(folder)
		if err != nil {
			continue
		}
		for i, b := range blocks {
			if !s.due(b.path, now, &budget) {
				continue
			}
			if places, at := examineBlock(filepath.Base(folder), b, i == len(blocks)-1); places > 0 {
				suspect[b.path] = at
			}
		}
	}
	for path, at := range suspect {
		if was, is := s.suspect[path]; is && was == at {
			damaged = fmt.Sprintf("%s cannot be read at byte %d", path, at)
		}
		delete(s.read, path) // it is looked at again in any case
	}
	s.suspect = suspect
	return damaged
}

// rereadAfter is how old a look at a block may become.
const rereadAfter = 6 * time.Hour

// due reports whether a block is to be read, and notes that it is.
func (s *scanner) due(path string, now time.Time, budget *int64) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false // it was removed since
	}
	was, known := s.read[path]
	if known && was.size == info.Size() && was.changed.Equal(info.ModTime()) {
		if now.Sub(was.at) < rereadAfter || *budget < info.Size() {
			return false
		}
		*budget -= info.Size()
	}
	s.read[path] = scanned{info.Size(), info.ModTime(), now}
	return true
}
