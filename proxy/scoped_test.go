package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// keyed is a proxy with scoped keys, in a file that is looked at all the time.
type keyed struct {
	*testProxy
	file  string
	queue *queue
	log   *lines
}

// startKeyed starts one in front of an upstream whose own key is own().
func startKeyed(t *testing.T, upstream string, own func() (string, error), change func(*Config), keys ...Key) keyed {
	t.Helper()
	k := keyed{file: filepath.Join(t.TempDir(), "keys.toml"), queue: &queue{more: make(chan struct{}, 1000)},
		log: newLines()}
	if len(keys) > 0 {
		must.OK(t, os.WriteFile(k.file, keysFile(t, keys...), 0o600))
	}
	cfg := newConfig(t)
	cfg.KeysFile = k.file
	if change != nil {
		change(&cfg)
	}
	to, err := url.Parse(upstream)
	must.OK(t, err)
	k.testProxy = &testProxy{cfg: cfg, registry: prometheus.NewRegistry()}
	k.tracker = NewTracker(TrackerOptions{
		Ask: func(zone.Name) error { return nil }, Connected: func() bool { return true }, InactiveAfter: patience,
	})
	k.Proxy, err = New(cfg, Options{
		Upstream: to, ServerID: "localhost", Touches: k.queue, Tracker: k.tracker, Registry: k.registry,
		Log: zerolog.New(k.log), OwnKey: own,
	})
	must.OK(t, err)
	k.limits.keys.interval = time.Millisecond
	k.run(t)
	await(t, k.queue.more)
	k.queue.want(t, "sweep")
	return k
}

func (k keyed) ask(t *testing.T, secret, method, target, body string) answer {
	t.Helper()
	header := http.Header{"X-Api-Key": {secret}, "Accept": {"application/json"}}
	return call{method, target, body, header}.over(t, k.dial(t))
}

// behindKeys is a real PowerDNS with the zones example.org, a.customer.example and foreign.example.
func behindKeys(t *testing.T, change func(*Config), keys ...Key) (keyed, *local.Server) {
	t.Helper()
	s := localtest.Start(t, local.Options{Primary: true})
	k := startKeyed(t, s.APIURL, func() (string, error) { return s.APIKey.Reveal(), nil }, change, keys...)
	for _, name := range []string{"example.org.", "a.customer.example.", "foreign.example."} {
		direct(t, s, "POST", zonesPath,
			fmt.Sprintf(`{"name":%q,"kind":"Master","nameservers":["ns.example.net."],"dnssec":true}`, name), 201)
	}
	return k, s
}

