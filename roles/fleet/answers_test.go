package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// questions about a zone of manyTypes: positive, no data, no such name, below a wildcard, a delegation, an empty
// non-terminal.
func questions(name zone.Name) (list []dns.Question) {
	ask := func(label string, types ...uint16) {
		owner := name.String()
		if label != "" {
			owner = label + "." + owner
		}
		for _, typ := range types {
			list = append(list, dns.Question{Name: owner, Qtype: typ})
		}
	}
	ask("", dns.TypeSOA, dns.TypeNS, dns.TypeA, dns.TypeMX, dns.TypeCAA, dns.TypeDNSKEY, dns.TypeNSEC3PARAM, dns.TypeAAAA, dns.TypeTXT)
	ask("www", dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX)
	ask("alias", dns.TypeA, dns.TypeCNAME)
	ask("x.dn", dns.TypeA)
	ask("_sip._tcp", dns.TypeSRV)
	ask("svc", dns.TypeHTTPS)
	ask("num", dns.TypeNAPTR)
	ask("long", dns.TypeTXT)
	ask("any.wild", dns.TypeA, dns.TypeTXT)
	ask("x.y.wild", dns.TypeA)
	ask("sub", dns.TypeNS, dns.TypeDS, dns.TypeA)
	ask("host.sub", dns.TypeA)
	ask("ent", dns.TypeA)
	ask("b.c.ent", dns.TypeA)
	ask("unknown", 65280)
	ask("no-such-name", dns.TypeA)
	ask("a.no-such-name", dns.TypeMX)
	return list
}

// sameAnswers compares every secondary's answers about a zone of manyTypes with the primary's.
func (i *harness) sameAnswers(name zone.Name) {
	i.t.Helper()
	for _, q := range questions(name) {
		if err := i.sameAnswer(q); err != nil {
			i.t.Error(err)
		}
	}
}

// sameAnswer compares every secondary's answer with the primary's, but for the bytes of signatures.
func (i *harness) sameAnswer(q dns.Question) error {
	ask := func(address string) string {
		a, err := transfer.Ask(i.ctx, address, zone.MustParseName(q.Name), q.Qtype, transfer.AskOptions{DNSSEC: true, Unique: true})
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s aa=%v\n%s--\n%s", dns.RcodeToString[a.Rcode], a.AA, sorted(a.Answer), sorted(a.Authority))
	}
	want := ask(i.Primary.DNSAddr)
	for _, s := range i.Secondaries {
		if is := ask(s.DNSAddr); is != want {
			return fmt.Errorf("%s: %s %s: answer\n%s\nshould be\n%s", s.ID, q.Name, dns.TypeToString[q.Qtype], is, want)
		}
	}
	return nil
}

