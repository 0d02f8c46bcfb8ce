package origin

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// Prove reports whether DNS and the API are one PowerDNS, and transfers not those of a view (ErrOther). It asks over
// DNS what nobody asks, and the API whether the question was received. What the settings allow is looked at with each
// transfer from then on.
func (r *Reader) Prove(ctx context.Context) error {
	settings, err := r.api.Config(ctx)
	if err != nil {
		return err
	}
	r.views.Store(powerdns.MayHaveViews(settings))
	if err := r.proveServer(ctx); err != nil {
		return err
	}
	return r.proveView(ctx)
}

// proveServer asks by both ways, because each may lead elsewhere.
func (r *Reader) proveServer(ctx context.Context) error {
	asked := map[string]zone.Name{}
	for _, way := range []string{"TCP", "UDP"} {
		asked[way] = zone.MustParseName(strings.ToLower(rand.Text()) + ".invalid")
		if _, err := transfer.Ask(ctx, r.address, asked[way], dns.TypeSOA, transfer.AskOptions{TCP: way == "TCP"}); err != nil {
			return fmt.Errorf("%w by %s: %w", powerdns.ErrUnavailable, way, err)
		}
	}
	heard, err := r.api.Hearing(ctx)
	if err != nil {
		return err
	}
	for way, name := range asked {
		if !heard.Heard(name) {
			return &OtherError{fmt.Sprintf("a question by %s to powerdns.dns_address %s did not reach that PowerDNS",
				way, r.address), sameServer}
		}
	}
	from, err := r.source()
	r.seen.Store(err == nil && heard.HeardFrom(from))
	return err
}

// proveView returns ErrOther where a network with a view covers the address that transfers come from. Where PowerDNS
// does not see that address, because something between exchanges it, each network may.
func (r *Reader) proveView(ctx context.Context) error {
	if !r.views.Load() {
		return nil
	}
	networks, err := r.api.Networks(ctx)
	if err != nil {
		return err
	}
	from, err := r.source()
	if err != nil {
		return err
	}
	for _, n := range networks {
		if n.Prefix.Contains(from) || !r.seen.Load() {
			return &OtherError{
				fmt.Sprintf("they come from %s, and PowerDNS maps the network %s to view %q", from, n.Prefix, n.View),
				fmt.Sprintf("map it to no view (pdnsutil network set %s), or set powerdns.dns_address so that transfers come from an address without a view", n.Prefix),
			}
		}
	}
	return nil
}

// source is the address that transfers come from, as this host sees it.
func (r *Reader) source() (netip.Addr, error) {
	conn, err := net.Dial("udp", r.address) // sends nothing
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone(""), nil
}
