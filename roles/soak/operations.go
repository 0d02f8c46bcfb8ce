package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"pdns-distribute/powerdns/zone"
)

// write is one change of a zone: a request, and what the zone is afterwards.
type write struct {
	what    string
	after   version
	request request
	util    []string // the same by pdnsutil, where it can do it and somebody might
}

// subject is a zone that a write is made for.
type subject struct {
	name  zone.Name
	large int // names more that it has, 0 for a small one
	now   version
	place int // of the write to be made, which is its tag
	rnd   *rand.Rand
	api   entrance // PowerDNS itself
}

// operation makes the next write of a zone, where it fits.
type operation struct {
	what   string
	weight int
	fits   func(version) bool
	make   func(context.Context, subject) (write, error)
}

func absent(v version) bool     { return !v.exists }
func present(v version) bool    { return v.served() }
func isAway(v version) bool     { return v.exists && !v.distributed }
func isSigned(v version) bool   { return v.served() && v.signed }
func isUnsigned(v version) bool { return v.served() && !v.signed }

// operations are all kinds of writes, and how often each comes.
var operations = []operation{
	{"create", 60, absent, func(_ context.Context, s subject) (write, error) { return s.create(), nil }},
	{"patch all", 22, present, func(_ context.Context, s subject) (write, error) { return s.patchAll(), nil }},
	{"patch some", 26, present, func(_ context.Context, s subject) (write, error) { return s.patchSome(), nil }},
	{"put", 6, present, func(_ context.Context, s subject) (write, error) { return s.replace(), nil }},
	{"empty", 4, present, func(_ context.Context, s subject) (write, error) { return s.empty(), nil }},
	{"delete", 12, func(v version) bool { return v.exists }, func(_ context.Context, s subject) (write, error) { return s.remove(), nil }},
	{"sign", 8, isUnsigned, func(_ context.Context, s subject) (write, error) { return s.sign(), nil }},
	{"unsign", 6, isSigned, func(_ context.Context, s subject) (write, error) { return s.unsign(), nil }},
	{"nsec3", 8, isSigned, func(_ context.Context, s subject) (write, error) { return s.turn(), nil }},
	{"key", 4, isSigned, func(ctx context.Context, s subject) (write, error) { return s.key(ctx) }},
	{"publish cds", 4, isSigned, func(_ context.Context, s subject) (write, error) { return s.publishCDS(), nil }},
	{"soa-edit", 4, present, func(_ context.Context, s subject) (write, error) { return s.soaEdit(), nil }},
	{"metadata", 2, present, func(_ context.Context, s subject) (write, error) { return s.metadata(), nil }},
	{"kind away", 4, present, func(_ context.Context, s subject) (write, error) { return s.kind("Slave", "kind away"), nil }},
	{"kind back", 40, isAway, func(_ context.Context, s subject) (write, error) { return s.kind("Native", "kind back"), nil }},
	{"rectify", 1, isSigned, func(_ context.Context, s subject) (write, error) { return s.order("rectify"), nil }},
}

// sequences are writes that follow each other at once.
var sequences = [][]string{
	{"delete", "create"}, {"create", "delete"}, {"delete", "create", "patch some"}, {"create", "patch all", "delete"}, {"kind away", "kind back"},
}

// choose draws the next write, or several that follow each other at once.
func choose(v version, allowed func(string) bool, rnd *rand.Rand) []string {
	if rnd.IntN(6) == 0 {
		if s := sequences[rnd.IntN(len(sequences))]; named(s[0]).fits(v) && !slices.ContainsFunc(s, func(what string) bool { return !allowed(what) }) {
			return s
		}
	}
	total := 0
	var fit []operation
	for _, o := range operations {
		if o.fits(v) && allowed(o.what) {
			fit = append(fit, o)
			total += o.weight
		}
	}
	if total == 0 {
		return nil
	}
	at := rnd.IntN(total)
	for _, o := range fit {
		if at -= o.weight; at < 0 {
			return []string{o.what}
		}
	}
	return nil
}

func named(what string) operation {
	return operations[slices.IndexFunc(operations, func(o operation) bool { return o.what == what })]
}

// selectWrites reads the flag.
func selectWrites(text string) (wanted map[string]bool, err error) {
	var names []string
	for _, o := range operations {
		names = append(names, o.what)
	}
	return selectNames(text, names, nil)
}

// body is JSON.
type body = map[string]any

func (s subject) owner(label string) string {
	if label == "" {
		return s.name.String()
	}
	return label + "." + s.name.String()
}

// domain is the zone as pdnsutil wants it.
func (s subject) domain() string { return strings.TrimSuffix(s.name.String(), ".") }

