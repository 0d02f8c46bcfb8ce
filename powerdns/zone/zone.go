package zone

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/miekg/dns"
)

// ErrZone is wrapped by the errors about records that do not make a zone.
var ErrZone = errors.New("not a complete zone")

// ErrTooLarge is wrapped, besides ErrZone, when a zone exceeds the limit that its builder was given.
var ErrTooLarge = errors.New("too large")

// MaxSize bounds a zone, in bytes of canonical wire form: offsets are 32 bits wide.
const MaxSize = 1 << 31

// Zone is one complete version of a zone. It never changes and may be used by many goroutines.
type Zone struct {
	name  Name
	wire  []byte   // the records, in canonical order
	index []uint32 // where each begins
	soa   int
}

// Name is the apex.
func (z *Zone) Name() Name { return z.name }

// Len is the number of records.
func (z *Zone) Len() int { return len(z.index) }

// Size is the number of bytes in canonical wire form.
func (z *Zone) Size() int { return len(z.wire) }

// Record is the i-th record in canonical order.
func (z *Zone) Record(i int) Record {
	end := len(z.wire)
	if i+1 < len(z.index) {
		end = int(z.index[i+1])
	}
	return Record(z.wire[z.index[i]:end:end])
}

// Records yields all records in canonical order.
func (z *Zone) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for i := range z.index {
			if !yield(z.Record(i)) {
				return
			}
		}
	}
}

// SOA is the zone's only SOA record.
func (z *Zone) SOA() Record { return z.Record(z.soa) }

// Serial is the SOA's serial.
func (z *Zone) Serial() uint32 {
	data := z.SOA().Data()
	return binary.BigEndian.Uint32(data[len(data)-20:])
}

// RRset returns the records of one owner and type; the RRSIGs that cover them come behind.
func (z *Zone) RRset(owner Name, typ uint16) (records, signatures []Record) {
	first, _ := z.find(owner)
	for i := first; i < len(z.index); i++ {
		r := z.Record(i)
		switch {
		case !bytes.Equal(r.owner(), []byte(owner)):
			return records, signatures
		case r.Type() == typ:
			records = append(records, r)
		case r.Covered() == typ:
			signatures = append(signatures, r)
		}
	}
	return records, signatures
}

// find returns the index of the first record at owner, and whether there is one.
func (z *Zone) find(owner Name) (int, bool) {
	return slices.BinarySearchFunc(z.index, []byte(owner), func(at uint32, name []byte) int {
		return compareNames(Record(z.wire[at:]).owner(), name)
	})
}

// FirstExpiry is the earliest end of a signature, in seconds of the epoch modulo 2^32 (RFC 4034 §3.1.5); false when
// nothing is signed.
func (z *Zone) FirstExpiry() (uint32, bool) {
	first, signed := uint32(0), false
	for r := range z.Records() {
		if r.Covered() == 0 {
			continue
		}
		if end := binary.BigEndian.Uint32(r.Data()[8:]); !signed || SerialNewer(first, end) {
			first, signed = end, true
		}
	}
	return first, signed
}

// Algorithms are those of the zone's keys, as RFC 4034 §2.1.3 numbers them.
func (z *Zone) Algorithms() (algorithms []uint8) {
	keys, _ := z.RRset(z.name, dns.TypeDNSKEY)
	for _, key := range keys {
		if data := key.Data(); len(data) > 3 {
			algorithms = append(algorithms, data[3])
		}
	}
	return algorithms
}

// Diff returns what must be removed from old and added to it to get z. A changed TTL is a removal and an addition.
func (z *Zone) Diff(old *Zone) (removed, added []Record) {
	i, j := 0, 0
	for i < old.Len() || j < z.Len() {
		c := 0
		switch {
		case i == old.Len():
			c = 1
		case j == z.Len():
			c = -1
		default:
			c = cmp.Or(compareRecords(old.Record(i), z.Record(j)), bytes.Compare(old.Record(i), z.Record(j)))
		}
		if c <= 0 {
			if c < 0 {
				removed = append(removed, old.Record(i))
			}
			i++
		}
		if c >= 0 {
			if c > 0 {
				added = append(added, z.Record(j))
			}
			j++
		}
	}
	return removed, added
}

// check walks wire, fills the index, and demands what every zone must satisfy: well-formed records of class IN inside
// the zone, strictly ascending, one SOA that stands at the apex.
func (z *Zone) check() error {
	z.index, z.soa = z.index[:0], -1
	var last Record
	for rest := z.wire; len(rest) > 0; {
		at := len(z.wire) - len(rest)
		r, tail, err := cutRecord(rest)
		if err != nil {
			return fmt.Errorf("zone %s: record at byte %d: %w", z.name, at, err)
		}
		if err := z.admit(r); err != nil {
			return err
		}
		if last != nil && compareRecords(last, r) >= 0 {
			return fmt.Errorf("%w: %s: not in canonical order at %s", ErrZone, z.name, r)
		}
		if r.Type() == dns.TypeSOA {
			z.soa = len(z.index)
		}
		z.index = append(z.index, uint32(at))
		last, rest = r, tail
	}
	if z.soa < 0 {
		return fmt.Errorf("%w: %s: no SOA", ErrZone, z.name)
	}
	return nil
}

// admit checks one record by itself and against what came before it.
func (z *Zone) admit(r Record) error {
	if !r.Under(z.name) {
		return fmt.Errorf("%w: %s: %s lies outside", ErrZone, z.name, r.Owner())
	}
	n := r.ownerLen()
	if err := checkType(r.Type(), binary.BigEndian.Uint16(r[n+2:])); err != nil {
		return fmt.Errorf("zone %s: %s: %w", z.name, r.Owner(), err)
	}
	if r.Type() != dns.TypeSOA {
		return nil
	}
	if r.Owner() != z.name || z.soa >= 0 {
		return fmt.Errorf("%w: %s: a second SOA at %s", ErrZone, z.name, r.Owner())
	}
	return checkSOA(r)
}

// checkSOA demands two names and five numbers (RFC 1035 §3.3.13).
func checkSOA(r Record) error {
	_, rest, err := cutName(r.Data())
	if err == nil {
		_, rest, err = cutName(rest)
	}
	if err == nil && len(rest) != 20 {
		err = fmt.Errorf("%w: SOA with %d bytes behind its names, 20 are right", ErrRecord, len(rest))
	}
	return err
}
