package zone

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// State is what is published about a zone: its newest version or, when Gone, that it was deleted.
type State struct {
	Name Name
	Gone bool

	// Published is when the primary published it, to the millisecond; later for every later state of the zone.
	Published time.Time

	Serial  uint32 // of the SOA
	Stored  uint32 // the serial that PowerDNS stores, another one under SOA-EDIT
	Expires uint32 // first end of a signature as in RFC 4034 §3.1.5, 0 when unsigned
	Records uint32
	Size    uint32 // bytes in canonical wire form
	Digest  Digest
	Stable  StableDigest

	inline []byte  // the compressed records of a small zone
	chunks []Chunk // or where the records of a large one are
}

// maxInline is how many bytes of compressed records are carried in the state itself.
const maxInline = 48 << 10

// NewState describes z. stored is the serial that PowerDNS stores for it. Of a large zone, contents are the compressed
// chunks in the order of [State.Chunks], which must be stored under their hashes before the state is published.
func NewState(z *Zone, stored uint32, published time.Time) (s *State, contents [][]byte) {
	s = describe(z)
	s.Stored, s.Published = stored, published.Truncate(time.Millisecond)
	if z.Size() <= 16*maxInline {
		if inline := compress(z.wire); len(inline) <= maxInline {
			s.inline = inline
			return s, nil
		}
	}
	s.chunks, contents = z.split()
	return s, contents
}

// describe fills in what follows from the content.
func describe(z *Zone) *State {
	s := &State{
		Name: z.name, Serial: z.Serial(), Records: uint32(z.Len()), Size: uint32(z.Size()),
		Digest: z.Digest(), Stable: z.Stable(),
	}
	s.Expires, _ = z.FirstExpiry()
	return s
}

// describes reports whether all that describe fills in is right. The digest alone would not do: it leaves out the apex
// ZONEMD.
func (s *State) describes(z *Zone) bool {
	is := describe(z)
	return is.Serial == s.Serial && is.Records == s.Records && is.Size == s.Size && is.Expires == s.Expires &&
		is.Digest == s.Digest && is.Stable == s.Stable
}

// NewTombstone returns the state of a zone that is gone.
func NewTombstone(name Name, published time.Time) *State {
	return &State{Name: name, Gone: true, Published: published.Truncate(time.Millisecond)}
}

// Chunks lists the pieces of a large zone in their order; none for a small one.
func (s *State) Chunks() []Chunk { return s.chunks }

// Zone rebuilds and verifies the content. fetch returns the compressed bytes of a chunk; it is called in their order.
// An error that wraps [ErrCorrupt] means that the content is not what the state says.
func (s *State) Zone(fetch func(Chunk) ([]byte, error)) (*Zone, error) {
	z := &Zone{name: s.Name}
	var err error
	if s.chunks == nil {
		z.wire, err = decompress(nil, s.inline, int(s.Size))
	} else {
		z.wire, err = s.join(fetch)
	}
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", s.Name, err)
	}
	z.index = make([]uint32, 0, min(int(s.Records), len(z.wire)/(fixedLen+1)))
	if err := z.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if !s.describes(z) {
		return nil, fmt.Errorf("%w: zone %s: serial %d with %d records is not what its state describes",
			ErrCorrupt, s.Name, z.Serial(), z.Len())
	}
	return z, nil
}

// join grows with what was really fetched, not with what the state announces.
func (s *State) join(fetch func(Chunk) ([]byte, error)) ([]byte, error) {
	var wire []byte
	for i, c := range s.chunks {
		data, err := fetch(c)
		if err != nil {
			return nil, fmt.Errorf("chunk %d of %d: %w", i+1, len(s.chunks), err)
		}
		if sha256.Sum256(data) != c.Hash {
			return nil, fmt.Errorf("%w: chunk %d of %d does not have its hash", ErrCorrupt, i+1, len(s.chunks))
		}
		if wire, err = decompress(wire, data, int(c.Size)); err != nil {
			return nil, fmt.Errorf("chunk %d of %d: %w", i+1, len(s.chunks), err)
		}
	}
	return wire, nil
}

// The encoding, all numbers big-endian: magic, version, kind; length and bytes of the name; published; and of a zone
// the five numbers, the two digests, form, and either the compressed records or the chunks. Whatever follows is
// refused: a later version gets another version byte.
const (
	stateMagic   = "PDZ"
	stateVersion = 1

	kindZone = 'z'
	kindGone = 'g'

	formInline = 'i'
	formChunks = 'c'
)

