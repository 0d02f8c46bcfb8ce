package zone

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"math"

	"github.com/klauspost/compress/zstd"
)

// Chunk is a piece of a large zone. Equal records make equal chunks, so a new version shares all chunks but the changed
// ones with the old.
type Chunk struct {
	Hash [sha256.Size]byte // of the uncompressed records
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
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2))
	decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecodeAllCapLimit(true))
)

// compress is safe for concurrent use.
func compress(records []byte) []byte { return encoder.EncodeAll(records, nil) }

// decompress appends exactly size bytes to dst, never more.
func decompress(dst, data []byte, size int) ([]byte, error) {
	if dst == nil || cap(dst)-len(dst) < size {
		dst = append(make([]byte, 0, len(dst)+size), dst...)
	}
	out, err := decoder.DecodeAll(data, dst[len(dst):len(dst):len(dst)+size])
	if err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", ErrCorrupt, err)
	}
	if len(out) != size {
		return nil, fmt.Errorf("%w: %d bytes where %d were announced", ErrCorrupt, len(out), size)
	}
	return dst[: len(dst)+size : cap(dst)], nil
}

// split cuts the records into chunks. A cut falls between two owners, where the hash of the second says so: the cuts
// depend on what stands around them only, not on what comes before.
func (z *Zone) split() []Chunk {
	target := max(chunkTarget, z.Size()/(maxChunks/4))
	var chunks []Chunk
	start := 0
	for i := 1; i < len(z.index); i++ {
		at, owner := int(z.index[i]), z.Record(i).owner()
		full := at-start >= chunkMax/2
		border := at-start >= chunkMin && !bytes.Equal(owner, z.Record(i-1).owner())
		if full || border && cutHere(owner, z.groupSize(i), target) {
			chunks = append(chunks, z.chunk(start, at))
			start = at
		}
	}
	return append(chunks, z.chunk(start, len(z.wire)))
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

func (z *Zone) chunk(from, to int) Chunk {
	return Chunk{Hash: sha256.Sum256(z.wire[from:to]), Size: uint32(to - from)}
}
