package roles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// proof asks PowerDNS over DNS until it answers with one version of a zone. Which questions show that depends on what
// it served before: mostly the SOA, or its signature, is another one. Where it isn't, the whole zone is compared.
type proof struct {
	dns     string
	zone    *zone.Zone
	apex    zone.Apex
	bySOA   bool // the SOA's RRset tells the version from the one before
	denials bool // the proof of non-existence is of another kind than before
}

func newProof(dnsAddress string, z *zone.Zone, before zone.Apex, created bool) proof {
	p := proof{dns: dnsAddress, zone: z, apex: z.Apex()}
	p.bySOA = created || before != nil && !sameSOA(p.apex, before)
	p.denials = before == nil || p.apex.Denial() != before.Denial()
	return p
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

// await asks with growing pauses until the version is answered or patience is used up.
func (p proof) await(ctx context.Context, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := p.check(ctx)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: after %s %w", errNotTaken, patience, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// check returns why the version is not what is answered.
func (p proof) check(ctx context.Context) error {
	if err := p.checkSOA(ctx); err != nil {
		return err
	}
	if !p.bySOA {
		if err := p.checkContent(ctx); err != nil {
			return err
		}
	}
	if p.denials {
		return p.checkDenial(ctx)
	}
	return nil
}

func (p proof) checkSOA(ctx context.Context) error {
	answer, err := transfer.Ask(ctx, p.dns, p.zone.Name(), dns.TypeSOA, transfer.AskOptions{DNSSEC: true, Unique: true})
	if err != nil {
		return err
	}
	soa, signatures := p.apex.SOA()
	if !sameRecords(answer.Answer, append([]zone.Record{soa}, signatures...)) {
		return fmt.Errorf("the answer to SOA is another one (%s, %d records)", dns.RcodeToString[answer.Rcode], len(answer.Answer))
	}
	return nil
}

// checkContent transfers the zone out of PowerDNS. What it makes anew itself is left out.
func (p proof) checkContent(ctx context.Context) error {
	is, err := transfer.Fetch(ctx, transfer.FetchOptions{Address: p.dns}, p.zone.Name())
	if err != nil {
		return err
	}
	removed, added := p.zone.Diff(is)
	for _, r := range append(removed, added...) {
		if !r.Denial() {
			return fmt.Errorf("the content is another one, for example at %s", r.Owner())
		}
	}
	return nil
}

// typeNone is one that no zone has: private use, RFC 6895 §3.1.
const typeNone = 65285

// checkDenial asks for what does not exist: PowerDNS caches for 60 s how a zone denies (4.7.3), and API flushes do not help.
func (p proof) checkDenial(ctx context.Context) error {
	answer, err := transfer.Ask(ctx, p.dns, p.zone.Name(), typeNone, transfer.AskOptions{DNSSEC: true, Unique: true})
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

// proveGone asks whether the zone's SOA is still answered.
func proveGone(ctx context.Context, dnsAddress string, name zone.Name) error {
	answer, err := transfer.Ask(ctx, dnsAddress, name, dns.TypeSOA, transfer.AskOptions{Unique: true})
	if err != nil {
		return err
	}
	for _, r := range answer.Answer {
		if r.Type() == dns.TypeSOA && r.Owner() == name {
			return fmt.Errorf("%w: it still answers for the deleted zone %s", errNotTaken, name)
		}
	}
	return nil
}