// MarshalBinary encodes the state, in less than 512 KB.
func (s *State) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, 256+len(s.inline)+36*len(s.chunks))
	b = append(b, stateMagic...)
	b = append(b, stateVersion, kindZone, byte(len(s.Name)))
	if s.Gone {
		b[4] = kindGone
	}
	b = append(b, s.Name...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Published.UnixMilli()))
	if s.Gone {
		return b, nil
	}
	for _, n := range []uint32{s.Serial, s.Stored, s.Expires, s.Records, s.Size} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = append(append(b, s.Digest[:]...), s.Stable[:]...)
	if s.chunks == nil {
		return append(append(b, formInline), s.inline...), nil
	}
	b = append(b, formChunks)
	for _, c := range s.chunks {
		b = append(binary.BigEndian.AppendUint32(b, c.Size), c.Hash[:]...)
	}
	return b, nil
}

// UnmarshalState decodes a state and checks that it is consistent in itself. It keeps no reference to b.
func UnmarshalState(b []byte) (*State, error) {
	r := reader{rest: b}
	if string(r.take(3)) != stateMagic || r.bad {
		return nil, fmt.Errorf("%w: not a zone state", ErrCorrupt)
	}
	if v := r.take(1); r.bad || v[0] != stateVersion {
		return nil, fmt.Errorf("%w: a zone state of another version; update this program", ErrCorrupt)
	}
	s, err := readState(&r)
	if err != nil {
		return nil, err
	}
	if r.bad {
		return nil, fmt.Errorf("%w: a zone state that ends early", ErrCorrupt)
	}
	return s, nil
}

func readState(r *reader) (*State, error) {
	kind := r.byte()
	if kind != kindZone && kind != kindGone {
		return nil, fmt.Errorf("%w: a zone state of kind %q", ErrCorrupt, kind)
	}
	wire := r.take(int(r.byte()))
	name, err := NameFromWire(wire)
	if err != nil || string(name) != string(wire) {
		return nil, fmt.Errorf("%w: a zone state whose name is % x", ErrCorrupt, wire)
	}
	s := &State{Name: name, Gone: kind == kindGone, Published: time.UnixMilli(int64(r.uint64())).UTC()}
	if s.Gone {
		return s, r.end()
	}
	for _, n := range []*uint32{&s.Serial, &s.Stored, &s.Expires, &s.Records, &s.Size} {
		*n = r.uint32()
	}
	copy(s.Digest[:], r.take(len(s.Digest)))
	copy(s.Stable[:], r.take(len(s.Stable)))
	switch form := r.byte(); form {
	case formInline:
		s.inline = bytes.Clone(r.rest)
		if s.Size > 16*maxInline || len(s.inline) > maxInline {
			return nil, fmt.Errorf("%w: zone %s: %d bytes in one state", ErrCorrupt, name, s.Size)
		}
		return s, nil
	case formChunks:
		return s, s.readChunks(r)
	default:
		return nil, fmt.Errorf("%w: zone %s: unknown form %q", ErrCorrupt, name, form)
	}
}

func (s *State) readChunks(r *reader) error {
	n := len(r.rest) / 36
	if n == 0 || n > maxChunks {
		return fmt.Errorf("%w: zone %s: %d chunks", ErrCorrupt, s.Name, n)
	}
	s.chunks = make([]Chunk, n)
	sum := uint64(0)
	for i := range s.chunks {
		s.chunks[i].Size = r.uint32()
		copy(s.chunks[i].Hash[:], r.take(32))
		sum += uint64(s.chunks[i].Size)
		if s.chunks[i].Size > chunkMax {
			return fmt.Errorf("%w: zone %s: a chunk of %d bytes", ErrCorrupt, s.Name, s.chunks[i].Size)
		}
	}
	if sum != uint64(s.Size) || s.Size > MaxSize {
		return fmt.Errorf("%w: zone %s: its chunks hold %d bytes, %d are announced", ErrCorrupt, s.Name, sum, s.Size)
	}
	return r.end()
}

// reader cuts fields off the front; bad once there was too little.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	field := r.rest[:n]
	r.rest = r.rest[n:]
	return field
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 { return uint64(r.uint32())<<32 | uint64(r.uint32()) }

func (r *reader) end() error {
	if len(r.rest) > 0 {
		return fmt.Errorf("%w: %d bytes behind a zone state", ErrCorrupt, len(r.rest))
	}
	return nil
}
