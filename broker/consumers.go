package broker

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// What a consumer has delivered is in a file without a checksum: an altered one that can be decoded would have a
// secondary pass by states, and one that cannot keeps the consumer from ever being made again. So a server that ends in
// order notes what the files are, and the next start compares. A consumer whose files are others is taken out: it is
// made anew and delivers all again.

const (
	consumersFile = "consumers.json" // the notes, where the streams are kept
	stateFile     = "o.dat"
)

// noteConsumers is called when the server has ended.
func (s *Server) noteConsumers() error {
	sums := map[string]string{}
	for _, folder := range consumersOf(s.storeDir) {
		if text, err := os.ReadFile(filepath.Join(folder, stateFile)); err == nil {
			sums[folder] = sumOf(text)
		}
	}
	text, err := json.Marshal(sums)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(s.storeDir, consumersFile), text)
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// takeNotes reads what an earlier server noted, and removes it: what this one writes is not known before its end.
func takeNotes(store string) (sums map[string]string) {
	file := filepath.Join(store, consumersFile)
	if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &sums) != nil {
		sums = nil
	}
	_ = os.Remove(file) // if it cannot be removed nothing can be written either, and the server says so
	return sums
}

// consumersOf are the folders of all consumers that are on disk.
func consumersOf(store string) []string {
	found, _ := filepath.Glob(filepath.Join(store, "jetstream", "*", "streams", "*", "obs", "*")) // the pattern is no fault
	return found
}

// checkConsumer returns what is wrong with a consumer's files.
func checkConsumer(folder string, sums map[string]string) error {
	if _, err := os.Stat(filepath.Join(folder, metaKey)); err == nil {
		return nil // encrypted
	}
	stream := filepath.Base(filepath.Dir(filepath.Dir(folder)))
	if err := checkSettings(folder, stream+"/"+filepath.Base(folder)); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(folder, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, noted := sums[folder]; noted {
			return errors.New(stateFile + " is gone")
		}
		return nil // it has delivered nothing yet
	}
	if err != nil {
		return err
	}
	if noted, is := sums[folder]; is && noted != sumOf(text) {
		return errors.New(stateFile + " is not what it was when the server ended")
	}
	if len(text) > 0 && !decodable(text) {
		return errors.New(stateFile + " cannot be decoded")
	}
	return nil
}

// decodable reports whether nats-server can read a consumer's state (server/filestore.go, decodeConsumerState, version
// 2).
func decodable(text []byte) bool {
	const mark, version = 22, 2
	if len(text) < 2 || text[0] != mark || text[1] != version {
		return false
	}
	r := varints{rest: text[2:]}
	_, acked, _, delivered := r.next(), r.next(), r.next(), r.next()
	if r.bad || acked > maxSequence || delivered > maxSequence {
		return false
	}
	if pending := r.next(); pending > 0 {
		r.next() // the oldest time
		for n := uint64(0); n < pending && !r.bad; n++ {
			r.next()
			r.next()
			r.next()
		}
	}
	for again := r.next(); again > 0 && !r.bad; again-- {
		r.next()
		r.next()
	}
	return !r.bad
}

type varints struct {
	rest []byte
	bad  bool
}

// next is the next number; of signed ones only that there is one counts.
func (r *varints) next() uint64 {
	value, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return value
}

// examineConsumers finds those whose files are not what they were.
func (r *repair) examineConsumers() {
	sums := takeNotes(r.store)
	for _, folder := range consumersOf(r.store) {
		if err := checkConsumer(folder, sums); err != nil {
			r.reasons = append(r.reasons, fmt.Sprintf("consumer %s of stream %s: %v",
				filepath.Base(folder), filepath.Base(filepath.Dir(filepath.Dir(folder))), err))
			r.consumers = append(r.consumers, folder)
		}
	}
}
