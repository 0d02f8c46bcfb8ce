package transfer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// A question by UDP is sent askTries times, askPatience apart; an answer by TCP may take as long in all.
const (
	askTries    = 3
	askPatience = 500 * time.Millisecond
)

// AskOptions says how a question is put.
type AskOptions struct {
	DNSSEC  bool // ask for signatures
	TCP     bool // do not try UDP first
	Unique  bool // make the question unlike any other, so that no packet cache has the answer
	Recurse bool // have a resolver find the answer
}

// Answer is what a server answered, records in canonical form.
type Answer struct {
	Rcode     int
	AA        bool
	Answer    []zone.Record
	Authority []zone.Record
}

// Ask puts one question to the server at addr (host:port), by UDP, and by TCP when the answer is truncated. It gives up
// with [os.ErrDeadlineExceeded] after 1.5 s of silence, if the context doesn't end sooner.
func Ask(ctx context.Context, addr string, name zone.Name, typ uint16, o AskOptions) (Answer, error) {
	q := newInquiry(name, typ, o)
	answer, err := Answer{}, errTruncated
	if !o.TCP {
		answer, err = q.overUDP(ctx, addr)
	}
	if errors.Is(err, errTruncated) {
		answer, err = q.overTCP(ctx, addr)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return Answer{}, fmt.Errorf("ask %s for %s %s: %w", addr, name, dns.Type(typ), err)
	}
	return answer, nil
}

// errTruncated means that the answer is to be had by TCP.
var errTruncated = errors.New("truncated")

// inquiry is a question on its way.
type inquiry struct {
	question
	id     uint16
	framed []byte // the message behind its length
}

func newInquiry(name zone.Name, typ uint16, o AskOptions) inquiry {
	q := inquiry{question: newQuestion(name, typ), id: uint16(rand.Uint32())}
	b := append(make([]byte, 2+headerLen, 2+maxQuery), q.raw...)
	header{id: q.id, flags: o.flags(), questions: 1, additional: 1}.put(b[2:])
	q.framed = appendOPT(b, o.DNSSEC, o.options())
	binary.BigEndian.PutUint16(q.framed, uint16(len(q.framed)-2))
	return q
}

const maxQuery = 512

// uniqueOption is an EDNS option for local use (RFC 6891 §9).
const uniqueOption = 65001

func (o AskOptions) flags() uint16 {
	if o.Recurse {
		return flagRecursion
	}
	return 0
}

func (o AskOptions) options() []byte {
	if !o.Unique {
		return nil
	}
	b := binary.BigEndian.AppendUint16(nil, uniqueOption)
	b = binary.BigEndian.AppendUint16(b, 8)
	return binary.BigEndian.AppendUint64(b, rand.Uint64())
}

func (q *inquiry) overUDP(ctx context.Context, addr string) (Answer, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", addr)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for range askTries {
		if _, err = conn.Write(q.framed[2:]); err != nil {
			return Answer{}, err
		}
		conn.SetReadDeadline(time.Now().Add(askPatience))
		var answer Answer
		if answer, err = q.receive(conn); !errors.Is(err, os.ErrDeadlineExceeded) {
			return answer, err
		}
	}
	return Answer{}, err
}

// receive waits for the answer; packets that belong to nothing or to other questions are not it.
func (q *inquiry) receive(conn net.Conn) (Answer, error) {
	buf := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return Answer{}, err
		}
		if answer, err := q.read(buf[:n]); !errors.Is(err, ErrForeign) {
			return answer, err
		}
	}
}

func (q *inquiry) overTCP(ctx context.Context, addr string) (Answer, error) {
	dialer := net.Dialer{Timeout: askTries * askPatience, KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.SetDeadline(time.Now().Add(askTries * askPatience))
	if _, err := conn.Write(q.framed); err != nil {
		return Answer{}, err
	}
	msg, err := nextMessage(bufio.NewReaderSize(conn, 2+maxMessage))
	if err != nil {
		return Answer{}, err
	}
	return q.read(msg)
}

// read reads the answer. It returns ErrForeign if msg is none, errTruncated if it is not all.
func (q *inquiry) read(msg []byte) (Answer, error) {
	if len(msg) < headerLen {
		return Answer{}, ErrForeign
	}
	h := readHeader(msg)
	asked, off, err := readQuestion(msg)
	if h.id != q.id || !h.response() || h.questions != 1 || err != nil || !asked.same(q.question) {
		return Answer{}, ErrForeign
	}
	if h.flags&flagTruncated != 0 {
		return Answer{}, errTruncated
	}
	a := Answer{Rcode: h.rcode(), AA: h.flags&flagAuthoritative != 0}
	if a.Answer, off, err = readRecords(msg, off, h.answers); err != nil {
		return Answer{}, err
	}
	a.Authority, _, err = readRecords(msg, off, h.authority)
	return a, err
}

// readRecords reads n records and returns the offset behind them.
func readRecords(msg []byte, off int, n uint16) (records []zone.Record, next int, err error) {
	for range n {
		var r zone.Record
		if r, off, err = zone.AppendRecord(nil, msg, off); err != nil {
			return nil, 0, err
		}
		records = append(records, r)
	}
	return records, off, nil
}
