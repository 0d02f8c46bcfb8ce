package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// written is a history of a zone that was created, changed twice, and deleted; INSYNC was said of the version at floor.
func written(floor int) *history {
	h := newHistory(zone.MustParseName("z.example"), false)
	for place := 1; place <= 3; place++ {
		_, tags := subject{name: h.name, place: place}.full()
		h.end(h.begin("patch all", version{exists: true, distributed: true, tags: tags, serial: uint32(place)}), accepted)
	}
	h.end(h.begin("delete", version{tags: map[string]int{}}), accepted)
	h.inSync(floor)
	return h
}

// What an answer is judged to be, by what was promised and answered before.
func TestJudge(t *testing.T) {
	www := seen{question{label: "www", typ: dns.TypeA}}
	for _, test := range []struct {
		what    string
		floor   int
		before  []reply // answered to the same question, one after the other
		answer  reply
		want    string
		atStart bool // the question was sent before the INSYNC
	}{
		{"the version that was promised", 2, nil, reply{kind: positive, tag: 2}, "", false},
		{"a later one", 2, nil, reply{kind: refused}, "", false},
		{"one before it", 2, nil, reply{kind: positive, tag: 1}, stale, false},
		{"one before it, asked for earlier", 2, nil, reply{kind: positive, tag: 1}, "", true},
		{"a deleted zone", 4, nil, reply{kind: positive, tag: 3}, stale, false},
		{"one that another answer was newer than", 1, []reply{{kind: positive, tag: 3}}, reply{kind: positive, tag: 2}, back, false},
		{"one that no answer was newer than", 1, []reply{{kind: positive, tag: 2}}, reply{kind: positive, tag: 2}, "", false},
		{"gone and there again", 1, []reply{{kind: positive, tag: 3}, {kind: refused}}, reply{kind: positive, tag: 3}, back, false},
		{"what nobody wrote", 1, nil, reply{kind: positive, tag: 9}, foreign, false},
		{"data without a name", 1, nil, reply{kind: nxdomain}, foreign, false},
		{"signed, and it never was", 1, nil, reply{kind: positive, tag: 1, proof: "signed"}, foreign, false},
		{"no service while it changes", 1, nil, reply{kind: failed}, "", false},
		{"no service at rest", 4, nil, reply{kind: failed}, broken, false},
	} {
		t.Run(test.what, func(t *testing.T) {
			h := written(0)
			early := h.ask("ns1", www)
			h.inSync(test.floor)
			judge := func(r reply, m moment) string {
				return h.judge("ns1", www, m, r.kind == failed, func(v version) (content, proof bool) { return r.same(v.expect(www.question, false)) })
			}
			for _, r := range test.before {
				if got := judge(r, h.ask("ns1", www)); got != "" {
					t.Fatalf("%v: %s", r, got)
				}
			}
			m := h.ask("ns1", www)
			if test.atStart {
				m = early
			}
			if got := judge(test.answer, m); got != test.want {
				t.Errorf("judged %q, want %q", got, test.want)
			}
		})
	}
}

// While the outcome of a write is not known, an answer may be of the version before it, and of it.
func TestUnknownOutcomeAllowsBoth(t *testing.T) {
	h := written(3)
	_, tags := subject{name: h.name, place: 5}.full()
	place := h.begin("create", version{exists: true, distributed: true, tags: tags})
	q := question{label: "www", typ: dns.TypeA}
	judge := func(node string, r reply) string {
		return h.judge(node, seen{q}, h.ask(node, seen{q}), false, func(v version) (content, proof bool) { return r.same(v.expect(q, false)) })
	}
	created, gone := reply{kind: positive, tag: 5}, reply{kind: refused}
	if a, b := judge("ns1", gone), judge("ns2", created); a != "" || b != "" {
		t.Errorf("under way: %q, %q", a, b)
	}
	h.end(place, rejected)
	if got := judge("ns3", created); got != foreign {
		t.Errorf("rejected: %q", got)
	}
}

