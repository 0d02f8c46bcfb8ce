package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/private"
)

// journal keeps the touches that were promised to clients while the broker was away: a line each, with the reason and
// the zone's id, synced to disk before the answer goes out. It is safe for concurrent use.
type journal struct {
	path  string
	limit int // of touches; what comes beyond becomes a request for a sweep

	mu    sync.Mutex
	file  *os.File // nil while there is nothing to keep
	has   map[touch]bool
	found []touch
}

// openJournal reads what an earlier process left. A last line without its end was never promised.
func openJournal(dir string) (*journal, error) {
	if err := private.Folder(dir); err != nil {
		return nil, fmt.Errorf("proxy.state_dir: %w", err)
	}
	j := &journal{path: filepath.Join(dir, "queued"), limit: maxDirty}
	if err := private.Tighten(j.path); err != nil {
		return nil, fmt.Errorf("proxy.state_dir: %w", err)
	}
	text, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("proxy.state_dir: the queued changes cannot be read: %w", err)
	}
	j.found = parseJournal(string(text))
	return j, nil
}

// parseJournal drops what it cannot read, each zone's newest line counts.
func parseJournal(text string) (touches []touch) {
	at := map[zone.Name]int{}
	for line := range strings.SplitSeq(text[:strings.LastIndexByte(text, '\n')+1], "\n") {
		reason, id, _ := strings.Cut(line, " ")
		t := touch{reason: reason}
		if reason == "" {
			continue
		}
		if id != "" {
			name, err := zone.ParseID(id)
			if err != nil {
				continue
			}
			t.zone = name
		}
		if i, again := at[t.zone]; again {
			touches[i] = t
			continue
		}
		at[t.zone] = len(touches)
		touches = append(touches, t)
	}
	return touches
}

// touches are those that were found at the start.
func (j *journal) touches() []touch { return j.found }

// add returns when the touch is on disk.
func (j *journal) add(t touch) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.has) >= j.limit && !j.has[t] {
		t.zone = ""
	}
	if j.has[t] {
		return nil
	}
	if j.file == nil {
		file, err := os.OpenFile(j.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		j.file, j.has = file, map[touch]bool{}
	}
	line := "\n" + t.reason // the line before may have been cut off by a crash
	if t.zone != "" {
		line += " " + t.zone.ID()
	}
	if _, err := j.file.WriteString(line + "\n"); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	j.has[t] = true
	return nil
}

// clear forgets all: none waits any more.
func (j *journal) clear() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil && j.found == nil {
		return nil
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.has, j.found = nil, nil, nil
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
