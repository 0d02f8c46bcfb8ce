package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/private"
)

// journal keeps the pending touches of answers that went out while the broker was down: a line each, synced to disk
// before the answer goes out: the cause, the zone's id and, where there is one, the serial, such as "change
// example.org. 17", or "sweep". It is safe for concurrent use.
type journal struct {
	path  string
	limit int // of lines; what comes beyond becomes a request for a sweep

	mu    sync.Mutex
	file  *os.File             // nil while there is nothing to keep
	last  map[zone.Name]string // each zone's line
	lines int
	found []Touch
	alien int // lines found that are not understood
}

// openJournal reads what an earlier process left. A last line without its end was never promised.
func openJournal(dir string) (*journal, error) {
	if err := private.Folder(dir); err != nil {
		return nil, fmt.Errorf("proxy.state_dir: %w", err)
	}
	j := &journal{path: filepath.Join(dir, "pending"), limit: maxPending}
	if err := private.Tighten(j.path); err != nil {
		return nil, fmt.Errorf("proxy.state_dir: %w", err)
	}
	text, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return j, j.putAside(err)
	}
	j.found, j.alien = parseJournal(string(text))
	return j, nil
}

// putAside keeps a journal that the disk does not give back: it may have had any zone.
func (j *journal) putAside(why error) error {
	if err := os.Rename(j.path, j.path+".damaged-"+time.Now().UTC().Format("20060102T150405Z")); err != nil {
		return fmt.Errorf("proxy.state_dir: the pending touches cannot be read: %w", errors.Join(why, err))
	}
	j.alien = 1
	return nil
}

// sweepWord is the line of a request for a sweep.
const sweepWord = "sweep"

// parseJournal reads the lines of an earlier process; each zone's newest counts. foreign is how many are not
// understood: they may be of any zone.
func parseJournal(text string) (touches []Touch, foreign int) {
	at := map[zone.Name]int{}
	for line := range strings.SplitSeq(text[:strings.LastIndexByte(text, '\n')+1], "\n") {
		if line == "" {
			continue
		}
		t, err := parseTouch(line)
		if err != nil {
			foreign++
			continue
		}
		if i, again := at[t.Zone]; again {
			touches[i] = t
			continue
		}
		at[t.Zone] = len(touches)
		touches = append(touches, t)
	}
	return touches, foreign
}

var errNoTouch = errors.New("not a line of a touch")

// parseTouch takes what Touch.line writes, and nothing else.
func parseTouch(line string) (t Touch, err error) {
	fields := strings.Split(line, " ")
	if line == sweepWord {
		return sweep, nil
	}
	if len(fields) < 2 || len(fields) > 3 {
		return t, errNoTouch
	}
	if t.Cause, err = parseCause(fields[0]); err != nil {
		return t, err
	}
	if t.Zone, err = zone.ParseID(fields[1]); err != nil {
		return t, err
	}
	if len(fields) == 3 {
		n, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil || t.Cause != Changed {
			return t, errNoTouch
		}
		serial := uint32(n)
		t.Serial = &serial
	}
	return t, nil
}

func (t Touch) line() string {
	if t.Zone == "" {
		return sweepWord
	}
	line := t.Cause.String() + " " + t.Zone.ID()
	if t.Serial != nil {
		line += " " + strconv.FormatUint(uint64(*t.Serial), 10)
	}
	return line
}

// read returns what was found at the start.
func (j *journal) read() (found []Touch, foreign int) { return j.found, j.alien }

// add returns when the touch is on disk.
func (j *journal) add(t Touch) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lines >= j.limit {
		t = sweep
	}
	line := t.line()
	if j.last[t.Zone] == line {
		return nil
	}
	if j.file == nil {
		file, err := os.OpenFile(j.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		j.file, j.last = file, map[zone.Name]string{}
	}
	// The line before may have been cut off by a crash.
	if _, err := j.file.WriteString("\n" + line + "\n"); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	j.last[t.Zone] = line
	j.lines++
	return nil
}

// clear forgets all: none waits any more.
func (j *journal) clear() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil && j.found == nil && j.alien == 0 {
		return nil
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.last, j.lines, j.found, j.alien = nil, nil, 0, nil, 0
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
