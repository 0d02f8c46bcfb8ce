package broker

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
)

// How nats-server 2.15 keeps messages (server/filestore.go): a stream's folder has its settings in meta.inf, with their
// checksum in meta.sum, and its messages in msgs/N.blk, record behind record. index.db is made anew where it is missing
// or does not fit. TestBlocksOfServer reads what the embedded server writes: another version may do it otherwise.
const (
	metaFile  = "meta.inf"
	metaSum   = "meta.sum"
	metaKey   = "meta.key" // of an encrypted one, which nobody else can read
	indexFile = "msgs/index.db"

	recordHead  = 22 // length, sequence, time, length of the subject
	recordSum   = 8
	headersMark = 1 << 31 // in the length
	maxRecord   = 32 << 20
)

// damage is a part of a block that is no record.
type damage struct {
	at, length int
	tail       bool // a record that was begun at the end: the server itself cuts it off, it was never confirmed
}

// readBlock finds what is no record, and gives the rest to keep.
func readBlock(stream string, number uint32, text []byte, keep func(record []byte)) (found []damage, err error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, number))
	hash, err := highwayhash.New64(key[:])
	if err != nil {
		return nil, err
	}
	for at, bad := 0, -1; at < len(text); {
		length := recordAt(text[at:], hash)
		if length > 0 {
			keep(text[at : at+length])
			at += length
			continue
		}
		if bad = at; begun(text[at:]) {
			return append(found, damage{bad, len(text) - bad, true}), nil
		}
		for at++; at < len(text) && recordAt(text[at:], hash) == 0; at++ {
		}
		found = append(found, damage{at: bad, length: at - bad})
	}
	return found, nil
}

type hash64 interface {
	Reset()
	Write([]byte) (int, error)
	Sum64() uint64
}

// recordAt is the length of the record that b begins with, 0 if it does not.
func recordAt(b []byte, hash hash64) int {
	if len(b) < recordHead+recordSum {
		return 0
	}
	le := binary.LittleEndian
	word := le.Uint32(b)
	length, subject := int(word&^headersMark), int(le.Uint16(b[20:]))
	rest := recordHead + subject
	if word&headersMark != 0 {
		rest += 4
	}
	end := length - recordSum
	if length > maxRecord || length > len(b) || rest > end {
		return 0
	}
	hash.Reset()
	_, _ = hash.Write(b[4:20])
	_, _ = hash.Write(b[recordHead : recordHead+subject])
	_, _ = hash.Write(b[rest:end])
	if hash.Sum64() != le.Uint64(b[end:length]) {
		return 0
	}
	if word&headersMark != 0 && !headersFit(b[rest-4:end]) || bytes.ContainsAny(b[recordHead:recordHead+subject], " \t\r\n\x00{") {
		return 0
	}
	return length
}

// headersFit reports whether the headers end where they are said to, which the checksum does not cover.
func headersFit(b []byte) bool {
	n := int(binary.LittleEndian.Uint32(b))
	b = b[4:]
	return n <= len(b) && bytes.HasPrefix(b[:n], []byte("NATS/1.0")) && bytes.Index(b, []byte("\r\n\r\n"))+4 == n
}

// begun reports whether b looks like the first part of a record, as a full disk leaves it.
func begun(b []byte) bool {
	if len(b) < recordHead {
		return true
	}
	length := int(binary.LittleEndian.Uint32(b) &^ headersMark)
	return length > len(b) && length <= maxContent+maxNote && int(binary.LittleEndian.Uint16(b[20:])) < length
}

// block is a file of messages.
type block struct {
	path   string
	number uint32
}

// blocksOf lists the blocks of a stream's folder, in their order.
func blocksOf(folder string) (blocks []block, err error) {
	paths, err := filepath.Glob(filepath.Join(folder, "msgs", "*.blk"))
	for _, path := range paths {
		if n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".blk"), 10, 32); err == nil {
			blocks = append(blocks, block{path, uint32(n)})
		}
	}
	slices.SortFunc(blocks, func(a, b block) int { return int(int64(a.number) - int64(b.number)) })
	return blocks, err
}

// readable reports whether a block's records can be read: not if it is compressed.
func readable(text []byte) bool { return !bytes.HasPrefix(text, []byte("cmp")) }

// metaSumOf is what the checksum of the settings of a stream, or of STREAM/CONSUMER, must be.
func metaSumOf(name string, settings []byte) (string, error) {
	key := sha256.Sum256([]byte(name))
	hash, err := highwayhash.New64(key[:])
	if err != nil {
		return "", err
	}
	_, _ = hash.Write(settings)
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// checkSettings returns what is wrong with the files that say what a stream or a consumer is.
func checkSettings(folder, name string) error {
	settings, err := os.ReadFile(filepath.Join(folder, metaFile))
	if err != nil {
		return err
	}
	sum, err := os.ReadFile(filepath.Join(folder, metaSum))
	if err != nil {
		return err
	}
	want, err := metaSumOf(name, settings)
	if err == nil && want != string(sum) {
		err = fmt.Errorf("%s does not fit %s", metaFile, metaSum)
	}
	return err
}
