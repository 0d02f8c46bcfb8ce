package transfer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// acceptPause is how long to wait for a file descriptor to become free.
const acceptPause = 100 * time.Millisecond

// serveConnections takes a connection in whenever there is a place for it, and waits for all of them to end.
func (s *Server) serveConnections(ctx context.Context) error {
	defer s.tcp.Close()
	defer context.AfterFunc(ctx, func() { s.tcp.Close() })()
	var running sync.WaitGroup
	defer running.Wait()
	places := make(chan struct{}, s.config.Connections)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := s.accept(ctx)
		if err != nil {
			return ignoreClosed(err)
		}
		running.Go(func() {
			defer func() { <-places }()
			s.serveConnection(ctx, conn, func() bool { return len(places) == cap(places) })
		})
	}
}

// accept returns the next connection. With no file descriptor left it waits for one: connections stay in the backlog.
func (s *Server) accept(ctx context.Context) (*net.TCPConn, error) {
	for {
		conn, err := s.tcp.AcceptTCP()
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			return conn, err
		}
		select {
		case <-time.After(acceptPause):
		case <-ctx.Done():
		}
	}
}

// serveConnection answers the questions of one connection in their order, until the client closes it, falls silent or
// is not worth talking to. While crowded it may ask no further question: else whoever asks now and then would keep its
// place for good.
func (s *Server) serveConnection(ctx context.Context, conn *net.TCPConn, crowded func() bool) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c := connection{
		server:  s,
		peer:    unmapped(conn.RemoteAddr().(*net.TCPAddr).AddrPort()),
		answers: bufio.NewWriterSize(patient{conn, s.config.Write}, 64<<10),
	}
	questions := bufio.NewReaderSize(conn, 4<<10) // what doesn't fit ends the connection
	for {
		conn.SetReadDeadline(time.Now().Add(s.config.Idle))
		msg, err := nextMessage(questions)
		c.taken(err)
		if err != nil || c.answer(msg) != nil {
			return
		}
		if crowded() && c.sent == nil { // that a transfer arrived shows only when the client closes
			return
		}
	}
}

// connection is one client that asks by TCP.
type connection struct {
	server  *Server
	peer    netip.AddrPort
	answers *bufio.Writer
	sent    *Sent // the transfer that was written last, until the client shows that it took it
}

// errHangUp ends a connection.
var errHangUp = errors.New("hang up")

// answer answers one message; after an error the connection is of no use.
func (c *connection) answer(msg []byte) error {
	r, rcode := c.server.read(msg, c.peer)
	if rcode == drop {
		return errHangUp
	}
	if rcode == dns.RcodeSuccess && r.transfer() {
		var z *zone.Zone
		if z, rcode = c.server.content(r.name); rcode == dns.RcodeSuccess {
			return c.transfer(r, z)
		}
	}
	reply := c.server.answer(make([]byte, 2), r, rcode, c.peer, maxMessage)
	binary.BigEndian.PutUint16(reply, uint16(len(reply)-2))
	c.answers.Write(reply) // Flush returns its error
	if err := c.answers.Flush(); err != nil {
		return err
	}
	if !c.server.config.allowed(c.peer) {
		return errHangUp
	}
	return nil
}

// transfer writes the zone. Whether the client took it shows later, unless this fails.
func (c *connection) transfer(r request, z *zone.Zone) error {
	c.sent = &Sent{Zone: r.name, Version: z, Peer: c.peer, Began: time.Now()}
	err := writeZone(c.answers, r, z)
	if err == nil {
		err = c.answers.Flush()
	}
	if err != nil {
		c.taken(err)
	}
	return err
}

// taken reports the last transfer, if it wasn't yet, when the connection closed or another question came (err nil).
func (c *connection) taken(err error) {
	if c.sent == nil {
		return
	}
	if !errors.Is(err, io.EOF) {
		c.sent.Err = err
	}
	c.sent.Took = time.Since(c.sent.Began)
	c.server.config.OnTransfer(*c.sent)
	c.sent = nil
}

// content returns the zone to transfer. One that is nothing but its SOA is a zone like any other: PowerDNS empties its
// own, and answers with the SOA and that there is nothing else (4.7 to 5.1).
func (s *Server) content(name zone.Name) (*zone.Zone, int) {
	z, err := s.source.Zone(name)
	return z, rcodeOf(err)
}

// patient gives every write its time.
type patient struct {
	conn    net.Conn
	timeout time.Duration
}

func (p patient) Write(b []byte) (int, error) {
	p.conn.SetWriteDeadline(time.Now().Add(p.timeout))
	return p.conn.Write(b)
}
