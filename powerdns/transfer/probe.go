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
	// ErrSilent means that no answer came, or none that belongs to the question.
	ErrSilent = errors.New("no answer")
	// ErrServfail means that the server could not answer.
	ErrServfail = errors.New("SERVFAIL")
	// ErrLame means that the server does not have the zone, or does not answer for it with authority (RFC 8499 §7).
	ErrLame = errors.New("lame")
)

// Probed is what the world gets.
type Probed struct {
	Serial  uint32
	Expires uint32 // the last end of a signature of the SOA, as in RFC 4034 §3.1.5; 0 when there is none
}

// Probe asks a server for a zone's SOA as a validating resolver would, by UDP or by TCP.
func Probe(ctx context.Context, addr string, name zone.Name, tcp bool) (p Probed, err error) {
	soa, signatures, err := askSOA(ctx, addr, name, AskOptions{TCP: tcp, DNSSEC: true})
	code, answered := errors.AsType[*RcodeError](err)
	switch {
	case err == nil:
	case answered && code.Rcode == dns.RcodeServerFailure:
		return p, ErrServfail
	case answered, errors.Is(err, ErrNoSOA):
		return p, fmt.Errorf("%w: %w", ErrLame, err)
	default:
		return p, fmt.Errorf("%w: %w", ErrSilent, err)
	}
	p.Serial = binary.BigEndian.Uint32(soa[len(soa)-soaNumbers:])
	for _, r := range signatures {
		// type, algorithm, labels and TTL stand before the end: RFC 4034 §3.1. One good signature is enough.
		if data := r.Data(); len(data) >= 12 {
			if end := binary.BigEndian.Uint32(data[8:]); p.Expires == 0 || zone.SerialNewer(end, p.Expires) {
				p.Expires = end
			}
		}
	}
	return p, nil
}
