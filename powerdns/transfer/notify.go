package transfer

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// NotifyListener receives NOTIFY (RFC 1996) by UDP. It is a hint, never proof: anybody on an allowed host can send it,
// and it can get lost.
type NotifyListener struct {
	conn     *net.UDPConn
	from     []netip.Prefix
	onNotify func(zone.Name)
}

// NewNotifyListener binds the port. Empty allowFrom means this host. onNotify is called by one goroutine, before the
// answer; it must not block. Whoever doesn't call Run must call Close.
func NewNotifyListener(listen string, allowFrom []netip.Prefix, onNotify func(zone.Name)) (*NotifyListener, error) {
	conn, err := listenUDP(listen)
	if err != nil {
		return nil, fmt.Errorf("listen for NOTIFY on %q: %w", listen, err)
	}
	return &NotifyListener{conn, allowFrom, onNotify}, nil
}

// Addr is the address of the port.
func (l *NotifyListener) Addr() netip.AddrPort { return l.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close gives the port back; Run does so by itself.
func (l *NotifyListener) Close() error { return l.conn.Close() }

// Run listens until the context ends or the port fails.
func (l *NotifyListener) Run(ctx context.Context) error {
	return servePackets(ctx, l.conn, l.answer)
}

// answer answers one message: NOERROR to a NOTIFY about an SOA (RFC 1996 §3.7, §4.7).
func (l *NotifyListener) answer(msg []byte, peer netip.AddrPort) []byte {
	r, rcode := receive(msg, allowed(l.from, peer.Addr()), dns.OpcodeNotify)
	switch {
	case rcode == drop:
		return nil
	case rcode == dns.RcodeSuccess && r.typ != dns.TypeSOA:
		rcode = dns.RcodeRefused
	case rcode == dns.RcodeSuccess:
		l.onNotify(r.name)
	}
	return r.reply(nil, rcode, r.payload)
}