// direct asks PowerDNS itself.
func direct(t *testing.T, s *local.Server, method, target, body string, want int) string {
	t.Helper()
	req, err := http.NewRequest(method, s.APIURL+target, strings.NewReader(body))
	must.OK(t, err)
	req.Header.Set("X-API-Key", s.APIKey.Reveal())
	res, err := http.DefaultClient.Do(req)
	must.OK(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must.OK(t, err)
	if res.StatusCode != want {
		t.Fatalf("%s %s: %d %s", method, target, res.StatusCode, text)
	}
	return string(text)
}

// TestACMEClients makes the requests of lego and of acme.sh, in their order and form, on a real PowerDNS.
func TestACMEClients(t *testing.T) {
	key, secret := newKey(acme())
	k, s := behindKeys(t, nil, key)
	const name = "_acme-challenge.www.example.org."
	has := func(content string) bool {
		return strings.Contains(direct(t, s, "GET", zonesPath+"/example.org.", "", 200), content)
	}
	for _, step := range []struct {
		method, target, body string
		status               int
		touched              []string
	}{
		{"GET", "/api", "", 200, nil},
		{"GET", zonesPath + "/example.org.", "", 200, nil},
		{"PATCH", zonesPath + "/example.org.",
			`{"rrsets":[{"name":"` + name + `","type":"TXT","kind":"Master","changetype":"REPLACE",` +
				`"records":[{"content":"\"lego\"","disabled":false,"name":"` + name + `","type":"TXT","ttl":120}],"ttl":120}]}`,
			204, []string{"change example.org."}},
		{"PUT", zonesPath + "/example.org./notify", "", 200, nil},
		{"GET", zonesPath, "", 200, nil},
		{"PATCH", zonesPath + "/example.org.",
			`{"rrsets": [{"changetype": "DELETE", "name": "` + name + `", "type": "TXT"}]}`, 204,
			[]string{"change example.org."}},
		{"PATCH", zonesPath + "/example.org.",
			`{"rrsets": [{"changetype": "REPLACE", "name": "` + name + `", "type": "TXT", "ttl": 60, ` +
				`"records": [{"content": "\"acme.sh\"", "disabled": false}]}]}`, 204, []string{"change example.org."}},
	} {
		a := k.ask(t, secret, step.method, step.target, step.body)
		if a.status != step.status {
			t.Fatalf("%s %s: %d %s", step.method, step.target, a.status, a.body)
		}
		if touched := k.queue.take(); !strings.HasSuffix(step.target, "notify") && !slices.Equal(touched, step.touched) {
			t.Errorf("%s %s: touched %q", step.method, step.target, touched)
		}
		if step.method == "PATCH" && (a.header.Get(HeaderChange) == "") {
			t.Error("a write has no change id")
		}
	}
	if has("lego") || !has("acme.sh") {
		t.Error("PowerDNS has not what was written")
	}
}

// TestScopedKeyReachesNothingElse sends what is not in scope. PowerDNS sees nothing of it, and nothing is touched.
func TestScopedKeyReachesNothingElse(t *testing.T) {
	var seen arrivals
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen.add(strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, body)))
		if r.Header.Get("X-API-Key") != "own" {
			t.Errorf("the key %q arrived", r.Header.Get("X-API-Key"))
		}
		_, _ = io.WriteString(w, `[]`)
	}))
	t.Cleanup(upstream.Close)
	limited := acme()
	limited.Rate = 1000
	key, secret := newKey(limited)
	k := startKeyed(t, upstream.URL, func() (string, error) { return "own", nil }, nil, key)
	for _, c := range acmeRequests() {
		if c.target == "" { // net/http makes "/" of it
			continue
		}
		a := k.ask(t, secret, c.method, c.target, c.body)
		arrived := seen.take()
		touched := k.queue.take()
		k.pending.forgetLater() // the zone that was transferred would be touched again under a later request
		switch {
		case c.allowed():
			if want := []string{strings.TrimSpace(c.method + " " + c.want + " " + c.body)}; !slices.Equal(arrived, want) {
				t.Errorf("%s %s: %q arrived", c.method, c.target, arrived)
			}
		case len(arrived) > 0 || len(touched) > 0 || a.header.Get(HeaderChange) != "" || a.header.Get(HeaderTouch) != "":
			t.Errorf("%s %s: %q arrived, %q is touched", c.method, c.target, arrived, touched)
		case a.status != 403 && a.status != 404 && a.status != 400:
			t.Errorf("%s %s: answered %d %s", c.method, c.target, a.status, a.body)
		}
	}
	// What HTTP itself leaves open.
	good := rrsets(txt("_acme-challenge.example.org."))
	bad := rrsets(txt("www.example.org."))
	const org = zonesPath + "/example.org."
	for name, text := range map[string]string{
		"two lengths": "Content-Length: %[1]d\r\nContent-Length: 5\r\n\r\n%[2]s",
		"length and chunks": "Content-Length: %[1]d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nPATCH " + org +
			" HTTP/1.1\r\nHost: x\r\nContent-Length: %[3]d\r\n\r\n%[4]s",
		"override":      "X-HTTP-Method-Override: DELETE\r\nX-Original-URL: " + zonesPath + "/foreign.example.\r\nContent-Length: %[1]d\r\n\r\n%[2]s",
		"two keys":      "X-API-Key: own\r\nContent-Length: %[1]d\r\n\r\n%[2]s",
		"key in query?": "Content-Length: %[1]d\r\n\r\n%[2]s%[4]s",
	} {
		conn := k.dial(t)
		_, err := fmt.Fprintf(conn, "PATCH "+org+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: %s\r\n"+text,
			secret, len(good), good, len(bad), bad)
		_ = err
		_, _ = io.ReadAll(conn)
		conn.Close()
		for _, arrived := range seen.take() {
			if arrived != "PATCH "+org+" "+good && !strings.HasPrefix(arrived, "GET /api/v1/servers/localhost ") {
				t.Errorf("%s: %q arrived", name, arrived)
			}
		}
		if touched := slices.DeleteFunc(k.queue.take(),
			func(t string) bool { return t == "change example.org." }); len(touched) > 0 {
			t.Errorf("%s: %q is touched", name, touched)
		}
	}
	k.log.quiet(t, secret)
}

// arrivals are the requests that an upstream got.
type arrivals struct {
	mu   sync.Mutex
	list []string
}

func (a *arrivals) add(request string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, request)
}

func (a *arrivals) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	return list
}

// quiet checks that no line has a part.
func (l *lines) quiet(t *testing.T, parts ...string) {
	t.Helper()
	l.count("")
	for _, line := range l.seen {
		for _, part := range parts {
			if strings.Contains(line, part) {
				t.Errorf("%q is logged: %s", part, line)
			}
		}
	}
}

