package zone

import (
	"encoding/hex"
	"fmt"

	"github.com/miekg/dns"
)

// KeptDenial is what PowerDNS notes of the zone beside its records when it takes the zone by a transfer: that the zone
// is presigned, which NSEC and NSEC3 records make it, and the parameters of NSEC3, such as "1 0 0 -", "" where there
// are none. Their flags tell opt-out, as NSEC3 records have it (4.7 to 5.1).
func (z *Zone) KeptDenial() (presigned bool, nsec3param string) {
	optOut := byte(0)
	for r := range z.Records() {
		if data := r.Data(); r.Type() == dns.TypeNSEC || r.Type() == dns.TypeNSEC3 {
			presigned = true
			if r.Type() == dns.TypeNSEC3 && len(data) > 1 {
				optOut = data[1] & 1 // RFC 5155 §3.1.2.1: PowerDNS takes no zone in which it differs
			}
			break
		}
	}
	params, _ := z.RRset(z.name, dns.TypeNSEC3PARAM)
	if len(params) == 0 || len(params[0].Data()) < 5 {
		return presigned, ""
	}
	data := params[0].Data() // algorithm, flags, iterations, length of the salt, salt: RFC 5155 §4.2
	salt := "-"
	if len(data) > 5 {
		salt = hex.EncodeToString(data[5:])
	}
	return presigned, fmt.Sprintf("%d %d %d %s", data[0], optOut, int(data[2])<<8|int(data[3]), salt)
}
