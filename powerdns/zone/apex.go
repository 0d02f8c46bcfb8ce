package zone

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/miekg/dns"
)

// Apex is what shows from outside which version of a zone is served: the SOA, the signatures over it, and the apex's
// NSEC or NSEC3PARAM records, in this order.
type Apex []Record

// Apex returns the zone's.
func (z *Zone) Apex() Apex {
	soa, signatures := z.RRset(z.name, dns.TypeSOA)
	nsec, _ := z.RRset(z.name, dns.TypeNSEC)
	params, _ := z.RRset(z.name, dns.TypeNSEC3PARAM)
	return slices.Concat(soa, signatures, nsec, params)
}

// SOA returns the SOA record and the signatures over it, as a server answers them.
func (a Apex) SOA() (soa Record, signatures []Record) {
	for _, r := range a {
		switch {
		case r.Type() == dns.TypeSOA:
			soa = r
		case r.Covered() == dns.TypeSOA:
			signatures = append(signatures, r)
		}
	}
	return soa, signatures
}

// soaNumbers is how many bytes serial, refresh, retry, expire and minimum have at the end of a SOA (RFC 1035 §3.3.13).
const soaNumbers = 20

// SameSOA compares two SOA records but for their serials and the case of names.
func SameSOA(a, b Record) bool {
	if a.Type() != dns.TypeSOA || b.Type() != dns.TypeSOA || len(a.Data()) < soaNumbers || len(a.Data()) != len(b.Data()) {
		return false
	}
	names := len(a.Data()) - soaNumbers
	namesA, namesB := bytes.Clone(a.Data()[:names]), bytes.Clone(b.Data()[:names])
	lower(namesA)
	lower(namesB)
	return a.TTL() == b.TTL() && bytes.Equal(namesA, namesB) && bytes.Equal(a.Data()[names+4:], b.Data()[names+4:])
}

// Denial names how the zone proves what does not exist: "" (unsigned), "NSEC", or "NSEC3 " and its parameters in hex.
func (a Apex) Denial() string {
	denial := ""
	for _, r := range a {
		switch r.Type() {
		case dns.TypeNSEC:
			denial = "NSEC"
		case dns.TypeNSEC3PARAM:
			return fmt.Sprintf("NSEC3 %x", r.Data())
		}
	}
	return denial
}
