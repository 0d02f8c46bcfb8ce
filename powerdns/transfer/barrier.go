package transfer

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// A barrier is what no answer of before gets past: PowerDNS may have looked an answer up before a commit and put it
// into its packet cache long after, which no purge in between takes out. It answers by UDP with threads of its own, in
// turn and each one question after the other, and by TCP with one lookup at a time (4.7 to 5.1). So when each of these
// threads has answered a question that was put after the commit, what it looked up before is in the cache, or never
// will be.

// barrierRounds is how many questions each thread is sent. One would be enough, did nobody else's come in between:
// PowerDNS hands them to its threads in turn. One gets none of ours only if a stranger's comes at each of its turns
// while ours are sent, which takes 0.05 ms.
const barrierRounds = 3

// Threads are those with which a PowerDNS looks up what it is asked by UDP.
type Threads struct {
	Receivers    int // receiver-threads
	Distributors int // distributor-threads, of each receiver
}

// Line leads to one server; it keeps a connection for as long as the server does. It is for one goroutine at a time.
type Line struct {
	address string
	tcp     net.Conn
}

// NewLine makes one. It does not connect.
func NewLine(address string) *Line { return &Line{address: address} }

// PassBarrier returns when every lookup that the server was at when it was called is over.
func (l *Line) PassBarrier(ctx context.Context, t Threads) error {
	asked := l.askTCP()
	err := l.passUDP(ctx, t)
	if !asked || !l.hearTCP(ctx) {
		// PowerDNS closes a connection that was silent for a while; it is made anew. Where it takes none, or none in
		// time because strangers hold all, what was being looked up before has had that time.
		dialer := net.Dialer{Timeout: askTries * askPatience, KeepAlive: -1}
		if l.tcp, _ = dialer.DialContext(ctx, "tcp", l.address); l.askTCP() {
			l.hearTCP(ctx)
		}
	}
	return err
}

// passUDP sends from one port what one receiver gets, from many where the kernel picks one of several by the port.
func (l *Line) passUDP(ctx context.Context, t Threads) error {
	ports, each := 1, barrierRounds*max(t.Distributors, 1)
	if t.Receivers > 1 {
		ports = barrierRounds * 2 * t.Receivers
	}
	for range ports {
		for left := each; left > 0; left -= burstMost {
			b := newBarrierBurst(min(left, burstMost))
			if err := b.ask(ctx, l.address); err != nil {
				return fmt.Errorf("ask %s whether lookups are over: %w", l.address, err)
			}
		}
	}
	return nil
}

// askTCP puts one question, if there is a connection that takes it.
func (l *Line) askTCP() bool {
	if l.tcp == nil {
		return false
	}
	l.tcp.SetDeadline(time.Now().Add(askTries * askPatience))
	_, err := l.tcp.Write(newBarrierQuestion(uint16(rand.Uint32())).framed)
	return l.keep(err)
}

// hearTCP waits for the answer.
func (l *Line) hearTCP(ctx context.Context) bool {
	conn := l.tcp
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_, err := nextMessage(bufio.NewReaderSize(conn, 2+maxMessage))
	return l.keep(err)
}

// keep closes a connection that failed.
func (l *Line) keep(err error) bool {
	if err != nil {
		l.tcp.Close()
		l.tcp = nil
	}
	return err == nil
}

// Close ends the connection.
func (l *Line) Close() {
	if l.tcp != nil {
		l.tcp.Close()
	}
}

func newBarrierBurst(n int) burst {
	b := burst{answers: make([]Answer, n), open: n}
	first := uint16(rand.Uint32())
	for i := range n {
		b.inquiries = append(b.inquiries, *newBarrierQuestion(first + uint16(i)))
	}
	return b
}

// newBarrierQuestion is of a class that PowerDNS neither keeps in its packet cache nor has in its database.
func newBarrierQuestion(id uint16) *inquiry {
	q := &inquiry{question: newQuestion(zone.Root, dns.TypeA), id: id}
	q.class = dns.ClassCHAOS
	binary.BigEndian.PutUint16(q.raw[len(q.raw)-2:], q.class)
	b := append(make([]byte, 2+headerLen, 2+maxQuery), q.raw...)
	header{id: id, questions: 1}.put(b[2:])
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	q.framed = b
	return q
}
