package transfer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// What can be wrong with a transfer that the server answered; errors of [Fetch] wrap one of them, or what the network
// or package zone had to say.
var (
	// ErrRefused is an answer with an error code; the chain holds a [*RcodeError].
	ErrRefused = errors.New("the server refused")

	// ErrIncomplete is a transfer that did not end as RFC 5936 §2.2 wants it.
	ErrIncomplete = errors.New("incomplete transfer")

	// ErrForeign is an answer that does not belong to the question.
	ErrForeign = errors.New("foreign answer")

	// ErrTooLarge is a zone larger than the limit.
	ErrTooLarge = zone.ErrTooLarge
)

// RcodeError is the error code of an answer (RFC 1035 §4.1.1, RFC 2136 §2.2).
type RcodeError struct{ Rcode int }

func (e *RcodeError) Error() string {
	if s, ok := dns.RcodeToString[e.Rcode]; ok {
		return ErrRefused.Error() + ": " + s
	}
	return fmt.Sprintf("%s: code %d", ErrRefused, e.Rcode)
}

// Unwrap is ErrRefused.
func (e *RcodeError) Unwrap() error { return ErrRefused }

// BrokenOff is a transfer whose connection ended too early, which is ErrIncomplete.
type BrokenOff struct {
	Client  string // this end of the connection, host:port
	Records int    // that came before
	Err     error
}

func (e *BrokenOff) Error() string {
	return fmt.Sprintf("%v: after %d records: %v", ErrIncomplete, e.Records, e.Err)
}

// Unwrap is ErrIncomplete, and what ended the connection.
func (e *BrokenOff) Unwrap() []error { return []error{ErrIncomplete, e.Err} }

// FetchOptions says where from and within which bounds. How long a transfer may take in all is up to the context.
type FetchOptions struct {
	Address string        // host:port
	Connect time.Duration // until the connection stands; 0 means 5 s
	Idle    time.Duration // between two messages; 0 means 10 s
	Limit   int           // bytes of canonical wire form; 0 means zone.MaxSize
}

func (o FetchOptions) withDefaults() FetchOptions {
	if o.Connect <= 0 {
		o.Connect = 5 * time.Second
	}
	if o.Idle <= 0 {
		o.Idle = 10 * time.Second
	}
	return o
}

// Fetch transfers the zone by AXFR over a TCP connection of its own.
func Fetch(ctx context.Context, o FetchOptions, name zone.Name) (*zone.Zone, error) {
	z, err := fetch(ctx, o.withDefaults(), name)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // the closed connection is only what came of it
		}
		return nil, fmt.Errorf("transfer zone %s from %s: %w", name, o.Address, err)
	}
	return z, nil
}

func fetch(ctx context.Context, o FetchOptions, name zone.Name) (*zone.Zone, error) {
	dialer := net.Dialer{Timeout: o.Connect, KeepAlive: -1} // Idle bounds silence
	conn, err := dialer.DialContext(ctx, "tcp", o.Address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	in := incoming{id: uint16(rand.Uint32()), question: newQuestion(name, dns.TypeAXFR), builder: zone.NewBuilder(name, o.Limit)}
	conn.SetDeadline(time.Now().Add(o.Idle))
	if _, err := conn.Write(in.ask()); err != nil {
		return nil, err
	}
	messages := bufio.NewReaderSize(conn, 2+maxMessage)
	for !in.closed {
		conn.SetReadDeadline(time.Now().Add(o.Idle))
		msg, err := nextMessage(messages)
		if err != nil {
			return nil, &BrokenOff{conn.LocalAddr().String(), in.records, err}
		}
		if err := in.message(msg); err != nil {
			return nil, err
		}
	}
	return in.builder.Zone()
}

// nextMessage returns the next message of a stream (RFC 1035 §4.2.2), valid until the next call.
func nextMessage(r *bufio.Reader) ([]byte, error) {
	size, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	n := 2 + int(binary.BigEndian.Uint16(size))
	framed, err := r.Peek(n)
	if err != nil {
		return nil, err
	}
	r.Discard(n) // they are in the buffer and stay there until it is refilled
	return framed[2:], nil
}

// incoming is an AXFR on its way in (RFC 5936 §2.2).
type incoming struct {
	question
	id      uint16
	builder *zone.Builder
	soa     zone.Record // the opening one
	records int
	closed  bool // by a second SOA equal to the first
}

// ask is the framed question.
func (in *incoming) ask() []byte {
	b := make([]byte, 2+headerLen, 2+headerLen+len(in.raw))
	binary.BigEndian.PutUint16(b, uint16(headerLen+len(in.raw)))
	header{id: in.id, questions: 1}.put(b[2:])
	return append(b, in.raw...)
}

// message takes in one message of the answer.
func (in *incoming) message(msg []byte) error {
	off, answers, err := in.open(msg)
	if err != nil {
		return err
	}
	for range answers {
		if in.closed {
			return fmt.Errorf("%w: records behind the closing SOA", ErrForeign)
		}
		var r zone.Record
		if r, off, err = in.builder.Read(msg, off); err != nil {
			return err
		}
		if err := in.record(r); err != nil {
			return err
		}
	}
	return nil
}

// open checks that msg answers the question and returns where its records begin, and how many there are.
func (in *incoming) open(msg []byte) (off, answers int, err error) {
	if len(msg) < headerLen {
		return 0, 0, fmt.Errorf("%w: a message of %d bytes", ErrForeign, len(msg))
	}
	h := readHeader(msg)
	switch {
	case h.id != in.id || !h.response() || h.opcode() != dns.OpcodeQuery || h.questions > 1:
		return 0, 0, fmt.Errorf("%w: not a response to this question", ErrForeign)
	case h.rcode() != dns.RcodeSuccess:
		return 0, 0, &RcodeError{h.rcode()}
	case h.answers == 0 || h.flags&flagTruncated != 0:
		return 0, 0, fmt.Errorf("%w: a message without records after %d of them", ErrIncomplete, in.records)
	case h.questions == 0: // all but the first message may leave it out: RFC 5936 §2.2.1
		return headerLen, int(h.answers), nil
	}
	q, off, err := readQuestion(msg)
	if err != nil || !q.same(in.question) {
		return 0, 0, fmt.Errorf("%w: to another question", ErrForeign)
	}
	return off, int(h.answers), nil
}

// record checks that the record which the builder read last is in its place.
func (in *incoming) record(r zone.Record) error {
	in.records++
	switch {
	case in.soa == nil && r.Type() != dns.TypeSOA:
		return fmt.Errorf("%w: it does not begin with the SOA", ErrIncomplete)
	case !r.Under(in.name):
		return fmt.Errorf("%w: %s lies outside the zone", ErrForeign, r.Owner())
	case r.Type() != dns.TypeSOA:
		return nil
	case in.soa == nil:
		in.soa = bytes.Clone(r)
		return nil
	case !bytes.Equal(r, in.soa):
		return fmt.Errorf("%w: it begins and ends with different SOAs: the zone changed meanwhile", ErrIncomplete)
	}
	in.builder.Drop()
	in.closed = true
	return nil
}
