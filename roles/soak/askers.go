package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// node is a secondary that is asked.
type node struct{ id, address string }

func nodesOf(f *fleet.Fleet) (nodes []node) {
	for _, s := range f.Secondaries {
		nodes = append(nodes, node{s.ID, s.DNSAddr})
	}
	return nodes
}

// askers ask all secondaries all kinds of questions, above all about zones that are just being written to, and hold the
// answers against what was promised.
type askers struct {
	nodes  []node
	zones  []*kept
	hot    *hotZones
	record *record
	calm   func(node string) bool // no fault is or was there lately
	active func() []string        // faults
	pause  time.Duration
}

// hotZones are those that are being written to, or were a moment ago.
type hotZones struct {
	mu    sync.Mutex
	zones map[*kept]time.Time // until when; zero: still
}

// afterglow is how long a zone is asked for above all after a write.
const afterglow = 1500 * time.Millisecond

func (h *hotZones) begin(z *kept) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.zones[z] = time.Time{}
}

func (h *hotZones) end(z *kept) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.zones[z] = time.Now().Add(afterglow)
}

// any is one of them, nil if there is none.
func (h *hotZones) any() *kept {
	h.mu.Lock()
	defer h.mu.Unlock()
	for z, until := range h.zones {
		if until.IsZero() || time.Now().Before(until) {
			return z
		}
		delete(h.zones, z)
	}
	return nil
}

// run asks until ctx ends.
func (a *askers) run(ctx context.Context, rnd *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		z := a.hot.any()
		if z == nil || rnd.IntN(4) == 0 {
			z = a.zones[rnd.IntN(len(a.zones))]
		}
		at := a.nodes[rnd.IntN(len(a.nodes))]
		if n%200 == 199 {
			a.transfer(ctx, z, at)
			continue
		}
		a.ask(ctx, z, at, asked[rnd.IntN(len(asked))])
		if !rest(ctx, a.pause) {
			return
		}
	}
}

// pounce asks all questions about a zone at once, when an INSYNC has just been received.
func (a *askers) pounce(ctx context.Context, z *kept) {
	var wg sync.WaitGroup
	for _, at := range a.nodes {
		for part := range 2 {
			wg.Go(func() {
				for n := part; n < len(asked) && ctx.Err() == nil; n += 2 {
					a.ask(ctx, z, at, asked[n])
				}
			})
		}
	}
	wg.Wait()
}

func (a *askers) ask(ctx context.Context, z *kept, at node, q question) {
	name := z.name
	if q.label != "" {
		name = zone.MustParseName(q.label + "." + z.name.String())
	}
	m := z.ask(at.id, seen{q})
	got, err := transfer.Ask(ctx, at.address, name, q.typ, transfer.AskOptions{DNSSEC: q.dnssec, TCP: q.tcp})
	if err != nil {
		a.record.count("questions without an answer")
		return
	}
	r := read(got, z.name, q)
	a.record.count("questions")
	wrong := a.judge(z, at, seen{q}, m, r.kind == failed, q.String(), r.String(), func(v version) (content, proof bool) {
		return r.same(v.expect(q, z.hasParent))
	})
	if wrong != nil && !(r.negative() && a.justDeleted(ctx, z, at, m)) {
		a.record.violated(*wrong)
	}
}

// justDeleted tells whether the secondary has deleted the zone since the question was sent, or a moment before.
// PowerDNS looks for the zone first and then for the name: where the zone is deleted in between, it denies the name,
// which no version says, or one of before that was empty. From then on it must refuse.
func (a *askers) justDeleted(ctx context.Context, z *kept, at node, m moment) bool {
	if !z.deletedSince(m.floor) {
		return false
	}
	apex := question{typ: dns.TypeSOA}
	got, err := transfer.Ask(ctx, at.address, z.name, apex.typ, transfer.AskOptions{})
	if err != nil {
		return false
	}
	if r := read(got, z.name, apex); r.kind != refused && r.kind != above {
		return false
	}
	a.record.count("answers from the moment of a deletion")
	return true
}

// judge returns what is wrong with an answer, nil if nothing. A server that fails while a fault is near is no wonder.
func (a *askers) judge(
	z *kept, at node, q seen, m moment, failure bool, question, answer string, matches func(version) (bool, bool),
) *violation {
	if failure && !a.calm(at.id) {
		a.record.count("questions that a server failed to answer near a fault")
		return nil
	}
	kind := z.judge(at.id, q, m, failure, matches)
	if kind == "" {
		return nil
	}
	oldest := max(m.floor, m.seen)
	return &violation{
		Kind: kind, Write: z.what(oldest), Node: at.id, Zone: z.name.String(), Asked: question, SentAt: m.at, Answer: answer, place: oldest,
		Expected: fmt.Sprintf("that of version %d or later", oldest), History: z.last(8), Faults: a.active(),
	}
}

// transferred is the question that all transfers of a zone are.
var transferred = seen{question{label: "AXFR"}}

// transfer takes the zone out of a secondary: it must be one version as a whole.
func (a *askers) transfer(ctx context.Context, z *kept, at node) {
	m := z.ask(at.id, transferred)
	got, err := transfer.Fetch(ctx, transfer.FetchOptions{Address: at.address}, z.name)
	if err != nil {
		a.record.count("transfers that were refused or failed")
		return
	}
	a.record.count("transfers")
	is, err := contentOf(got)
	if err != nil {
		a.record.violated(violation{
			Kind: "a transfer mixes versions", Node: at.id, Zone: z.name.String(), SentAt: m.at, Answer: err.Error(),
			History: z.last(8), Faults: a.active(),
		})
		return
	}
	text := fmt.Sprintf("serial %d, tags %v, fill %d, signed %v", is.serial, is.tags, is.fill, is.signed)
	wrong := a.judge(z, at, transferred, m, false, "AXFR", text, func(v version) (content, proof bool) {
		serial := v.serial == 0 || v.serial == is.serial || v.signed // the served serial of a signed zone moves by itself
		return serial && is.sameContent(v), is.signed == v.signed && (!v.signed || is.cds == v.cds)
	})
	if wrong != nil {
		a.record.violated(*wrong)
	}
}
