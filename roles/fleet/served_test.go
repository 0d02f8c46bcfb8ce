package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/fleet"
)

// A way in which a zone can change: requests before, which lead to what is answered until then, and those of the
// change. Of these the last is held.
type kindOfChange struct {
	what          string
	before, after []request
}

type request struct{ method, path, body string }

// zoned is a request about the zone; %s in a body is its name.
func zoned(method, path, body string) request { return request{method, "/ZONE" + path, body} }

const rrsets = `{"rrsets":[%s]}`

func rrset(name, typ, content string) string {
	if content == "" {
		return fmt.Sprintf(`{"name":"%sZONE","type":%q,"changetype":"DELETE"}`, name, typ)
	}
	return fmt.Sprintf(`{"name":"%sZONE","type":%q,"ttl":60,"changetype":"REPLACE","records":[{"content":%q}]}`, name, typ, content)
}

func patch(sets ...string) request {
	return zoned("PATCH", "", fmt.Sprintf(rrsets, strings.Join(sets, ",")))
}

func create(settings string) request {
	return request{"POST", "", `{"name":"ZONE","kind":"Native","nameservers":["ns1.example.net."]` + settings + `}`}
}

var (
	filled   = patch(rrset("www.", "A", "192.0.2.1"), rrset("a.ent.", "TXT", `"deep"`), rrset("*.w.", "TXT", `"wild"`), rrset("", "TXT", `"first"`), rrset("sub.", "NS", "ns.example.net."))
	plain    = []request{create(""), filled}
	secured  = []request{create(`,"dnssec":true`), filled}
	nsec3    = `{"nsec3param":"1 0 0 ab"}`
	sameSOA  = []request{create(`,"soa_edit_api":""`), filled}
	deletion = zoned("DELETE", "", "")
)

// kindsOfChange is the table. A kind that is missing here is nowhere proven to be served when it is said to be.
var kindsOfChange = []kindOfChange{
	{"created", nil, []request{create("")}},
	{"created and filled", nil, []request{create(""), filled}},
	{"created signed", nil, []request{create(`,"dnssec":true`)}},
	{"deleted", plain, []request{deletion}},
	{"deleted signed", secured, []request{deletion}},
	{"deleted right after creation", nil, []request{create(""), deletion}},
	{"made again", plain, []request{deletion, create("")}},
	{"made again with a lower serial", append(slices.Clone(plain), patch(rrset("", "SOA", "a.example. b.example. 4000000000 3600 600 86400 300"))), []request{deletion, create("")}},
	{"an address", plain, []request{patch(rrset("www.", "A", "192.0.2.2"))}},
	{"a name more", plain, []request{patch(rrset("new.er.", "TXT", `"new"`))}},
	{"a name less", plain, []request{patch(rrset("a.ent.", "TXT", ""))}},
	{"a wildcard less", plain, []request{patch(rrset("*.w.", "TXT", ""))}},
	{"an alias", plain, []request{patch(rrset("www.", "A", ""), rrset("www.", "CNAME", "www.example.net."))}},
	{"a delegation less", plain, []request{patch(rrset("sub.", "NS", ""))}},
	{"many changes", plain, []request{patch(rrset("www.", "A", "192.0.2.2")), patch(rrset("www.", "A", "192.0.2.3")), patch(rrset("", "TXT", `"last"`))}},
	{"emptied", plain, []request{patch(rrset("www.", "A", ""), rrset("a.ent.", "TXT", ""), rrset("*.w.", "TXT", ""), rrset("", "TXT", ""), rrset("sub.", "NS", ""), rrset("", "NS", ""))}},
	{"same serial", sameSOA, []request{patch(rrset("www.", "A", "192.0.2.2"))}},
	{"there and back at the same serial", sameSOA, []request{patch(rrset("www.", "A", "192.0.2.2")), patch(rrset("www.", "A", "192.0.2.1")), patch(rrset("", "TXT", `"other"`))}},
	{"signed", plain, []request{zoned("PUT", "", `{"dnssec":true}`)}},
	{"unsigned", secured, []request{zoned("PUT", "", `{"dnssec":false}`)}},
	{"NSEC3", secured, []request{zoned("PUT", "", nsec3)}},
	{"other NSEC3 parameters", append(slices.Clone(secured), zoned("PUT", "", nsec3)), []request{zoned("PUT", "", `{"nsec3param":"1 0 2 cd"}`)}},
	{"a key more", secured, []request{zoned("POST", "/cryptokeys", `{"keytype":"zsk","active":true,"algorithm":"ecdsa256"}`)}},
	{"CDS", secured, []request{zoned("PUT", "/metadata/PUBLISH-CDS", `{"metadata":["2"]}`)}},
	{"a signed name more", secured, []request{patch(rrset("new.er.", "TXT", `"new"`))}},
}

