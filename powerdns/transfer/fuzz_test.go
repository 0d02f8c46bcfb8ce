package transfer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

var (
	example = zone.MustParseName("example")
	peer    = netip.MustParseAddrPort("127.0.0.1:4000")
)

// single is a source with one zone.
type single struct{ zone *zone.Zone }

func (s single) Zone(name zone.Name) (*zone.Zone, error) {
	if name != s.zone.Name() {
		return nil, ErrNotHeld
	}
	return s.zone, nil
}

func (s single) SOA(name zone.Name) (zone.Record, []zone.Record, error) {
	z, err := s.Zone(name)
	if err != nil {
		return nil, nil, err
	}
	soa, signatures := z.Apex().SOA()
	return soa, signatures, nil
}

// FuzzAnswerPacket demands that whatever comes in is dropped, refused, or answered by a well-formed message that
// belongs to it and is no larger than allowed.
func FuzzAnswerPacket(f *testing.F) {
	server := &Server{config: Config{}.withDefaults(), source: single{build(f, soaText, nsText)}}
	notify := &NotifyListener{onNotify: func(zone.Name) {}}
	for _, typ := range []uint16{dns.TypeSOA, dns.TypeAXFR, dns.TypeIXFR, dns.TypeA} {
		f.Add(pack(f, new(dns.Msg).SetQuestion("example.", typ)))
		f.Add(pack(f, new(dns.Msg).SetQuestion("EXAMPLE.", typ).SetEdns0(4096, true)))
	}
	f.Add(pack(f, new(dns.Msg).SetIxfr("example.", 1, "a.", "b.")))
	f.Add(pack(f, new(dns.Msg).SetNotify("example.")))
	f.Add(pack(f, new(dns.Msg).SetUpdate("example.")))
	f.Fuzz(func(t *testing.T, msg []byte) {
		checkReply(t, msg, server.answerPacket(msg, peer))
		checkReply(t, msg, notify.answer(msg, peer))
	})
}

func checkReply(t *testing.T, msg, reply []byte) {
	t.Helper()
	if reply == nil {
		if len(msg) >= headerLen && msg[2]&0x80 == 0 {
			t.Fatal("a request was dropped")
		}
		return
	}
	var m dns.Msg
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("not a message: %v\n% x", err, reply)
	}
	if !m.Response || m.Id != binary.BigEndian.Uint16(msg) || len(reply) > largestUDP {
		t.Fatalf("not a reply: %s", &m)
	}
	switch m.Rcode {
	case dns.RcodeRefused, dns.RcodeFormatError, dns.RcodeNotImplemented:
		if len(m.Answer) > 0 || m.Authoritative {
			t.Fatalf("an error with an answer: %s", &m)
		}
	case dns.RcodeSuccess:
		if m.Opcode == dns.OpcodeQuery && (len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != dns.TypeSOA) {
			t.Fatalf("not the SOA: %s", &m)
		}
	default:
		t.Fatalf("code %d", m.Rcode)
	}
}

// FuzzIncoming demands that no stream of messages makes a transfer panic, or a zone that isn't one.
func FuzzIncoming(f *testing.F) {
	whole := build(f, soaText, nsText, "www.example. 60 IN MX 10 mail.example.", "*.example. 60 IN TXT x")
	var stream bytes.Buffer
	question := newQuestion(example, dns.TypeAXFR)
	if err := writeZone(&stream, request{question: question}, whole); err != nil {
		f.Fatal(err)
	}
	f.Add(stream.Bytes())
	f.Fuzz(func(t *testing.T, stream []byte) {
		in := incoming{question: question, builder: zone.NewBuilder(example, 1<<20)}
		messages := bufio.NewReaderSize(bytes.NewReader(stream), 2+maxMessage)
		for !in.closed {
			msg, err := nextMessage(messages)
			if err != nil {
				return
			}
			if in.message(msg) != nil {
				return
			}
		}
		z, err := in.builder.Zone()
		if err != nil {
			return
		}
		if z.Len() < 1 || !bytes.Equal(z.SOA(), in.soa) {
			t.Fatalf("a zone of %d records with SOA %s", z.Len(), z.SOA())
		}
	})
}

// FuzzInquiry demands that no answer makes a question panic.
func FuzzInquiry(f *testing.F) {
	q := newInquiry(example, dns.TypeSOA, AskOptions{DNSSEC: true, Unique: true})
	q.id = 0
	answer := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("example.", dns.TypeSOA))
	answer.Id = 0
	answer.Answer = []dns.RR{parseRR(f, soaText)}
	answer.Ns = []dns.RR{parseRR(f, nsText)}
	f.Add(pack(f, answer))
	f.Fuzz(func(t *testing.T, msg []byte) {
		a, err := q.read(msg)
		if err == nil && len(a.Answer)+len(a.Authority) > len(msg) {
			t.Fatal("more records than bytes")
		}
	})
}

// FuzzOwners sends a zone with names made of the input, and demands to get it back.
func FuzzOwners(f *testing.F) {
	f.Add([]byte("a b.a b.b c.b.b d.e.f.g.h \x00.\xff.A"))
	f.Add(bytes.Repeat([]byte("aa.bb.cc dd.bb.cc ee.cc "), 60))
	f.Fuzz(func(t *testing.T, input []byte) {
		b := zone.NewBuilder(example, 0)
		for _, text := range []string{soaText, nsText} {
			if err := b.Add(canonical(t, text)); err != nil {
				t.Fatal(err)
			}
		}
		for owner := range bytes.FieldsSeq(input) {
			b.Add(addressAt(owner)) // names that are too long are not taken
		}
		sent, err := b.Zone()
		if err != nil {
			t.Fatal(err)
		}
		if got := resend(t, sent); got.Digest() != sent.Digest() {
			t.Fatal("the zone changed on its way")
		}
	})
}

// resend writes a transfer and reads it.
func resend(t *testing.T, sent *zone.Zone) *zone.Zone {
	t.Helper()
	var stream bytes.Buffer
	in := incoming{question: newQuestion(sent.Name(), dns.TypeAXFR), builder: zone.NewBuilder(sent.Name(), 0)}
	if err := writeZone(&stream, request{question: in.question}, sent); err != nil {
		t.Fatal(err)
	}
	for messages := bufio.NewReaderSize(&stream, 2+maxMessage); !in.closed; {
		msg, err := nextMessage(messages)
		if err == nil {
			err = in.message(msg)
		}
		if err != nil {
			t.Fatal(err)
		}
		var m dns.Msg
		if err := m.Unpack(msg); err != nil {
			t.Fatalf("not a message for others: %v", err)
		}
	}
	got, err := in.builder.Zone()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// addressAt makes an A record; dots in owner separate labels, which may hold any other byte.
func addressAt(owner []byte) zone.Record {
	var wire []byte
	for label := range bytes.SplitSeq(owner, []byte(".")) {
		if label = label[:min(len(label), 63)]; len(label) > 0 {
			wire = append(append(wire, byte(len(label))), label...)
		}
	}
	wire = append(wire, example...)
	return append(wire, 0, byte(dns.TypeA), 0, dns.ClassINET, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1)
}

const (
	soaText = "example. 3600 IN SOA ns.example. h.example. 7 1 1 1 1"
	nsText  = "example. 3600 IN NS ns.example."
)

func build(t testing.TB, records ...string) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(example, 0)
	for _, text := range records {
		if err := b.Add(canonical(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	z, err := b.Zone()
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func canonical(t testing.TB, text string) zone.Record {
	t.Helper()
	r, err := zone.NewRecord(parseRR(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func parseRR(t testing.TB, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