// TestRequestOfScopedKeyHasNoOtherHeaders looks at what arrives, byte by byte.
func TestRequestOfScopedKeyHasNoOtherHeaders(t *testing.T) {
	arrived := make(chan string, 10)
	upstream := fakeServer(t, func(conn net.Conn) {
		text := make([]byte, 64<<10)
		n, _ := conn.Read(text)
		for !strings.Contains(string(text[:n]), "\r\n\r\n{") {
			m, err := conn.Read(text[n:])
			if n += m; err != nil {
				break
			}
		}
		arrived <- string(text[:n])
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	})
	key, secret := newKey(acme())
	k := startKeyed(t, upstream, func() (string, error) { return "own", nil }, nil, key)
	body := rrsets(txt("_acme-challenge.example.org."))
	c := call{"PATCH", zonesPath + "/EXAMPLE=2Eorg/", body, http.Header{
		"X-Api-Key": {secret}, "Authorization": {"Basic eDp5"}, "X-Http-Method-Override": {"DELETE"},
		"X-Forwarded-For": {"192.0.2.1"},
		"Cookie":          {"a=b"}, "Content-Type": {"application/json"}, "Accept-Encoding": {"gzip"},
	}}
	if a := c.over(t, k.dial(t)); a.status != 204 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	want := "PATCH " + zonesPath + "/example.org. HTTP/1.1\r\nHost: dns.example.net\r\nConnection: close\r\n" +
		fmt.Sprintf("Content-Length: %d\r\nContent-Type: application/json\r\nX-Api-Key: own\r\n\r\n%s", len(body), body)
	if got := <-arrived; got != want {
		t.Errorf("arrived %q, want %q", got, want)
	}
}

// TestListingShowsZonesInScope lists the zones of a real PowerDNS with a scoped key and with PowerDNS's own.
func TestListingShowsZonesInScope(t *testing.T) {
	key, secret := newKey(acme())
	k, s := behindKeys(t, nil, key)
	for target, want := range map[string]string{
		zonesPath:                           "a.customer.example. example.org.",
		zonesPath + "?dnssec=false":         "a.customer.example. example.org.",
		zonesPath + "?zone=example.org.":    "example.org.",
		zonesPath + "?zone=foreign.example": "",
		zonesPath + "?zone=absent.example.": "",
	} {
		a := k.ask(t, secret, "GET", target, "")
		var zones []struct{ Name string }
		if err := json.Unmarshal([]byte(a.body), &zones); err != nil || a.status != 200 {
			t.Fatalf("%s: %d %s", target, a.status, a.body)
		}
		var names []string
		for _, z := range zones {
			names = append(names, z.Name)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s", target, got)
		}
	}
	if a := k.ask(t, s.APIKey.Reveal(), "GET", zonesPath, ""); !strings.Contains(a.body, "foreign.example.") {
		t.Error("PowerDNS's own key does not show all zones")
	}
	// A zone that is not in scope looks as one that does not exist, also at the proxy's own API.
	for _, path := range []string{zonesPath, apiPath + "/zones"} {
		foreign, absent := k.ask(t, secret, "GET", path+"/foreign.example.", ""), k.ask(t, secret, "GET",
			path+"/absent.example.", "")
		if foreign.status != 404 || absent.status != 404 || strings.ReplaceAll(foreign.body, "foreign",
			"absent") != absent.body {
			t.Errorf("%s: %d %s, %d %s", path, foreign.status, foreign.body, absent.status, absent.body)
		}
	}
	if a := k.ask(t, secret, "GET", apiPath+"/zones/example.org.", ""); a.status != 200 {
		t.Errorf("the proxy's own API: %d %s", a.status, a.body)
	}
}

// TestKeysChangeWithoutARestart adds and removes a key while requests are made.
func TestKeysChangeWithoutARestart(t *testing.T) {
	key, secret := newKey(acme())
	k, _ := behindKeys(t, nil)
	if a := k.ask(t, secret, "GET", zonesPath+"/example.org.", ""); a.status != 401 || !strings.Contains(a.body,
		"not known") {
		t.Fatalf("before it is added: %d %s", a.status, a.body)
	}
	putFile(t, k.file, keysFile(t, key))
	k.log.await(t, `"change":"added"`, "acme-web1")
	if a := k.ask(t, secret, "GET", zonesPath+"/example.org.", ""); a.status != 200 {
		t.Fatalf("once it is added: %d %s", a.status, a.body)
	}
	must.OK(t, os.Remove(k.file))
	k.log.await(t, `"change":"removed"`, "acme-web1")
	if a := k.ask(t, secret, "GET", zonesPath+"/example.org.", ""); a.status != 401 {
		t.Fatalf("once it is removed: %d %s", a.status, a.body)
	}
	k.log.quiet(t, secret, strings.TrimPrefix(key.Hash, hashPrefix))
}

