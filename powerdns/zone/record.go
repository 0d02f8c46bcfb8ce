package zone

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/miekg/dns"
)

// Record is one resource record in wire form: owner in lower case, type, class, TTL, RDATA length, RDATA. Nothing is
// compressed. Names within the RDATA keep the letters that the primary gave them: people and DNS-SD read them. It is a
// view into the zone it came from and must not be changed.
type Record []byte

// fixedLen is what stands between the owner and the RDATA, in bytes: type, class, TTL, length.
const fixedLen = 10

// AppendRecord appends the record at msg[off:] of a DNS message to dst, and returns the offset
// behind the record. Only class IN and types that can be zone content are taken.
func AppendRecord(dst, msg []byte, off int) (grown []byte, next int, err error) {
	owner := len(dst)
	dst, off, err = appendName(dst, msg, off)
	if err != nil {
		return nil, 0, err
	}
	lower(dst[owner:])
	if off+fixedLen > len(msg) {
		return nil, 0, fmt.Errorf("%w: ends early", ErrRecord)
	}
	typ, class := binary.BigEndian.Uint16(msg[off:]), binary.BigEndian.Uint16(msg[off+2:])
	if err := checkType(typ, class); err != nil {
		return nil, 0, err
	}
	rdata := off + fixedLen
	end := rdata + int(binary.BigEndian.Uint16(msg[off+8:]))
	if end > len(msg) {
		return nil, 0, fmt.Errorf("%w: RDATA runs past the end", ErrRecord)
	}
	dst = append(dst, msg[off:rdata]...)
	start := len(dst)
	if dst, err = appendRdata(dst, msg, rdata, end, typ); err != nil {
		return nil, 0, err
	}
	if len(dst)-start > maxRdata {
		return nil, 0, fmt.Errorf("%w: RDATA of %d bytes", ErrRecord, len(dst)-start)
	}
	binary.BigEndian.PutUint16(dst[start-2:], uint16(len(dst)-start))
	return dst, end, nil
}

// checkType refuses what no zone holds: other classes, OPT, and the question and meta types (RFC 6895 §3.1).
func checkType(typ, class uint16) error {
	if class != dns.ClassINET {
		return fmt.Errorf("%w: class %d instead of IN", ErrRecord, class)
	}
	if typ == 0 || typ == dns.TypeOPT || 128 <= typ && typ <= 255 {
		return fmt.Errorf("%w: type %d is not zone content", ErrRecord, typ)
	}
	return nil
}

// NewRecord makes a record of a miekg/dns one.
func NewRecord(rr dns.RR) (Record, error) {
	buf := make([]byte, dns.Len(rr)+16)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	r, _, err := AppendRecord(nil, buf[:n], 0)
	return r, err
}

// cutRecord splits one canonical record off the front of b and checks its shape.
func cutRecord(b []byte) (r Record, rest []byte, err error) {
	owner, tail, err := cutName(b)
	if err != nil {
		return nil, nil, err
	}
	if len(tail) < fixedLen {
		return nil, nil, fmt.Errorf("%w: ends early", ErrRecord)
	}
	n := len(owner) + fixedLen + int(binary.BigEndian.Uint16(tail[8:]))
	if n > len(b) {
		return nil, nil, fmt.Errorf("%w: RDATA runs past the end", ErrRecord)
	}
	return Record(b[:n:n]), b[n:], nil
}

func (r Record) ownerLen() int {
	i := 0
	for r[i] != 0 {
		i += 1 + int(r[i])
	}
	return i + 1
}

func (r Record) owner() []byte { return r[:r.ownerLen()] }

// Owner is the name that the record stands at.
func (r Record) Owner() Name { return Name(r.owner()) }

// Under reports whether the record stands at parent or below it.
func (r Record) Under(parent Name) bool { return under(r.owner(), parent) }

// Type is the record's type (RFC 1035 §3.2.2).
func (r Record) Type() uint16 { return binary.BigEndian.Uint16(r[r.ownerLen():]) }

