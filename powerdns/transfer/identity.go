package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// ErrNoSOA means that a server answered, but not as one that has the zone does.
var ErrNoSOA = errors.New("answers without the zone's SOA")

// soaNumbers is how many bytes serial, refresh, retry, expire and minimum have at the end of a SOA (RFC 1035 §3.3.13).
const soaNumbers = 20

// Serial asks the server at addr for the zone's SOA and returns its serial.
func Serial(ctx context.Context, addr string, name zone.Name, o AskOptions) (uint32, error) {
	soa, _, err := askSOA(ctx, addr, name, o)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(soa[len(soa)-soaNumbers:]), nil
}

// askSOA returns the SOA of an authoritative answer and its signatures.
func askSOA(ctx context.Context, addr string, name zone.Name, o AskOptions) (soa zone.Record, signatures []zone.Record, err error) {
	answer, err := Ask(ctx, addr, name, dns.TypeSOA, o)
	if err != nil {
		return nil, nil, err
	}
	if answer.Rcode != dns.RcodeSuccess {
		return nil, nil, fmt.Errorf("%s for zone %s: %w", addr, name, &RcodeError{answer.Rcode})
	}
	for _, r := range answer.Answer {
		switch {
		case r.Owner() != name || !answer.AA:
		case r.Type() == dns.TypeSOA && len(r.Data()) > soaNumbers:
			soa = r
		case r.Covered() == dns.TypeSOA:
			signatures = append(signatures, r)
		}
	}
	if soa == nil {
		return nil, nil, fmt.Errorf("%s %w (%s)", addr, ErrNoSOA, name)
	}
	return soa, signatures, nil
}

// ServerID asks the server at addr for its id: id.server TXT in class CHAOS (RFC 4892). "" is that of a server that
// doesn't tell.
func ServerID(ctx context.Context, addr string) (string, error) {
	question := new(dns.Msg)
	question.SetQuestion("id.server.", dns.TypeTXT)
	question.Question[0].Qclass = dns.ClassCHAOS
	client := dns.Client{Timeout: askTries * askPatience}
	answer, _, err := client.ExchangeContext(ctx, question, addr)
	if err != nil {
		return "", fmt.Errorf("ask %s for its id: %w", addr, err)
	}
	for _, rr := range answer.Answer {
		if txt, ok := rr.(*dns.TXT); ok && len(txt.Txt) > 0 {
			return txt.Txt[0], nil
		}
	}
	return "", nil
}
