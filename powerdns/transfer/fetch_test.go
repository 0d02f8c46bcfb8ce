package transfer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

const (
	soa      = "example. 3600 IN SOA ns.example.net. h.example.net. 7 1 1 1 1"
	otherSOA = "example. 3600 IN SOA ns.example.net. h.example.net. 8 1 1 1 1"
	ns       = "example. 3600 IN NS ns.example.net."
	www      = "www.example. 60 IN A 192.0.2.1"
)

// step is one message that a fake server sends.
type step func(question *dns.Msg) *dns.Msg

// say answers with records.
func say(records ...string) step {
	return func(question *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(question)
		m.Authoritative = true
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		return m
	}
}

// but changes what another step says.
func but(s step, change func(*dns.Msg)) step {
	return func(question *dns.Msg) *dns.Msg {
		m := s(question)
		change(m)
		return m
	}
}

func TestFetchFromFakes(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []step
		limit int
		want  error
	}{
		{name: "one message", steps: []step{say(soa, ns, www, soa)}},
		{name: "a message for each record", steps: []step{say(soa), say(ns), say(www), say(soa)}},
		{name: "no question repeated", steps: []step{say(soa, ns), but(say(www, soa), func(m *dns.Msg) { m.Question = nil })}},
		{name: "case of the question changed", steps: []step{but(say(soa, ns, www, soa), func(m *dns.Msg) { m.Question[0].Name = "eXample." })}},
		{name: "case of the owner changed", steps: []step{say(soa, ns, strings.Replace(www, "www.example", "WWW.eXample", 1), soa)}},
		{name: "EDNS behind it", steps: []step{but(say(soa, ns, www, soa), func(m *dns.Msg) { m.SetEdns0(1232, true) })}},

		{name: "early close", steps: []step{say(soa, ns, www)}, want: transfer.ErrIncomplete},
		{name: "close at once", want: transfer.ErrIncomplete},
		{name: "nothing but one SOA", steps: []step{say(soa)}, want: transfer.ErrIncomplete},
		{name: "another closing SOA", steps: []step{say(soa, ns, www, otherSOA)}, want: transfer.ErrIncomplete},
		{name: "no opening SOA", steps: []step{say(ns, www, soa)}, want: transfer.ErrIncomplete},
		{name: "empty message", steps: []step{say()}, want: transfer.ErrIncomplete},
		{name: "empty message within", steps: []step{say(soa, ns), say(), say(soa)}, want: transfer.ErrIncomplete},
		{name: "truncated", steps: []step{but(say(soa, ns, soa), func(m *dns.Msg) { m.Truncated = true })}, want: transfer.ErrIncomplete},

		{name: "record outside", steps: []step{say(soa, ns, "www.example.net. 60 IN A 192.0.2.1", soa)}, want: transfer.ErrForeign},
		{name: "record that only ends alike", steps: []step{say(soa, ns, "notexample. 60 IN A 192.0.2.1", soa)}, want: transfer.ErrForeign},
		{name: "SOA of another zone", steps: []step{say(strings.Replace(soa, "example.", "example.net.", 1), ns)}, want: transfer.ErrForeign},
		{name: "records behind the end", steps: []step{say(soa, ns, soa, www)}, want: transfer.ErrForeign},
		{name: "wrong id", steps: []step{but(say(soa, ns, soa), func(m *dns.Msg) { m.Id++ })}, want: transfer.ErrForeign},
		{name: "wrong id later", steps: []step{say(soa, ns), but(say(soa), func(m *dns.Msg) { m.Id++ })}, want: transfer.ErrForeign},
		{name: "not a response", steps: []step{but(say(soa, ns, soa), func(m *dns.Msg) { m.Response = false })}, want: transfer.ErrForeign},
		{name: "other opcode", steps: []step{but(say(soa, ns, soa), func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify })}, want: transfer.ErrForeign},
		{name: "other name", steps: []step{but(say(soa, ns, soa), func(m *dns.Msg) { m.Question[0].Name = "example.net." })}, want: transfer.ErrForeign},
		{name: "other type", steps: []step{but(say(soa, ns, soa), func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeIXFR })}, want: transfer.ErrForeign},
		{name: "other class", steps: []step{but(say(soa, ns, soa), func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })}, want: transfer.ErrForeign},

		{name: "record of another class", steps: []step{say(soa, ns, "www.example. 60 CH TXT x", soa)}, want: zone.ErrRecord},
		{name: "second SOA below", steps: []step{say(soa, ns, strings.Replace(soa, "example.", "a.example.", 1), soa)}, want: transfer.ErrIncomplete},
		{name: "too large", steps: []step{say(soa, ns, www, soa)}, limit: 80, want: transfer.ErrTooLarge},
		{name: "refused within", steps: []step{say(soa, ns), but(say(), func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure })}, want: transfer.ErrRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := transfer.FetchOptions{Address: fake(t, c.steps...), Limit: c.limit}
			z, err := transfer.Fetch(t.Context(), o, zone.MustParseName("example"))
			if !errors.Is(err, c.want) {
				t.Fatalf("got error %v, want %v", err, c.want)
			}
			if c.want != nil {
				return
			}
			if z.Len() != 3 || z.Serial() != 7 {
				t.Errorf("got %d records, serial %d", z.Len(), z.Serial())
			}
		})
	}
}

