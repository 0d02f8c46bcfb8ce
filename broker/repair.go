package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrDamaged means that the store holds what cannot be read: it is repaired before the server is started again.
var ErrDamaged = errors.New("the broker's store is damaged")

// Repair looks through the store before the server is started, and returns what it found and did, "" if nothing: of a
// single broker it takes out what cannot be read, and has all primaries, secondaries and health roles begin anew with
// the rest, by another time of creation; of a broker of a cluster it puts the whole store aside, which the others fill
// again. What is taken out is kept.
func (s *Server) Repair(ctx context.Context) (done string, err error) {
	r := repair{store: s.storeDir, at: time.Now().UTC()}
	for _, folder := range r.streams() {
		if ctx.Err() != nil {
			return "", nil
		}
		r.examine(folder)
	}
	r.examineConsumers()
	if noted := s.noted(); noted.Damaged != "" {
		r.reasons = append(r.reasons, noted.Damaged)
		for _, stream := range noted.Shorter {
			r.lossy = append(r.lossy, r.named(stream)...)
		}
	}
	if len(r.reasons) == 0 {
		return "", nil
	}
	if s.clustered {
		err = r.aside(filepath.Join(s.storeDir, "jetstream"))
	} else {
		err = r.removeDamage()
	}
	if err == nil {
		err = s.forgetCounts()
	}
	what := strings.Join(r.reasons[:min(len(r.reasons), 5)], "; ")
	if err != nil {
		return "", fmt.Errorf("%w (%s) and cannot be repaired: %w", ErrDamaged, what, err)
	}
	return fmt.Sprintf("its store was damaged (%s); what could not be read is kept in %s, and is published again",
		what, r.kept()), nil
}

// repair is what is found in a store, and done about it.
type repair struct {
	store   string
	at      time.Time
	reasons []string
	broken  []string // folders of streams that nothing can be made of
	lossy   []string // folders of streams that lack messages, or will
	blocks  []block  // that hold what is no record

	consumers []string // folders of those whose files are not what they were
}

// streams are the folders of all streams, and of a cluster's logs, which are kept in the same way.
func (r *repair) streams() []string {
	found, _ := filepath.Glob(filepath.Join(r.store, "jetstream", "*", "streams", "*")) // the patterns are no fault
	logs, _ := filepath.Glob(filepath.Join(r.store, "jetstream", "*", "_js_", "*", "msgs"))
	for _, messages := range logs { // those in memory have none
		found = append(found, filepath.Dir(messages))
	}
	return slices.DeleteFunc(found, func(folder string) bool {
		info, err := os.Stat(folder)
		return err != nil || !info.IsDir() || strings.HasPrefix(filepath.Base(folder), ".")
	})
}

func (r *repair) named(stream string) []string {
	return slices.DeleteFunc(r.streams(), func(folder string) bool { return filepath.Base(folder) != stream })
}

// examine reads a stream's files.
func (r *repair) examine(folder string) {
	name := filepath.Base(folder)
	if _, err := os.Stat(filepath.Join(folder, metaKey)); err == nil {
		return // encrypted
	}
	if err := checkSettings(folder, name); err != nil {
		r.reasons = append(r.reasons, fmt.Sprintf("stream %s: %v", name, err))
		r.broken = append(r.broken, folder)
		return
	}
	blocks, err := blocksOf(folder)
	if err != nil {
		r.reasons = append(r.reasons, fmt.Sprintf("stream %s: %v", name, err))
		r.broken = append(r.broken, folder)
		return
	}
	before := len(r.blocks)
	for i, b := range blocks {
		if found, where := examineBlock(name, b, i == len(blocks)-1); found > 0 {
			r.reasons = append(r.reasons, fmt.Sprintf("stream %s: %d places in %s cannot be read, the first at byte %d",
				name, found, b.path, where))
			r.blocks = append(r.blocks, b)
		}
	}
	if len(r.blocks) > before {
		r.lossy = append(r.lossy, folder)
	}
}

// examineBlock counts the places of a block that are no record. A record that was only begun is one of them where
// others follow.
func examineBlock(stream string, b block, last bool) (places, first int) {
	text, err := os.ReadFile(b.path)
	if err != nil {
		return 1, 0
	}
	if !readable(text) {
		return 0, 0
	}
	found, _ := readBlock(stream, b.number, text, func([]byte) {})
	for _, d := range found {
		if d.tail && last {
			continue
		}
		if places++; places == 1 {
			first = d.at
		}
	}
	return places, first
}

// kept is the folder for what is taken out.
func (r *repair) kept() string {
	return filepath.Join(r.store, "damaged-"+r.at.Format("20060102T150405.000Z"))
}

// aside moves a folder out of the store.
func (r *repair) aside(folder string) error {
	inside, err := filepath.Rel(r.store, folder)
	if err != nil {
		return err
	}
	to := filepath.Join(r.kept(), strings.ReplaceAll(inside, string(filepath.Separator), "-"))
	return errors.Join(os.MkdirAll(r.kept(), 0o700), os.Rename(folder, to))
}