// TestKeyThatHasEnded is refused with its reason.
func TestKeyThatHasEnded(t *testing.T) {
	ended := acme()
	ended.Expires = "2020-01-01"
	key, secret := newKey(ended)
	k, _ := behindKeys(t, nil, key)
	if a := k.ask(t, secret, "GET", zonesPath+"/example.org.", ""); a.status != 401 || !strings.Contains(a.body,
		"acme-web1 has ended") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestRateOfAKey(t *testing.T) {
	slow := acme()
	slow.Rate = 0.001
	key, secret := newKey(slow)
	k, _ := behindKeys(t, nil, key)
	if a := k.ask(t, secret, "GET", zonesPath+"/example.org.", ""); a.status != 200 {
		t.Fatalf("the first: %d %s", a.status, a.body)
	}
	a := k.ask(t, secret, "GET", zonesPath+"/example.org.", "")
	if a.status != 429 || a.header.Get("Retry-After") != "1000" {
		t.Errorf("the second: %d %s", a.status, a.header.Get("Retry-After"))
	}
}

// TestDeletionsHaveALimit deletes zones with a scoped key and with PowerDNS's own. What PowerDNS refuses does not
// count.
func TestDeletionsHaveALimit(t *testing.T) {
	scoped := Key{ID: "cleaner", Zones: []string{"*.customer.example", "absent.example"}, Verbs: []string{"read",
		"delete"}, DeletesPerHour: 1}
	key, secret := newKey(scoped)
	k, s := behindKeys(t, func(c *Config) { c.MaxDeletesPerHour = 2 }, key)
	for _, name := range []string{"b.customer.example.", "c.example.", "d.example."} {
		direct(t, s, "POST", zonesPath, fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":[]}`, name), 201)
	}
	own := s.APIKey.Reveal()
	for i, step := range []struct {
		key, method, target string
		status              int
		touched             string
	}{
		{secret, "DELETE", "/absent.example.", 404, ""},
		{secret, "DELETE", "/foreign.example.", 403, ""},
		{secret, "DELETE", "/a.customer.example.", 204, "delete a.customer.example."},
		{secret, "DELETE", "/b.customer.example.", 429, ""},
		{secret, "GET", "/b.customer.example.", 200, ""},
		{own, "DELETE", "/absent.example.", 404, ""},
		{own, "DELETE", "/absent.example.", 404, ""},
		{own, "DELETE", "/absent.example.", 404, ""},
		{own, "DELETE", "/c.example.", 204, "delete c.example."},
		{own, "DELETE", "/example.org./cryptokeys/1", 204, "change example.org."},
		{own, "DELETE", "/example.org./metadata/X-A", 200, "change example.org."},
		{own, "delete", "/d=2Eexample", 204, "delete d.example."},
		{own, "DELETE", "/example.org.", 429, ""},
		{own, "delete", "/EXAMPLE%2Eorg/", 429, ""},
		{own, "DELETE", "/example.org./cryptokeys/7", 404, ""},
	} {
		a := k.ask(t, step.key, step.method, zonesPath+step.target, "")
		touched := strings.Join(k.queue.take(), " ")
		if a.status != step.status && (step.status/100 != 2 || a.status/100 != 2) || touched != step.touched {
			t.Errorf("%d: %s %s: %d %s, touched %q", i, step.method, step.target, a.status, a.body, touched)
		}
		if a.status == 429 && (a.header.Get("Retry-After") == "" || a.header.Get(HeaderChange) != "") {
			t.Errorf("%d: %v", i, a.header)
		}
	}
	k.log.await(t, "reached its limit per hour", `"key":"cleaner"`, "b.customer.example.")
}

// TestPrivateKeysStayInside reads DNSSEC keys by each route and spelling that PowerDNS answers, where they must not be
// shown.
func TestPrivateKeysStayInside(t *testing.T) {
	full := Key{ID: "dnssec", Zones: []string{"example.org"}, Verbs: []string{"dnssec"}}
	key, secret := newKey(full)
	k, s := behindKeys(t, func(c *Config) { c.PrivateKeys = false }, key)
	const org = zonesPath + "/example.org."
	if !strings.Contains(direct(t, s, "GET", org+"/cryptokeys/1", "", 200), "privatekey") {
		t.Fatal("PowerDNS shows none itself")
	}
	for _, with := range []string{secret, s.APIKey.Reveal()} {
		answered := 0
		for _, c := range []struct{ method, target, body string }{
			{"GET", org + "/cryptokeys", ""}, {"GET", org + "/cryptokeys/1", ""}, {"GET", org + "/cryptokeys/1/", ""}, {"GET",
				org + "/cryptokeys//1", ""},
			{"GET", org + "//cryptokeys/1", ""}, {"GET", org + "/%63ryptokeys/1", ""}, {"GET", org + "/CRYPTOKEYS/1", ""},
			{"GET", org + "/cryptokeys%2F1", ""},
			{"GET", org + "/%2563ryptokeys/1", ""}, {"get", org + "/cryptokeys/1", ""}, {"GET",
				"//api/v1/servers/localhost/zones/example.org./cryptokeys/1", ""},
			{"GET", org + "/cryptokeys/1?x", ""}, {"HEAD", org + "/cryptokeys/1", ""},
			{"POST", org + "/cryptokeys", `{"keytype":"csk","active":true}`},
		} {
			a := k.ask(t, with, c.method, c.target, c.body)
			if strings.Contains(strings.ToLower(a.body), "private") {
				t.Errorf("%s %s: %s", c.method, c.target, a.body)
			}
			if a.status/100 == 2 && c.method != "HEAD" {
				answered++
				if !strings.Contains(a.body, "dnskey") || a.header.Get("Content-Length") != fmt.Sprint(len(a.body)) {
					t.Errorf("%s %s: %v %s", c.method, c.target, a.header, a.body)
				}
			}
		}
		if answered < 3 {
			t.Errorf("only %d were answered: this test shows little", answered)
		}
	}
	// All else of an answer is as PowerDNS gives it.
	var want, got map[string]any
	must.OK(t, json.Unmarshal([]byte(direct(t, s, "GET", org+"/cryptokeys/1", "", 200)), &want))
	must.OK(t, json.Unmarshal([]byte(k.ask(t, secret, "GET", org+"/cryptokeys/1", "").body), &got))
	delete(want, "privatekey")
	if asJSON(t, want) != asJSON(t, got) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestPowerDNSKeyOff leaves scoped keys alone good.
func TestPowerDNSKeyOff(t *testing.T) {
	key, secret := newKey(acme())
	k, s := behindKeys(t, func(c *Config) { c.PowerDNSKey = false }, key)
	own := s.APIKey.Reveal()
	if a := k.ask(t, secret, "GET", zonesPath+"/example.org.", ""); a.status != 200 {
		t.Errorf("a scoped key: %d %s", a.status, a.body)
	}
	for name, header := range map[string]http.Header{
		"PowerDNS's own": {"X-Api-Key": {own}}, "twice": {"X-Api-Key": {own, own}},
		"behind a scoped one": {"X-Api-Key": {secret, own}},
		"before a scoped one": {"X-Api-Key": {own, secret}}, "as a password": {"Authorization": {"Basic " + own}},
	} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			a := call{method, zonesPath + "/example.org.", "", header}.over(t, k.dial(t))
			if a.status != 401 {
				t.Errorf("%s, %s: %d %s", name, method, a.status, a.body)
			}
		}
	}
	k.log.quiet(t, secret, own)
}

// TestOwnKeyIsExchanged has PowerDNS refuse the key that the proxy has. It is read once more, and then works, or a
// client gets 502 and the log says which file is wrong.
func TestOwnKeyIsExchanged(t *testing.T) {
	var mu sync.Mutex
	good, file, asked := "first", "first", 0
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Header.Get("X-API-Key") != good:
			w.WriteHeader(401)
		case r.Method == "PATCH" && string(body) != rrsets(txt("_acme-challenge.example.org.")):
			t.Errorf("%q arrived", body)
		default:
			w.WriteHeader(204)
		}
	}))
	t.Cleanup(upstream.Close)
	key, secret := newKey(acme())
	k := startKeyed(t, upstream.URL, func() (string, error) { mu.Lock(); defer mu.Unlock(); return file, nil }, nil, key)
	set := func(g, f string) { mu.Lock(); defer mu.Unlock(); good, file, asked = g, f, 0 }
	for _, step := range []struct {
		good, file    string
		status, asked int
		touched       []string
	}{
		{"first", "first", 204, 1, []string{"change example.org."}},
		{"second", "first", 502, 1, nil},
		{"second", "second", 204, 2, []string{"change example.org."}},
		{"second", "second", 204, 1, []string{"change example.org."}},
		{"third", "fourth", 502, 2, nil},
	} {
		set(step.good, step.file)
		a := k.ask(t, secret, "PATCH", zonesPath+"/example.org.", rrsets(txt("_acme-challenge.example.org.")))
		touched := k.queue.take()
		mu.Lock()
		asked := asked
		mu.Unlock()
		if a.status != step.status || asked != step.asked || !slices.Equal(touched, step.touched) {
			t.Errorf("%+v: answered %d %s, asked %d times, touched %q", step, a.status, a.body, asked, touched)
		}
		if a.status == 502 && a.header.Get(HeaderChange) != "" {
			t.Error("what was not written has a change id")
		}
	}
	k.log.await(t, "scoped API key could not be passed on", "powerdns.api_key_file")
	k.log.quiet(t, secret, "fourth")
}