// An emptied zone is a zone; one SOA that nothing follows is the beginning of one.
func TestFetchSOAAlone(t *testing.T) {
	z := fetch(t, fake(t, say(soa, soa)), zone.MustParseName("example"))
	if z.Len() != 1 || z.Serial() != 7 {
		t.Errorf("got %d records, serial %d", z.Len(), z.Serial())
	}
}

func TestFetchKeepsRcode(t *testing.T) {
	for _, rcode := range []int{dns.RcodeRefused, dns.RcodeNotAuth, dns.RcodeServerFailure, dns.RcodeFormatError, 14} {
		o := transfer.FetchOptions{Address: fake(t, but(say(), func(m *dns.Msg) { m.Rcode = rcode }))}
		_, err := transfer.Fetch(t.Context(), o, zone.MustParseName("example"))
		var refused *transfer.RcodeError
		if !errors.Is(err, transfer.ErrRefused) || !errors.As(err, &refused) || refused.Rcode != rcode {
			t.Errorf("rcode %d: got error %v", rcode, err)
		}
	}
}

func TestFetchGivesUpOnSilence(t *testing.T) {
	addr := serveTCP(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	_, err := transfer.Fetch(t.Context(), transfer.FetchOptions{Address: addr, Idle: 20 * time.Millisecond}, "\x00")
	if !errors.Is(err, transfer.ErrIncomplete) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got error %v", err)
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	addr := serveTCP(t, func(conn net.Conn) {
		conn.Read(make([]byte, 512))
		cancel(why)
		io.Copy(io.Discard, conn)
	})
	if _, err := transfer.Fetch(ctx, transfer.FetchOptions{Address: addr}, "\x00"); !errors.Is(err, why) {
		t.Errorf("got error %v", err)
	}
}

func TestFetchFromNobody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	_, err = transfer.Fetch(t.Context(), transfer.FetchOptions{Address: listener.Addr().String()}, "\x00")
	if err == nil || errors.Is(err, transfer.ErrRefused) || errors.Is(err, transfer.ErrIncomplete) {
		t.Errorf("got error %v", err)
	}
}

// TestFetchTinyPieces sends one byte a segment and half a message after the other.
func TestFetchTinyPieces(t *testing.T) {
	addr := serveTCP(t, func(conn net.Conn) {
		question := readQuestion(t, conn)
		for _, s := range []step{say(soa, ns), say(www, soa)} {
			for _, b := range frame(t, s(question)) {
				conn.Write([]byte{b})
			}
		}
	})
	if z := fetch(t, addr, zone.MustParseName("example")); z.Len() != 3 {
		t.Errorf("got %d records", z.Len())
	}
}

// fake is a server that takes one question, sends the steps and closes.
func fake(t *testing.T, steps ...step) string {
	return serveTCP(t, func(conn net.Conn) {
		question := readQuestion(t, conn)
		for _, s := range steps {
			conn.Write(frame(t, s(question)))
		}
	})
}

func readQuestion(t *testing.T, conn net.Conn) *dns.Msg {
	question, err := (&dns.Conn{Conn: conn}).ReadMsg()
	if err != nil {
		t.Error(err)
		return new(dns.Msg)
	}
	if len(question.Question) != 1 || question.Question[0].Qtype != dns.TypeAXFR || question.Response {
		t.Errorf("not a question for a zone: %s", question)
	}
	return question
}

func frame(t *testing.T, m *dns.Msg) []byte {
	packed, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
}

// serveTCP gives the first connection to serve, which must end when the client closes it.
func serveTCP(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		serve(conn)
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	return listener.Addr().String()
}