func (s subject) set(set rrset, tag int) body {
	return body{"name": s.owner(set.label), "type": set.typ, "ttl": 60, "changetype": "REPLACE", "records": []body{{"content": set.content(tag)}}}
}

func (s subject) unset(set rrset) body {
	return body{"name": s.owner(set.label), "type": set.typ, "changetype": "DELETE", "records": []body{}}
}

// full is the content of a new version, as RRsets and as tags.
func (s subject) full() (sets []body, tags map[string]int) {
	tags = map[string]int{}
	for _, set := range template {
		if set.label == odd && s.place%2 == 0 {
			continue
		}
		sets = append(sets, s.set(set, s.place))
		tags[set.label] = s.place
	}
	return sets, tags
}

func (s subject) fillers() (sets []body) {
	for n := range s.large {
		sets = append(sets, s.set(filler(n), s.place))
	}
	return sets
}

func (s subject) zone(method string, b body) request { return request{method, zonePath(s.name), b, 0} }

func (s subject) soa(serial uint32) body {
	content := fmt.Sprintf("ns1.example.net. hostmaster.example.net. %d 10800 3600 604800 60", serial)
	return body{"name": s.name.String(), "type": "SOA", "ttl": 60, "records": []body{{"content": content}}}
}

// create makes the zone, every other time with a low serial: below that of a former life.
func (s subject) create() write {
	sets, tags := s.full()
	after := version{exists: true, distributed: true, tags: tags}
	if s.large > 0 {
		sets = append(sets, s.fillers()...)
		after.fill, tags[fillKey] = s.large, s.place
	}
	b := body{"name": s.name.String(), "kind": "Native", "nameservers": []string{"ns1.example.net.", "ns2.example.net."}, "api_rectify": true}
	b["soa_edit_api"] = []string{"DEFAULT", "INCREASE", ""}[s.rnd.IntN(3)]
	what := "create"
	if s.rnd.IntN(2) == 0 {
		sets = append(sets, s.soa(uint32(1+s.rnd.IntN(50))))
		what = "create with a low serial"
	}
	if how := s.rnd.IntN(3); how > 0 {
		after.signed, b["dnssec"] = true, true
		if how == 2 {
			after.nsec3 = "1 0 0 -"
			b["nsec3param"] = after.nsec3
		}
		what += ", signed"
	}
	b["rrsets"] = sets
	return write{what: what, after: after, request: request{http.MethodPost, server + "/zones?rrsets=false", b, 0}}
}

// patchAll gives each RRset the new tag.
func (s subject) patchAll() write {
	sets, tags := s.full()
	if _, is := s.now.tags[odd]; is && tags[odd] == 0 {
		sets = append(sets, s.unset(setOf(odd)))
	}
	after := s.now.clone()
	if tag, is := after.tags[fillKey]; is {
		tags[fillKey] = tag
	}
	after.tags = tags
	return write{what: "patch all", after: after, request: s.zone(http.MethodPatch, body{"rrsets": sets})}
}

// patchSome changes few RRsets, which is what the edit path of secondaries is for.
func (s subject) patchSome() write {
	after := s.now.clone()
	var sets []body
	for _, at := range s.rnd.Perm(len(template))[:1+s.rnd.IntN(3)] {
		set := template[at]
		if _, is := after.tags[set.label]; is && set.label != "" && s.rnd.IntN(5) == 0 {
			delete(after.tags, set.label)
			sets = append(sets, s.unset(set))
			continue
		}
		after.tags[set.label] = s.place
		sets = append(sets, s.set(set, s.place))
	}
	return write{what: "patch some", after: after, request: s.zone(http.MethodPatch, body{"rrsets": sets})}
}

// replace puts all of a zone's content at once.
func (s subject) replace() write {
	sets, tags := s.full()
	after := s.now.clone()
	after.tags, after.fill = tags, 0
	ns := body{"name": s.name.String(), "type": "NS", "ttl": 60, "records": []body{{"content": "ns1.example.net."}, {"content": "ns2.example.net."}}}
	sets = append(sets, ns, s.soa(s.now.serial+1))
	for _, set := range sets {
		delete(set, "changetype")
	}
	return write{what: "put", after: after, request: s.zone(http.MethodPut, body{"rrsets": sets})}
}

// empty deletes all but SOA and, every other time, NS.
func (s subject) empty() write {
	after := s.now.clone()
	var sets []body
	for label := range s.now.tags {
		if label != fillKey {
			sets = append(sets, s.unset(setOf(label)))
			delete(after.tags, label)
		}
	}
	what := "empty"
	if s.rnd.IntN(2) == 0 {
		sets = append(sets, body{"name": s.name.String(), "type": "NS", "changetype": "DELETE", "records": []body{}})
		what = "empty but for the SOA"
	}
	return write{what: what, after: after, request: s.zone(http.MethodPatch, body{"rrsets": sets})}
}

