package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/fleet"
)

// A walk through the operations of PowerDNS's API, in an order by a seed: after each one, the zones that are
// distributed are the same everywhere, and the others are nowhere. WALK_SEED repeats a walk.
func TestWalk(t *testing.T) {
	t.Parallel()
	walk(t, fleet.Options{}, 15)
}

// walker changes a few zones, and knows what it has done.
type walker struct {
	*harness
	random *rand.Rand
	names  []zone.Name
	done   []string
}

func walk(t *testing.T, o fleet.Options, steps int) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("WALK_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		must.OK(t, err)
	}
	o.Set = map[string]string{"primary.max_delete_percent": "90"}
	w := &walker{harness: start(t, o), random: rand.New(rand.NewPCG(seed, 0))}
	// The deletion limit is a share of all zones, and never all.
	must.OK(t, createMany(w.ctx, w.api, "bystander", 10, 4))
	for n := range 5 {
		w.names = append(w.names, numbered("walk", n))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("WALK_SEED=%d; steps:\n%s", seed, strings.Join(w.done, "\n"))
		}
	})
	for range steps {
		name := w.step()
		if t.Failed() {
			return
		}
		w.eventually("after "+w.done[len(w.done)-1], func(ctx context.Context) error { return w.compare(ctx, name) })
	}
	w.noAlarms()
}

// operation is a request about a zone.
type operation struct{ method, path, body string }

// step does one operation with one of the zones.
func (w *walker) step() zone.Name {
	w.t.Helper()
	name := w.names[w.random.IntN(len(w.names))]
	info, err := w.own.Zone(w.ctx, name)
	do := w.create(name)
	if err == nil {
		do = w.change(name, info)
	} else if !errors.Is(err, powerdns.ErrNotFound) {
		w.t.Fatal(err)
	}
	a := w.prefer("wait=30", do.method, do.path, do.body)
	how := a.header.Get(proxy.HeaderStatus)
	w.done = append(w.done, fmt.Sprintf("%s %s %.300s -> %d %s %s", do.method, do.path, do.body, a.status, how, refusal(a)))
	if info, err := w.own.Zone(w.ctx, name); err == nil && distributed(info) && how == proxy.StatusInSync {
		if err := w.same(w.ctx, name); err != nil {
			w.t.Errorf("%s is said to be served, and is not: %v", name, err)
		}
	}
	return name
}

// refusal is what PowerDNS said of an operation that it did not do.
func refusal(a answer) string {
	if a.status < 300 {
		return ""
	}
	return a.body[:min(len(a.body), 200)]
}

// one chooses one of several.
func one[T any](w *walker, list ...T) T { return list[w.random.IntN(len(list))] }

// kinds are all kinds, by both their names. Most are distributed, so that there is something to compare.
func (w *walker) kind() string {
	return one(w, "Native", "Native", "Native", "Master", "Master", "Primary", "Slave", "Secondary", "Producer", "Consumer")
}

// create makes a zone: by name servers, by RRsets, or by a zone file.
func (w *walker) create(name zone.Name) operation {
	edit := one(w, "INCREASE", "DEFAULT", "EPOCH", "")
	settings := fmt.Sprintf(`"name":%q,"kind":%q,"soa_edit_api":%q,"api_rectify":true`, name, w.kind(), edit)
	settings += one(w, "", "", `,"dnssec":true`, `,"dnssec":true,"nsec3param":"1 0 0 -"`)
	switch w.random.IntN(3) {
	case 0:
		return operation{"POST", zonesPath, `{` + settings + `,"nameservers":["ns1.example.net."]}`}
	case 1:
		file := fmt.Sprintf("%[1]s 60 IN SOA ns1.example.net. h.example.net. 7 1 1 1 1\n"+
			"%[1]s 60 IN NS ns1.example.net.\nfile.%[1]s 60 IN TXT \"file\"\n", name)
		return operation{"POST", zonesPath, fmt.Sprintf(`{%s,"nameservers":[],"zone":%q}`, settings, file)}
	}
	var sets []string
	for _, set := range manyTypes(name) {
		if w.random.IntN(2) == 0 {
			sets = append(sets, setJSON(set, ""))
		}
	}
	settings += `,"nameservers":["ns1.example.net."],"rrsets":[` + strings.Join(sets, ",") + `]`
	return operation{"POST", zonesPath, `{` + settings + `}`}
}

