package transfer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/host"
)

// loopback may ask when nothing else was said, as every address of this host may.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func allowed(from []netip.Prefix, addr netip.Addr) bool {
	if len(from) > 0 {
		return within(from, addr)
	}
	if within(loopback, addr) {
		return true
	}
	has, err := host.Has(addr)
	return has && err == nil
}

func within(networks []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// drop stands in place of an error code where a message is not worth an answer.
const drop = -1

// receive reads a request and returns the error code to answer it with: RcodeSuccess for one question of class IN by an
// allowed client, sent with the opcode that is served. What claims to be a response is dropped, lest two servers talk
// to each other for ever.
func receive(msg []byte, allowed bool, opcode int) (r request, rcode int) {
	if len(msg) < headerLen || readHeader(msg).response() {
		return request{}, drop
	}
	r, err := readRequest(msg)
	switch {
	case !allowed:
		return r, dns.RcodeRefused
	case r.opcode() != opcode:
		return r, dns.RcodeNotImplemented
	case err != nil:
		return r, dns.RcodeFormatError
	case r.class != dns.ClassINET:
		return r, dns.RcodeRefused
	}
	return r, dns.RcodeSuccess
}

// listenUDP binds a UDP address.
func listenUDP(listen string) (*net.UDPConn, error) {
	addr, err := net.ResolveUDPAddr("udp", listen)
	if err != nil {
		return nil, err
	}
	return net.ListenUDP("udp", addr)
}

// servePackets answers packets one by one until the context ends, and closes conn. A nil answer is not sent.
func servePackets(ctx context.Context, conn *net.UDPConn, answer func(msg []byte, peer netip.AddrPort) []byte) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	buf := make([]byte, maxMessage)
	for {
		n, peer, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return ignoreClosed(err)
		}
		if reply := answer(buf[:n], unmapped(peer)); reply != nil {
			conn.WriteToUDPAddrPort(reply, peer) // a client that misses it asks again
		}
	}
}

// unmapped turns an IPv4 address that came in by an IPv6 socket back into what it is.
func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// ignoreClosed leaves out the error that comes of a port closed on purpose.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