// questionsTo are asked before, while and after a zone changes.
var questionsTo = []struct {
	name string
	typ  uint16
}{
	{"", dns.TypeSOA}, {"", dns.TypeNS}, {"", dns.TypeTXT}, {"", dns.TypeDNSKEY}, {"", dns.TypeCDS}, {"", zone.ProbeType},
	{"www.", dns.TypeA}, {"www.", dns.TypeAAAA}, {"ent.", dns.TypeA}, {"a.ent.", dns.TypeTXT}, {"x.w.", dns.TypeTXT}, {"er.", dns.TypeA},
	{"new.er.", dns.TypeTXT}, {"sub.", dns.TypeA}, {"nope.", dns.TypeA},
}

// asking is one question in one of the forms that a cache keeps apart.
type asking struct {
	name zone.Name
	typ  uint16
	transfer.AskOptions
}

func (a asking) String() string {
	return fmt.Sprintf("%s %s %+v", a.name, dns.Type(a.typ), a.AskOptions)
}

func askingsAbout(name zone.Name) (list []asking) {
	for _, q := range questionsTo {
		at := zone.MustParseName(q.name + name.String())
		for _, o := range []transfer.AskOptions{{}, {DNSSEC: true}, {TCP: true}} {
			list = append(list, asking{at, q.typ, o})
		}
	}
	return list
}

// said is an answer as far as a version of a zone decides it: without the bytes of signatures, and of what denies
// without the names.
func said(a transfer.Answer) string {
	lines := []string{dns.RcodeToString[a.Rcode]}
	for _, r := range append(slices.Clone(a.Answer), a.Authority...) {
		switch {
		case r.Type() == dns.TypeNSEC:
			lines = append(lines, "NSEC")
		case r.Type() == dns.TypeNSEC3:
			lines = append(lines, fmt.Sprintf("NSEC3 %x", r.Data()[4:6]))
		case r.Covered() == dns.TypeNSEC, r.Covered() == dns.TypeNSEC3:
		default:
			lines = append(lines, fleet.Stable(r))
		}
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

// say asks again what was not answered in time: a machine that is busy is no answer of a server.
func (i *harness) say(server *local.Server, a asking) (string, error) {
	for late := time.Now().Add(patience); ; {
		answer, err := transfer.Ask(i.ctx, server.DNSAddr, a.name, a.typ, a.AskOptions)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(late) {
			return said(answer), err
		}
	}
}

// served counts what came of changes.
type served struct{ held, pending, asked, untrue atomic.Int64 }

// When a held answer says that a change is served everywhere, no secondary gives the former answer to any question any
// more: whatever the change, whatever was asked before and is being asked meanwhile.
func TestServedMeansServed(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	i.walk(0, len(kindsOfChange))
}

// walk makes changes of all kinds, several at a time, in zones below others, until there were so many and the time is
// over.
func (i *harness) walk(atLeast time.Duration, most int) {
	i.t.Helper()
	const workers = 3
	i.send("wait=60", create(""), zone.MustParseName("parent.example"))
	var count served
	var next atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(atLeast)
	for range workers {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < most && (n < len(kindsOfChange) || time.Now().Before(end)); n = int(next.Add(1)) - 1 {
				below := []string{"example", "parent.example"}[n/len(kindsOfChange)%2]
				i.changeOne(kindsOfChange[n%len(kindsOfChange)], zone.MustParseName(fmt.Sprintf("z%d.%s", n, below)), &count)
			}
		})
	}
	wg.Wait()
	i.t.Logf("%d changes held, %d pending, %d answers, %d untrue", count.held.Load(), count.pending.Load(), count.asked.Load(), count.untrue.Load())
	i.withoutOrphans()
}

