package powerdns

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// This file defines what a zone must be at a secondary. Creation, adoption, scrub, sync and the reason of a failed
// proof all go by it.

// SecondaryZone is what a zone must be at a secondary, where it is not the same for all.
type SecondaryZone struct {
	Master     string // host:port of the only server that it is transferred from
	Presigned  bool   // the content has NSEC or NSEC3 records
	NSEC3Param string // of the content, as PowerDNS notes them
}

// Deviation is what a zone has and must not have at a secondary, or lacks.
type Deviation struct {
	what   string // as operators know it: a kind of metadata, or "masters" and the like
	is     []string
	should string
	why    string
	by     correction
}

// Error is such as "IXFR=1 (should be unset: …)".
func (d Deviation) Error() string {
	is := "unset"
	if len(d.is) > 0 {
		is = fmt.Sprintf("%.200s", strings.Join(d.is, ","))
	}
	return fmt.Sprintf("%s=%s (should be %s: %s)", d.what, is, d.should, d.why)
}

// ByTransfer reports whether a transfer puts it right: it belongs to the content.
func (d Deviation) ByTransfer() bool { return d.by == byTransfer }

// Describe puts deviations into one line.
func Describe(wrong []Deviation) string {
	texts := make([]string, len(wrong))
	for i, d := range wrong {
		texts[i] = d.Error()
	}
	return strings.Join(texts, "; ")
}

// correction is how what deviates is put right.
type correction int

const (
	kept       correction = iota // it is left as it is: it changes neither transfers nor answers
	byPut                        // a PUT of the zone
	byMetadata                   // it is deleted by the metadata endpoint
	byKeys                       // the keys are deleted
	byTransfer                   // PowerDNS sets it with each transfer
	byAnew                       // no call changes it: the zone is made anew
)

// obeyed is one thing that PowerDNS obeys of a zone.
type obeyed struct {
	what   string
	by     correction
	is     func(ZoneState) []string
	fits   func(is []string, want SecondaryZone) bool // nil where it is kept
	should string
	why    string // it must be so, or may stay
}

// tsigAllowAXFR is shown as metadata, and written as master_tsig_key_ids.
const tsigAllowAXFR = "TSIG-ALLOW-AXFR"

const (
	answersOnly = "PowerDNS makes such records up beside those that were published"
	downstream  = "who may transfer the zone from here, or is notified, is the operator's to say"
	updates     = "a secondary applies no updates, it forwards them to its master, which refuses them"
)

// obeyedOfZones is all that PowerDNS 4.7 to 5.1 obeys of a zone, by its documentation and its source. Its options are
// missing: the API does not show them, and without a catalog they say nothing. Other kinds of metadata are kept, too.
var obeyedOfZones = []obeyed{
	// How it is transferred, and from where.
	{"kind", byPut, func(s ZoneState) []string { return []string{string(s.Kind)} }, exactly(string(Slave)), "Slave",
		"PowerDNS transfers no others"},
	{"masters", byPut, func(s ZoneState) []string { return s.Masters }, isMaster, "this role's server alone",
		"it is taken from others, too"},
	{"catalog", byPut, func(s ZoneState) []string { return some(s.Catalog) }, unset, "unset",
		"a catalog zone of that name gives it other masters, or deletes it"},
	metadata("AXFR-MASTER-TSIG", byPut, unset, "unset", "transfers are signed, and this role's server has no keys"),
	metadata("AXFR-SOURCE", byMetadata, unset, "unset", "transfers come from that address, and are let in from loopback"),
	metadata("IXFR", byMetadata, notOne, "unset", "PowerDNS asks for IXFR, and loses what it knows of delegations by it"),
	metadata("LUA-AXFR-SCRIPT", byAnew, noScript, "unset or NONE", "the script alters what is transferred"),

	// How it is signed and denies. A transfer sets these, but for parameters of NSEC3 under a zone that is unsigned.
	{"keys", byKeys, ZoneState.keys, unset, "unset", "PowerDNS signs with them what is unsigned, and shows their DNSKEYs"},
	{"PRESIGNED", byTransfer, metadataOf("PRESIGNED"), isPresigned, "as the content is",
		"PowerDNS leaves out signatures, or takes an unsigned zone for a signed one; a SQL backend needs -dnssec=yes"},
	{"NSEC3PARAM", byTransfer, metadataOf("NSEC3PARAM"), isNSEC3Param, "as in the content",
		"negative answers prove with other records than those that are signed"},
	metadata("NSEC3NARROW", byTransfer, notOne, "unset", "negative answers prove with records that nobody has signed"),

	// What PowerDNS adds to answers, or alters.
	metadata("PUBLISH-CDS", byMetadata, empty, "unset", answersOnly),
	metadata("PUBLISH-CDNSKEY", byMetadata, empty, "unset", answersOnly),
	metadata("SIGNALING-ZONE", byMetadata, empty, "unset", answersOnly), // since 5.0
	metadata("SOA-EDIT", byPut, exactly("NONE"), "NONE", "PowerDNS answers with a serial of its own"),
	metadata("SOA-EDIT-API", byPut, empty, "empty", "an edit by the API gives the zone a serial of its own"),
	metadata("API-RECTIFY", byPut, exactly("0"), "0", "an edit by the API costs a walk over the whole zone"),

	// What stays.
	{"account", kept, func(s ZoneState) []string { return some(s.Account) }, nil, "", "it only says whose the zone is"},
	metadata("ALLOW-AXFR-FROM", kept, nil, "", downstream),
	metadata(tsigAllowAXFR, kept, nil, "", downstream),
	metadata("GSS-ALLOW-AXFR-PRINCIPAL", kept, nil, "", downstream),
	metadata("GSS-ACCEPTOR-PRINCIPAL", kept, nil, "", downstream),
	metadata("ALSO-NOTIFY", kept, nil, "", downstream),
	metadata("SLAVE-RENOTIFY", kept, nil, "", downstream),
	metadata("ALLOW-DNSUPDATE-FROM", kept, nil, "", updates),
	metadata("TSIG-ALLOW-DNSUPDATE", kept, nil, "", updates),
	metadata("FORWARD-DNSUPDATE", kept, nil, "", updates),
	metadata("NOTIFY-DNSUPDATE", kept, nil, "", updates),
	metadata("SOA-EDIT-DNSUPDATE", kept, nil, "", updates),
	metadata("ENABLE-LUA-RECORDS", kept, nil, "", "without it LUA records may answer nothing"),
	metadata("RFC1123-CONFORMANCE", kept, nil, "", "edits by the API that it refuses are transferred"), // 5.1
	metadata("CATALOG-HASH", kept, nil, "", "PowerDNS uses it for zones of kind Producer alone"),
}

