package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// ErrNotServed says that a server does not answer with the version that it was given.
var ErrNotServed = errors.New("not what is answered")

// Proof asks a server over DNS until it answers with one version of a zone. Which questions show that depends on what
// it served before: mostly the SOA, or its signature, is another one. Where it isn't, the whole zone is compared.
type Proof struct {
	address string
	zone    *zone.Zone
	apex    zone.Apex
	bySOA   bool // the SOA's RRset tells the version from the one before
	denials bool // the proof of non-existence is of another kind than before
	cached  bool // the packet cache must have let go of the version before
	edits   []zone.Edit
}

// NewProof prepares to prove that the server at address answers with z. before is the apex of what it served until now,
// nil when that is not known; created says that it had no such zone.
func NewProof(address string, z *zone.Zone, before zone.Apex, created bool) Proof {
	p := Proof{address: address, zone: z, apex: z.Apex()}
	p.bySOA = created || before != nil && !sameSOA(p.apex, before)
	p.denials = before == nil && !created || p.apex.Denial() != before.Denial()
	return p
}

// Prime has the server keep the answer to the zone's SOA in its packet cache. PowerDNS 4.7 empties that cache some time
// after the commit, so that what it gives to a question nobody asked before is no proof of what others get: when this
// answer is gone, the others are.
func Prime(ctx context.Context, address string, name zone.Name) error {
	_, err := Ask(ctx, address, name, dns.TypeSOA, AskOptions{DNSSEC: true})
	return err
}

// ThroughCache has the proof end only when the answer that Prime left is gone, too. The query cache must be off, or the
// old answer comes back.
func (p Proof) ThroughCache() Proof {
	p.cached = true
	return p
}

// BySOA tells whether the SOA shows which version is served.
func (p Proof) BySOA() bool { return p.bySOA }

// NewEditProof prepares to prove that the server answers with z, of which it was told these edits.
func NewEditProof(address string, z *zone.Zone, edits []zone.Edit) Proof {
	return Proof{address: address, zone: z, apex: z.Apex(), bySOA: true, edits: edits}
}

func sameSOA(a, b zone.Apex) bool {
	soaA, sigsA := a.SOA()
	soaB, sigsB := b.SOA()
	return bytes.Equal(soaA, soaB) && sameRecords(sigsA, sigsB)
}

// sameRecords compares sets: answers have no order.
func sameRecords(a, b []zone.Record) bool {
	order := func(list []zone.Record) []zone.Record {
		return slices.SortedFunc(slices.Values(list), func(x, y zone.Record) int { return bytes.Compare(x, y) })
	}
	return slices.EqualFunc(order(a), order(b), func(x, y zone.Record) bool { return bytes.Equal(x, y) })
}

// Await asks with growing pauses until the version is answered (nil), patience is used up (ErrNotServed, with the
// reason), or ctx ends.
//
// first is the pause behind the first question: the fewer zones are on their way the sooner PowerDNS is done with one.
func (p Proof) Await(ctx context.Context, first, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for pause := first; ; pause = min(pause*3/2, 100*time.Millisecond) {
		err := p.check(ctx)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w after %s: %w", ErrNotServed, patience, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// check returns why the version is not what is answered.
func (p Proof) check(ctx context.Context) error {
	if err := p.checkSOA(ctx); err != nil {
		return err
	}
	if !p.bySOA {
		if err := ProveContent(ctx, p.address, p.zone); err != nil {
			return err
		}
	}
	for _, e := range p.edits {
		if err := p.checkEdit(ctx, e); err != nil {
			return err
		}
	}
	if p.denials {
		if err := p.checkDenial(ctx); err != nil {
			return err
		}
	}
	if p.cached {
		return proveSOA(ctx, p.address, p.zone.Name(), p.apex, AskOptions{DNSSEC: true})
	}
	return nil
}

func (p Proof) checkEdit(ctx context.Context, e zone.Edit) error {
	answer, err := Ask(ctx, p.address, e.Owner, e.Type, AskOptions{Unique: true})
	if err != nil {
		return err
	}
	is := slices.DeleteFunc(answer.Answer, func(r zone.Record) bool { return r.Type() != e.Type || r.Owner() != e.Owner })
	if !sameRecords(is, e.Records) {
		return fmt.Errorf("the answer to %s %s is another one", e.Owner, dns.TypeToString[e.Type])
	}
	return nil
}

func (p Proof) checkSOA(ctx context.Context) error {
	return ProveSOA(ctx, p.address, p.zone.Name(), p.apex)
}

// ProveSOA asks once whether the server at address answers with the SOA of this apex and its signatures.
func ProveSOA(ctx context.Context, address string, name zone.Name, apex zone.Apex) error {
	return proveSOA(ctx, address, name, apex, AskOptions{DNSSEC: true, Unique: true})
}

func proveSOA(ctx context.Context, address string, name zone.Name, apex zone.Apex, o AskOptions) error {
	answer, err := Ask(ctx, address, name, dns.TypeSOA, o)
	if err != nil {
		return err
	}
	soa, signatures := apex.SOA()
	if !sameRecords(answer.Answer, append([]zone.Record{soa}, signatures...)) {
		return fmt.Errorf("%w: the answer to SOA is another one (%s, %d records)", ErrNotServed, dns.RcodeToString[answer.Rcode], len(answer.Answer))
	}
	return nil
}

// ProveContent transfers the zone out of the server at address and compares it (ErrNotServed). What PowerDNS makes anew
// itself is left out.
func ProveContent(ctx context.Context, address string, z *zone.Zone) error {
	is, err := Fetch(ctx, FetchOptions{Address: address}, z.Name())
	if err != nil {
		return err
	}
	removed, added := z.Diff(is)
	for _, r := range append(removed, added...) {
		if !r.Denial() {
			return fmt.Errorf("%w: the content is another one, for example at %s", ErrNotServed, r.Owner())
		}
	}
	return nil
}

// typeNone is one that no zone has: private use, RFC 6895 §3.1.
const typeNone = 65285

// checkDenial asks for what does not exist: PowerDNS caches for 60 s how a zone denies (4.7.3), and API flushes do not help.
func (p Proof) checkDenial(ctx context.Context) error {
	answer, err := Ask(ctx, p.address, p.zone.Name(), typeNone, AskOptions{DNSSEC: true, Unique: true})
	if err != nil {
		return err
	}
	is := ""
	for _, r := range answer.Authority {
		switch r.Type() {
		case dns.TypeNSEC:
			is = "NSEC"
		case dns.TypeNSEC3:
			is = "NSEC3"
		}
	}
	want, _, _ := strings.Cut(p.apex.Denial(), " ") // without the parameters of NSEC3
	if is != want {
		return fmt.Errorf("negative answers prove with %q instead of %q; set zone-metadata-cache-ttl=0 in PowerDNS here", is, want)
	}
	return nil
}

// ProveGone asks once whether the server at address still answers with a SOA of the zone (ErrNotServed).
func ProveGone(ctx context.Context, address string, name zone.Name) error {
	answer, err := Ask(ctx, address, name, dns.TypeSOA, AskOptions{Unique: true})
	if err != nil {
		return err
	}
	for _, r := range answer.Answer {
		if r.Type() == dns.TypeSOA && r.Owner() == name {
			return fmt.Errorf("%w: the deleted zone %s is", ErrNotServed, name)
		}
	}
	return nil
}
