package zone

import (
	"slices"

	"github.com/miekg/dns"
)

// Question is a name and a type that a server can be asked for.
type Question struct {
	Name Name
	Type uint16
}

// nowhere is a label that no zone is likely to have. Its name shows how a zone denies, or what a wildcard gives.
const nowhere = "\x17pdns-distribute-nowhere"

// ProbeType is one that no zone has: private use, RFC 6895 §3.1.
const ProbeType = 65285

// questions collects questions, each once.
type questions struct {
	list []Question
	seen map[Question]bool
}

func (q *questions) add(name Name, typ uint16) {
	if n := (Question{name, typ}); len(name) <= maxName && !q.seen[n] {
		q.seen[n] = true
		q.list = append(q.list, n)
	}
}

// Sample are questions that show whether a server answers with the zone: what count of its records, from the given one
// on and step apart, answer to, the empty non-terminals above them, and a name that does not exist.
func (z *Zone) Sample(from, step, count int) []Question {
	q := questions{seen: map[Question]bool{}}
	for k := range min(count, z.Len()) {
		z.ask(&q, z.Record((from+k*max(step, 1))%z.Len()))
	}
	q.add(nowhere+z.name, dns.TypeA)
	return q.list
}

// Changed are at most limit questions, evenly chosen, to which the zone and the version before say other things: what
// came, what went and what is another, and the empty non-terminals that came or went with it. All, where they are
// fewer.
func (z *Zone) Changed(before *Zone, limit int) []Question {
	removed, added := z.Diff(before)
	q := questions{seen: map[Question]bool{}}
	for _, r := range slices.Concat(removed, added) {
		z.ask(&q, r)
		before.askAbove(&q, r.Owner())
	}
	return evenly(q.list, limit)
}

func evenly(list []Question, limit int) []Question {
	if len(list) <= limit {
		return list
	}
	chosen := make([]Question, 0, limit)
	for k := range limit {
		chosen = append(chosen, list[k*(len(list)-1)/max(limit-1, 1)])
	}
	return chosen
}

// ask adds what one record, of this version or of another one, shows in.
func (z *Zone) ask(q *questions, r Record) {
	owner, typ := r.Owner(), r.Type()
	if covered := r.Covered(); covered != 0 {
		typ = covered
	}
	switch typ {
	case dns.TypeNSEC3:
		return // its owner is no name of the zone
	case dns.TypeNSEC, dns.TypeNSEC3PARAM:
		typ = ProbeType
	case dns.TypeSOA:
		return // every proof asks for it
	case dns.TypeNS:
		z.askBelow(q, owner)
	}
	q.add(owner, z.answering(owner, typ))
	if owner != z.name && len(owner) > 2 && owner[:2] == "\x01*" {
		q.add(nowhere+owner[2:], z.answering(owner, typ))
	}
	z.askAbove(q, owner)
}

// answering is the type to ask for at owner: where there is a CNAME, any other leads on to elsewhere.
func (z *Zone) answering(owner Name, typ uint16) uint16 {
	if cname, _ := z.RRset(owner, dns.TypeCNAME); len(cname) > 0 {
		return dns.TypeCNAME
	}
	return typ
}

// askAbove adds the empty non-terminals above a name.
func (z *Zone) askAbove(q *questions, name Name) {
	for name != z.name && len(name) > len(z.name) {
		if name = name.Parent(); name != z.name && z.isEmptyNonTerminal(name) {
			q.add(name, dns.TypeA)
		}
	}
}

// askBelow adds the first name below a delegation, which the delegation hides: glue becomes data without it.
func (z *Zone) askBelow(q *questions, cut Name) {
	if cut == z.name {
		return
	}
	for i, _ := z.find(cut); i < len(z.index); i++ {
		if r := z.Record(i); !r.Under(cut) {
			return
		} else if owner := r.Owner(); owner != cut {
			q.add(owner, z.answering(owner, r.Type()))
			return
		}
	}
}
