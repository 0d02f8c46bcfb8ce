package transfer

import (
	"encoding/binary"
	"errors"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// Sizes in bytes (RFC 1035 §4.1.1, §4.2, RFC 6891 §6.2.5).
const (
	headerLen  = 12
	maxMessage = 65535
	plainUDP   = 512
	largestUDP = 1232 // what passes every path unfragmented
)

// The second word of the header (RFC 1035 §4.1.1).
const (
	flagResponse      = 1 << 15
	flagAuthoritative = 1 << 10
	flagTruncated     = 1 << 9
	flagRecursion     = 1 << 8
	maskRcode         = 0xf
)

// flagDO asks for signatures; it stands in the upper half of what is the TTL of other records (RFC 3225 §3).
const flagDO = 1 << 15

// errMessage means that bytes are no DNS message.
var errMessage = errors.New("malformed message")

// header is the fixed beginning of a message.
type header struct {
	id, flags                                 uint16
	questions, answers, authority, additional uint16
}

// readHeader needs headerLen bytes.
func readHeader(msg []byte) header {
	word := func(i int) uint16 { return binary.BigEndian.Uint16(msg[2*i:]) }
	return header{word(0), word(1), word(2), word(3), word(4), word(5)}
}

func (h header) put(msg []byte) {
	for i, word := range [...]uint16{h.id, h.flags, h.questions, h.answers, h.authority, h.additional} {
		binary.BigEndian.PutUint16(msg[2*i:], word)
	}
}

func (h header) response() bool { return h.flags&flagResponse != 0 }
func (h header) opcode() int    { return int(h.flags>>11) & 0xf }
func (h header) rcode() int     { return int(h.flags & maskRcode) }

// question is the one question of a message. raw is how it was spelt, for the echo.
type question struct {
	name       zone.Name
	typ, class uint16
	raw        []byte
}

// newQuestion spells a question of class IN.
func newQuestion(name zone.Name, typ uint16) question {
	raw := binary.BigEndian.AppendUint16([]byte(name), typ)
	return question{name, typ, dns.ClassINET, binary.BigEndian.AppendUint16(raw, dns.ClassINET)}
}

// readQuestion reads the question at the beginning of the body and returns the offset behind it. The question keeps a
// reference to msg.
func readQuestion(msg []byte) (q question, next int, err error) {
	end, err := skipName(msg, headerLen)
	if err != nil || end+4 > len(msg) {
		return question{}, 0, errMessage
	}
	name, err := zone.NameFromWire(msg[headerLen:end])
	if err != nil {
		return question{}, 0, err
	}
	typ, class := binary.BigEndian.Uint16(msg[end:]), binary.BigEndian.Uint16(msg[end+2:])
	return question{name, typ, class, msg[headerLen : end+4]}, end + 4, nil
}

func (q question) same(other question) bool {
	return q.name == other.name && q.typ == other.typ && q.class == other.class
}

// request is what a message from a client asks for.
type request struct {
	header
	question
	edns    bool
	dnssec  bool      // the DO bit
	payload int       // bytes that the client takes by UDP
	key     zone.Name // that the message is signed with, "" for none
}

// transfer reports whether r asks for a whole zone. IXFR may be answered like AXFR (RFC 1995 §4).
func (r request) transfer() bool { return r.typ == dns.TypeAXFR || r.typ == dns.TypeIXFR }

// readRequest reads a message with exactly one question. Records besides EDNS are skipped: the SOA of an IXFR question
// says which version the client has, and it gets the whole zone anyway.
func readRequest(msg []byte) (request, error) {
	r := request{header: readHeader(msg), payload: plainUDP}
	if r.questions != 1 {
		return r, errMessage
	}
	var err error
	var off int
	if r.question, off, err = readQuestion(msg); err != nil {
		return r, err
	}
	for range int(r.answers) + int(r.authority) {
		if off, err = skipRecord(msg, off); err != nil {
			return r, err
		}
	}
	for range r.additional {
		r.readOPT(msg[off:])
		r.readTSIG(msg, off)
		if off, err = skipRecord(msg, off); err != nil {
			return r, err
		}
	}
	return r, nil
}

// readOPT takes note of EDNS (RFC 6891 §6.1.2) when b begins with it.
func (r *request) readOPT(b []byte) {
	if len(b) < 11 || b[0] != 0 || binary.BigEndian.Uint16(b[1:]) != dns.TypeOPT {
		return
	}
	r.edns = true
	r.payload = min(max(int(binary.BigEndian.Uint16(b[3:])), plainUDP), largestUDP)
	r.dnssec = binary.BigEndian.Uint16(b[7:])&flagDO != 0
}

// readTSIG takes note of the key when the record at msg[off:] is a TSIG (RFC 8945 §4.2), whose signature is not
// verified.
func (r *request) readTSIG(msg []byte, off int) {
	end, err := skipName(msg, off)
	if err != nil || end+2 > len(msg) || binary.BigEndian.Uint16(msg[end:]) != dns.TypeTSIG {
		return
	}
	if r.key, err = zone.NameFromWire(msg[off:end]); err != nil {
		r.key = zone.Root // a name that cannot be read
	}
}

// reply appends the answer to r: its question, the records, and EDNS if r had it. With more than limit bytes it says
// instead that it is truncated.
func (r request) reply(dst []byte, rcode int, limit int, records ...zone.Record) []byte {
	start := len(dst)
	h := header{id: r.id, flags: flagResponse | r.flags&(0xf<<11|flagRecursion) | uint16(rcode)}
	dst = append(dst, make([]byte, headerLen)...)
	if r.raw != nil {
		h.questions = 1
		dst = append(dst, r.raw...)
	}
	head := len(dst)
	if len(records) > 0 {
		h.flags |= flagAuthoritative
	}
	for _, record := range records {
		h.answers++
		dst = append(dst, record...)
	}
	if len(dst)-start+optLen > limit {
		dst, h.answers = dst[:head], 0
		h.flags |= flagTruncated
	}
	if r.edns {
		h.additional = 1
		dst = appendOPT(dst, r.dnssec, nil)
	}
	h.put(dst[start:])
	return dst
}

const optLen = 11 // without options

// appendOPT appends an EDNS record (RFC 6891 §6.1.2) with options that are encoded already.
func appendOPT(dst []byte, dnssec bool, options []byte) []byte {
	dst = append(dst, 0)
	dst = binary.BigEndian.AppendUint16(dst, dns.TypeOPT)
	dst = binary.BigEndian.AppendUint16(dst, largestUDP)
	flags := uint32(0)
	if dnssec {
		flags = flagDO
	}
	dst = binary.BigEndian.AppendUint32(dst, flags)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(options)))
	return append(dst, options...)
}

// skipName returns the offset behind the name at msg[off:], which may end in a compression pointer.
func skipName(msg []byte, off int) (int, error) {
	for off < len(msg) {
		switch l := int(msg[off]); {
		case l == 0:
			return off + 1, nil
		case l >= 0xc0:
			return off + 2, nil
		case l > 63:
			return 0, errMessage
		default:
			off += 1 + l
		}
	}
	return 0, errMessage
}

// skipRecord returns the offset behind the record at msg[off:].
func skipRecord(msg []byte, off int) (int, error) {
	off, err := skipName(msg, off)
	if err != nil || off+10 > len(msg) {
		return 0, errMessage
	}
	off += 10 + int(binary.BigEndian.Uint16(msg[off+8:]))
	if off > len(msg) {
		return 0, errMessage
	}
	return off, nil
}
