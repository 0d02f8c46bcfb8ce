package zone

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"time"
)

// Buckets is how many groups the zones of a [Checkpoint] are in, by a hash of the name: so that a difference can be
// distinguished from all else that changes.
const Buckets = 64

// BucketSum is the digest of a bucket's versions.
type BucketSum [16]byte

// Sums are those of all buckets.
type Sums [Buckets]BucketSum

// Checkpoint is what a primary signs about all zones together, so that a secondary knows by itself whether it was
// given all of them, and the newest.
type Checkpoint struct {
	// At is when it was made by the primary's clock, to the millisecond. Sums are as of [Checkpoint.AsOf].
	At time.Time

	// Complete: the primary has compared all zones with its PowerDNS since it began. Else Zones and Sums are 0.
	Complete bool

	Zones uint32 // that are published
	Sums  Sums
}

// settling is how far behind the time of a checkpoint its sums are. By then each secondary has what was published, so
// that what is on its way is no difference. One that is slower knows that it is: it gets states from before that time.
const settling = 3 * time.Second

// AsOf is the time that the sums are about, see [Ledger].
func (c Checkpoint) AsOf() time.Time { return c.At.Add(-settling) }

// checkpointSigning keeps signatures of checkpoints from being taken for those of states, and the other way round.
const checkpointSigning = "pdns-distribute checkpoint\x00"

// The encoding, all numbers big-endian: magic and version, flags, time in milliseconds, zones, and the sums.
const (
	checkpointMagic = "PDC\x01"
	checkpointSize  = len(checkpointMagic) + 1 + 8 + 4 + Buckets*len(BucketSum{})
	flagComplete    = 1
)

func (c Checkpoint) encode() []byte {
	b := append(make([]byte, 0, checkpointSize), checkpointMagic...)
	flags := byte(0)
	if c.Complete {
		flags = flagComplete
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(c.At.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, c.Zones)
	for _, sum := range c.Sums {
		b = append(b, sum[:]...)
	}
	return b
}

func decodeCheckpoint(b []byte) (c Checkpoint, err error) {
	r := reader{rest: b}
	if len(b) != checkpointSize || string(r.take(len(checkpointMagic))) != checkpointMagic {
		return c, fmt.Errorf("%w: %d bytes that are no checkpoint of this version", ErrCorrupt, len(b))
	}
	flags := r.byte()
	if flags&^flagComplete != 0 {
		return c, fmt.Errorf("%w: a checkpoint with flags %x", ErrCorrupt, flags)
	}
	c.Complete = flags == flagComplete
	c.At, c.Zones = time.UnixMilli(int64(r.uint64())).UTC(), r.uint32()
	for i := range c.Sums {
		copy(c.Sums[i][:], r.take(len(c.Sums[i])))
	}
	return c, nil
}

// SignCheckpoint returns the encoded checkpoint behind 64 bytes of signature, 1,105 bytes in all.
func (k SignKey) SignCheckpoint(c Checkpoint) []byte {
	encoded := c.encode()
	return append(ed25519.Sign(k.private, append([]byte(checkpointSigning), encoded...)), encoded...)
}

// VerifyCheckpoint decodes what SignCheckpoint made and returns the key that signed it. What none of the trusted keys
// signed is an ErrUnverified.
func VerifyCheckpoint(data []byte, trusted []TrustedKey) (c Checkpoint, by TrustedKey, err error) {
	if len(data) != ed25519.SignatureSize+checkpointSize {
		return c, by, fmt.Errorf("%w: %d bytes that are no checkpoint", ErrCorrupt, len(data))
	}
	signature, encoded := data[:ed25519.SignatureSize], data[ed25519.SignatureSize:]
	message := bytes.Join([][]byte{[]byte(checkpointSigning), encoded}, nil)
	for _, k := range trusted {
		if ed25519.Verify(k[:], message, signature) {
			c, err = decodeCheckpoint(encoded)
			return c, k, err
		}
	}
	return c, by, fmt.Errorf("%w: the checkpoint is of another key, or forged", ErrUnverified)
}
