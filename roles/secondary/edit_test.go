package secondary

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/roletest"
)

// contentsOf are what RRsets of each type that an edit may have are changed to.
func contentsOf() map[string][]string {
	contents := map[string][]string{
		"A":     {"0.0.0.0", "1.2.3.4", "255.255.255.255", "192.0.2.1\n192.0.2.2\n192.0.2.3"},
		"AAAA":  {"::", "::1", "2001:db8::1", "2001:db8:0:0:1:0:0:1", "::ffff:192.0.2.1", "fe80::1:2:3:4", "64:ff9b::192.0.2.33", "2001:0db8:0000:1111:2222:3333:4444:5555\n::2"},
		"MX":    {"0 .", "65535 mail.example.net.", "10 a.example.net.\n20 b.example.net."},
		"SRV":   {"0 0 0 .", "65535 65535 65535 sip.example.net.", "1 2 5060 a.b.\n1 3 5061 c.d."},
		"CNAME": nil, "PTR": nil, "TXT": {`""`, `"a" "b"`, `"v=spf1 ip4:192.0.2.0/24 include:_spf.example.net ~all"`, "\"x\"\n\"y\"\n\"  z  \"", `"` + strings.Repeat("x", 255) + `"`, `"v=DKIM1; k=rsa; p=MIGf/+=="`},
	}
	label := strings.Repeat("a", 63)
	for _, target := range []string{
		".", "a.", "A.B.Example.NET.", "xn--bcher-kva.example.", "_sip._tcp.example.net.", "*.example.net.", "1.2.0.192.in-addr.arpa.", "-a-.b-.c.", "0.",
		label + "." + label + "." + label + "." + label[:61] + ".",
	} {
		contents["CNAME"], contents["PTR"] = append(contents["CNAME"], target), append(contents["PTR"], target)
		contents["MX"], contents["SRV"] = append(contents["MX"], "5 "+target), append(contents["SRV"], "1 2 3 "+target)
	}
	for c := byte(' '); c <= '~'; c++ {
		contents["TXT"] = append(contents["TXT"], fmt.Sprintf("%q", string(c)), fmt.Sprintf("%q", "a"+string(c)+"b "+string(c)+string(c)))
	}
	return contents
}

// editedZone is a zone with a name for each content, below an empty non-terminal, beside a delegation and a wildcard.
// values gives what each name has.
func editedZone(t *testing.T, serial int, more string) *zone.Zone {
	t.Helper()
	text := fmt.Sprintf(`edited.example. 300 IN SOA ns.example.net. host.example.net. %d 3600 600 86400 300
edited.example. 300 IN NS ns%d.example.net.
edited.example. 300 IN A 192.0.2.%d
*.wild.edited.example. 300 IN A 192.0.2.%d
sub.edited.example. 300 IN NS ns.sub.edited.example.
ns.sub.edited.example. 300 IN A 192.0.2.7
a.b.c.edited.example. 300 IN A 192.0.2.%d
`, serial, serial, serial, serial, serial)
	b := zone.NewBuilder(zone.MustParseName("edited.example"), 0)
	p := dns.NewZoneParser(strings.NewReader(text+more), "", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		r, err := zone.NewRecord(rr)
		must.OK(t, err)
		must.OK(t, b.Add(r))
	}
	must.OK(t, p.Err())
	z, err := b.Zone()
	must.OK(t, err)
	return z
}

// oneZone is a transfer.Source of a zone.
type oneZone struct{ z *zone.Zone }

func (s *oneZone) SOA(zone.Name) (zone.Record, []zone.Record, error) { return s.z.SOA(), nil, nil }

func (s *oneZone) Zone(zone.Name) (*zone.Zone, error) { return s.z, nil }

// lines gives each content a name of its own; before, each has something else of the type.
func lines(contents map[string][]string, before bool) (names []string, text string) {
	first := map[string]string{
		"A": "10.9.8.7", "AAAA": "2001:db8:ffff::", "MX": "7 former.example.", "SRV": "7 7 7 former.example.",
		"CNAME": "former.example.", "PTR": "former.example.", "TXT": `"former"`,
	}
	for _, typ := range slices.Sorted(maps.Keys(contents)) {
		for n, content := range contents[typ] {
			name := fmt.Sprintf("%s-%d.e%d.edited.example.", strings.ToLower(typ), n, n%5)
			names = append(names, name)
			if before {
				content = first[typ]
			}
			for _, one := range strings.Split(content, "\n") {
				text += fmt.Sprintf("%s %d IN %s %s\n", name, 300+n, typ, one)
			}
		}
	}
	return names, text
}

// RRsets come and go at names that stay.
const (
	setsBefore = `more.edited.example. 60 IN A 192.0.2.1
less.edited.example. 60 IN A 192.0.2.1
less.edited.example. 60 IN TXT "x"
alias.edited.example. 60 IN A 192.0.2.1
back.edited.example. 60 IN CNAME a.example.
`
	setsAfter = `more.edited.example. 60 IN A 192.0.2.1
more.edited.example. 60 IN TXT "x"
less.edited.example. 90 IN A 192.0.2.1
alias.edited.example. 60 IN CNAME a.example.
back.edited.example. 60 IN A 192.0.2.1
`
)

