package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns/zone"
)

// ErrNotHeld is what a [Source] returns for zones that it doesn't have.
var ErrNotHeld = errors.New("zone not held")

// Source is where the server finds its zones. It is used by many goroutines at once. An error that wraps [ErrNotHeld]
// is answered by REFUSED, any other by SERVFAIL; PowerDNS keeps what it has and asks again either way.
type Source interface {
	// SOA returns the zone's SOA and the signatures over it. PowerDNS asks for all zones periodically: it must be
	// cheap.
	SOA(name zone.Name) (soa zone.Record, signatures []zone.Record, err error)

	// Zone returns the version to transfer.
	Zone(name zone.Name) (*zone.Zone, error)
}

// Config bounds a server.
type Config struct {
	Listen      string         // host:port for UDP and TCP; port 0 takes a free one
	AllowFrom   []netip.Prefix // who may ask; empty means this host, by loopback or an address of its own
	Connections int            // TCP connections served at once, others wait; 0 means 128
	Idle        time.Duration  // for the next question on a connection to be there in full; 0 means 10 s
	Write       time.Duration  // for the client to take 64 KB; 0 means 10 s

	// OnTransfer, if set, is called for every transfer that was begun when it ended, by many goroutines at once.
	OnTransfer func(Sent)

	// OnQuery, if set, is called for every other message that was answered, by many goroutines at once.
	OnQuery func(Query)
}

func (c Config) withDefaults() Config {
	if c.Connections <= 0 {
		c.Connections = 128
	}
	if c.Idle <= 0 {
		c.Idle = 10 * time.Second
	}
	if c.Write <= 0 {
		c.Write = 10 * time.Second
	}
	if c.OnTransfer == nil {
		c.OnTransfer = func(Sent) {}
	}
	if c.OnQuery == nil {
		c.OnQuery = func(Query) {}
	}
	return c
}

func (c Config) allowed(peer netip.AddrPort) bool { return allowed(c.AllowFrom, peer.Addr()) }

// Sent is a transfer that ended: the client closed the connection or asked the next question, or it failed.
//
// PowerDNS 4.7 closes the connection when it has read everything, and commits only then: 1 to 2 ms later with some
// records, 0.2 to 0.5 s later with 100,000. Whoever waits for the commit begins to look now.
type Sent struct {
	Zone    zone.Name
	Version *zone.Zone
	Peer    netip.AddrPort
	Began   time.Time
	Took    time.Duration
	Err     error // nil when everything was sent and the connection did not break
}

// Query is a message that was answered with one message.
type Query struct {
	Zone  zone.Name // "" when none could be read
	Type  uint16
	Peer  netip.AddrPort
	Rcode int

	// Refused is why a client is not served whatever it asks for, "" for others.
	Refused string
}

// Server answers the PowerDNS beside it: SOA and AXFR for the zones of its source, REFUSED for all else.
type Server struct {
	config Config
	source Source
	tcp    *net.TCPListener
	udp    *net.UDPConn
}

// NewServer binds the UDP and the TCP port. Whoever doesn't call Run must call Close.
func NewServer(c Config, source Source) (*Server, error) {
	s := &Server{config: c.withDefaults(), source: source}
	var err error
	for range 10 { // a free TCP port need not be free for UDP
		if err = s.bind(); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listen for transfers on %q: %w", c.Listen, err)
	}
	return s, nil
}

func (s *Server) bind() error {
	listening := net.ListenConfig{KeepAlive: -1} // Idle and Write bound silence
	tcp, err := listening.Listen(context.Background(), "tcp", s.config.Listen)
	if err != nil {
		return err
	}
	s.tcp = tcp.(*net.TCPListener)
	if s.udp, err = listenUDP(s.tcp.Addr().String()); err != nil {
		s.tcp.Close()
	}
	return err
}

// Addr is the address of both ports.
func (s *Server) Addr() netip.AddrPort { return s.tcp.Addr().(*net.TCPAddr).AddrPort() }

// Close gives the ports back; Run does so by itself.
func (s *Server) Close() error { return errors.Join(s.tcp.Close(), s.udp.Close()) }

// Run serves until the context ends or a port fails. All its goroutines and connections have ended when it returns.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return servePackets(ctx, s.udp, s.answerPacket) })
	group.Go(func() error { return s.serveConnections(ctx) })
	return group.Wait()
}

// answerPacket answers one UDP message.
func (s *Server) answerPacket(msg []byte, peer netip.AddrPort) []byte {
	r, rcode := s.read(msg, peer)
	if rcode == drop {
		return nil
	}
	if rcode == dns.RcodeSuccess && r.typ == dns.TypeAXFR {
		rcode = dns.RcodeRefused // RFC 5936 §4.2: by TCP only
	}
	return s.answer(nil, r, rcode, peer, r.payload)
}

// read reads a message and returns the error code to answer it with, if any. Refused without a look at the source is
// whatever does not ask for the SOA or the content of a zone.
func (s *Server) read(msg []byte, peer netip.AddrPort) (r request, rcode int) {
	r, rcode = receive(msg, s.config.allowed(peer), dns.OpcodeQuery)
	switch {
	case rcode != dns.RcodeSuccess:
	case r.key != "":
		rcode = dns.RcodeNotAuth // RFC 8945 §5.2.1: the key is not known
	case r.typ != dns.TypeSOA && !r.transfer():
		rcode = dns.RcodeRefused
	}
	return r, rcode
}

// refusal is why the client is not served whatever it asks for, "" for others.
func (s *Server) refusal(r request, peer netip.AddrPort) string {
	switch {
	case !s.config.allowed(peer):
		return "that is no address of this host"
	case r.key != "":
		return fmt.Sprintf("it is signed with TSIG key %s, and the role has no such key", r.key)
	}
	return ""
}

// answer appends the one message that answers r: the SOA, which is also what RFC 1995 §2 gives to IXFR by UDP, or the
// error code.
func (s *Server) answer(dst []byte, r request, rcode int, peer netip.AddrPort, limit int) []byte {
	var records []zone.Record
	if rcode == dns.RcodeSuccess {
		soa, signatures, err := s.source.SOA(r.name)
		if rcode = rcodeOf(err); err == nil {
			records = append(records, soa)
		}
		if r.dnssec && err == nil {
			records = append(records, signatures...)
		}
	}
	s.config.OnQuery(Query{r.name, r.typ, peer, rcode, s.refusal(r, peer)})
	return r.reply(dst, rcode, limit, records...)
}

// rcodeOf turns what a source said into an error code.
func rcodeOf(err error) int {
	switch {
	case err == nil:
		return dns.RcodeSuccess
	case errors.Is(err, ErrNotHeld):
		return dns.RcodeRefused
	default:
		return dns.RcodeServerFailure
	}
}
