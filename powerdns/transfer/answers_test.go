package transfer_test

import (
	"errors"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// answered is a zone in which much is answered otherwise than by the records of the name that was asked for.
const answered = `www 60 IN A 192.0.2.1
www 60 IN A 192.0.2.2
mixed 60 IN TXT "a"
mixed 120 IN TXT "b"
*.wild 60 IN TXT "w"
here.wild 60 IN A 192.0.2.3
*.wild 60 IN MX 10 mail.example.net.
*.cname 60 IN CNAME www
*.ent.wild 60 IN A 192.0.2.4
deep.er.and.deeper 60 IN A 192.0.2.5
alias 60 IN CNAME www
away 60 IN CNAME www.example.org.
loop1 60 IN CNAME loop2
loop2 60 IN CNAME loop1
sub 60 IN NS ns.sub
sub 60 IN NS ns.example.net.
ns.sub 60 IN A 192.0.2.6
hidden.sub 60 IN TXT "below the delegation"
secure 60 IN NS ns.example.net.
secure 60 IN DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
x.insecure 60 IN NS ns.example.net.
y.z.insecure 60 IN NS ns.example.net.
dname 60 IN DNAME elsewhere.example.
dname 60 IN TXT "at the DNAME"
srv 60 IN SRV 1 2 5060 www
long 60 IN TXT "` + longText + `" "` + longText + `" "` + longText + `" "` + longText + `" "` + longText + `" "` + longText + `"
`

const longText = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" +
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" +
	"0123456789012345678901234567890123456789"

// expanded is what PowerDNS answers with what it leads to. LUA is not here: 5.1 takes it only if it is told to.
const expanded = `al 60 IN ALIAS localhost.
al 60 IN TXT "at the ALIAS"
`

// soaAlone is the least that a zone can be.
const soaAlone = "@ 3600 IN SOA ns1.example.net. hostmaster.example.net. 7 10800 3600 604800 3600\n"

// all are the questions that all records of a zone answer to.
func all(z *zone.Zone) []zone.Question { return z.Sample(0, 1, z.Len()) }

// A server that has taken a zone right answers right, whatever is in it: questions do not fail it.
func TestRightAnswers(t *testing.T) {
	t.Parallel()
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		t.Run(string(backend), func(t *testing.T) {
			t.Parallel()
			w := newWays(t, backend)
			for way, commands := range map[string][]string{
				"unsigned": nil,
				"nsec":     {"secure-zone"},
				"nsec3":    {"secure-zone", "set-nsec3 1 0 3 ab"},
				"optout":   {"secure-zone", "set-nsec3 1 1 0 -"},
			} {
				text := apex + answered
				if commands == nil {
					text += expanded
				}
				z := w.takeIn(t, way+".example.", text, commands...)
				w.right(t, z)
			}
			for _, c := range contents {
				var commands []string
				if c.secure {
					commands = append(commands, "secure-zone")
				}
				if c.nsec3 {
					commands = append(commands, "set-nsec3 1 0 0 -")
				}
				w.right(t, w.takeIn(t, c.origin, apex+c.text, commands...))
			}
			below := w.takeIn(t, "below.unsigned.example.", apex+"www 60 IN A 192.0.2.9\n")
			above := w.takeIn(t, "unsigned.example.", apex+answered+"www.below 60 IN A 192.0.2.1\n")
			w.right(t, below)
			w.right(t, above)
			for _, text := range []string{soaAlone, apex + answered, soaAlone} {
				w.right(t, w.takeIn(t, "emptied.example.", text))
			}
		})
	}
}