// changeOne walks one row of the table with a zone.
func (i *harness) changeOne(kind kindOfChange, name zone.Name, count *served) {
	i.t.Helper()
	for _, r := range kind.before {
		i.send("wait=60", r, name)
	}
	askings := askingsAbout(name)
	was := i.sayAll(i.Primary, askings)
	meanwhile, stop := context.WithCancel(i.ctx)
	var wg sync.WaitGroup
	for _, s := range i.Secondaries {
		i.sayAll(s.Server, askings)
		wg.Go(func() { askOn(meanwhile, s.Server, askings) })
	}
	var last answer
	for n, r := range kind.after {
		preference := ""
		if n == len(kind.after)-1 {
			preference = "wait=60"
		}
		last = i.send(preference, r, name)
	}
	is := make([][]string, len(i.Secondaries))
	var after sync.WaitGroup
	for n, s := range i.Secondaries {
		after.Go(func() { is[n] = i.sayAll(s.Server, askings) })
	}
	after.Wait()
	stop()
	wg.Wait()
	if last.header.Get(proxy.HeaderStatus) != proxy.StatusInSync {
		count.pending.Add(1)
		i.t.Errorf("%s: %d %s %s %s", kind.what, last.status, last.header.Get(proxy.HeaderStatus), last.header.Get(proxy.HeaderMissing), last.body)
		return
	}
	count.held.Add(1)
	should := i.sayAll(i.Primary, askings)
	for n, s := range i.Secondaries {
		for k, a := range askings {
			count.asked.Add(1)
			if is[n][k] != should[k] {
				count.untrue.Add(1)
				i.t.Errorf("%s: %s: %s\nsays %q\nshould %q\nbefore %q", kind.what, s.ID, a, is[n][k], should[k], was[k])
			}
		}
	}
}

func (i *harness) send(preference string, r request, name zone.Name) answer {
	i.t.Helper()
	path := zonesPath + strings.Replace(r.path, "ZONE", name.ID(), 1)
	a := i.prefer(preference, r.method, path, strings.ReplaceAll(r.body, "ZONE", name.String()))
	for a.status >= 500 { // SQLite gives up at once when it is busy
		a = i.prefer(preference, r.method, path, strings.ReplaceAll(r.body, "ZONE", name.String()))
	}
	if a.status >= 300 {
		i.t.Errorf("%s %s: %d %s", r.method, path, a.status, a.body)
	}
	return a
}

func (i *harness) sayAll(s *local.Server, askings []asking) []string {
	said := make([]string, len(askings))
	for n, a := range askings {
		text, err := i.say(s, a)
		if err != nil {
			text = err.Error()
		}
		said[n] = text
	}
	return said
}

// askOn asks as resolvers do, so that caches are full, and threads at it, at the moment of the change.
func askOn(ctx context.Context, s *local.Server, askings []asking) {
	for n := 0; ctx.Err() == nil; n++ {
		a := askings[n%len(askings)]
		if !a.TCP {
			_, _ = transfer.Ask(ctx, s.DNSAddr, a.name, a.typ, a.AskOptions)
		}
	}
}

// withoutOrphans demands that no database holds records of zones that are no more.
func (i *harness) withoutOrphans() {
	i.t.Helper()
	for _, s := range i.Secondaries {
		if s.Backend != local.SQLite {
			continue
		}
		if n := strings.TrimSpace(database(i.t, s.Server, "SELECT count(*) FROM records WHERE domain_id NOT IN (SELECT id FROM domains)")); n != "0" {
			i.t.Errorf("%s: %s records belong to no zone", s.ID, n)
		}
	}
}