// TestEachVerbOnPowerDNS makes requests with a key for each verb that PowerDNS accepts, and puts back what it answers.
func TestEachVerbOnPowerDNS(t *testing.T) {
	all := Key{ID: "all", Zones: []string{"example.org", "*.customer.example"}, Verbs: verbs, DeletesPerHour: 10}
	key, secret := newKey(all)
	k, _ := behindKeys(t, nil, key)
	const org = zonesPath + "/example.org."
	for _, c := range []struct{ method, target, body string }{
		{"POST", zonesPath,
			`{"name":"n.customer.example.","kind":"Native","nameservers":["ns.example.net."],"dnssec":true,"soa_edit_api":"DEFAULT",` +
				`"rrsets":[{"name":"n.customer.example.","type":"A","ttl":60,"records":[{"content":"192.0.2.1"}],"comments":[{"content":"c","account":"a"}]}]}`},
		{"PUT", org, `{"kind":"Native","account":"somebody","soa_edit":"","api_rectify":true}`},
		{"PUT", org, `{"nsec3param":"1 0 0 -"}`},
		{"PUT", org + "/rectify", ""},
		{"POST", org + "/cryptokeys", `{"keytype":"zsk","active":false,"bits":256,"algorithm":"ecdsa256"}`},
		{"PUT", org + "/cryptokeys/1", `{"active":true,"published":true}`},
		{"GET", org + "/cryptokeys", ""},
		{"DELETE", org + "/cryptokeys/5", ""}, // four zones have one each
		{"POST", org + "/metadata", `{"kind":"X-NOTE","metadata":["a"]}`},
		{"PUT", org + "/metadata/ALLOW-AXFR-FROM", `{"metadata":["192.0.2.1"]}`},
		{"GET", org + "/metadata", ""},
		{"DELETE", org + "/metadata/X-NOTE", ""},
		{"PATCH", org,
			rrsets(`{"name":"*.example.org.","type":"A","ttl":60,"changetype":"REPLACE","records":[{"content":"192.0.2.1"}]}`)},
		{"GET", org + "/export", ""},
		{"DELETE", zonesPath + "/n.customer.example.", ""},
	} {
		if a := k.ask(t, secret, c.method, c.target, c.body); a.status/100 != 2 {
			t.Errorf("%s %s: %d %s", c.method, c.target, a.status, a.body)
		}
	}
	// What PowerDNS answers is understood when clients send it back.
	var answer struct {
		RRsets []map[string]any
	}
	whole := k.ask(t, secret, "GET", org, "").body
	must.OK(t, json.Unmarshal([]byte(whole), &answer))
	for _, set := range answer.RRsets {
		set["changetype"] = "REPLACE"
	}
	var fields map[string]any
	must.OK(t, json.Unmarshal([]byte(whole), &fields))
	fields["rrsets"] = answer.RRsets
	if a := k.ask(t, secret, "PATCH", org, asJSON(t, fields)); a.status != 204 {
		t.Errorf("PATCH with PowerDNS's own answer: %d %s", a.status, a.body)
	}
	delete(fields, "rrsets")
	if a := k.ask(t, secret, "PUT", org, asJSON(t, fields)); a.status != 204 {
		t.Errorf("PUT with PowerDNS's own answer: %d %s", a.status, a.body)
	}
}