// TestEditsAreTransfers has PowerDNS make all kinds of edits, and compares what it serves then, record by record and
// answer by answer, with what it serves after a transfer of the same version.
func TestEditsAreTransfers(t *testing.T) {
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		t.Run(string(backend), func(t *testing.T) {
			t.Parallel()
			contents := contentsOf()
			names, former := lines(contents, true)
			_, latter := lines(contents, false)
			e := newEdge(t, backend, editedZone(t, 1, former+setsBefore))
			z := editedZone(t, 2, latter+setsAfter)
			edits, transferred := e.editAll(t, z)
			e.wantSame(t, z, append(names, "more.edited.example.", "less.edited.example.", "alias.edited.example.", "back.edited.example."))
			if edits < 240 || len(transferred) > 20 {
				t.Errorf("%d edits; transferred are %q", edits, transferred)
			}
			server, err := e.api.Server(t.Context())
			if must.OK(t, err); !editsProven(server.Version) {
				t.Errorf("edits are right with PowerDNS %s, and not used: see editReleases", server.Version)
			}
		})
	}
}

// edge is a secondary PowerDNS that serves a zone.
type edge struct {
	*applier
	server *local.Server
	source *oneZone
	serves *zone.Zone
}

func newEdge(t *testing.T, backend local.Backend, z *zone.Zone) *edge {
	t.Helper()
	server := roletest.StartPowerDNS(t, local.Options{Backend: backend})
	api, err := server.Client()
	must.OK(t, err)
	source := &oneZone{z}
	loopback, err := transfer.NewServer(transfer.Config{Listen: "127.0.0.1:0"}, source)
	must.OK(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- loopback.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must.OK(t, <-ended)
	})
	e := &edge{applier: newApplier(api, server.DNSAddr, loopback.Addr().String(), nil, config.SecondaryConfig{}, zerolog.Nop()), server: server, source: source}
	_, err = e.ensure(t.Context(), z)
	must.OK(t, err)
	e.transfer(t, z)
	return e
}

// transfer has PowerDNS take the version as a whole.
func (e *edge) transfer(t *testing.T, z *zone.Zone) {
	t.Helper()
	e.source.z, e.serves = z, z
	deadline := time.Now().Add(must.Patience)
	for {
		must.OK(t, e.api.Retrieve(t.Context(), z.Name()))
		err := transfer.NewProof(e.dns, z, nil, true).Await(t.Context(), time.Millisecond, time.Second)
		if err == nil {
			err = transfer.ProveContent(t.Context(), e.dns, z)
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// editAll brings PowerDNS to z by edits, as far as those are taken, and returns the names that are not.
func (e *edge) editAll(t *testing.T, z *zone.Zone) (edits int, transferred []string) {
	t.Helper()
	removed, added := z.Diff(e.serves)
	changed := map[zone.Name]bool{}
	for _, r := range append(removed, added...) {
		changed[r.Owner()] = true
	}
	for name := range changed {
		one := mixed(t, e.serves, z, name)
		made, ok := one.Edits(e.serves, editMost)
		if !ok {
			transferred = append(transferred, name.String())
			continue
		}
		err := e.edit(t.Context(), one, made)
		if errors.Is(err, powerdns.ErrRejected) { // nothing was changed
			transferred = append(transferred, name.String())
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		edits += len(made)
		e.serves = one
	}
	return edits, transferred
}

// mixed is the old version with the records of the new one at that name, and its SOA.
func mixed(t *testing.T, old, z *zone.Zone, name zone.Name) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(old.Name(), 0)
	of := func(from *zone.Zone, is bool) {
		for r := range from.Records() {
			if (r.Owner() == name) == is {
				must.OK(t, b.Add(r))
			}
		}
	}
	of(old, false)
	of(z, true)
	made, err := b.Zone()
	must.OK(t, err)
	return made
}

// wantSame compares what PowerDNS serves with what it is to serve, and its answers with those after a transfer.
func (e *edge) wantSame(t *testing.T, z *zone.Zone, names []string) {
	t.Helper()
	if err := transfer.ProveContent(t.Context(), e.dns, e.serves); err != nil {
		got, fetchErr := transfer.Fetch(t.Context(), transfer.FetchOptions{Address: e.dns}, z.Name())
		must.OK(t, fetchErr)
		removed, added := got.Diff(e.serves)
		t.Fatalf("%v\nlacks %v\nhas %v", err, removed, added)
	}
	questions := []string{"edited.example.", "c.edited.example.", "b.c.edited.example.", "a.b.c.edited.example.", "x.wild.edited.example.", "wild.edited.example.",
		"sub.edited.example.", "x.sub.edited.example.", "ns.sub.edited.example.", "none.edited.example.", "e1.edited.example."}
	for _, name := range names {
		questions = append(questions, name, "x."+name)
	}
	edited := e.answers(t, questions)
	e.transfer(t, e.serves)
	whole := e.answers(t, questions)
	for question, answer := range edited {
		if answer != whole[question] {
			t.Errorf("%s:\n%s\nafter a transfer\n%s", question, answer, whole[question])
		}
	}
}

func (e *edge) answers(t *testing.T, names []string) map[string]string {
	t.Helper()
	answers := map[string]string{}
	for _, name := range names {
		for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypeSRV, dns.TypeNS, dns.TypeSOA, dns.TypeCAA, dns.TypePTR, dns.TypeCNAME, 65285} {
			a, err := transfer.Ask(t.Context(), e.dns, zone.MustParseName(name), typ, transfer.AskOptions{DNSSEC: true, Unique: true})
			must.OK(t, err)
			for _, set := range [][]zone.Record{a.Answer, a.Authority} {
				slices.SortFunc(set, func(x, y zone.Record) int { return strings.Compare(string(x), string(y)) })
			}
			answers[fmt.Sprint(name, " ", dns.Type(typ))] = fmt.Sprintf("%d %v %v %v", a.Rcode, a.AA, a.Answer, a.Authority)
		}
	}
	return answers
}
