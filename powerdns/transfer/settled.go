package transfer

import (
	"context"
	"fmt"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// settledAttempts bounds how often a zone may be deleted and made again while it is being fetched.
const settledAttempts = 4

// FetchSettled is Fetch from a server at which the zone may be deleted meanwhile. PowerDNS reads the SOA and the keys
// first, and lists the records then (4.7.3 to 5.1.5): of a zone that is deleted in between it gives a whole transfer
// with nothing in it. So a zone that is nothing but what a signer makes counts when the next transfer gives the same.
func FetchSettled(ctx context.Context, o FetchOptions, name zone.Name) (*zone.Zone, error) {
	var before *zone.Zone
	for range settledAttempts {
		z, err := Fetch(ctx, o, name)
		if err != nil || !bare(z) || before != nil && z.Stable() == before.Stable() {
			return z, err
		}
		before = z
	}
	return nil, fmt.Errorf("transfer zone %s: %w: it changes while it is emptied", name, ErrIncomplete)
}

// bare reports whether a zone has nothing but its SOA and what a signer makes.
func bare(z *zone.Zone) bool {
	for r := range z.Records() {
		switch r.Type() {
		case dns.TypeSOA, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeRRSIG:
		default:
			if !r.Denial() {
				return false
			}
		}
	}
	return true
}