// removeDamage takes out what cannot be read. Whoever follows a stream that lacks something must begin anew, and
// primaries compare all zones, which the time of creation of the states tells them.
func (r *repair) removeDamage() error {
	var faults []error
	for _, folder := range r.broken {
		faults = append(faults, r.aside(folder))
	}
	for _, folder := range r.consumers {
		if _, err := os.Stat(folder); err == nil { // its stream may have been put aside
			faults = append(faults, r.aside(folder))
		}
	}
	for _, b := range r.blocks {
		faults = append(faults, r.rewrite(b))
	}
	slices.Sort(r.lossy)
	for _, folder := range slices.Compact(r.lossy) {
		faults = append(faults, r.beginAnew(folder))
	}
	if len(r.broken)+len(r.blocks)+len(r.lossy) > 0 || len(r.consumers) == 0 { // not for what is only delivered again
		for _, folder := range r.named(stateStream) {
			faults = append(faults, recreate(folder, r.at))
		}
	}
	return errors.Join(faults...)
}

// rewrite leaves only records in a block, and keeps what it was.
func (r *repair) rewrite(b block) error {
	text, err := os.ReadFile(b.path)
	if err != nil {
		return r.aside(b.path)
	}
	stream := filepath.Base(filepath.Dir(filepath.Dir(b.path)))
	var sound []byte
	if _, err := readBlock(stream, b.number, text, func(record []byte) { sound = append(sound, record...) }); err != nil {
		return err
	}
	kept := filepath.Join(r.kept(), stream+"-"+filepath.Base(b.path))
	if err := errors.Join(os.MkdirAll(r.kept(), 0o700), os.WriteFile(kept, text, 0o600)); err != nil {
		return err
	}
	if len(sound) == 0 {
		return os.Remove(b.path)
	}
	return replaceFile(b.path, sound)
}

// beginAnew has the server read a stream's messages anew, without its consumers: where sequences are gone, those would
// pass by what takes their place.
func (r *repair) beginAnew(folder string) error {
	err := os.Remove(filepath.Join(folder, indexFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(folder, "obs")), recreate(folder, r.at))
}

// recreate gives a stream another time of creation, by which all who follow it know that it is not the one that it was.
func recreate(folder string, at time.Time) error {
	path := filepath.Join(folder, metaFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	settings := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &settings); err != nil {
		return err
	}
	if settings["Created"], err = json.Marshal(at); err != nil {
		return err
	}
	if text, err = json.Marshal(settings); err != nil {
		return err
	}
	sum, err := metaSumOf(filepath.Base(folder), text)
	if err != nil {
		return err
	}
	return errors.Join(replaceFile(path, text), replaceFile(filepath.Join(folder, metaSum), []byte(sum)))
}

// replaceFile writes a file beside the one that it then replaces.
func replaceFile(path string, text []byte) error {
	beside := path + ".new"
	if err := os.WriteFile(beside, text, 0o600); err != nil {
		return err
	}
	return os.Rename(beside, path)
}

// countsFile is where a server notes what its streams held, to know after a restart what they lack.
const countsFile = "counts.json"

// counted is what the file says.
type counted struct {
	Streams map[string]StreamCount `json:"streams"`
	Damaged string                 `json:"damaged,omitempty"` // what the next start has to repair ...
	Shorter []string               `json:"shorter,omitempty"` // ... and the streams of that which end earlier than they did
}

// noted is the zero value where there is none that can be read.
func (s *Server) noted() (c counted) {
	text, err := os.ReadFile(filepath.Join(s.storeDir, countsFile))
	if err != nil || json.Unmarshal(text, &c) != nil {
		return counted{}
	}
	return c
}

func (s *Server) note(c counted) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(s.storeDir, countsFile), text)
}

func (s *Server) forgetCounts() error {
	if err := os.Remove(filepath.Join(s.storeDir, countsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// lacking says what streams of a single broker lack beside what was noted, "" if nothing, and which of them end
// earlier: there sequences will be given again. Messages come and go while the server runs; between its end and its
// start they should not.
func lacking(before map[string]StreamCount, now []StreamCount, restarted bool) (what string, shorter []string) {
	var found []string
	for _, is := range now {
		was, known := before[is.Name]
		known = known && was.Created.Equal(is.Created)
		switch {
		case known && is.Last < was.Last:
			found = append(found, fmt.Sprintf("stream %s ends at message %d and had %d", is.Name, is.Last, was.Last))
			shorter = append(shorter, is.Name)
		case is.Lost > 0:
			found = append(found, fmt.Sprintf("nats-server lost %d messages of stream %s", is.Lost, is.Name))
			shorter = append(shorter, is.Name)
		case known && restarted && is.Messages < was.Messages && (is.Name == stateStream || is.Name == blobStream):
			found = append(found, fmt.Sprintf("stream %s has %d messages and had %d",
				is.Name, is.Messages, was.Messages))
		}
	}
	return strings.Join(found, "; "), shorter
}