func sorted(records []zone.Record) string {
	var lines []string
	for _, r := range records {
		line := strings.ToLower(r.String())
		if r.Covered() != 0 { // ldns-verify-zone looks at the signatures
			line = line[:strings.LastIndexByte(line, ' ')]
		}
		lines = append(lines, line+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// put changes settings of a zone through the proxy.
func (i *harness) put(name zone.Name, body string) error {
	return i.request(http.MethodPut, "/api/v1/servers/localhost/zones/"+name.ID(), body)
}

// request sends a request to the proxy as curl would.
func (i *harness) request(method, path, body string) error {
	req, err := http.NewRequestWithContext(i.ctx, method, i.ProxyURL+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", i.Primary.APIKey.Reveal())
	client, err := proxyClient(i.ProxyCert)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if res.StatusCode > 299 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	return err
}

// notReady returns nil when /readyz of the role names the condition.
func (i *harness) notReady(id, condition string) error {
	body, err := get("http://" + i.Observe(id) + "/readyz")
	if err == nil && !bytes.Contains(body, []byte(fmt.Sprintf(`"what":%q`, condition))) {
		err = fmt.Errorf("%s does not name %s: %s", id, condition, body)
	}
	return err
}

// holds returns nil when the secondary has that many zones in its store and PowerDNS.
func (i *harness) holds(id string, zones int) error {
	body, err := get("http://" + i.Observe(id) + "/metrics")
	want := fmt.Sprintf("pdns_distribute_secondary_zones %d\n", zones)
	if err == nil && !bytes.Contains(body, []byte(want)) {
		err = fmt.Errorf("%s does not hold %d zones", id, zones)
	}
	return err
}

// failing returns nil when the health role shows the zone failing at the node, with a reason.
func (i *harness) failing(id string, name zone.Name) error {
	body, err := get("http://" + i.Observe(fleet.Health) + "/distribute/v1/status")
	if err != nil {
		return err
	}
	var board struct {
		Nodes []struct {
			Node    string
			Failing []struct {
				Zone   zone.Name
				Reason string
			}
		}
	}
	if err := json.Unmarshal(body, &board); err != nil {
		return err
	}
	for _, n := range board.Nodes {
		for _, f := range n.Failing {
			if n.Node == id && f.Zone == name && f.Reason != "" {
				return nil
			}
		}
	}
	return fmt.Errorf("%s is not shown failing at %s: %s", name, id, body)
}

func get(url string) ([]byte, error) {
	res, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// cacheSettings are those of the secondaries' PowerDNS that a change must get past.
var cacheSettings = map[string]map[string]string{
	"recommended settings": nil,
	"default caches":       {"query-cache-ttl": "20", "negquery-cache-ttl": "60"},
}

// While a zone is changed again and again and its secondaries are asked as hard as they can, no answer is older than
// what was told as applied 100 ms before the question. It must hold with PowerDNS's caches on, too.
func TestNoStaleAnswers(t *testing.T) {
	for name, settings := range cacheSettings {
		t.Run(name, func(t *testing.T) {
			testNoStaleAnswers(t, fleet.Options{Settings: settings, Secondaries: []local.Backend{local.SQLite, local.LMDB}})
		})
	}
}

const (
	staleRounds = 60
	staleAfter  = 100 * time.Millisecond
)

func testNoStaleAnswers(t *testing.T, o fleet.Options) {
	i := start(t, o)
	told := i.observe()
	name := zone.MustParseName("hot.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(name, text(name, "round 0")), "")))
	told.await(i, name, i.serial(name), false)

	hot, cool := context.WithCancel(i.ctx)
	defer cool()
	var wg sync.WaitGroup
	seen := make([][]sample, len(i.Secondaries))
	for k, s := range i.Secondaries {
		wg.Go(func() { seen[k] = askHard(hot, s.DNSAddr, name) })
	}
	for round := range staleRounds {
		must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, fmt.Sprintf("round %d", round+1))}))
		told.await(i, name, i.serial(name), false)
	}
	cool()
	wg.Wait()
	for k, s := range i.Secondaries {
		told.checkStale(t, s.ID, seen[k])
	}
}

// sample is one answer: when it was asked for, and which serial it showed.
type sample struct {
	asked  time.Time
	serial uint32
}

// askHard asks for the SOA as resolvers do, so that caches take part.
func askHard(ctx context.Context, address string, name zone.Name) (seen []sample) {
	for ctx.Err() == nil {
		asked := time.Now()
		a, err := transfer.Ask(ctx, address, name, dns.TypeSOA, transfer.AskOptions{})
		if err != nil || len(a.Answer) == 0 {
			continue
		}
		if rr, err := a.Answer[0].RR(); err == nil {
			if soa, ok := rr.(*dns.SOA); ok {
				seen = append(seen, sample{asked, soa.Serial})
			}
		}
	}
	return seen
}

// checkStale holds the samples against what the node told.
func (o *observer) checkStale(t *testing.T, node string, seen []sample) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	stale := 0
	for _, s := range seen {
		for _, a := range o.history[node] {
			if s.asked.After(a.At.Add(staleAfter)) && zone.SerialNewer(a.Serial, s.serial) {
				stale++
				break
			}
		}
	}
	if stale > 0 || len(seen) < 1000 {
		t.Errorf("%s: %d stale answers of %d", node, stale, len(seen))
	}
	t.Logf("%s: %d answers, %d versions, none stale", node, len(seen), len(o.history[node]))
}
