package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// version is what a zone is from one write to the next. Its content names it: each RRset of the template carries the
// tag of the write that last set it.
type version struct {
	exists      bool
	distributed bool           // of a kind that is
	tags        map[string]int // RRsets of the template that are there, by label
	fill        int            // how many more names there are, h0000 and so on: a large zone
	signed      bool
	nsec3       string // parameters, "" for NSEC
	cds         bool   // PUBLISH-CDS
	keys        int    // active and published ones
	serial      uint32 // as served; 0: not known
	fragment    bool   // without a SOA, as a PowerDNS leaves it that is killed within a create
}

// served tells whether secondaries are to answer for the zone.
func (v version) served() bool { return v.exists && v.distributed }

func (v version) clone() version {
	v.tags = maps.Clone(v.tags)
	return v
}

// rrset is one RRset of the template.
type rrset struct {
	label, typ string
	content    func(tag int) string
}

func quoted(tag int) string  { return fmt.Sprintf(`"v %d"`, tag) }
func address(tag int) string { return fmt.Sprintf("10.%d.%d.%d", tag>>16&255, tag>>8&255, tag&255) }
func host(tag int) string    { return fmt.Sprintf("v%d.example.net.", tag) }

// template is what a zone is made of besides SOA and NS: an address, texts at the apex, in depth, with escapes and
// under a wildcard, an alias, and a delegation. "odd" is there after every other write only.
var template = []rrset{
	{"", "TXT", quoted},
	{"www", "A", address},
	{"tag", "TXT", quoted},
	{"*.wild", "TXT", quoted},
	{"a.b.ent", "TXT", quoted},
	{"alias", "CNAME", host},
	{"cut", "NS", host},
	{"esc", "TXT", func(tag int) string { return fmt.Sprintf(`"v %d" "back \\ slash ; \195\164"`, tag) }},
	{"mail", "MX", func(tag int) string { return "10 " + host(tag) }},
	{odd, "TXT", quoted},
}

const odd = "odd"

// filler is the RRset of one more name of a large zone.
func filler(n int) rrset { return rrset{fmt.Sprintf("h%04d", n), "A", address} }

// fillKey is where a version keeps the tag of all fillers.
const fillKey = "h0000"

func setOf(label string) rrset {
	if label == fillKey {
		return filler(0)
	}
	return template[slices.IndexFunc(template, func(s rrset) bool { return s.label == label })]
}

// tagIn reads the tag out of a record's RDATA.
func tagIn(r zone.Record) int {
	rr, err := r.RR()
	if err != nil {
		return -1
	}
	switch rr := rr.(type) {
	case *dns.TXT:
		return number(strings.TrimPrefix(rr.Txt[0], "v "))
	case *dns.A:
		ip := rr.A.To4()
		return int(ip[1])<<16 | int(ip[2])<<8 | int(ip[3])
	case *dns.CNAME:
		return hosted(rr.Target)
	case *dns.NS:
		return hosted(rr.Ns)
	case *dns.MX:
		return hosted(rr.Mx)
	case *dns.SOA:
		return int(rr.Serial)
	}
	return -1
}

