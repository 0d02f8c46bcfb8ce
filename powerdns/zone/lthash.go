package zone

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// Element stands for one version of one zone: a hash over its name and all that tells versions apart, be it in a state
// or in a header that the broker keeps beside it.
type Element [sha256.Size]byte

// Version is what an [Element] is made of, as headers have it: digests in hex.
type Version struct {
	Name           Name
	Gone           bool // a tombstone; it has no element
	Published      time.Time
	Serial, Stored uint32
	Expires        uint32
	Digest, Stable string
}

// Version is the state's.
func (s *State) Version() Version {
	v := Version{Name: s.Name, Gone: s.Gone, Published: s.Published}
	if !s.Gone {
		v.Serial, v.Stored, v.Expires = s.Serial, s.Stored, s.Expires
		v.Digest, v.Stable = hex.EncodeToString(s.Digest[:]), hex.EncodeToString(s.Stable[:])
	}
	return v
}

// element hashes the version. Each field has a fixed length or says how long it is, so no two versions read the same.
// The time alone would not do: two primaries can sign different contents within one millisecond, and a primary that
// starts knows of headers only, by which it decides what is to be published anew.
func (v Version) element() Element {
	b := make([]byte, 0, 512)
	b = append(b, "pdns-distribute version\x00"...)
	b = append(append(b, byte(len(v.Name))), v.Name...)
	b = binary.BigEndian.AppendUint64(b, uint64(v.Published.UnixMilli()))
	for _, n := range []uint32{v.Serial, v.Stored, v.Expires} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	for _, digest := range []string{v.Digest, v.Stable} {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(digest))), digest...)
	}
	return sha256.Sum256(b)
}

// ltHash is the sum of a set of elements, whatever the order they came and went in: LtHash with 1,024 lanes of 16 bits
// (Lewi, Kim, Maykov, Weis, "Securing Update Propagation with Homomorphic Hashing", 2019; Bellare and Micciancio, "A
// New Paradigm for Collision-free Hashing", 1997). To find two sets with one sum is a short vector problem of 200 bits
// of security. XOR, or a sum modulo 2^256, would be broken here: whoever keeps the broker has many old signed
// versions, and finds among them a set with the sum of another one by linear algebra, or by generalized birthdays
// (Wagner 2002). Fewer lanes would cost less time and fall below 128 bits.
type ltHash [1024]uint16

// add puts an element in.
func (l *ltHash) add(x *expansion) {
	for i := range l {
		l[i] += binary.LittleEndian.Uint16(x[2*i:])
	}
}

// remove takes out an element that was put in.
func (l *ltHash) remove(x *expansion) {
	for i := range l {
		l[i] -= binary.LittleEndian.Uint16(x[2*i:])
	}
}

// expansion is an element stretched over all lanes.
type expansion [2 * len(ltHash{})]byte

// of makes x the expansion of an element.
func (x *expansion) of(e Element) *expansion {
	h := sha3.NewSHAKE128()
	h.Write(e[:])
	h.Read(x[:])
	return x
}

// sum is the set in few bytes: to find another one with the same sum takes 2^128 steps.
func (l *ltHash) sum() (s BucketSum) {
	var b expansion
	for i, lane := range l {
		binary.LittleEndian.PutUint16(b[2*i:], lane)
	}
	whole := sha256.Sum256(b[:])
	copy(s[:], whole[:])
	return s
}
