package zone

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Chunk refers to a piece of a large zone, which is stored compressed under its hash. Equal records make equal chunks,
// so a new version shares all chunks but the changed ones with the old.
type Chunk struct {
	Hash [sha256.Size]byte // of the compressed records
	Size uint32            // of the uncompressed records, in bytes
}

// Sizes in bytes of uncompressed records. Larger zones get larger chunks, so that their list stays below maxChunks.
const (
	chunkMin    = 8 << 10
	chunkTarget = 32 << 10
	chunkMax    = 512 << 10 // compressed it must fit a message of the broker
	maxChunks   = 12 << 10  // 36 bytes each: a state stays below 512 KB
)

// ErrCorrupt is wrapped by the errors about stored or received content that is not what it claims to be.
var ErrCorrupt = errors.New("corrupt")

var (
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
	decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecodeAllCapLimit(true))
)

// compress is safe for concurrent use, and makes equal bytes of equal records as long as the zstd library is the same.
func compress(records []byte) []byte { return encoder.EncodeAll(records, nil) }

// decompress appends exactly size bytes to dst, never more.
func decompress(dst, data []byte, size int) ([]byte, error) {
	dst = slices.Grow(dst, size)
	out, err := decoder.DecodeAll(data, dst[len(dst):len(dst):len(dst)+size])
	if err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", ErrCorrupt, err)
	}
	if len(out) != size {
		return nil, fmt.Errorf("%w: %d bytes where %d were announced", ErrCorrupt, len(out), size)
	}
	return dst[: len(dst)+size : cap(dst)], nil
}

// split cuts the records into chunks and returns their compressed content, too. A cut falls between two owners, where
// the hash of the second says so: the cuts depend on what stands around them only, not on what comes before.
func (z *Zone) split() (chunks []Chunk, contents [][]byte) {
	target := max(chunkTarget, z.Size()/(maxChunks/4))
	start := 0
	cut := func(at int) {
		content := compress(z.wire[start:at])
		contents = append(contents, content)
		chunks = append(chunks, Chunk{Hash: sha256.Sum256(content), Size: uint32(at - start)})
		start = at
	}
	for i := 1; i < len(z.index); i++ {
		at, owner := int(z.index[i]), z.Record(i).owner()
		full := at-start >= chunkMax/2
		border := at-start >= chunkMin && !bytes.Equal(owner, z.Record(i-1).owner())
		if full || border && cutHere(owner, z.groupSize(i), target) {
			cut(at)
		}
	}
	cut(len(z.wire))
	return chunks, contents
}

// groupSize is the size of the records from i on that share an owner, counted up to 64 of them.
func (z *Zone) groupSize(i int) int {
	size := 0
	for j := i; j < len(z.index) && j < i+64 && bytes.Equal(z.Record(j).owner(), z.Record(i).owner()); j++ {
		size += len(z.Record(j))
	}
	return size
}

// cutHere is true for one byte in target, so to speak.
func cutHere(owner []byte, group, target int) bool {
	h := fnv.New32a()
	h.Write(owner)
	return float64(h.Sum32()) < math.MaxUint32*float64(group)/float64(target)
}
