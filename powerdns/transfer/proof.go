package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// ErrNotServed means that a server does not answer with the version that it was given.
var ErrNotServed = errors.New("not what is answered")

// Proof asks a server over DNS until it answers with one version of a zone. The SOA shows the version where it, or its
// signature, is another one than before; where it isn't, the whole zone is compared. What the versions say otherwise is
// asked for, too: that the apex is answered does not say that all else is.
type Proof struct {
	address string
	zone    *zone.Zone
	apex    zone.Apex
	bySOA   bool            // the SOA's RRset tells the version from the one before
	denials bool            // the proof of non-existence is of another kind than before
	answers []zone.Question // the SOA, and a sample
	edits   []zone.Edit
	content *contentLook
}

// How many questions one proof puts besides the SOA: about changes, and about a zone of which nothing is known.
const (
	changedMost = 8
	sampleOf    = 4
)

// NewProof prepares to prove that the server at address answers with z. before is what it served until now, nil when
// that is not known; created says that it had no such zone.
func NewProof(address string, z, before *zone.Zone, created bool) Proof {
	p := Proof{address: address, zone: z, apex: z.Apex(), bySOA: created, denials: !created, answers: soaOf(z), content: &contentLook{}}
	if before != nil {
		was := before.Apex()
		p.bySOA = created || !sameSOA(p.apex, was)
		p.denials = p.apex.Denial() != was.Denial()
		p.answers = append(p.answers, z.Changed(before, changedMost)...)
	} else {
		p.answers = append(p.answers, z.Sample(0, z.Len()/sampleOf, sampleOf)...)
	}
	return p
}

// NewEditProof prepares to prove that the server answers with z, of which it was told these edits.
func NewEditProof(address string, z *zone.Zone, edits []zone.Edit) Proof {
	return Proof{address: address, zone: z, apex: z.Apex(), bySOA: true, answers: soaOf(z), edits: edits}
}

func soaOf(z *zone.Zone) []zone.Question { return []zone.Question{{Name: z.Name(), Type: dns.TypeSOA}} }

func sameSOA(a, b zone.Apex) bool {
	soaA, sigsA := a.SOA()
	soaB, sigsB := b.SOA()
	return bytes.Equal(soaA.Canonical(), soaB.Canonical()) && sameRecords(sigsA, sigsB)
}

// sameRecords compares sets, whatever the letters of names: answers have no order, and a backend may keep letters
// otherwise.
func sameRecords(a, b []zone.Record) bool {
	order := func(list []zone.Record) []zone.Record {
		canonical := make([]zone.Record, 0, len(list))
		for _, r := range list {
			canonical = append(canonical, r.Canonical())
		}
		slices.SortFunc(canonical, func(x, y zone.Record) int { return bytes.Compare(x, y) })
		return canonical
	}
	return slices.EqualFunc(order(a), order(b), func(x, y zone.Record) bool { return bytes.Equal(x, y) })
}

// Await asks with growing pauses until the version is answered (nil), patience is used up (ErrNotServed, with the
// reason), or ctx ends.
//
// first is the pause behind the first question: the fewer zones are on their way the sooner PowerDNS is done with one.
func (p Proof) Await(ctx context.Context, first, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for next := first; ; next = longer(next) {
		err := p.check(ctx)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w after %s: %w", ErrNotServed, patience, err)
		}
		if err := pause(ctx, next); err != nil {
			return err
		}
	}
}

// longer is the next pause. What is done within a few milliseconds is found within a quarter of its time.
func longer(pause time.Duration) time.Duration {
	if pause < timerStep {
		return pause * 5 / 4
	}
	return min(pause*3/2, 100*time.Millisecond)
}

// timerStep is what Go's timers come late by while nothing else goes on: the runtime waits for sockets in whole
// milliseconds (go 1.26, netpoll by epoll).
const timerStep = time.Millisecond

