package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/net/ipv4"

	"pdns-distribute/powerdns/zone"
)

// burstMost is how many questions are on their way at once: as many as a server's socket is sure to hold.
const burstMost = 64

// askMany puts questions to the server at addr, many at once from one port, and returns the answers in their order. It
// takes hardly longer than the slowest of them.
func askMany(ctx context.Context, addr string, questions []zone.Question, o AskOptions) ([]Answer, error) {
	answers := make([]Answer, 0, len(questions))
	for len(questions) > 0 {
		n := min(len(questions), burstMost)
		some, err := askBurst(ctx, addr, questions[:n], o)
		if err != nil {
			return nil, err
		}
		answers, questions = append(answers, some...), questions[n:]
	}
	return answers, nil
}

func askBurst(ctx context.Context, addr string, questions []zone.Question, o AskOptions) ([]Answer, error) {
	b := burst{answers: make([]Answer, len(questions)), open: len(questions)}
	first := uint16(rand.Uint32())
	for i, q := range questions {
		in := newInquiry(q.Name, q.Type, o)
		in.renumber(first + uint16(i))
		b.inquiries = append(b.inquiries, in)
	}
	if err := b.ask(ctx, addr); err != nil {
		return nil, fmt.Errorf("ask %s for %d names: %w", addr, len(questions), err)
	}
	for _, i := range b.truncated {
		answer, err := Ask(ctx, addr, questions[i].Name, questions[i].Type, AskOptions{DNSSEC: o.DNSSEC, Unique: o.Unique, TCP: true})
		if err != nil {
			return nil, err
		}
		b.answers[i] = answer
	}
	return b.answers, nil
}

// renumber gives the question another id.
func (q *inquiry) renumber(id uint16) {
	q.id = id
	binary.BigEndian.PutUint16(q.framed[2:], id)
}

// burst is questions with ids that follow each other, and their answers.
type burst struct {
	inquiries []inquiry
	answers   []Answer
	answered  [burstMost]bool
	open      int   // questions without an answer
	truncated []int // to be asked by TCP
}

func (b *burst) ask(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for range askTries {
		if err = b.send(conn.(*net.UDPConn)); err == nil {
			err = b.receive(conn)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return err
}

// send sends what has no answer yet, by as few calls to the kernel as it takes: a server that is woken by the first
// question finds all others, and few of strangers stand between them.
func (b *burst) send(conn net.PacketConn) error {
	batch := make([]ipv4.Message, 0, len(b.inquiries))
	for i, q := range b.inquiries {
		if !b.answered[i] {
			batch = append(batch, ipv4.Message{Buffers: [][]byte{q.framed[2:]}})
		}
	}
	packets := ipv4.NewPacketConn(conn) // sends what is given to it, of whatever family
	for len(batch) > 0 {
		n, err := packets.WriteBatch(batch, 0)
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// receive waits until all have an answer. What belongs to no question is passed over.
func (b *burst) receive(conn net.Conn) error {
	conn.SetReadDeadline(time.Now().Add(askPatience))
	buf := make([]byte, 4<<10)
	for b.open > 0 {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if n < headerLen {
			continue
		}
		i := int(readHeader(buf).id - b.inquiries[0].id)
		if i >= len(b.inquiries) || b.answered[i] {
			continue
		}
		answer, err := b.inquiries[i].read(buf[:n])
		switch {
		case errors.Is(err, ErrForeign):
			continue
		case errors.Is(err, errTruncated):
			b.truncated = append(b.truncated, i)
		case err != nil:
			return err
		}
		b.answers[i], b.answered[i] = answer, true
		b.open--
	}
	return nil
}