// The answers that are expected are those of RFC 1034, whatever is there.
func TestExpect(t *testing.T) {
	_, tags := subject{place: 7}.full()
	v := version{exists: true, distributed: true, tags: tags, signed: true, keys: 2}
	for _, test := range []struct {
		q    question
		want reply
	}{
		{question{label: "www", typ: dns.TypeA}, reply{positive, 7, ""}},
		{question{label: "www", typ: dns.TypeAAAA, dnssec: true}, reply{nodata, 0, "nsec"}},
		{question{label: "x.wild", typ: dns.TypeTXT, dnssec: true}, reply{positive, 7, "signed"}},
		{question{label: "x.wild", typ: dns.TypeA}, reply{nodata, 0, ""}},
		{question{label: "b.ent", typ: dns.TypeTXT}, reply{nodata, 0, ""}},
		{question{label: "deep.cut", typ: dns.TypeA}, reply{referral, 7, ""}},
		{question{label: "nx", typ: dns.TypeA}, reply{nxdomain, 0, ""}},
		{question{label: "y.nx", typ: dns.TypeTXT}, reply{nxdomain, 0, ""}},
		{question{label: "", typ: dns.TypeDNSKEY}, reply{positive, 2, ""}},
		{question{label: "", typ: dns.TypeCDS}, reply{nodata, 0, ""}},
	} {
		if got := v.expect(test.q, false); got != test.want {
			t.Errorf("%s: %s, want %s", test.q, got, test.want)
		}
	}
}

// The same seed plans the same faults, and another one others.
func TestPlan(t *testing.T) {
	chosen, err := selectKinds("all,-disk-full")
	if err != nil {
		t.Fatal(err)
	}
	plan := func(seed uint64) []fault {
		found := targets{roles: []string{"ns1", "primary1"}, brokers: []string{"broker1"}, servers: []string{primaryServer}, relays: []string{"ns1>api"}}
		return planFaults(options{seed: seed}.dice("faults", 0), chosen, found, 10*time.Minute, time.Second)
	}
	if !reflect.DeepEqual(plan(1), plan(1)) || reflect.DeepEqual(plan(1), plan(2)) || len(plan(1)) < 100 {
		t.Errorf("%d and %d faults", len(plan(1)), len(plan(2)))
	}
	if slices.ContainsFunc(plan(1), func(f fault) bool { return f.Kind == "disk-full" || f.Kind == "pdns-wipe" }) {
		t.Error("a fault that was taken away, or has no target")
	}
	if _, err := selectKinds("al"); err == nil {
		t.Error("a kind that there is not was taken")
	}
}

// oldServer answers A questions with a tag, or, without one, denies the name. It has no zone where it is gone.
type oldServer struct {
	tag  atomic.Int64
	gone atomic.Bool
}

func (s *oldServer) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	answer := new(dns.Msg).SetReply(m)
	answer.Authoritative = true
	soa, _ := dns.NewRR("z.example. 60 SOA ns1.example.net. hostmaster.example.net. 3 3600 600 86400 60")
	switch isApex := m.Question[0].Qtype == dns.TypeSOA; {
	case isApex && s.gone.Load():
		answer.Rcode = dns.RcodeRefused
	case isApex:
		answer.Answer = []dns.RR{soa}
	case s.tag.Load() == 0:
		answer.Rcode, answer.Ns = dns.RcodeNameError, []dns.RR{soa}
	}
	if m.Question[0].Qtype == dns.TypeSOA || s.tag.Load() == 0 {
		_ = w.WriteMsg(answer)
		return
	}
	rr, _ := dns.NewRR(fmt.Sprintf("%s 60 A %s", m.Question[0].Name, address(int(s.tag.Load()))))
	answer.Answer = []dns.RR{rr}
	_ = w.WriteMsg(answer)
}