// setJSON is the JSON of a set; more are further members.
func setJSON(set powerdns.RRset, more string) string {
	var records []string
	for _, content := range set.Content {
		records = append(records, fmt.Sprintf(`{"content":%s,"disabled":false}`, strconv.Quote(content)))
	}
	list := strings.Join(records, ",")
	return fmt.Sprintf(`{"name":%q,"type":%q,"ttl":%d,"records":[%s]%s}`, set.Name, set.Type, set.TTL, list, more)
}

// change is an operation on a zone that is there.
func (w *walker) change(name zone.Name, info powerdns.ZoneInfo) operation {
	path := zonesPath + "/" + name.ID()
	if info.Serial == 0 { // without a SOA, as a Slave may be: it cannot become one that is distributed
		return operation{"DELETE", path, ""}
	}
	switch n := w.random.IntN(20); {
	case n < 8:
		return operation{"PATCH", path, `{"rrsets":[` + w.patch(name) + `]}`}
	case n < 13:
		return operation{"PUT", path, w.settings(info)}
	case n < 15:
		return w.key(name, path+"/cryptokeys")
	case n < 17:
		return w.metadata(path + "/metadata")
	case n < 18:
		return operation{"PUT", path + "/rectify", ""}
	case n < 19:
		return operation{"PUT", path + one(w, "/notify", "/axfr-retrieve"), ""}
	}
	return operation{"DELETE", path, ""}
}

// patch changes one set in one of the ways.
func (w *walker) patch(name zone.Name) string {
	set := one(w, manyTypes(name)...)
	number := fmt.Sprint(w.random.IntN(1000))
	switch w.random.IntN(7) {
	case 0:
		return fmt.Sprintf(`{"name":%q,"type":%q,"changetype":"DELETE"}`, set.Name, set.Type)
	case 1:
		return fmt.Sprintf(`{"name":%q,"type":"A","ttl":60,"changetype":"REPLACE","records":[`+
			`{"content":"192.0.2.1","disabled":true},{"content":"192.0.2.2","disabled":%s}]}`,
			below("disabled", name), one(w, "true", "false"))
	case 2:
		return setJSON(set, `,"changetype":"REPLACE","comments":[{"content":"why `+number+`","account":"walk"}]`)
	case 3:
		return fmt.Sprintf(`{"name":%q,"type":"TXT","ttl":60,"changetype":%q,"records":[`+
			`{"content":"\"%s\"","disabled":false}]}`,
			below("several", name), one(w, "EXTEND", "EXTEND", "PRUNE"), one(w, "a", "b", "c"))
	case 4:
		owner := below(one(w, "new.deep.er", "new.deep", "www", "*.new"), name)
		return setJSON(text(owner, number), `,"changetype":"REPLACE"`)
	}
	return setJSON(set, `,"changetype":"REPLACE"`)
}

// settings changes one setting, or the kind.
func (w *walker) settings(info powerdns.ZoneInfo) string {
	if info.DNSSEC && w.random.IntN(2) == 0 {
		return one(w, `{"nsec3param":"1 0 0 -"}`, `{"nsec3param":"1 0 3 abcd"}`, `{"nsec3param":""}`,
			`{"nsec3param":"1 0 0 ab","nsec3narrow":false}`, `{"dnssec":false}`)
	}
	switch w.random.IntN(3) {
	case 0:
		return fmt.Sprintf(`{"kind":%q,"masters":["192.0.2.9"]}`, w.kind())
	case 1:
		return one(w, `{"dnssec":true,"api_rectify":true}`, `{"dnssec":true,"api_rectify":true,"nsec3param":"1 0 0 -"}`)
	}
	return one(w, `{"soa_edit_api":"DEFAULT"}`, `{"soa_edit_api":"INCREASE"}`,
		`{"soa_edit":"INCREMENT-WEEKS"}`, `{"soa_edit":""}`, `{"account":"walk"}`,
		`{"catalog":"catalog.example."}`, `{"catalog":""}`, `{"master_tsig_key_ids":[]}`)
}

// key makes, switches or deletes a key.
func (w *walker) key(name zone.Name, path string) operation {
	keys, err := w.own.Cryptokeys(w.ctx, name)
	must.OK(w.t, err)
	if len(keys) == 0 || w.random.IntN(3) == 0 {
		return operation{"POST", path, fmt.Sprintf(`{"keytype":%q,"active":%s,"published":%s,"algorithm":"ecdsa256"}`,
			one(w, "ksk", "zsk", "csk", "csk"), one(w, "true", "true", "false"), one(w, "true", "true", "false"))}
	}
	path = fmt.Sprintf("%s/%d", path, one(w, keys...))
	if w.random.IntN(2) == 0 {
		return operation{"DELETE", path, ""}
	}
	active, published := one(w, "true", "true", "false"), one(w, "true", "false")
	return operation{"PUT", path, fmt.Sprintf(`{"active":%s,"published":%s}`, active, published)}
}

