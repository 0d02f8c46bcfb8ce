package page

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/health"
	"pdns-distribute/private"
)

// The history outlives the role in one file, written anew each minute: it is small, and what is lost with the last
// minute is no loss. A file that cannot be read is put aside.
const (
	historyFile = "history.json.gz"
	damagedFile = "history.damaged"

	// savePause is how often it is written.
	savePause = time.Minute

	// maxHistory is more than a history of 1,024 nodes has, unpacked.
	maxHistory = 64 << 20

	// raiseAgain is how long a role may take after its start to raise again what was raised before.
	raiseAgain = 5 * time.Minute
)

// kept is what the file holds.
type kept struct {
	Version int            `json:"version"`
	At      time.Time      `json:"at"`
	Minutes []minute       `json:"minutes"`
	Changes []Change       `json:"changes"` // the newest first
	Ended   []Ended        `json:"ended"`
	Raised  []health.Alarm `json:"raised"`
}

const keptVersion = 1

// Open makes the folder, and reads the history that is in it. A folder that is open to others is an error; a history
// that cannot be read is put aside, and a new one begins.
func (h *History) Open(folder string, log zerolog.Logger) error {
	if folder == "" {
		return nil
	}
	if err := private.Folder(folder); err != nil {
		return fmt.Errorf("health.state_dir: %w", err)
	}
	file := filepath.Join(folder, historyFile)
	k, err := read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		err = errors.Join(err, os.Rename(file, filepath.Join(folder, damagedFile)))
		log.Warn().Err(err).Str("file", file).Msg("failed to read the history of the page, beginning a new one")
	default:
		h.restore(k, time.Now())
	}
	return nil
}

// Keep writes the history into the folder until ctx ends, and once more then. Where that fails it is kept in memory
// alone: nothing else depends on it. It returns nil.
func (h *History) Keep(ctx context.Context, folder string, log zerolog.Logger) error {
	if folder == "" {
		<-ctx.Done()
		return nil
	}
	failed := false
	tick := time.NewTicker(savePause)
	defer tick.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		err := h.save(filepath.Join(folder, historyFile), time.Now())
		if err != nil && !failed {
			log.Warn().Err(err).Msg("failed to write the history of the page; it will not outlive this process")
		}
		failed = err != nil
	}
	return nil
}

func read(file string) (k kept, err error) {
	opened, err := os.Open(file)
	if err != nil {
		return k, err
	}
	defer opened.Close()
	unpacked, err := gzip.NewReader(opened)
	if err != nil {
		return k, err
	}
	text, err := io.ReadAll(io.LimitReader(unpacked, maxHistory))
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err == nil && k.Version != keptVersion {
		err = fmt.Errorf("it is of version %d, and this program reads %d", k.Version, keptVersion)
	}
	return k, err
}

// restore puts what was kept before what has happened since.
func (h *History) restore(k kept, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, m := range k.Minutes {
		if m.Nodes == nil {
			k.Minutes[i].Nodes = map[string]sample{}
		}
	}
	h.minutes = append(k.Minutes[:min(len(k.Minutes), minutesKept)], h.minutes...)
	h.trim(now.UTC())
	since := h.changes.last(changesKept)
	h.changes = newChanges()
	for i := range k.Changes {
		k.Changes[i].by.fill() // who has served it is not kept: nobody counts twice
	}
	all := append(since, k.Changes...) // the newest first
	for _, c := range slices.Backward(all[:min(len(all), changesKept)]) {
		h.changes.add(c)
	}
	h.ended, h.raised, h.patience = append(k.Ended, h.ended...), append(k.Raised, h.raised...), now.Add(raiseAgain)
}

// save replaces the file as a whole.
func (h *History) save(file string, now time.Time) error {
	h.mu.Lock()
	text, err := json.Marshal(kept{
		Version: keptVersion, At: now.UTC(), Minutes: h.minutes, Changes: h.changes.last(changesKept), Ended: h.ended, Raised: h.raised,
	})
	h.mu.Unlock()
	if err != nil {
		return err
	}
	made, err := os.CreateTemp(filepath.Dir(file), historyFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(made.Name()) // nothing once it is renamed
	packed := gzip.NewWriter(made)
	_, err = packed.Write(text)
	if err = errors.Join(err, packed.Close(), made.Close()); err != nil {
		return err
	}
	return os.Rename(made.Name(), file)
}
