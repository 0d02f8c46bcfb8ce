package transfer

import (
	"context"
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

// Probe asks a server for a zone's SOA as anybody would, by UDP or by TCP, and returns the serial.
func Probe(ctx context.Context, addr string, name zone.Name, tcp bool) (serial uint32, err error) {
	serial, err = Serial(ctx, addr, name, AskOptions{TCP: tcp})
	code, answered := errors.AsType[*RcodeError](err)
	switch {
	case err == nil:
		return serial, nil
	case answered && code.Rcode == dns.RcodeServerFailure:
		return 0, ErrServfail
	case answered, errors.Is(err, ErrNoSOA):
		return 0, fmt.Errorf("%w: %w", ErrLame, err)
	}
	return 0, fmt.Errorf("%w: %w", ErrSilent, err)
}