// What was given is one thing, what is answered another.
func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		t.Run(string(backend), func(t *testing.T) {
			t.Parallel()
			w := newWays(t, backend)
			for _, signed := range []bool{false, true} {
				origin, commands := "plain.example.", []string(nil)
				if signed {
					origin, commands = "signed.example.", []string{"secure-zone"}
				}
				before := w.takeIn(t, origin, apex+answered, commands...)
				for was, is := range map[string]string{
					"www 60 IN A 192.0.2.2\n":                             "",
					"mixed 60 IN TXT \"a\"":                               "mixed 60 IN TXT \"A\"",
					"here.wild 60 IN A":                                   "here.wild 61 IN A",
					"*.wild 60 IN TXT \"w\"":                              "*.wild 60 IN TXT \"W\"",
					"deep.er.and.deeper 60 IN A 192.0.2.5\n":              "",
					"alias 60 IN CNAME www\n":                             "alias 60 IN A 192.0.2.1\n",
					"sub 60 IN NS ns.example.net.\n":                      "",
					"y.z.insecure 60 IN NS ns.example.net.\n":             "y.z.insecure 60 IN A 192.0.2.1\n",
					"secure 60 IN DS 12345":                               "secure 60 IN DS 12346",
					"dname 60 IN DNAME elsewhere.example.":                "dname 60 IN DNAME nowhere.example.",
					"loop2 60 IN CNAME loop1\n":                           "loop2 60 IN CNAME loop1\nnew.er.name 60 IN A 192.0.2.1\n",
					"*.cname 60 IN CNAME www\n":                           "",
					"srv 60 IN SRV 1 2 5060 www":                          "srv 60 IN SRV 1 2 5061 www",
					"ns.sub 60 IN A 192.0.2.6\n":                          "",
					"sub 60 IN NS ns.sub\nsub 60 IN NS ns.example.net.\n": "",
				} {
					other := w.load(t, origin, apex+strings.Replace(answered, was, is, 1), commands...)
					changed := other.Changed(before, 100)
					err := transfer.ProveAnswers(t.Context(), w.secondary.DNSAddr, other, changed)
					if glue := strings.HasPrefix(was, "ns.sub"); !glue && !errors.Is(err, transfer.ErrNotServed) {
						t.Errorf("%s: %q instead of %q: %v (%v)", origin, is, was, err, changed)
					}
				}
			}
		})
	}
}

// A zone whose empty non-terminals a server leaves out answers NXDOMAIN for them.
func TestEmptyNonTerminalsLeftOut(t *testing.T) {
	t.Parallel()
	w := newWays(t, local.SQLite, "max-ent-entries", "2")
	z := w.takeIn(t, "2.0.192.in-addr.arpa.", apex+"1.a.b.c 60 IN PTR x.example.\n2.d.e.f 60 IN PTR y.example.\n")
	err := transfer.ProveAnswers(t.Context(), w.secondary.DNSAddr, z, z.Sample(0, 1, 4))
	if !errors.Is(err, transfer.ErrNotServed) || !strings.Contains(err.Error(), "max-ent-entries") {
		t.Error(err)
	}
}

// ways is a primary and a secondary with a loopback server between them.
type ways struct {
	primary, secondary *local.Server
	source             *zones
	server             *transfer.Server
}

func newWays(t *testing.T, backend local.Backend, setting ...string) *ways {
	w := &ways{primary: start(t, backend, true), source: newZones()}
	settings := map[string]string{"zone-cache-refresh-interval": "0"}
	for i := 0; i < len(setting); i += 2 {
		settings[setting[i]] = setting[i+1]
	}
	w.secondary = localtest.Start(t, local.Options{Backend: backend, Settings: settings})
	w.server = serve(t, transfer.Config{}, w.source)
	return w
}

// load has the primary make a zone of the text, and returns what it transfers.
func (w *ways) load(t *testing.T, origin, text string, commands ...string) *zone.Zone {
	t.Helper()
	load(t, w.primary, origin, text)
	for _, command := range commands {
		verb, rest, parameters := strings.Cut(command, " ")
		args := []string{verb, origin}
		if parameters {
			args = append(args, rest)
		}
		if _, err := w.primary.Pdnsutil(t.Context(), args...); err != nil && verb != "secure-zone" { // it is signed already
			t.Fatal(err)
		}
	}
	pdnsutil(t, w.primary, "rectify-zone", origin)
	return fetch(t, w.primary.DNSAddr, zone.MustParseName(origin))
}

func (w *ways) takeIn(t *testing.T, origin, text string, commands ...string) *zone.Zone {
	t.Helper()
	z := w.load(t, origin, text, commands...)
	w.source.put(z)
	client, name := apiOf(t, w.secondary), z.Name()
	err := client.CreateZone(t.Context(), name, powerdns.Slave, []string{w.server.Addr().String()})
	if err != nil && !errors.Is(err, powerdns.ErrExists) {
		t.Fatal(err)
	}
	must.Eventually(t, func() error {
		if err := client.Retrieve(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		return transfer.ProveContent(t.Context(), w.secondary.DNSAddr, z)
	})
	return z
}

// right demands that the secondary's answers to all that the zone has pass.
func (w *ways) right(t *testing.T, z *zone.Zone) {
	t.Helper()
	questions := all(z)
	if err := transfer.ProveAnswers(t.Context(), w.secondary.DNSAddr, z, questions); err != nil {
		t.Errorf("%d questions: %v", len(questions), err)
	}
	told := 0
	for _, q := range questions {
		if z.Lookup(q.Name, q.Type).Outcome != zone.Undecided {
			told++
		}
	}
	if told*2 < len(questions) {
		t.Errorf("%s: only %d of %d questions are judged", z.Name(), told, len(questions))
	}
}
