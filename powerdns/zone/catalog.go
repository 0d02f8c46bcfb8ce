package zone

import (
	"fmt"

	"github.com/miekg/dns"
)

// NewCatalog returns a catalog zone (RFC 9432, version 2) with these members.
func NewCatalog(name Name, members []Name) (*Zone, error) {
	records := []dns.RR{
		emptySOA(name),
		&dns.NS{Hdr: catalogHeader(name.String(), dns.TypeNS), Ns: "invalid."},
		&dns.TXT{Hdr: catalogHeader("version."+name.String(), dns.TypeTXT), Txt: []string{"2"}},
	}
	for i, member := range members {
		owner := fmt.Sprintf("m%d.zones.%s", i, name)
		records = append(records, &dns.PTR{Hdr: catalogHeader(owner, dns.TypePTR), Ptr: member.String()})
	}
	b := NewBuilder(name, 0)
	for _, rr := range records {
		record, err := NewRecord(rr)
		if err != nil {
			return nil, err
		}
		if err := b.Add(record); err != nil {
			return nil, err
		}
	}
	return b.Zone()
}

func catalogHeader(owner string, typ uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: typ, Class: dns.ClassINET}
}
