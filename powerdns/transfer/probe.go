package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// What can be wrong with a server that is asked from outside.
var (
	// ErrSilent says that no answer came, or none that belongs to the question.
	ErrSilent = errors.New("no answer")
	// ErrServfail says that the server could not answer.
	ErrServfail = errors.New("SERVFAIL")
	// ErrLame says that the server does not have the zone, or does not answer for it with authority (RFC 8499 §7).
	ErrLame = errors.New("lame")
)

// soaNumbers is how many bytes serial, refresh, retry, expire and minimum have at the end of a SOA (RFC 1035 §3.3.13).
const soaNumbers = 20

// Probe asks a server for a zone's SOA as anybody would, by UDP or by TCP, and returns the serial.
func Probe(ctx context.Context, addr string, name zone.Name, tcp bool) (serial uint32, err error) {
	a, err := Ask(ctx, addr, name, dns.TypeSOA, AskOptions{TCP: tcp})
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrSilent, err)
	case a.Rcode == dns.RcodeServerFailure:
		return 0, ErrServfail
	case a.Rcode != dns.RcodeSuccess:
		return 0, fmt.Errorf("%w: %s", ErrLame, dns.RcodeToString[a.Rcode])
	case !a.AA:
		return 0, fmt.Errorf("%w: its answer is not authoritative", ErrLame)
	}
	for _, r := range a.Answer {
		if r.Type() == dns.TypeSOA && r.Owner() == name && len(r.Data()) > soaNumbers {
			return binary.BigEndian.Uint32(r.Data()[len(r.Data())-soaNumbers:]), nil
		}
	}
	return 0, fmt.Errorf("%w: its answer has no SOA", ErrLame)
}
