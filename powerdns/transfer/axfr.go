package transfer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// fullMessage is the size at which a message of a transfer is sent, in bytes. As far as that reach compression pointers
// (RFC 1035 §4.1.4), so every name in a message can be pointed at.
const fullMessage = 16 << 10

// outgoing is an AXFR on its way out (RFC 5936 §2.2): the answer to one request, message by message.
type outgoing struct {
	w       io.Writer
	request request
	framed  []byte // the message in the making, behind its length
	answers uint16
	sent    int // messages
	owners  owners
}

// writeZone writes the messages that transfer z, each behind its length. The SOA that closes the transfer is the one
// that opens it: PowerDNS accepts any.
func writeZone(w io.Writer, r request, z *zone.Zone) error {
	out := outgoing{w: w, request: r, framed: make([]byte, 0, 2+fullMessage)}
	out.begin()
	if err := out.add(z.SOA()); err != nil {
		return err
	}
	for record := range z.Records() {
		if record.Type() == dns.TypeSOA {
			continue
		}
		if err := out.add(record); err != nil {
			return err
		}
	}
	if err := out.add(z.SOA()); err != nil {
		return err
	}
	return out.send()
}

// begin makes a new message. Only the first repeats the question (RFC 5936 §2.2.1).
func (out *outgoing) begin() {
	out.framed = append(out.framed[:0], make([]byte, 2+headerLen)...)
	out.owners.forget()
	out.answers = 0
	if out.sent == 0 {
		out.framed, _ = out.owners.append(out.framed, []byte(out.request.name))
		out.framed = append(out.framed[:2+headerLen], out.request.raw...)
	}
}

// add puts the record into the message in the making, or into a new one where that is full.
func (out *outgoing) add(r zone.Record) error {
	if out.answers > 0 && len(out.framed)+len(r) > 2+fullMessage {
		if err := out.send(); err != nil {
			return err
		}
		out.begin()
	}
	var owner int
	out.framed, owner = out.owners.append(out.framed, r)
	out.framed = append(out.framed, r[owner:]...)
	out.answers++
	if len(out.framed) > 2+maxMessage {
		return fmt.Errorf("a record of %s does not fit a message", r.Owner())
	}
	return nil
}

func (out *outgoing) send() error {
	h := header{id: out.request.id, flags: flagResponse | flagAuthoritative, answers: out.answers}
	if out.sent == 0 {
		h.questions = 1
	}
	h.put(out.framed[2:])
	binary.BigEndian.PutUint16(out.framed, uint16(len(out.framed)-2))
	out.sent++
	_, err := out.w.Write(out.framed)
	return err
}

// owners compresses the owner names of a message (RFC 1035 §4.1.4): each against the one before it, which in canonical
// order shares most with it.
type owners struct {
	last labels
	at   [maxLabels]uint16 // where each of its labels stands in the message, counted from the root
}

func (o *owners) forget() { o.last = labels{} }

// append appends the name at the beginning of r to the framed message and returns its uncompressed length.
func (o *owners) append(framed, r []byte) ([]byte, int) {
	name := o.last
	if !bytes.HasPrefix(r, name.wire) || name.n == 0 {
		name = splitLabels(r)
	}
	shared := name.shared(&o.last)
	for i := name.n; i > shared; i-- {
		o.at[i-1] = uint16(len(framed) - 2)
		framed = append(framed, name.label(i-1)...)
	}
	o.last = name
	if shared == 0 {
		return append(framed, 0), len(name.wire)
	}
	return binary.BigEndian.AppendUint16(framed, 0xc000|o.at[shared-1]), len(name.wire)
}

// maxLabels is how many labels fit a name, the root's not counted.
const maxLabels = 127

// labels is an uncompressed name, cut.
type labels struct {
	wire  []byte
	begin [maxLabels]uint8
	n     int
}

// splitLabels cuts the name at the beginning of b.
func splitLabels(b []byte) (l labels) {
	end := 0
	for ; b[end] != 0; end += 1 + int(b[end]) {
		l.begin[l.n] = uint8(end)
		l.n++
	}
	l.wire = b[:end+1]
	return l
}

// label is the i-th label, counted from the root, behind its length.
func (l *labels) label(i int) []byte {
	from := int(l.begin[l.n-1-i])
	return l.wire[from : from+1+int(l.wire[from])]
}

// shared counts the labels that both have in common, from the root on.
func (l *labels) shared(other *labels) int {
	n := 0
	for n < l.n && n < other.n && bytes.Equal(l.label(n), other.label(n)) {
		n++
	}
	return n
}
