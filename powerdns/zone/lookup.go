package zone

import (
	"bytes"
	"slices"

	"github.com/miekg/dns"
)

// Outcome is how a server that holds a zone answers a question.
type Outcome int

// What a question can lead to.
const (
	Undecided Outcome = iota // the zone alone does not say: it goes on elsewhere, or the server makes the answer up
	Data                     // records of that name and type
	NoData                   // the name exists, and has none of that type
	NoName                   // there is no such name
	Referral                 // to the name servers of a zone below
)

// Reply is what a zone says to a question.
type Reply struct {
	Outcome    Outcome
	Records    []Record // of Data, as they stand in the zone; of Referral the NS records
	Signatures []Record // over Records of Data
}

// Types of PowerDNS's own, which are answered with what they lead to (RFC 6895 §3.1: private use).
const (
	TypeALIAS = 65401
	TypeLUA   = 65402
)

// Lookup returns what the zone answers to a question (RFC 1034 §4.3.2, RFC 4592): as a server does that holds no zone
// below it.
func (z *Zone) Lookup(name Name, typ uint16) Reply {
	if !name.Under(z.name) || !z.decides(name, typ) {
		return Reply{}
	}
	if r, found := z.above(name, typ); found {
		return r
	}
	if z.stands(name) {
		return z.at(name, typ)
	}
	if z.isEmptyNonTerminal(name) {
		return Reply{Outcome: NoData}
	}
	encloser := name.Parent()
	for !z.stands(encloser) && !z.isEmptyNonTerminal(encloser) {
		encloser = encloser.Parent()
	}
	if wildcard := "\x01*" + encloser; z.stands(wildcard) {
		return z.at(wildcard, typ)
	}
	return Reply{Outcome: NoName}
}

// above looks from the apex down for what takes the question away from the zone: a delegation or a DNAME.
func (z *Zone) above(name Name, typ uint16) (Reply, bool) {
	for _, ancestor := range slices.Backward(z.ancestors(name)) {
		if dname, _ := z.RRset(ancestor, dns.TypeDNAME); len(dname) > 0 && ancestor != name {
			return Reply{}, true
		}
		if ancestor == z.name || ancestor == name && typ == dns.TypeDS {
			continue
		}
		if ns, _ := z.RRset(ancestor, dns.TypeNS); len(ns) > 0 {
			return Reply{Outcome: Referral, Records: ns}, true
		}
	}
	return Reply{}, false
}

// ancestors are name and those above it, up to the apex.
func (z *Zone) ancestors(name Name) (names []Name) {
	for names = append(names, name); name != z.name; names = append(names, name) {
		name = name.Parent()
	}
	return names
}

// at answers from the records of one name.
func (z *Zone) at(owner Name, typ uint16) Reply {
	for _, other := range []uint16{TypeALIAS, TypeLUA, dns.TypeCNAME} {
		if records, _ := z.RRset(owner, other); len(records) > 0 && typ != other {
			return Reply{}
		}
	}
	records, signatures := z.RRset(owner, typ)
	if len(records) == 0 {
		return Reply{Outcome: NoData}
	}
	return Reply{Data, records, signatures}
}

// decides reports whether servers answer a question of that type with records as they stand in the zone. What denies
// they make anew, signatures come with what they cover, the zone above has the apex's DS, and PowerDNS may leave out
// keys that are kept as records in an unsigned zone.
func (z *Zone) decides(name Name, typ uint16) bool {
	switch typ {
	case 0, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, TypeALIAS, TypeLUA:
		return false
	case dns.TypeDS:
		return name != z.name
	case dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeCDS:
		return z.Signed()
	}
	return true
}

// Signed reports whether there is a signature over the zone's SOA.
func (z *Zone) Signed() bool {
	_, signatures := z.RRset(z.name, dns.TypeSOA)
	return len(signatures) > 0
}

// stands reports whether there are records at name. Names of NSEC3 records exist for no question.
func (z *Zone) stands(name Name) bool {
	for i, _ := z.find(name); i < len(z.index); i++ {
		r := z.Record(i)
		if !bytes.Equal(r.owner(), []byte(name)) {
			return false
		}
		if r.Type() != dns.TypeNSEC3 && r.Covered() != dns.TypeNSEC3 {
			return true
		}
	}
	return false
}

// isEmptyNonTerminal reports whether name is an empty non-terminal: there are names below it, which follow it in
// canonical order.
func (z *Zone) isEmptyNonTerminal(name Name) bool {
	i, found := z.find(name)
	return !found && i < len(z.index) && z.Record(i).Under(name)
}