// A zone that is deleted and made again while a transfer of it is under way is served, and leaves no records behind.
func TestMadeAgainAtOnce(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Secondaries: []local.Backend{local.SQLite}})
	const zones = 24
	var wg sync.WaitGroup
	for n := range zones {
		wg.Go(func() {
			name := numbered("again", n)
			i.send("wait=60", create(""), name)
			i.send("", zoned("PUT", "/metadata/X-ANY", `{"metadata":["1"]}`), name)
			i.send("", deletion, name)
			a := i.send("wait=60", create(""), name)
			said, err := i.say(i.Secondaries[0].Server, asking{name: name, typ: dns.TypeSOA})
			if how := a.header.Get(proxy.HeaderStatus); how != proxy.StatusInSync || err != nil || !strings.HasPrefix(said, "NOERROR") {
				t.Errorf("%s: %s, and it is answered %s, %v", name, how, said, err)
			}
		})
	}
	wg.Wait()
	i.eventually("all", i.allSame)
	i.withoutOrphans()
}

// What no transfer shows is found by questions: rows that PowerDNS takes for glue are transferred, and not answered.
func TestAnswersThatNoTransferShows(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Secondaries: []local.Backend{local.SQLite}, Set: map[string]string{"secondary.scrub_period": "100ms"}})
	name := zone.MustParseName("hidden.example")
	for _, r := range plain {
		i.send("wait=60", r, name)
	}
	www := asking{name: zone.MustParseName("www.hidden.example"), typ: dns.TypeA, AskOptions: transfer.AskOptions{Unique: true}}
	should, err := i.say(i.Primary, www)
	must.OK(t, err)
	sql(t, i.Secondaries[0].Server, "UPDATE records SET auth=0 WHERE type='A' AND name="+inSQL(www.name))
	i.eventually("repaired", func(context.Context) error {
		n := i.metric(i.Secondaries[0].ID, "pdns_distribute_secondary_repaired_total")
		is, err := i.say(i.Secondaries[0].Server, www)
		if err != nil || is != should || n == 0 {
			return fmt.Errorf("%v repaired; says %q, should %q, %v", n, is, should, err)
		}
		return nil
	})
}

// PowerDNS follows an alias into its other zones, and keeps the answer under the alias's name: when the other zone
// changes, that goes as well.
func TestAliasesOfOtherZones(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	from, to := zone.MustParseName("alias.example"), zone.MustParseName("target.example")
	for _, r := range plain {
		i.send("wait=60", r, to)
	}
	i.send("wait=60", create(""), from)
	i.send("wait=60", patch(`{"name":"direct.ZONE","type":"CNAME","ttl":60,"changetype":"REPLACE","records":[{"content":"www.target.example."}]}`,
		`{"name":"*.any.ZONE","type":"CNAME","ttl":60,"changetype":"REPLACE","records":[{"content":"direct.alias.example."}]}`,
		`{"name":"d.ZONE","type":"DNAME","ttl":60,"changetype":"REPLACE","records":[{"content":"target.example."}]}`), from)
	askings := []asking{
		{name: zone.MustParseName("direct.alias.example"), typ: dns.TypeA},
		{name: zone.MustParseName("x.any.alias.example"), typ: dns.TypeA},
		{name: zone.MustParseName("www.d.alias.example"), typ: dns.TypeA},
		{name: zone.MustParseName("nope.d.alias.example"), typ: dns.TypeA},
	}
	for n, r := range []request{patch(rrset("www.", "A", "192.0.2.7")), patch(rrset("nope.", "A", "192.0.2.8")), deletion, create(""), filled} {
		for _, s := range i.Secondaries {
			i.sayAll(s.Server, askings)
		}
		i.send("wait=60", r, to)
		for _, s := range i.Secondaries {
			is := i.sayAll(s.Server, askings)
			if should := i.sayAll(i.Primary, askings); !slices.Equal(is, should) {
				t.Errorf("change %d: %s says %q, should %q", n, s.ID, is, should)
			}
		}
	}
}
