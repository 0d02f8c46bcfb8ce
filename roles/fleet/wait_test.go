package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/fleet"
)

const zonesPath = "/api/v1/servers/localhost/zones"

// answer is what the proxy answered.
type answer struct {
	status int
	header http.Header
	body   string
}

// prefer sends a request with these preferences.
func (i *harness) prefer(preference, method, path, body string) (a answer) {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.ctx, method, i.ProxyURL+path, strings.NewReader(body))
	must.OK(i.t, err)
	req.Header.Set("X-API-Key", i.Primary.APIKey.Reveal())
	if preference != "" {
		req.Header.Set("Prefer", preference)
	}
	return i.do(req)
}

func (i *harness) do(req *http.Request) (a answer) {
	i.t.Helper()
	client, err := proxyClient(i.ProxyCert)
	must.OK(i.t, err)
	defer client.CloseIdleConnections() // the proxy has so many places for one address
	res, err := client.Do(req)
	must.OK(i.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must.OK(i.t, err)
	return answer{res.StatusCode, res.Header, string(text)}
}

// held checks what is said on an answer that was held.
func (a answer) held(t *testing.T, status int, how, served string) {
	t.Helper()
	if h := a.header; a.status != status || h.Get(proxy.HeaderStatus) != how || h.Get(proxy.HeaderServed) != served {
		t.Errorf("%d %s, served %q, missing %q; want %d %s, served %q\n%s", a.status, h.Get(proxy.HeaderStatus),
			h.Get(proxy.HeaderServed), h.Get(proxy.HeaderMissing), status, how, served, a.body)
	}
}

// texts asks every secondary once, at once.
func (i *harness) texts(name zone.Name) []string {
	i.t.Helper()
	got := make([]string, len(i.Secondaries))
	var wg sync.WaitGroup
	for n, s := range i.Secondaries {
		wg.Go(func() {
			a, err := transfer.Ask(i.ctx, s.DNSAddr, name, dns.TypeTXT, transfer.AskOptions{})
			if err != nil || len(a.Answer) != 1 {
				got[n] = fmt.Sprintf("%d answers, %v", len(a.Answer), err)
				return
			}
			got[n] = string(a.Answer[0].Data()[1:])
		})
	}
	wg.Wait()
	return got
}

func patchText(name zone.Name, content string) string {
	return fmt.Sprintf(`{"rrsets":[{"name":%q,"type":"TXT","ttl":60,"changetype":"REPLACE","records":[{"content":"\"%s\""}]}]}`, name, content)
}

// What an answer that was held says is true: every secondary answers with the change, or a later one, from then on.
func TestHeldUntilServed(t *testing.T) {
	t.Parallel()
	for name, settings := range cacheSettings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testHeldUntilServed(t, fleet.Options{Settings: settings})
		})
	}
}

