package zone

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/miekg/dns"
)

// Builder collects the records of one version in any order. It is not safe for concurrent use.
type Builder struct {
	name  Name
	limit int
	wire  []byte
	index []uint32
}

// NewBuilder starts a version of the zone. More than limit bytes of canonical wire form are refused; 0 means MaxSize.
func NewBuilder(name Name, limit int) *Builder {
	if limit <= 0 || limit > MaxSize {
		limit = MaxSize
	}
	return &Builder{name: name, limit: limit}
}

// Read adds the record at msg[off:] of a DNS message. The returned record is valid until the next call; next is the
// offset behind it.
func (b *Builder) Read(msg []byte, off int) (r Record, next int, err error) {
	start := len(b.wire)
	wire, next, err := AppendRecord(b.wire, msg, off)
	if err != nil {
		return nil, 0, fmt.Errorf("zone %s: record %d: %w", b.name, len(b.index)+1, err)
	}
	if len(wire) > b.limit {
		return nil, 0, fmt.Errorf("%w: %s is %w: the limit is %d bytes", ErrZone, b.name, ErrTooLarge, b.limit)
	}
	b.wire = wire
	b.index = append(b.index, uint32(start))
	return Record(wire[start:]), next, nil
}

// Add adds a record that is canonical already.
func (b *Builder) Add(r Record) error {
	_, _, err := b.Read(r, 0)
	return err
}

// Drop takes the record back that was read last: the SOA that closes a transfer is not content.
func (b *Builder) Drop() {
	last := len(b.index) - 1
	b.wire, b.index = b.wire[:b.index[last]], b.index[:last]
}

// Zone sorts what was collected, leaves duplicates out, checks it and returns it. The builder is used up.
func (b *Builder) Zone() (*Zone, error) {
	z := &Zone{name: b.name, wire: make([]byte, 0, len(b.wire)), index: make([]uint32, 0, len(b.index))}
	var last Record
	for _, s := range b.sorted() {
		if last != nil && compareRecords(last, s.record) == 0 {
			continue // RFC 8976 §3.3.1: one of equal records, whatever their TTL
		}
		last = s.record
		z.wire = append(z.wire, last...)
	}
	b.wire, b.index = nil, nil
	if err := z.check(); err != nil {
		return nil, err
	}
	return z, nil
}

type sortable struct {
	key    []byte // the owner as appendSortKey makes it
	record Record
}

func (b *Builder) sorted() []sortable {
	list := make([]sortable, len(b.index))
	keys := make([]byte, 0, len(b.wire)/2)
	var owner, key []byte
	for i, at := range b.index {
		end := len(b.wire)
		if i+1 < len(b.index) {
			end = int(b.index[i+1])
		}
		r := Record(b.wire[at:end:end])
		if o := r.owner(); !bytes.Equal(o, owner) { // records of one owner mostly come together
			start := len(keys)
			keys = appendSortKey(keys, o)
			owner, key = o, keys[start:len(keys):len(keys)]
		}
		list[i] = sortable{key, r}
	}
	slices.SortFunc(list, func(a, b sortable) int {
		return cmp.Or(
			bytes.Compare(a.key, b.key),
			cmp.Compare(a.record.Type(), b.record.Type()),
			compareData(a.record, b.record),
			bytes.Compare(a.record, b.record), // of equal records the lowest TTL stays
		)
	})
	return list
}

// appendSortKey appends bytes that compare as RFC 4034 §6.1 orders names: labels from the right, each ended by a zero,
// zeros and ones inside labels escaped behind a one.
func appendSortKey(dst, name []byte) []byte {
	var at [maxName / 2]uint8
	for n := labelOffsets(name, &at); n > 0; n-- {
		for _, c := range label(name, at[n-1]) {
			if c <= 1 {
				dst = append(dst, 1)
				c++
			}
			dst = append(dst, c)
		}
		dst = append(dst, 0)
	}
	return dst
}

// NewEmpty returns a version of a zone that holds nothing but a SOA.
func NewEmpty(name Name) (*Zone, error) {
	soa, err := NewRecord(emptySOA(name))
	if err != nil {
		return nil, err
	}
	b := NewBuilder(name, 0)
	if err := b.Add(soa); err != nil {
		return nil, err
	}
	return b.Zone()
}

func emptySOA(name Name) dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: name.String(), Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60},
		Ns:  ".", Mbox: ".", Serial: 1, Refresh: 86400, Retry: 3600, Expire: 604800, Minttl: 60,
	}
}