func (w *walker) metadata(path string) operation {
	kind, value := "X-WALK", fmt.Sprint(w.random.IntN(100))
	switch w.random.IntN(4) {
	case 0:
		kind, value = "PUBLISH-CDS", one(w, "2", "4")
	case 1:
		kind, value = "PUBLISH-CDNSKEY", "1"
	case 2:
		kind, value = "ALSO-NOTIFY", "127.0.0.1:9"
	}
	switch w.random.IntN(3) {
	case 0:
		return operation{"POST", path, fmt.Sprintf(`{"kind":%q,"metadata":[%q]}`, kind, value)}
	case 1:
		return operation{"DELETE", path + "/" + kind, ""}
	}
	return operation{"PUT", path + "/" + kind, fmt.Sprintf(`{"kind":%q,"metadata":[%q]}`, kind, value)}
}

// compare holds all zones against those of the primary, and answers about the one that was changed.
func (w *walker) compare(ctx context.Context, changed zone.Name) error {
	zones, err := w.own.Zones(ctx)
	if err != nil {
		return err
	}
	zones = slices.DeleteFunc(zones, func(z powerdns.ZoneInfo) bool { return !distributed(z) })
	for _, s := range w.Secondaries {
		if err := sameNames(ctx, s, zones); err != nil {
			return fmt.Errorf("%s: %w", s.ID, err)
		}
	}
	for _, z := range zones {
		if !slices.Contains(w.names, z.Name) {
			continue
		}
		if err := errors.Join(w.same(ctx, z.Name), w.sameDenial(ctx, z.Name)); err != nil {
			return fmt.Errorf("zone %s: %w", z.Name, err)
		}
		if z.Name == changed {
			if err := w.sameInAnswers(ctx, z.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func distributed(z powerdns.ZoneInfo) bool {
	return z.Kind == powerdns.Native || z.Kind == powerdns.Master
}

// sameNames returns nil when the secondary has these zones and no others.
func sameNames(ctx context.Context, s *fleet.Secondary, want []powerdns.ZoneInfo) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	has, err := api.Zones(ctx)
	if err != nil {
		return err
	}
	names := func(list []powerdns.ZoneInfo) (names []string) {
		for _, z := range list {
			names = append(names, z.Name.String())
		}
		slices.Sort(names)
		return names
	}
	if is, want := names(has), names(want); !slices.Equal(is, want) {
		return fmt.Errorf("has the zones %v, not %v", is, want)
	}
	return nil
}

// sameInAnswers rectifies the zone at the primary first: after operations on keys PowerDNS's own answers deny with a
// broken chain until then, while its transfers, and so the secondaries, have a whole one. Published keys and
// NSEC3PARAM of a zone without an active key are answered by a primary, and not transferred.
func (w *walker) sameInAnswers(ctx context.Context, name zone.Name) error {
	info, err := w.own.Zone(ctx, name)
	if err == nil && info.DNSSEC {
		err = w.own.Rectify(ctx, name)
	}
	if err != nil {
		return err
	}
	list := questions(name)
	for _, label := range []string{"disabled", "several", "new.deep.er", "new", "x.new", "file"} {
		list = append(list, dns.Question{Name: below(label, name).String(), Qtype: dns.TypeTXT})
	}
	for _, q := range list {
		if !info.DNSSEC && (q.Qtype == dns.TypeDNSKEY || q.Qtype == dns.TypeNSEC3PARAM) {
			continue
		}
		if err := w.sameAnswer(q); err != nil {
			return err
		}
	}
	return nil
}

// sameDenial compares the chain of NSEC or NSEC3 records.
func (w *walker) sameDenial(ctx context.Context, name zone.Name) error {
	chain := func(address string) (text string, err error) {
		z, err := fetch(ctx, address, name)
		if err != nil {
			return "", err
		}
		var list []zone.Record
		for r := range z.Records() {
			if r.Denial() {
				list = append(list, r)
			}
		}
		return sorted(list), nil
	}
	want, err := chain(w.Primary.DNSAddr)
	if err != nil {
		return err
	}
	for _, s := range w.Secondaries {
		is, err := chain(s.DNSAddr)
		if err != nil {
			return err
		}
		if is != want {
			return fmt.Errorf("%s: the chain of denial is\n%s\nshould be\n%s", s.ID, is, want)
		}
	}
	return nil
}