func testHeldUntilServed(t *testing.T, o fleet.Options) {
	i := start(t, o)
	name := zone.MustParseName("held.example")
	path := zonesPath + "/" + name.ID()
	created := i.prefer("wait=60", "POST", zonesPath, fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":["ns1.example.net."]}`, name))
	created.held(t, 201, proxy.StatusInSync, "2/2")
	if got := created.header.Get("Preference-Applied"); got != "wait=60" {
		t.Errorf("Preference-Applied: %q", got)
	}
	for n := range 100 {
		content := fmt.Sprintf("token %d", n)
		a := i.prefer("wait=60", "PATCH", path, patchText(name, content))
		got := i.texts(name)
		a.held(t, 204, proxy.StatusInSync, "2/2")
		if want := []string{content, content}; !slices.Equal(got, want) {
			t.Fatalf("after the answer to change %d the secondaries answer %q", n, got)
		}
	}

	for n := range 50 { // names that were asked for before they were there
		challenge := zone.MustParseName(fmt.Sprintf("_acme-challenge.h%d.%s", n, name))
		for _, got := range i.texts(challenge) {
			if got != "0 answers, <nil>" {
				t.Fatalf("%s is there already: %s", challenge, got)
			}
		}
		i.prefer("wait=60", "PATCH", path, patchText(challenge, "it")).held(t, 204, proxy.StatusInSync, "2/2")
		if got := i.texts(challenge); !slices.Equal(got, []string{"it", "it"}) {
			t.Fatalf("after the answer to the creation of %s the secondaries answer %q", challenge, got)
		}
	}

	// What changes nothing, and what only asks.
	i.prefer("wait=60", "PUT", path+"/metadata/X-NOTHING", `{"metadata":["1"]}`).held(t, 200, proxy.StatusInSync, "2/2")
	i.prefer("wait=60", "PUT", path+"/rectify", "").held(t, 200, proxy.StatusInSync, "2/2")
	i.prefer("", "PATCH", path, patchText(name, "not held"))
	i.prefer("wait=60", "PUT", path+"/notify", "").held(t, 200, proxy.StatusInSync, "2/2")
	if got := i.texts(name); !slices.Equal(got, []string{"not held", "not held"}) {
		t.Errorf("after the answer to notify the secondaries answer %q", got)
	}
	if a := i.prefer("", "PUT", path+"/notify", ""); a.header.Get(proxy.HeaderChange) != "" || a.header.Get(proxy.HeaderStatus) != "" {
		t.Errorf("notify is a change: %v", a.header)
	}
	i.prefer("wait=60", "PATCH", path, `{"rrsets":[{"name":"foreign.","type":"A"}]}`).held(t, 422, "", "")

	slave := i.prefer("wait=3", "POST", zonesPath, `{"name":"slave.example.","kind":"Slave","masters":["192.0.2.1"]}`) // is not distributed
	slave.held(t, 201, proxy.StatusInSync, "2/2")

	i.prefer("wait=60", "DELETE", path, "").held(t, 204, proxy.StatusInSync, "2/2")
	for _, s := range i.Secondaries {
		must.OK(t, transfer.ProveGone(i.ctx, s.DNSAddr, name))
	}
}

// Many wait at once, for different zones and for the same ones.
func TestManyHeld(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"proxy.wait": "1m"}})
	i.prefer("wait=60", "POST", zonesPath, `{"name":"first.example.","kind":"Native","nameservers":["ns1.example.net."]}`).held(t, 201, proxy.StatusInSync, "2/2")
	must.OK(t, createMany(i.ctx, i.api, "many", 20, 4))
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			name := numbered("many", n%20)
			a := i.prefer("", "PATCH", zonesPath+"/"+name.ID(), patchText(name, fmt.Sprint(n)))
			for a.status == 500 { // SQLite gives up at once when it is busy
				a = i.prefer("", "PATCH", zonesPath+"/"+name.ID(), patchText(name, fmt.Sprint(n)))
			}
			a.held(t, 204, proxy.StatusInSync, "2/2")
		})
	}
	wg.Wait()
	i.eventually("the last ones", i.allSame)
}