func (s subject) remove() write {
	return write{what: "delete", after: version{tags: map[string]int{}}, request: s.zone(http.MethodDelete, nil)}
}

func (s subject) sign() write {
	after := s.now.clone()
	after.signed, after.keys = true, 0
	b := body{"dnssec": true}
	if s.rnd.IntN(2) == 0 {
		after.nsec3 = "1 0 0 -"
		b["nsec3param"] = after.nsec3
		return write{what: "sign", after: after, request: s.zone(http.MethodPut, b)}
	}
	return write{what: "sign", after: after, request: s.zone(http.MethodPut, b), util: []string{"secure-zone", s.domain()}}
}

func (s subject) unsign() write {
	after := s.now.clone()
	after.signed, after.nsec3, after.keys = false, "", 0
	return write{what: "unsign", after: after, request: s.zone(http.MethodPut, body{"dnssec": false})}
}

// turn changes how names are denied.
func (s subject) turn() write {
	after := s.now.clone()
	for after.nsec3 == s.now.nsec3 {
		after.nsec3 = []string{"", "1 0 0 -", "1 0 0 ab", "1 0 0 cd12"}[s.rnd.IntN(4)]
	}
	return write{what: "nsec3", after: after, request: s.zone(http.MethodPut, body{"nsec3param": after.nsec3})}
}

// key adds a key, or deletes the one that came last.
func (s subject) key(ctx context.Context) (write, error) {
	keys, err := s.api.cryptokeys(ctx, s.name)
	if err != nil {
		return write{}, err
	}
	if len(keys) == 0 {
		return write{}, errors.New("a signed zone has no key")
	}
	after := s.now.clone()
	after.keys = 0 // learned afterwards
	path := zonePath(s.name) + "/cryptokeys"
	last := slices.MaxFunc(keys, func(a, b cryptokey) int { return a.ID - b.ID })
	switch {
	case len(keys) > 1 && last.Active && s.rnd.IntN(2) == 0:
		return write{what: "deactivate a key", after: after, request: request{http.MethodPut, fmt.Sprintf("%s/%d", path, last.ID), body{"active": false}, 0}}, nil
	case len(keys) > 1:
		return write{what: "delete a key", after: after, request: request{http.MethodDelete, fmt.Sprintf("%s/%d", path, last.ID), nil, 0}}, nil
	}
	return write{what: "add a key", after: after, request: request{http.MethodPost, path, body{"keytype": "csk", "active": true}, 0}}, nil
}

func (s subject) publishCDS() write {
	after := s.now.clone()
	after.cds = !s.now.cds
	path := zonePath(s.name) + "/metadata/PUBLISH-CDS"
	if after.cds {
		return write{
			what: "publish cds", after: after, request: request{http.MethodPut, path, body{"kind": "PUBLISH-CDS", "metadata": []string{"2"}}, 0},
			util: []string{"set-publish-cds", s.domain()},
		}
	}
	return write{what: "withdraw cds", after: after, request: request{http.MethodDelete, path, nil, 0}}
}

// soaEdit changes how the served serial follows.
func (s subject) soaEdit() write {
	b := body{"soa_edit": []string{"", "INCREMENT-WEEKS", "INCEPTION-INCREMENT"}[s.rnd.IntN(3)]}
	if s.rnd.IntN(2) == 0 {
		b = body{"soa_edit_api": []string{"DEFAULT", "INCREASE", ""}[s.rnd.IntN(3)]}
	}
	return write{what: "soa-edit", after: s.now.clone(), request: s.zone(http.MethodPut, b), util: []string{"increase-serial", s.domain()}}
}

func (s subject) metadata() write {
	b := body{"kind": "ALLOW-AXFR-FROM", "metadata": []string{"127.0.0.0/8"}}
	return write{what: "metadata", after: s.now.clone(), request: request{http.MethodPut, zonePath(s.name) + "/metadata/ALLOW-AXFR-FROM", b, 0}}
}

func (s subject) kind(kind, what string) write {
	after := s.now.clone()
	after.distributed = kind != "Slave"
	b := body{"kind": kind}
	if kind == "Slave" {
		b["masters"] = []string{"192.0.2.1"}
	}
	return write{what: what, after: after, request: s.zone(http.MethodPut, b)}
}

func (s subject) order(what string) write {
	return write{what: what, after: s.now.clone(), request: request{http.MethodPut, zonePath(s.name) + "/" + what, nil, 0}}
}
