package zone

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

var published2026 = time.Date(2026, 11, 26, 1, 2, 3, 4_000_000, time.UTC)

// stored keeps chunks.
type stored map[[sha256.Size]byte][]byte

func (s stored) keep(state *State, contents [][]byte) {
	for i, c := range state.Chunks() {
		s[c.Hash] = contents[i]
	}
}

func (s stored) fetch(c Chunk) ([]byte, error) {
	if data, ok := s[c.Hash]; ok {
		return data, nil
	}
	return nil, errMissing
}

var errMissing = errors.New("missing")

func encode(t testing.TB, s *State) []byte {
	t.Helper()
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) >= 512<<10 {
		t.Errorf("a state of %d bytes", len(b))
	}
	return b
}

func TestStateRoundTrip(t *testing.T) {
	for what, z := range map[string]*Zone{
		"small":  parse(t, "example", signedText),
		"root":   parse(t, ".", apexText),
		"inline": hosts(t, 1000),
		"large":  hosts(t, 50_000),
	} {
		t.Run(what, func(t *testing.T) {
			chunks := stored{}
			s, contents := NewState(z, 6, published2026)
			chunks.keep(s, contents)
			if len(contents) != len(s.Chunks()) || (what == "large") != (len(contents) > 0) {
				t.Errorf("%d chunks with %d contents", len(s.Chunks()), len(contents))
			}
			got, err := UnmarshalState(encode(t, s))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, s) {
				t.Errorf("got %+v, want %+v", got, s)
			}
			back, err := got.Zone(chunks.fetch)
			if err != nil {
				t.Fatal(err)
			}
			if back.Digest() != z.Digest() || back.Stable() != z.Stable() || back.Len() != z.Len() || back.Name() != z.Name() {
				t.Error("another zone came back")
			}
		})
	}
}

func TestTombstoneRoundTrip(t *testing.T) {
	s := NewTombstone(MustParseName("example"), published2026)
	got, err := UnmarshalState(encode(t, s))
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("got %+v, %v", got, err)
	}
	if z, err := got.Zone(nil); err == nil {
		t.Errorf("a tombstone holds %v", z)
	}
}

func TestTruncatedState(t *testing.T) {
	large, _ := NewState(hosts(t, 30_000), 6, published2026)
	small, _ := NewState(parse(t, "example", apexText), 6, published2026)
	for _, s := range []*State{large, small, NewTombstone(MustParseName("example"), published2026)} {
		whole := encode(t, s)
		for n := range whole {
			got, err := UnmarshalState(whole[:n])
			if err == nil && s.inline != nil { // the compressed records are what is left; their end shows when they are used
				_, err = got.Zone(nil)
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
			}
		}
		if _, err := UnmarshalState(append(whole, 0)); s.inline == nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("a byte too much: %v", err)
		}
	}
}

// TestFlippedBits flips every bit of a state: it is refused, or what differs is none of the content.
func TestFlippedBits(t *testing.T) {
	z := parse(t, "example", signedText)
	s, _ := NewState(z, 6, published2026)
	whole := encode(t, s)
	for i := range 8 * len(whole) {
		flipped := bytes.Clone(whole)
		flipped[i/8] ^= 1 << (i % 8)
		got, err := UnmarshalState(flipped)
		if err != nil {
			continue
		}
		back, err := got.Zone(nil)
		switch {
		case err != nil && !errors.Is(err, ErrCorrupt):
			t.Fatalf("bit %d: %v", i, err)
		case err == nil && (back.Digest() != z.Digest() || back.Stable() != got.Stable):
			t.Fatalf("bit %d: other content was accepted", i)
		}
	}
}

func TestFlippedChunk(t *testing.T) {
	chunks := stored{}
	s, contents := NewState(hosts(t, 30_000), 6, published2026)
	chunks.keep(s, contents)
	for _, change := range []func(data []byte) []byte{
		func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
		func(data []byte) []byte { return data[:len(data)-1] },
		func(data []byte) []byte { return append(data, 0) },
		func([]byte) []byte { return nil },
		func([]byte) []byte { return contents[0] },
	} {
		_, err := s.Zone(func(c Chunk) ([]byte, error) {
			if c == s.Chunks()[1] {
				return change(bytes.Clone(chunks[c.Hash])), nil
			}
			return chunks.fetch(c)
		})
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("got error %v", err)
		}
	}
	if _, err := s.Zone(stored{}.fetch); !errors.Is(err, errMissing) || errors.Is(err, ErrCorrupt) {
		t.Errorf("got error %v", err)
	}
}

// TestAlteredZONEMD changes what the RFC 8976 digest leaves out.
func TestAlteredZONEMD(t *testing.T) {
	text := apexText + "@ 60 IN ZONEMD 7 1 1 616c6c6f776564206275742069676e6f7265642e20616c6c6f776564206275742069676e6f7265642e20616c6c6f7765\n"
	s, _ := NewState(parse(t, "example", text), 6, published2026)
	altered, _ := NewState(parse(t, "example", text[:len(text)-2]+"6\n"), 6, published2026)
	s.inline = altered.inline
	if _, err := s.Zone(nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got error %v", err)
	}
}

