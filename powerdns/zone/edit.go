package zone

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/miekg/dns"
)

// Edit is one RRset that two versions differ in. Without Records it was removed.
type Edit struct {
	Owner   Name
	Type    uint16
	Records []Record // of the new version
}

// What a server makes of a content shows only once it is served: PowerDNS 5.1 takes escapes out of it twice. So an edit
// has nothing but what every release that edits are used with was seen to serve as it was written, by
// TestEditsAreTransfers of package roles/secondary. All else is transferred.
var (
	plainWords  = regexp.MustCompile(`^[a-z0-9_.*:-]+( [a-z0-9_.*:-]+)*$`)
	plainString = regexp.MustCompile(`^"[ !#-\[\]-~]+"$`) // printable, without quotes and backslashes
	plainOwner  = regexp.MustCompile(`^(\*\.)?[a-z0-9_.-]+$`)

	editTypes = map[uint16]*regexp.Regexp{
		dns.TypeA: plainWords, dns.TypeAAAA: plainWords, dns.TypeCNAME: plainWords, dns.TypeMX: plainWords, dns.TypeNS: plainWords,
		dns.TypePTR: plainWords, dns.TypeSOA: plainWords, dns.TypeSRV: plainWords, dns.TypeTXT: plainString,
	}
)

// TypeName is the type as it is written.
func (e Edit) TypeName() string { return dns.Type(e.Type).String() }

// Edits returns the RRsets that make z of old, when there are at most limit of them and a server that is told just
// these, without knowing what they mean for the names around them, serves z: no name appears or vanishes, which could
// make empty non-terminals, nothing changes at or below a delegation or DNAME, and all types are common ones. Otherwise
// ok is false. Both versions must be unsigned. An RRset whose records have different TTLs is none for a server.
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
		if !arePlain(records) {
			return nil, false
		}
		edits = append(edits, Edit{owner, typ, records})
	}
	return edits, true
}

// arePlain reports whether a server takes the records for what they are.
func arePlain(set []Record) bool {
	for _, r := range set {
		content, err := r.Content()
		if err != nil || r.TTL() != set[0].TTL() || !editTypes[r.Type()].MatchString(content) || !r.says(content) {
			return false
		}
	}
	return true
}

// says reports whether the content is that of the record: not every one is written so that it can be read again.
func (r Record) says(content string) bool {
	rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", r.Owner(), r.TTL(), dns.Type(r.Type()), content))
	if err != nil || rr == nil {
		return false
	}
	again, err := NewRecord(rr)
	return err == nil && bytes.Equal(again, r)
}

func (z *Zone) editable(owner Name, typ uint16) bool {
	if editTypes[typ] == nil || !plainOwner.MatchString(owner.String()) || !z.has(owner) || typ == dns.TypeNS && owner != z.name {
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

// has reports whether any record stands at owner.
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