// A server that answers with what an INSYNC was older than, or with what it was ahead of, is reported.
func TestAskersFindOldAnswers(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &oldServer{}
	server := &dns.Server{PacketConn: packets, Handler: s}
	go server.ActivateAndServe()
	defer server.Shutdown()
	z := &kept{history: written(2)}
	var found, log bytes.Buffer
	a := &askers{calm: func(string) bool { return true }, active: func() []string { return []string{"a fault"} }}
	for _, step := range []struct {
		tag  int64
		gone bool
		want string
	}{
		{3, false, ""}, {3, false, ""}, {2, false, back}, {1, false, stale}, {7, false, foreign},
		{0, false, foreign}, {0, true, ""}, // denied as the zone is deleted
	} {
		found.Reset()
		a.record = newRecord(&log, &found, 100, func() {}) // which reports each kind of violation once
		s.tag.Store(step.tag)
		s.gone.Store(step.gone)
		a.ask(t.Context(), z, node{"ns1", packets.LocalAddr().String()}, question{label: "www", typ: dns.TypeA})
		if got := found.String(); step.want == "" && got != "" || !strings.Contains(got, step.want) || step.want != "" && !strings.Contains(got, "a fault") {
			t.Errorf("tag %d, gone %v: want %q, reported %q", step.tag, step.gone, step.want, got)
		}
	}
}

// A relay passes, stalls without losing anything, and cuts.
func TestRelay(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	r, err := newRelay("x>y", echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange := func(wait time.Duration) error {
		c.SetDeadline(time.Now().Add(wait))
		_, err := io.ReadFull(c, make([]byte, 2))
		return err
	}
	say := func() { c.Write([]byte("hi")) }
	if say(); exchange(10*time.Second) != nil {
		t.Fatal("nothing passes")
	}
	r.set(stalling)
	if say(); !errors.Is(exchange(50*time.Millisecond), os.ErrDeadlineExceeded) {
		t.Fatal("a relay that stalls passes something, or ends the connection")
	}
	if r.set(passing); exchange(10*time.Second) != nil {
		t.Fatal("what was stalled is lost")
	}
	if r.set(cutting); exchange(10*time.Second) == nil {
		t.Fatal("a connection that was cut goes on")
	}
}

// Damage alters a file, and never more than it says.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f := newFaults(&soak{record: newRecord(io.Discard, io.Discard, 1, nil)}, nil)
	whole := bytes.Repeat([]byte{0xaa}, 10000)
	for n := range uint64(30) {
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.damage(path, rand.New(rand.NewPCG(n, 0))); err != nil {
			t.Fatal(err)
		}
		if is, err := os.ReadFile(path); err != nil || bytes.Equal(is, whole) || len(is) > len(whole) {
			t.Errorf("%d: %d bytes, %v", n, len(is), err)
		}
	}
	if err := f.damage(filepath.Join(t.TempDir(), "none"), rand.New(rand.NewPCG(1, 0))); err != nil {
		t.Error(err)
	}
}

// A soak of three seconds without faults writes, is told INSYNC, asks, and finds nothing.
func TestSoak(t *testing.T) {
	must.HavePowerDNS(t)
	t.Parallel()
	dir, err := os.MkdirTemp("", "soak") // t.TempDir makes paths too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(t.TempDir(), "pdns-distribute")
	if out, err := exec.Command("go", "build", "-o", program, "pdns-distribute").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	o := options{
		program: program, within: dir, length: 3 * time.Second, settle: time.Minute, seed: 1, faults: "none", most: 1, logLevel: "warn",
		servers: servers{secondaries: 2, backend: "mixed", counts: fleet.Counts{Proxies: 2}},
		workload: workload{
			zones: 6, writers: 2, askers: 2, pause: 50 * time.Millisecond, askPause: 3 * time.Millisecond,
			writes: "create,patch all,patch some,delete,sign",
		},
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, o, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, what := range []string{"held: INSYNC", "questions", "writes: create", "0  violations in all"} {
		if !strings.Contains(out.String(), what) {
			t.Errorf("the summary lacks %q:\n%s", what, out.String())
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
