package zone

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Edit is one RRset that two versions differ in. Without Records it was removed.
type Edit struct {
	Owner   Name
	Type    uint16
	Records []Record // of the new version
}

// editTypes are those whose presentation form every server reads alike.
var editTypes = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeCAA, dns.TypeCNAME, dns.TypeMX, dns.TypeNS, dns.TypePTR, dns.TypeSOA, dns.TypeSRV, dns.TypeTXT,
}

// TypeName is the type as it is written.
func (e Edit) TypeName() string { return dns.Type(e.Type).String() }

// Edits returns the RRsets that make z of old, when there are at most limit of them and a server that is told just
// these, without knowing what they mean for the names around them, serves z: no name appears or vanishes, which could
// make empty non-terminals, nothing changes at or below a delegation or DNAME, and all types are common ones. Otherwise
// ok is false. Both versions must be unsigned.
func (z *Zone) Edits(old *Zone, limit int) (edits []Edit, ok bool) {
	removed, added := z.Diff(old)
	seen := map[Name]map[uint16]bool{}
	for _, r := range append(removed, added...) {
		owner, typ := r.Owner(), r.Type()
		if seen[owner][typ] {
			continue
		}
		if len(edits) == limit || !z.editable(owner, typ) || !old.has(owner) {
			return nil, false
		}
		if seen[owner] == nil {
			seen[owner] = map[uint16]bool{}
		}
		seen[owner][typ] = true
		records, _ := z.RRset(owner, typ)
		edits = append(edits, Edit{owner, typ, records})
	}
	return edits, true
}

func (z *Zone) editable(owner Name, typ uint16) bool {
	if !slices.Contains(editTypes, typ) || !z.has(owner) || typ == dns.TypeNS && owner != z.name {
		return false
	}
	for name := owner; name != z.name; name = name[1+int(name[0]):] {
		ns, _ := z.RRset(name, dns.TypeNS)
		dname, _ := z.RRset(name, dns.TypeDNAME)
		if len(ns)+len(dname) > 0 {
			return false
		}
	}
	dname, _ := z.RRset(z.name, dns.TypeDNAME)
	return len(dname) == 0
}

// has tells whether any record stands at owner.
func (z *Zone) has(owner Name) bool {
	_, found := z.find(owner)
	return found
}

// Content is the presentation form of the RDATA.
func (r Record) Content() (string, error) {
	rr, err := r.RR()
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String()), nil
}