// TestScopeOverHTTP2 makes the same requests over HTTP/2.
func TestScopeOverHTTP2(t *testing.T) {
	key, secret := newKey(acme())
	k, _ := behindKeys(t, nil, key)
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	for body, want := range map[string]int{
		rrsets(txt("_acme-challenge.example.org.")): 204, rrsets(txt("www.example.org.")): 403,
		`{"rrsets":[],"rrsets":[]}`: 403,
	} {
		for _, announced := range []bool{true, false} {
			req, err := http.NewRequest("PATCH", "https://"+k.Addr().String()+zonesPath+"/example.org.",
				io.NopCloser(strings.NewReader(body)))
			must.OK(t, err)
			if announced {
				req.ContentLength = int64(len(body))
			}
			req.Header.Set("X-API-Key", secret)
			res, err := client.Do(req)
			must.OK(t, err)
			res.Body.Close()
			if res.StatusCode != want || res.ProtoMajor != 2 {
				t.Errorf("%s: %d over %s, want %d", body, res.StatusCode, res.Proto, want)
			}
		}
	}
}

// TestLargeBodyOfScopedKey is refused before PowerDNS sees anything of it.
func TestLargeBodyOfScopedKey(t *testing.T) {
	key, secret := newKey(acme())
	k := startKeyed(t, nowhere, func() (string, error) { return "own", nil }, nil, key)
	body := `{"rrsets":[],"account":"` + strings.Repeat("x", maxChecked) + `"}`
	if a := k.ask(t, secret, "PATCH", zonesPath+"/example.org.", body); a.status != 413 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestRequestsInHandOfAKey has a PowerDNS that does not answer, and a key that asks it again and again. PowerDNS's own
// key still gets through.
func TestRequestsInHandOfAKey(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{}, 100)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "example.org.") {
			arrived <- struct{}{}
			<-release
		}
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(upstream.Close)
	many := acme()
	many.Rate = 1000
	key, secret := newKey(many)
	k := startKeyed(t, upstream.URL, func() (string, error) { return "own", nil }, nil, key)
	var asked sync.WaitGroup
	for range maxInHand {
		asked.Go(func() {
			if a := k.ask(t, secret, "GET", zonesPath+"/example.org.", ""); a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	for range maxInHand {
		await(t, arrived)
	}
	a := k.ask(t, secret, "GET", zonesPath+"/example.org.", "")
	if a.status != 429 || a.header.Get("Retry-After") != "1" {
		t.Errorf("one more: %d %s", a.status, a.body)
	}
	if a := k.ask(t, "own", "GET", "/api/v1/servers/localhost/config", ""); a.status != 200 {
		t.Errorf("PowerDNS's own key: %d %s", a.status, a.body)
	}
	close(release)
	asked.Wait()
	if a := k.ask(t, secret, "GET", zonesPath+"/example.org.", ""); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// TestDeletionThatIsNotSentDoesNotCount asks for one while PowerDNS is away.
func TestDeletionThatIsNotSentDoesNotCount(t *testing.T) {
	scoped := Key{ID: "cleaner", Zones: []string{"*"}, Verbs: []string{"delete"}, DeletesPerHour: 1}
	key, secret := newKey(scoped)
	k := startKeyed(t, nowhere, func() (string, error) { return "own", nil }, nil, key)
	for range 3 {
		a := k.ask(t, secret, "DELETE", zonesPath+"/example.org.", "")
		if touched := k.queue.take(); a.status != 502 || len(touched) > 0 || a.header.Get(HeaderChange) != "" {
			t.Errorf("%d %s, touched %q", a.status, a.body, touched)
		}
	}
}

// TestRefusalsAreCounted by key and reason.
func TestRefusalsAreCounted(t *testing.T) {
	key, secret := newKey(acme())
	k := startKeyed(t, nowhere, func() (string, error) { return "own", nil }, nil, key)
	k.ask(t, secret, "GET", "/api/v1/servers/localhost/config", "")
	unknown, _ := NewSecret()
	k.ask(t, unknown, "GET", zonesPath, "")
	families, err := k.registry.Gather()
	must.OK(t, err)
	got := map[string]float64{}
	for _, family := range families {
		if family.GetName() == "pdns_distribute_proxy_refused_total" {
			for _, m := range family.GetMetric() {
				got[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	// A key that is known is counted from the start.
	want := map[string]float64{"acme-web1 scope": 1, " key": 1, "acme-web1 deletions": 0, "acme-web1 rate": 0}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestAllowedBodiesOnPowerDNS sends bodies that were spoilt at random, as far as the scope of an ACME key allows them,
// to a real PowerDNS: none changes anything but TXT records of _acme-challenge.
func TestAllowedBodiesOnPowerDNS(t *testing.T) {
	key, _ := newKey(acme())
	_, s := behindKeys(t, nil, key)
	scope := scopeOf(t, acme())
	const org = zonesPath + "/example.org."
	direct(t, s, "PATCH", org, rrsets(txt("www.example.org."), txt("_acme-challenge.example.org.")), 204)
	others := func() string {
		var z struct {
			RRsets []struct {
				Name, Type string
				Records    []any
			}
		}
		must.OK(t, json.Unmarshal([]byte(direct(t, s, "GET", org, "", 200)), &z))
		var list []string
		for _, set := range z.RRsets {
			if set.Type != "SOA" && !(set.Type == "TXT" && strings.HasPrefix(set.Name, "_acme-challenge.")) {
				list = append(list, asJSON(t, set))
			}
		}
		slices.Sort(list)
		return strings.Join(list, "\n")
	}
	want := others()
	dice := rand.New(rand.NewPCG(1, 2))
	pieces := []string{
		txt("www.example.org."), txt("_acme-challenge.example.org."), txt("_acme-challenge.x.example.org."),
		`"name":"www.example.org."`, `"type":"A"`,
		`"changetype":"DELETE"`, `"rrsets":[]`, `\u0000`, `\"`, ",", "{", "}", "[", "]", ":", "\"", "\\", "TXT", "ANY", ".",
		"*", "EXTEND", "null", "1e400",
	}
	accepted := 0
	for range 40_000 {
		body := rrsets(txt("_acme-challenge.example.org."),
			`{"name":"_acme-challenge.a.example.org.","type":"TXT","changetype":"DELETE"}`)
		for range 1 + dice.IntN(3) {
			at, n := dice.IntN(len(body)), dice.IntN(6)
			body = body[:at] + pieces[dice.IntN(len(pieces))] + body[min(at+n, len(body)):]
		}
		if _, refused := scope.decide("localhost", "PATCH", org, "", []byte(body)); refused != nil {
			continue
		}
		req, err := http.NewRequest("PATCH", s.APIURL+org, strings.NewReader(body))
		must.OK(t, err)
		req.Header.Set("X-API-Key", s.APIKey.Reveal())
		res, err := http.DefaultClient.Do(req)
		must.OK(t, err)
		res.Body.Close()
		if res.StatusCode == 204 {
			accepted++
		}
		if got := others(); got != want {
			t.Fatalf("%s\nchanged the zone to\n%s", body, got)
		}
	}
	if accepted < 30 {
		t.Errorf("PowerDNS took %d: this test shows little", accepted)
	}
}

// TestChecksInTurn: one key's bodies are checked one by one, and all keys' together have no more bytes than the
// longest.
func TestChecksInTurn(t *testing.T) {
	first, firstSecret := newKey(acme())
	other := acme()
	other.ID = "acme-web2"
	second, secondSecret := newKey(other)
	k := startKeyed(t, nowhere, func() (string, error) { return "own", nil }, nil, first, second)
	find := func(secret string) *scopedKey {
		key, err := k.limits.keys.find(secret)
		must.OK(t, err)
		return key
	}
	a, b := find(firstSecret), find(secondSecret)
	end, err := k.limits.beginCheck(t.Context(), a, maxChecked-100)
	must.OK(t, err)
	// Acquire waits where TryAcquire fails.
	if a.use.check.TryAcquire(1) || k.limits.checking.TryAcquire(101) {
		t.Error("there is room for another one")
	}
	for _, key := range []*scopedKey{a, b} {
		late, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := k.limits.beginCheck(late, key, maxChecked); err == nil {
			t.Errorf("%s waits longer than its client", key.id)
		}
	}
	beside, err := k.limits.beginCheck(t.Context(), b, 100)
	must.OK(t, err)
	beside()
	end()
	if !a.use.check.TryAcquire(1) || !b.use.check.TryAcquire(1) || !k.limits.checking.TryAcquire(maxChecked) {
		t.Error("something is held afterwards")
	}
}

// Who has scoped keys and does not read the answers keeps who is elsewhere from nothing.
func TestSlowReadersWithScopedKeys(t *testing.T) {
	upstream := fakeServer(t, func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}")
		if strings.HasSuffix(r.RequestURI, "/example.org.") {
			_, _ = io.Copy(conn, zeroReader{})
		}
	})
	var keys []Key
	var secrets []string
	for i := range 3 {
		limited := acme()
		limited.ID, limited.Rate = fmt.Sprintf("acme-web%d", i), 1000
		key, secret := newKey(limited)
		keys, secrets = append(keys, key), append(secrets, secret)
	}
	own := func() (string, error) { return "own", nil }
	k := startKeyed(t, upstream, own, func(cfg *Config) { cfg.StallTimeout = time.Hour }, keys...)
	for i := range 3 * maxInHand {
		conn := k.dial(t)
		t.Cleanup(func() { conn.Close() })
		_, err := fmt.Fprintf(conn, "GET %s/example.org. HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n\r\n", zonesPath, secrets[i%3])
		must.OK(t, err)
	}
	l := k.gate.lanes.keyed
	must.Eventually(t, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if working, waiting := l.working, l.queue.Len(); working != l.share || working+waiting != 3*maxInHand {
			return fmt.Errorf("%d are at work and %d wait", working, waiting)
		}
		return nil
	})
	elsewhere := tls.Dialer{
		NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}},
		Config:    &tls.Config{InsecureSkipVerify: true},
	}
	conn, err := elsewhere.DialContext(t.Context(), "tcp", k.Addr().String())
	must.OK(t, err)
	a := call{"GET", zonesPath + "/other.example.", "", http.Header{keyHeader: {"own"}}}.over(t, conn)
	if a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
}