func hosted(name string) int {
	first, _, _ := strings.Cut(strings.TrimPrefix(name, "v"), ".")
	return number(first)
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

// question is one that is asked again and again.
type question struct {
	label  string // below the zone, "" for the apex
	typ    uint16
	dnssec bool
	tcp    bool
}

func (q question) String() string {
	text := fmt.Sprintf("%q %s", q.label, dns.TypeToString[q.typ])
	if q.dnssec {
		text += " +dnssec"
	}
	if q.tcp {
		text += " +tcp"
	}
	return text
}

// asked are all questions: each RRset, and what is not there beside it.
var asked = func() (all []question) {
	for _, base := range []question{
		{label: "", typ: dns.TypeSOA}, {label: "", typ: dns.TypeTXT}, {label: "", typ: dns.TypeDNSKEY}, {label: "", typ: dns.TypeCDS},
		{label: "www", typ: dns.TypeA}, {label: "www", typ: dns.TypeAAAA}, {label: "tag", typ: dns.TypeTXT},
		{label: "x.wild", typ: dns.TypeTXT}, {label: "x.wild", typ: dns.TypeA}, {label: "a.b.ent", typ: dns.TypeTXT}, {label: "b.ent", typ: dns.TypeTXT},
		{label: "alias", typ: dns.TypeCNAME}, {label: "deep.cut", typ: dns.TypeA}, {label: "esc", typ: dns.TypeTXT}, {label: "mail", typ: dns.TypeMX},
		{label: odd, typ: dns.TypeTXT}, {label: odd, typ: dns.TypeA}, {label: "nx", typ: dns.TypeA}, {label: "y.nx", typ: dns.TypeTXT},
		{label: fillKey, typ: dns.TypeA},
	} {
		for _, dnssec := range []bool{false, true} {
			all = append(all, question{base.label, base.typ, dnssec, false})
		}
		all = append(all, question{base.label, base.typ, true, true})
	}
	return all
}()

// The kinds of answers.
const (
	positive = "data"
	referral = "referral"
	nodata   = "nodata"
	nxdomain = "nxdomain"
	refused  = "refused"
	failed   = "failed" // SERVFAIL and the like
	above    = "nxdomain of the parent zone"
)

// reply is what counts of an answer.
type reply struct {
	kind  string
	tag   int    // of the data or the referral; the serial of a SOA; how many DNSKEY; 0 elsewhere, and unknown
	proof string // "" without DNSSEC, "signed", "nsec", "nsec3 PARAMETERS"
}

func (r reply) String() string {
	return strings.TrimRight(fmt.Sprintf("%s %d %s", r.kind, r.tag, r.proof), " ")
}

// negative tells whether it denies what was asked for, and not the zone.
func (r reply) negative() bool { return r.kind == nodata || r.kind == nxdomain }

// same tells whether an answer is the expected one, in content and in proof.
func (r reply) same(want reply) (content, proof bool) {
	kind := r.kind == want.kind || r.kind == refused && want.kind == above // the parent zone may be missing, too
	return kind && (r.tag == want.tag || want.tag == 0), r.proof == want.proof
}

// expect is the answer that a server gives which serves the version.
func (v version) expect(q question, hasParent bool) reply {
	if !v.served() {
		if hasParent {
			return reply{kind: above}
		}
		return reply{kind: refused}
	}
	want := v.find(q)
	if v.signed && q.dnssec {
		want.proof = v.proof(want.kind)
	}
	return want
}

func (v version) proof(kind string) string {
	switch {
	case kind == positive:
		return "signed"
	case v.nsec3 != "":
		return "nsec3 " + v.nsec3
	}
	return "nsec"
}

// find looks the question up as RFC 1034 4.3.2 says.
func (v version) find(q question) reply {
	if q.label == "" {
		return v.atApex(q.typ)
	}
	if tag := v.tags["cut"]; tag != 0 && (q.label == "cut" || strings.HasSuffix(q.label, ".cut")) {
		return reply{kind: referral, tag: tag}
	}
	if tag, is := v.tags[q.label]; is {
		return data(setOf(q.label).typ, q.typ, tag)
	}
	parent := q.label[strings.IndexByte(q.label, '.')+1:]
	wild, is := v.tags["*."+parent]
	switch {
	case v.nonTerminal(q.label):
		return reply{kind: nodata}
	case is && parent != q.label:
		return data(setOf("*."+parent).typ, q.typ, wild)
	}
	return reply{kind: nxdomain}
}

func data(has string, asked uint16, tag int) reply {
	if dns.TypeToString[asked] != has {
		return reply{kind: nodata}
	}
	return reply{kind: positive, tag: tag}
}

func (v version) nonTerminal(label string) bool {
	for name := range v.tags {
		if strings.HasSuffix(name, "."+label) {
			return true
		}
	}
	return false
}

func (v version) atApex(typ uint16) reply {
	tag := 0
	switch typ {
	case dns.TypeSOA:
		return reply{kind: positive, tag: int(v.serial)}
	case dns.TypeTXT:
		tag = v.tags[""]
	case dns.TypeDNSKEY:
		if v.signed {
			return reply{kind: positive, tag: v.keys}
		}
	case dns.TypeCDS:
		if v.signed && v.cds {
			return reply{kind: positive}
		}
	}
	if tag == 0 {
		return reply{kind: nodata}
	}
	return reply{kind: positive, tag: tag}
}

// read makes a reply of an answer to a question about a zone.
func read(a transfer.Answer, name zone.Name, q question) reply {
	switch {
	case a.Rcode == dns.RcodeRefused:
		return reply{kind: refused}
	case a.Rcode != dns.RcodeSuccess && a.Rcode != dns.RcodeNameError:
		return reply{kind: failed}
	}
	r := reply{proof: proofIn(a)}
	for _, record := range a.Answer {
		if record.Type() == q.typ {
			r.kind = positive
			r.tag = count(r.tag, record)
		}
	}
	if r.kind == positive {
		return r
	}
	soa := slices.IndexFunc(a.Authority, func(r zone.Record) bool { return r.Type() == dns.TypeSOA })
	if soa < 0 {
		return delegation(a, r)
	}
	r.kind = nodata
	if a.Rcode == dns.RcodeNameError {
		r.kind = nxdomain
	}
	if a.Authority[soa].Owner() != name {
		return reply{kind: above} // signed or not
	}
	return r
}

// count takes one record of the type that was asked for.
func count(tag int, r zone.Record) int {
	switch r.Type() {
	case dns.TypeDNSKEY:
		return tag + 1
	case dns.TypeCDS:
		return 0
	}
	return tagIn(r)
}

func delegation(a transfer.Answer, r reply) reply {
	r.kind = failed // neither data nor SOA nor NS
	for _, record := range a.Authority {
		if record.Type() == dns.TypeNS {
			r.kind, r.tag = referral, tagIn(record)
		}
	}
	return r
}

// proofIn tells what of DNSSEC is in an answer.
func proofIn(a transfer.Answer) (proof string) {
	signed := slices.ContainsFunc(slices.Concat(a.Answer, a.Authority), func(r zone.Record) bool { return r.Covered() != 0 })
	if !signed {
		return ""
	}
	if len(a.Answer) > 0 {
		return "signed"
	}
	for _, record := range a.Authority {
		rr, _ := record.RR()
		switch rr := rr.(type) {
		case *dns.NSEC:
			return "nsec"
		case *dns.NSEC3:
			salt := rr.Salt
			if salt == "" {
				salt = "-"
			}
			return fmt.Sprintf("nsec3 1 0 %d %s", rr.Iterations, strings.ToLower(salt))
		}
	}
	return "signed without denial"
}

// contentOf is the version that a transferred zone shows, as far as records tell.
func contentOf(z *zone.Zone) (v version, err error) {
	v = version{exists: true, distributed: true, tags: map[string]int{}}
	known := map[string]rrset{}
	for _, set := range template {
		known[set.label] = set
	}
	origin := "." + z.Name().String()
	for r := range z.Records() {
		label := strings.TrimSuffix("."+r.Owner().String(), origin)
		label = strings.TrimPrefix(label, ".")
		set, is := known[label]
		switch {
		case r.Type() == dns.TypeSOA:
			v.serial = uint32(tagIn(r))
		case r.Type() == dns.TypeDNSKEY:
			v.signed = true
			v.keys++
		case r.Type() == dns.TypeCDS:
			v.cds = true
		case r.Denial() || r.Covered() != 0 || r.Type() == dns.TypeCDNSKEY || label == "" && r.Type() == dns.TypeNS:
		case is && dns.TypeToString[r.Type()] == set.typ:
			v.tags[label] = tagIn(r)
		case strings.HasPrefix(label, "h") && r.Type() == dns.TypeA:
			if tag := tagIn(r); v.fill > 0 && v.tags[fillKey] != tag {
				return v, fmt.Errorf("%s has tag %d, others of its kind %d", label, tag, v.tags[fillKey])
			}
			v.tags[fillKey] = tagIn(r)
			v.fill++
		default:
			return v, fmt.Errorf("a foreign record: %s", r)
		}
	}
	return v, nil
}

// sameContent compares what a transfer shows: records, not signatures.
func (v version) sameContent(other version) bool {
	return v.exists == other.exists && v.distributed == other.distributed && v.fill == other.fill && maps.Equal(v.tags, other.tags)
}