func pauseByTimer(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// atOnce is how many questions are put before it is known whether the SOA is right: few, since they are put again and
// again.
const atOnce = 3

// check returns why the version is not what is answered.
func (p Proof) check(ctx context.Context) error {
	if len(p.answers) > atOnce {
		if err := ProveSOA(ctx, p.address, p.zone.Name(), p.apex); err != nil {
			return err
		}
	}
	if err := ProveAnswers(ctx, p.address, p.zone, p.answers); err != nil {
		return err
	}
	if !p.bySOA {
		if err := p.content.prove(ctx, p.address, p.zone); err != nil {
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

// ProveSOA asks once whether the server at address answers with the SOA of this apex and its signatures.
func ProveSOA(ctx context.Context, address string, name zone.Name, apex zone.Apex) error {
	answer, err := Ask(ctx, address, name, dns.TypeSOA, AskOptions{DNSSEC: true, Unique: true})
	if err != nil {
		return err
	}
	soa, signatures := apex.SOA()
	if !sameRecords(answer.Answer, append([]zone.Record{soa}, signatures...)) {
		return fmt.Errorf("%w: the answer to SOA is another one (%s, %d records)",
			ErrNotServed, dns.RcodeToString[answer.Rcode], len(answer.Answer))
	}
	return nil
}

// ProveContent transfers the zone out of the server at address and compares it (ErrNotServed). What PowerDNS makes anew
// itself is left out.
func ProveContent(ctx context.Context, address string, z *zone.Zone) error {
	return proveTransfer(ctx, address, z, zone.Record.Denial)
}

// ProveAll is ProveContent with the chain of denial: it is made anew, and comes to what the signatures are for.
func ProveAll(ctx context.Context, address string, z *zone.Zone) error {
	return proveTransfer(ctx, address, z, func(zone.Record) bool { return false })
}

func proveTransfer(ctx context.Context, address string, z *zone.Zone, leaveOut func(zone.Record) bool) error {
	is, err := Fetch(ctx, FetchOptions{Address: address}, z.Name())
	if err != nil {
		return err
	}
	removed, added := z.Diff(is)
	removed, added = slices.DeleteFunc(removed, leaveOut), slices.DeleteFunc(added, leaveOut)
	added, untransferred := splitUntransferred(z, added)
	if sameRecords(removed, added) { // but for letters
		return proveSets(ctx, address, z, untransferred)
	}
	first := append(removed, added...)[0]
	return fmt.Errorf("%w: the content is another one, for example %s at %s", ErrNotServed, dns.Type(first.Type()), first.Owner())
}

// splitUntransferred takes out of what a transfer lacks the records that PowerDNS answers and, without direct-dnskey,
// leaves out of its transfers, and returns questions for them.
func splitUntransferred(z *zone.Zone, lacking []zone.Record) (others []zone.Record, answered []zone.Question) {
	for _, r := range lacking {
		q := zone.Question{Name: r.Owner(), Type: r.Type()}
		switch {
		case z.Signed() || q.Type != dns.TypeCDS && q.Type != dns.TypeCDNSKEY && q.Type != dns.TypeDNSKEY:
			others = append(others, r)
		case !slices.Contains(answered, q):
			answered = append(answered, q)
		}
	}
	return others, answered
}

// proveSets asks for sets of the zone (ErrNotServed).
func proveSets(ctx context.Context, address string, z *zone.Zone, sets []zone.Question) error {
	answers, err := askMany(ctx, address, sets, AskOptions{Unique: true})
	if err != nil {
		return err
	}
	for i, q := range sets {
		if want, _ := z.RRset(q.Name, q.Type); !sameRecords(of(answers[i].Answer, q.Name, q.Type), want) {
			return fmt.Errorf("%w: the answer to %s %s is another one", ErrNotServed, q.Name, dns.Type(q.Type))
		}
	}
	return nil
}

// checkDenial asks for what does not exist: PowerDNS caches for 60 s how a zone denies (4.7.3), and API flushes do not
// help.
func (p Proof) checkDenial(ctx context.Context) error {
	answer, err := Ask(ctx, p.address, p.zone.Name(), zone.ProbeType, AskOptions{DNSSEC: true, Unique: true})
	if err != nil {
		return err
	}
	if is, want := denialBy(answer.Authority), denialBy(p.apex); is != want {
		return fmt.Errorf("negative answers prove with %q instead of %q; set zone-metadata-cache-ttl=0 in PowerDNS here", is, want)
	}
	return nil
}

// ProveGone asks once whether the server at address still answers with a SOA of the zone (ErrNotServed).
func ProveGone(ctx context.Context, address string, name zone.Name) error {
	return proveGone(ctx, address, name, []zone.Question{{Name: name, Type: dns.TypeSOA}}, AskOptions{Unique: true})
}

// goneSample is how many names of a removed zone are asked for.
const goneSample = 4

// ProveRemoved asks once whether the server at address still answers for the zone, or for names of what it was (nil:
// not known), past its packet cache and through it (ErrNotServed).
func ProveRemoved(ctx context.Context, address string, name zone.Name, was *zone.Zone) error {
	questions := []zone.Question{{Name: name, Type: dns.TypeSOA}}
	if was != nil {
		for _, q := range was.Sample(0, was.Len()/goneSample, goneSample) {
			questions = append(questions, zone.Question{Name: q.Name, Type: dns.TypeSOA})
		}
	}
	if err := proveGone(ctx, address, name, questions, AskOptions{Unique: true}); err != nil {
		return err
	}
	return proveGone(ctx, address, name, questions, AskOptions{})
}

func proveGone(ctx context.Context, address string, name zone.Name, questions []zone.Question, o AskOptions) error {
	answers, err := askMany(ctx, address, questions, o)
	if err != nil {
		return err
	}
	for _, answer := range answers {
		if answer.hasSOA(name) {
			return fmt.Errorf("%w: the deleted zone %s is", ErrNotServed, name)
		}
	}
	return nil
}

// hasSOA reports whether the zone of that name gave the answer, or says in it that there is none.
func (a Answer) hasSOA(name zone.Name) bool {
	return len(of(a.Answer, name, dns.TypeSOA)) > 0 || len(of(a.Authority, name, dns.TypeSOA)) > 0
}