func metadata(
	kind string, by correction, fits func([]string, SecondaryZone) bool, should, why string,
) obeyed {
	return obeyed{kind, by, metadataOf(kind), fits, should, why}
}

func metadataOf(kind string) func(ZoneState) []string {
	return func(s ZoneState) []string { return s.Metadata[kind] }
}

// Deviations returns what of the state is not as a secondary needs it.
func (s ZoneState) Deviations(want SecondaryZone) (wrong []Deviation) {
	for _, o := range obeyedOfZones {
		if is := o.is(s); o.fits != nil && !o.fits(is, want) {
			wrong = append(wrong, Deviation{o.what, is, o.should, o.why, o.by})
		}
	}
	return wrong
}

// Kept returns the metadata that is left as it is.
func (s ZoneState) Kept() map[string][]string {
	left := map[string][]string{}
	for kind, values := range s.Metadata {
		is := func(o obeyed) bool { return o.what == kind && o.by != kept }
		if !slices.ContainsFunc(obeyedOfZones, is) {
			left[kind] = values
		}
	}
	return left
}

// Unknown returns the kinds of metadata that are neither documented nor made for other programs, in order.
func (s ZoneState) Unknown() (kinds []string) {
	for kind := range s.Metadata {
		known := slices.ContainsFunc(obeyedOfZones, func(o obeyed) bool { return o.what == kind })
		if !known && !strings.HasPrefix(kind, "X-") {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

func (s ZoneState) keys() (ids []string) {
	for _, id := range s.Keys {
		ids = append(ids, strconv.Itoa(id))
	}
	return ids
}

func (s ZoneState) presigned() bool { return first(s.Metadata["PRESIGNED"]) == "1" }

func some(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// first is what PowerDNS goes by where there are more values than one.
func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func unset(is []string, _ SecondaryZone) bool { return len(is) == 0 }

func empty(is []string, _ SecondaryZone) bool { return first(is) == "" }

func notOne(is []string, _ SecondaryZone) bool { return first(is) != "1" }

func exactly(value string) func([]string, SecondaryZone) bool {
	return func(is []string, _ SecondaryZone) bool { return first(is) == value }
}

func isMaster(is []string, want SecondaryZone) bool {
	return slices.Equal(is, []string{withoutPort53(want.Master)})
}

func noScript(is []string, _ SecondaryZone) bool {
	return len(is) == 0 || strings.EqualFold(is[0], "NONE")
}

func isPresigned(is []string, want SecondaryZone) bool { return (first(is) == "1") == want.Presigned }

func isNSEC3Param(is []string, want SecondaryZone) bool {
	return strings.EqualFold(first(is), want.NSEC3Param)
}

// withoutPort53 writes an address as PowerDNS reads it back.
func withoutPort53(address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil && port == "53" {
		return host
	}
	return address
}

// TransferredOnlyFrom reports whether the zone is a secondary of masters (host or host:port) and of nothing else.
func (z ZoneInfo) TransferredOnlyFrom(masters ...string) bool {
	shown := make([]string, len(masters))
	for i, m := range masters {
		shown[i] = withoutPort53(m)
	}
	return z.Kind == Slave && slices.Equal(z.Masters, shown)
}