func TestChunkSharing(t *testing.T) {
	chunks := stored{}
	s, contents := NewState(hosts(t, benchRecords), 6, published2026)
	chunks.keep(s, contents)
	for _, i := range []int{0, 1, 777, benchRecords / 2, benchRecords - 1} {
		after, contents := NewState(hosts(t, benchRecords, i), 7, published2026)
		changed, size := 0, 0
		for i, c := range after.Chunks() {
			if _, ok := chunks[c.Hash]; !ok {
				changed++
				size += len(contents[i])
			}
		}
		if changed < 1 || changed > 3 || size > 100<<10 {
			t.Errorf("record %d: %d of %d chunks changed, %d bytes", i, changed, len(after.Chunks()), size)
		}
	}
	longest := uint32(0)
	for _, c := range s.Chunks() {
		longest = max(longest, c.Size)
	}
	if n := len(s.Chunks()); n < 20 || longest > chunkMax {
		t.Errorf("%d chunks, the longest of %d bytes", n, longest)
	}
}

// TestInsertedRecord moves everything behind it.
func TestInsertedRecord(t *testing.T) {
	chunks := stored{}
	s, contents := NewState(hosts(t, benchRecords), 6, published2026)
	chunks.keep(s, contents)
	b := hostRecords(t, benchRecords)
	b.Add(newRecord(t, rr(t, "host-0050000a.example. 60 IN TXT inserted")))
	z, err := b.Zone()
	if err != nil {
		t.Fatal(err)
	}
	after, _ := NewState(z, 7, published2026)
	changed := 0
	for _, c := range after.Chunks() {
		if _, ok := chunks[c.Hash]; !ok {
			changed++
		}
	}
	if changed > 3 {
		t.Errorf("%d of %d chunks changed", changed, len(after.Chunks()))
	}
}

// announcement encodes a state that announces sizes without having what it announces.
func announcement(t *testing.T, size uint32, form byte, rest []byte) []byte {
	t.Helper()
	s := &State{Name: MustParseName("example"), Records: 1 << 30, Size: size}
	b := encode(t, s)
	return append(append(b[:len(b)-1], form), rest...)
}

// TestMemoryIsBounded has few bytes announce much.
func TestMemoryIsBounded(t *testing.T) {
	bomb := compress(make([]byte, 64<<20))
	tiny := compress([]byte("tiny"))
	var list []byte
	for range maxChunks / 4 {
		hash := sha256.Sum256(tiny)
		list = append(binary.BigEndian.AppendUint32(list, chunkMax), hash[:]...)
	}
	var real []byte
	first := compress(make([]byte, 4))
	hash := sha256.Sum256(first)
	real = append(append(binary.BigEndian.AppendUint32(real, 4), hash[:]...), list...)
	for what, c := range map[string]struct {
		state []byte
		chunk []byte
	}{
		"bomb inline":           {announcement(t, 700<<10, formInline, bomb), nil},
		"2 GB of chunks":        {announcement(t, uint32(len(list)/36)*chunkMax, formChunks, list), tiny},
		"2 GB behind real ones": {announcement(t, uint32(len(list)/36)*chunkMax+4, formChunks, real), nil},
		"bombs as chunks":       {announcement(t, uint32(len(list)/36)*chunkMax, formChunks, list), bomb},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := UnmarshalState(c.state)
		if err == nil {
			_, err = s.Zone(func(asked Chunk) ([]byte, error) {
				if asked.Hash == hash {
					return first, nil
				}
				return c.chunk, nil
			})
		}
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got error %v", what, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
			t.Errorf("%s: %d bytes were allocated", what, used)
		}
	}
}

// TestForeignCompression has content that another encoder compressed, in two frames.
func TestForeignCompression(t *testing.T) {
	z := parse(t, "example", signedText)
	s, _ := NewState(z, 6, published2026)
	other, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	s.inline = append(other.EncodeAll(z.wire[:10], nil), other.EncodeAll(z.wire[10:], nil)...)
	if got, err := s.Zone(nil); err != nil || got.Digest() != z.Digest() {
		t.Errorf("got %v, %v", got, err)
	}
}

func FuzzUnmarshalState(f *testing.F) {
	small, _ := NewState(parse(f, "example", signedText), 6, published2026)
	large, contents := NewState(hosts(f, 30_000), 6, published2026)
	for _, s := range []*State{small, large, NewTombstone(Root, published2026)} {
		f.Add(encode(f, s), []byte(nil))
	}
	f.Add(encode(f, large), contents[0])
	f.Fuzz(func(t *testing.T, b, chunk []byte) {
		s, err := UnmarshalState(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if again := encode(t, s); !bytes.Equal(again, b) {
			t.Fatalf("% x is encoded as % x", b, again)
		}
		z, err := s.Zone(func(Chunk) ([]byte, error) { return chunk, nil })
		if err == nil && (z.Digest() != s.Digest || z.Serial() != s.Serial) {
			t.Fatal("the content is not that of the state")
		}
	})
}

func BenchmarkNewState(b *testing.B) {
	z := hosts(b, benchRecords)
	b.SetBytes(int64(z.Size()))
	b.ReportAllocs()
	for b.Loop() {
		NewState(z, 6, published2026)
	}
}

func BenchmarkStateZone(b *testing.B) {
	chunks := stored{}
	z := hosts(b, benchRecords)
	s, contents := NewState(z, 6, published2026)
	chunks.keep(s, contents)
	b.SetBytes(int64(z.Size()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Zone(chunks.fetch); err != nil {
			b.Fatal(err)
		}
	}
}