// TTL is in seconds.
func (r Record) TTL() uint32 { return binary.BigEndian.Uint32(r[r.ownerLen()+4:]) }

// Data is the RDATA, uncompressed.
func (r Record) Data() []byte { return r[r.ownerLen()+fixedLen:] }

// RR is the record for miekg/dns; types that it does not know become RFC 3597 ones.
func (r Record) RR() (dns.RR, error) {
	rr, _, err := dns.UnpackRR(r, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return rr, nil
}

// String is the presentation form, or the reason why there is none.
func (r Record) String() string {
	rr, err := r.RR()
	if err != nil {
		return fmt.Sprintf("%s TYPE%d <%v>", r.Owner(), r.Type(), err)
	}
	return rr.String()
}

// Covered is the type that an RRSIG covers (RFC 4034 §3.1.1), 0 for any other record.
func (r Record) Covered() uint16 {
	if r.Type() != dns.TypeRRSIG || len(r.Data()) < 18 {
		return 0
	}
	return binary.BigEndian.Uint16(r.Data())
}

// Denial reports whether the record belongs to the proof of what does not exist. PowerDNS drops these on the way in and
// makes them anew, and RRSIGs over them are kept (4.7.3).
func (r Record) Denial() bool {
	switch r.Type() {
	case dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM:
		return true
	}
	return false
}

// compareRecords orders by owner (RFC 4034 §6.1), type and RDATA (§6.3).
func compareRecords(a, b Record) int {
	if c := compareNames(a.owner(), b.owner()); c != 0 {
		return c
	}
	if c := int(a.Type()) - int(b.Type()); c != 0 {
		return c
	}
	return compareData(a, b)
}

// compareData orders records of one type by their canonical RDATA.
func compareData(a, b Record) int {
	if bytes.Equal(a.Data(), b.Data()) {
		return 0
	}
	return bytes.Compare(a.Canonical().Data(), b.Canonical().Data())
}

// Canonical returns the record in RFC 4034 §6.2 canonical form, in which versions are put in order, digested and
// compared.
func (r Record) Canonical() Record {
	if layout, named := rdataNames[r.Type()]; !named || !layout.canonical {
		return r
	}
	return r.folded()
}

// folded returns the record with all names in lower case.
func (r Record) folded() Record {
	if _, named := rdataNames[r.Type()]; !named || !hasCapital(r.Data()) {
		return r
	}
	c := bytes.Clone(r)
	foldRdata(r.Type(), c[len(r)-len(r.Data()):])
	return c
}

// compareNames orders lower-case wire names from the rightmost label on (RFC 4034 §6.1).
func compareNames(a, b []byte) int {
	if bytes.Equal(a, b) {
		return 0
	}
	var la, lb [maxName / 2]uint8
	na, nb := labelOffsets(a, &la), labelOffsets(b, &lb)
	for na > 0 && nb > 0 {
		na, nb = na-1, nb-1
		if c := bytes.Compare(label(a, la[na]), label(b, lb[nb])); c != 0 {
			return c
		}
	}
	return na - nb
}

func labelOffsets(name []byte, to *[maxName / 2]uint8) (n int) {
	for i := 0; name[i] != 0; i += 1 + int(name[i]) {
		to[n] = uint8(i)
		n++
	}
	return n
}

func label(name []byte, at uint8) []byte { return name[at+1 : int(at)+1+int(name[at])] }

// SplitRecords cuts canonical records that stand one behind the other. They are views into b.
func SplitRecords(b []byte) ([]Record, error) {
	var records []Record
	for len(b) > 0 {
		r, rest, err := cutRecord(b)
		if err != nil {
			return nil, err
		}
		records, b = append(records, r), rest
	}
	return records, nil
}

// Bare is the record at the root in place of its owner, and, if so wanted, without its TTL: to compare what a wildcard
// makes with the wildcard.
func (r Record) Bare(withoutTTL bool) Record {
	bare := append(Record{0}, r[r.ownerLen():]...)
	if withoutTTL {
		clear(bare[5:9])
	}
	return bare
}