// A secondary that is away is named when the time is up, and the write has happened all the same.
func TestHeldInVain(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	name := zone.MustParseName("vain.example")
	path := zonesPath + "/" + name.ID()
	i.prefer("wait=60", "POST", zonesPath, fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":["ns1.example.net."]}`, name))
	away := i.Secondaries[1].ID
	must.OK(t, i.StopRole(away))
	a := i.prefer("wait=3", "PATCH", path, patchText(name, "1"))
	a.held(t, 204, proxy.StatusPending, "1/2")
	if got := a.header.Get(proxy.HeaderMissing); got != away {
		t.Errorf("missing is %q, want %q", got, away)
	}
	id := a.header.Get(proxy.HeaderChange)
	if c := i.change("", id); c.Status != proxy.StatusPending || c.TookMS != nil || c.Zone != name.String() {
		t.Errorf("%+v", c)
	}
	must.OK(t, i.Launch(away))
	if c := i.change("wait=60", id); c.Status != proxy.StatusInSync || c.TookMS == nil || *c.TookMS < 1000 {
		t.Errorf("%+v", c)
	}

	must.OK(t, i.StopRole(fleet.Broker))
	a = i.prefer("wait=1", "PATCH", path, patchText(name, "2"))
	a.held(t, 204, proxy.StatusPending, "0/2")
	if a.header.Get(proxy.HeaderTouch) != proxy.TouchPending {
		t.Error("the touch is not said to be pending, though the broker is away")
	}
	must.OK(t, i.Launch(fleet.Broker))
	if c := i.change("wait=60", a.header.Get(proxy.HeaderChange)); c.Status != proxy.StatusInSync {
		t.Errorf("%+v", c)
	}
	if got := i.texts(name); !slices.Equal(got, []string{"2", "2"}) {
		t.Errorf("the secondaries answer %q", got)
	}
}

type changeStatus struct {
	ID, Zone, Status string
	TookMS           *float64 `json:"took_ms"`
}

func (i *harness) change(preference, id string) (c changeStatus) {
	i.t.Helper()
	a := i.prefer(preference, "GET", "/distribute/v1/changes/"+id, "")
	if a.status != 200 {
		i.t.Fatalf("%d %s", a.status, a.body)
	}
	must.OK(i.t, json.Unmarshal([]byte(a.body), &c))
	return c
}

// How a zone stands is told to those who may read it in PowerDNS.
func TestStandingOfAZone(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	name := zone.MustParseName("0/25.2.0.192.in-addr.arpa")
	created := i.prefer("wait=60", "POST", zonesPath, fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":["ns1.example.net."]}`, name))
	created.held(t, 201, proxy.StatusInSync, "2/2")
	type standing struct {
		Zone, Status, Digest string
		Serial               uint32
		Gone                 bool
		Secondaries          []struct {
			Node, Digest string
			Serial       uint32
			InSync       bool `json:"in_sync"`
			Answered     bool
			Gone         bool
			Since        string
		}
	}
	read := func(id string) (s standing) {
		a := i.prefer("", "GET", "/distribute/v1/zones/"+id, "")
		if a.status != 200 {
			t.Fatalf("%s: %d %s", id, a.status, a.body)
		}
		must.OK(t, json.Unmarshal([]byte(a.body), &s))
		return s
	}
	inSync := func(id string) (s standing) { // on a busy machine a secondary may not answer in time
		i.eventually(id+" is in sync", func(context.Context) error {
			if s = read(id); s.Status != proxy.StatusInSync {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
		return s
	}
	for _, id := range []string{name.ID(), "0%2F25.2.0.192.IN-ADDR.arpa"} {
		s := inSync(id)
		if s.Zone != name.String() || s.Status != proxy.StatusInSync || s.Serial != i.serial(name) || len(s.Digest) != 96 || s.Gone {
			t.Errorf("%+v", s)
		}
		for _, on := range s.Secondaries {
			if !on.InSync || !on.Answered || on.Gone || on.Digest != s.Digest || on.Serial != s.Serial || on.Since == "" {
				t.Errorf("%+v", on)
			}
		}
		if len(s.Secondaries) != 2 {
			t.Errorf("%d secondaries", len(s.Secondaries))
		}
	}
	deleted := i.prefer("wait=60", "DELETE", zonesPath+"/"+name.ID(), "")
	if s := inSync(name.ID()); s.Status != proxy.StatusInSync || !s.Gone {
		t.Errorf("deleted, and yet %+v", s)
	}
	if c := i.change("", deleted.header.Get(proxy.HeaderChange)); c.Status != proxy.StatusInSync {
		t.Errorf("%+v", c)
	}

	for path, want := range map[string]int{
		"/distribute/v1/zones/bad..name":    422,
		"/distribute/v1/changes/nonsense":   404,
		"/distribute/v1/changes/1-2-a..b.":  404,
		"/distribute/v1/zones/none.example": 404,
		"/distribute/v1/nothing":            404,
	} {
		if a := i.prefer("", "GET", path, ""); a.status != want {
			t.Errorf("%s: %d, want %d", path, a.status, want)
		}
	}
	for _, path := range []string{"/distribute/v1/zones/" + name.ID(), "/distribute/v1/changes/" + created.header.Get(proxy.HeaderChange)} {
		for _, key := range []string{"", "wrong"} {
			req, err := http.NewRequestWithContext(i.ctx, "GET", i.ProxyURL+path, nil)
			must.OK(t, err)
			if key != "" {
				req.Header.Set("X-API-Key", key)
			}
			if a := i.do(req); a.status != 401 || strings.Contains(a.body, "secondaries") {
				t.Errorf("%s with key %q: %d %s", path, key, a.status, a.body)
			}
		}
	}
}
