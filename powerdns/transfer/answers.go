package transfer

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// ProveAnswers asks whether the server at address says to each question what the zone says (ErrNotServed), past its
// packet cache. Questions to which the zone alone has no answer are left out, and names that another zone of the server
// answers for.
func ProveAnswers(ctx context.Context, address string, z *zone.Zone, questions []zone.Question) error {
	var told []zone.Question
	var replies []zone.Reply
	for _, q := range questions {
		if reply := z.Lookup(q.Name, q.Type); reply.Outcome != zone.Undecided {
			told, replies = append(told, q), append(replies, reply)
		}
	}
	answers, err := askMany(ctx, address, told, AskOptions{DNSSEC: true, Unique: true})
	if err != nil {
		return err
	}
	for i, q := range told {
		wrong := judge(z, q, replies[i], answers[i])
		if wrong == "" {
			continue
		}
		other, err := answeredByOther(ctx, address, z, q.Name)
		if err != nil {
			return err
		}
		if !other {
			return fmt.Errorf("%w: %s %s is answered with %s", ErrNotServed, q.Name, dns.Type(q.Type), wrong)
		}
	}
	return nil
}

// judge says what is wrong with an answer, "" where nothing is.
func judge(z *zone.Zone, q zone.Question, want zone.Reply, is Answer) string {
	code := dns.RcodeSuccess
	if want.Outcome == zone.NoName {
		code = dns.RcodeNameError
	}
	switch {
	case is.Rcode != code && want.Outcome == zone.NoData && is.Rcode == dns.RcodeNameError:
		return "NXDOMAIN, and it exists; where names below it do, raise max-ent-entries in PowerDNS here"
	case is.Rcode == dns.RcodeServerFailure && !answerable(q.Name):
		return ""
	case is.Rcode != code:
		return dns.RcodeToString[is.Rcode]
	case want.Outcome == zone.Data:
		return judgeData(z, q, want, is)
	case want.Outcome == zone.Referral:
		if is.AA || !sameContent(of(is.Authority, want.Records[0].Owner(), dns.TypeNS), want.Records) {
			return "other name servers"
		}
		return ""
	case len(of(is.Answer, q.Name, q.Type)) > 0:
		return "records that are no more"
	}
	return judgeDenial(z.Apex(), is)
}

// answerable reports whether PowerDNS answers to such a name, unless it is told to by 8bit-dns: else it says SERVFAIL,
// though it holds it (4.7 to 5.1).
func answerable(name zone.Name) bool {
	for _, label := range name.Labels() {
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_*./@ \\:") != "" {
			return false
		}
	}
	return true
}

// judgeDenial looks at how it is proven that there is nothing: an unsigned zone proves nothing.
func judgeDenial(apex zone.Apex, is Answer) string {
	switch want := denialBy(apex); {
	case want == "" && denialBy(is.Authority) != "":
		return "a proof that nobody published"
	case denialBy(is.Authority) != want:
		return fmt.Sprintf("a proof by %q instead of %q; set zone-metadata-cache-ttl=0 in PowerDNS here",
			denialBy(is.Authority), want)
	}
	return ""
}

// denialBy names how records prove that there is nothing: those of a zone's apex, or of the authority section.
func denialBy(records []zone.Record) (denial string) {
	for _, r := range records {
		switch r.Type() {
		case dns.TypeNSEC:
			denial = "NSEC"
		case dns.TypeNSEC3, dns.TypeNSEC3PARAM:
			return fmt.Sprintf("NSEC3 %x", paramsOf(r.Data()))
		}
	}
	return denial
}

// paramsOf are the parameters of an NSEC3 or NSEC3PARAM, without its flags (RFC 5155 §3.2, §4.1.2).
func paramsOf(data []byte) []byte {
	if len(data) < 5 || len(data) < 5+int(data[4]) {
		return nil
	}
	params := bytes.Clone(data[:5+int(data[4])])
	params[1] = 0
	return params
}

func judgeData(z *zone.Zone, q zone.Question, want zone.Reply, is Answer) string {
	records := of(is.Answer, q.Name, q.Type)
	switch {
	case len(records) == 0:
		return "no records"
	case !sameContent(records, want.Records):
		return "other records"
	case !z.Signed() && len(covering(is.Answer, q.Name, q.Type)) > 0:
		return "signatures that nobody published"
	case z.Signed() && !sameContent(covering(is.Answer, q.Name, q.Type), want.Signatures):
		return "other signatures"
	}
	return ""
}

// of are the records of that owner and type.
func of(records []zone.Record, owner zone.Name, typ uint16) (list []zone.Record) {
	for _, r := range records {
		if r.Type() == typ && r.Owner() == owner {
			list = append(list, r)
		}
	}
	return list
}

// covering are the signatures over records of that owner and type.
func covering(records []zone.Record, owner zone.Name, typ uint16) (list []zone.Record) {
	for _, r := range records {
		if r.Covered() == typ && r.Owner() == owner {
			list = append(list, r)
		}
	}
	return list
}

// sameContent compares sets by type, TTL and data: a wildcard's owner is another one in answers. Where the TTLs of one
// set differ a server may make them one (RFC 2181 §5.2).
func sameContent(is, want []zone.Record) bool {
	mixed := false
	for _, r := range want {
		mixed = mixed || r.TTL() != want[0].TTL()
	}
	return sameRecords(withoutOwner(is, mixed), withoutOwner(want, mixed))
}

func withoutOwner(records []zone.Record, mixed bool) []zone.Record {
	list := make([]zone.Record, 0, len(records))
	for _, r := range records {
		list = append(list, r.Bare(mixed))
	}
	return list
}

// answeredByOther reports whether a zone below answers for the name: whose SOA stands in the answer.
func answeredByOther(ctx context.Context, address string, z *zone.Zone, name zone.Name) (bool, error) {
	if name == z.Name() {
		return false, nil
	}
	answer, err := Ask(ctx, address, name, dns.TypeSOA, AskOptions{Unique: true})
	if err != nil {
		return false, err
	}
	for _, r := range append(answer.Answer, answer.Authority...) {
		if owner := r.Owner(); r.Type() == dns.TypeSOA && owner != z.Name() && owner.Under(z.Name()) {
			return true, nil
		}
	}
	return false, nil
}
