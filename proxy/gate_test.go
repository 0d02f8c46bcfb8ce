package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

func TestKnownKeys(t *testing.T) {
	k, now := newKnownKeys(), time.Now()
	one, two := k.hash([]string{"one"}), k.hash([]string{"o", "ne"})
	if one == two || one == newKnownKeys().hash([]string{"one"}) {
		t.Error("hashes are equal that must not be")
	}
	for _, test := range []struct {
		after time.Duration
		want  standing
	}{
		{0, good}, {keyTrust / 2, good}, {keyTrust/2 + 1, ageing}, {keyTrust - 1, ageing}, {keyTrust, former},
		{24 * time.Hour, former},
	} {
		k.accepted(one, now)
		if got := k.look(one, now.Add(test.after)); got != test.want || k.look(two, now) != unknown {
			t.Errorf("after %s: %d, want %d", test.after, got, test.want)
		}
	}
	for n := range 2 * maxKeys {
		k.accepted(k.hash([]string{fmt.Sprint(n)}), now)
		k.look(one, now) // is used all the time
	}
	if len(k.keys) != maxKeys || k.order.Len() != maxKeys || k.look(one, now) != good {
		t.Errorf("%d keys, %d in order", len(k.keys), k.order.Len())
	}
	k.refused(one)
	if k.look(one, now) != unknown {
		t.Error("a refused key is remembered")
	}
}

// pipes is a PowerDNS at the other end of pipes, in a bubble of synctest.
func pipes(answer func(*http.Request) string) *upstream {
	up := &upstream{address: "powerdns:80", timeout: time.Minute, stall: time.Minute}
	up.dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			r, err := http.ReadRequest(bufio.NewReader(theirs))
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(theirs, answer(r))
		}()
		return ours, nil
	}
	return up
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// A steady client never waits: its key is asked about while it is still good. Nor is it kept out while PowerDNS is
// away for less than a minute.
func TestSteadyKeyIsAskedAboutInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked, answer := 0, okAnswer
		g := newGate(pipes(func(r *http.Request) string {
			if strings.HasSuffix(r.URL.Path, "/config") {
				return okAnswer
			}
			mu.Lock()
			asked++
			text := answer
			mu.Unlock()
			time.Sleep(time.Second)
			return text
		}), "localhost", Config{MaxUpstream: 60, StallTimeout: time.Minute}, zerolog.Nop())
		defer g.end()
		r := httptest.NewRequest("GET", serverPath, nil)
		r.Header.Set(keyHeader, "good")
		if a, no := g.recall(r); a != nil || no != nil {
			t.Fatal("a key is good that nobody asked about")
		}
		times := func() int {
			mu.Lock()
			defer mu.Unlock()
			return asked
		}
		say := func(text string) {
			mu.Lock()
			defer mu.Unlock()
			answer = text
		}
		if _, no := g.admit(r); no != nil || times() != 1 {
			t.Fatal(no, times())
		}
		for range 600 {
			time.Sleep(time.Second)
			if a, _ := g.recall(r); a == nil {
				t.Fatal("has to wait")
			}
		}
		if synctest.Wait(); times() < 15 || times() > 25 {
			t.Errorf("asked %d times in ten minutes", times())
		}
		say("")
		for range 20 {
			time.Sleep(time.Second)
			if a, _ := g.recall(r); a == nil {
				t.Fatal("has to wait because PowerDNS hangs up")
			}
		}
		time.Sleep(keyTrust)
		if a, _ := g.recall(r); a != nil {
			t.Error("the key is good for ever")
		}
		synctest.Wait()
		say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\nX-Own: a\r\n\r\nno!")
		if _, no := g.admit(r); no == nil || no.status != 401 || string(no.body) != "no!" || no.header.Get("X-Own") != "a" {
			t.Errorf("%+v", no)
		}
	})
}

// Many who wait for the same key have it asked about once; strangers who crowd the way do not keep a former key out.
func TestCrowdOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked := map[string]int{}
		g := newGate(pipes(func(r *http.Request) string {
			if strings.HasSuffix(r.URL.Path, "/config") {
				return okAnswer
			}
			key := r.Header.Get(keyHeader)
			mu.Lock()
			asked[key]++
			mu.Unlock()
			if key != "good" {
				time.Sleep(9 * time.Second)
				return "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
			}
			return okAnswer
		}), "localhost", Config{MaxUpstream: 60, StallTimeout: time.Minute}, zerolog.Nop())
		defer g.end()
		admit := func(key string) *refusal {
			r := httptest.NewRequest("DELETE", zonesPath+"/example.org.", nil)
			r.Header.Set(keyHeader, key)
			_, no := g.admit(r)
			return no
		}
		var all sync.WaitGroup
		for range 300 {
			all.Go(func() {
				if no := admit("good"); no != nil {
					t.Errorf("%+v", no)
				}
			})
		}
		all.Wait()
		if asked["good"] != 1 {
			t.Errorf("asked %d times", asked["good"])
		}
		time.Sleep(2 * keyTrust)
		busy := 0
		for n := range 300 {
			all.Go(func() {
				if no := admit(fmt.Sprint(n)); no.status == http.StatusServiceUnavailable && no.header.Get("Retry-After") != "" {
					mu.Lock()
					busy++
					mu.Unlock()
				}
			})
		}
		synctest.Wait()
		if no := admit("good"); no != nil {
			t.Errorf("the good one is kept out: %+v", no)
		}
		all.Wait()
		if busy < 200 {
			t.Errorf("only %d strangers were sent away", busy)
		}
		time.Sleep(10 * time.Second) // the last answers come in vain
	})
}

// ring is a keyring with one key.
type ring struct{ *admission }

func (r ring) admit(key string, _ netip.Addr) (*admission, *refusal) {
	if key != "scoped" {
		return nil, nil
	}
	a := *r.admission
	return &a, nil
}

// What a keyring admits is checked whole before PowerDNS sees it, goes on with another key, and its answer can be
// changed.
func TestKeyring(t *testing.T) {
	seen := make(chan string, 10)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- r.Method + " " + r.Header.Get(keyHeader) + " " + string(body)
		_, _ = io.WriteString(w, "secret")
	}))
	defer upstream.Close()
	q := &queue{more: make(chan struct{}, 10)}
	p, err := newProxy(newConfig(t), upstream.URL, q)
	must.OK(t, err)
	statuses := make(chan int, 10)
	p.gate.ring = ring{&admission{
		who: "acme", send: "real",
		covers: func(name zone.Name) bool { return name != zone.MustParseName("other.example") },
		check: func(_ *http.Request, body []byte) *refusal {
			if strings.Contains(string(body), "bad") {
				return &refusal{status: http.StatusForbidden, text: "not you"}
			}
			return nil
		},
		filter: func(res *http.Response) error {
			res.Body.Close()
			res.Body, res.ContentLength = io.NopCloser(strings.NewReader("public")), 6
			res.Header.Set("Content-Length", "6")
			return nil
		},
		answered: func(_ *http.Request, status int) { statuses <- status },
	}}
	p.run(t)
	await(t, q.more)
	q.take()
	key := http.Header{keyHeader: {"scoped"}}
	a := call{"PATCH", zonesPath + "/example.org.", "a bad body", key}.over(t, p.dial(t))
	if a.status != http.StatusForbidden || !strings.Contains(a.body, "not you") || len(seen) > 0 || len(q.take()) > 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = call{"GET", apiPath + "/zones/other.example.", "", key}.over(t, p.dial(t))
	if a.status != http.StatusNotFound || len(seen) > 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = call{"PATCH", zonesPath + "/example.org.", strings.Repeat("x", maxChecked+1), key}.over(t, p.dial(t))
	if a.status != http.StatusRequestEntityTooLarge || len(seen) > 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
	long := strings.Repeat("x", maxChecked)
	for _, body := range []string{"a good body", long} {
		a = call{"PATCH", zonesPath + "/example.org.", body, key}.over(t, p.dial(t))
		if a.status != http.StatusOK || a.body != "public" || <-seen != "PATCH real "+body || <-statuses != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	q.want(t, "change example.org.", "change example.org.")
}

// FuzzStranger has a client without a good key say anything: PowerDNS sees no write, and no touch is stored.
func FuzzStranger(f *testing.F) {
	for _, text := range writesByStrangers("") {
		f.Add([]byte(text))
	}
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\nDELETE " + zonesPath + "/a. HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET " + zonesPath + " HTTP/1.1\r\nHost: x\r\nX-API-Key: k\r\nContent-Length: 0\r\n\r\n",
		"GET /\tx HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /?api-key=k HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: DELETE\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	cfg := Config{
		Listen: "127.0.0.1:0", StateDir: f.TempDir(), UpstreamTimeout: time.Second, StallTimeout: time.Second,
		StorePatience: time.Second, MaxWait: time.Second, MaxConnections: 10, MaxConnectionsPerSource: 10, MaxUpstream: 60,
	}
	q := &queue{}
	p, err := newProxy(cfg, "http://127.0.0.1:1", q)
	must.OK(f, err)
	defer p.gate.end()
	var mu sync.Mutex
	var seen []string
	p.upstream.dial = pipes(func(r *http.Request) string {
		mu.Lock()
		defer mu.Unlock()
		if !reads(strings.ToUpper(r.Method)) || r.ContentLength != 0 {
			seen = append(seen, r.Method+" "+r.RequestURI)
		}
		return "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
	}).dial
	f.Fuzz(func(t *testing.T, text []byte) {
		in := bufio.NewReader(bytes.NewReader(text))
		for range 5 {
			r, err := http.ReadRequest(in)
			if err != nil {
				break
			}
			r.RemoteAddr = "192.0.2.1:1"
			r = r.WithContext(context.WithValue(t.Context(), placeKey{}, &place{in: p.places}))
			p.server.Handler.ServeHTTP(httptest.NewRecorder(), r)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(seen) > 0 || len(q.take()) > 0 {
			t.Errorf("PowerDNS saw %q", seen)
		}
	})
}

// BenchmarkKnownKey is what the gate takes of a request whose key is known.
func BenchmarkKnownKey(b *testing.B) {
	g := newGate(nil, "localhost", Config{MaxUpstream: 60, StallTimeout: time.Minute}, zerolog.Nop())
	r := httptest.NewRequest("PATCH", zonesPath+"/example.org.", nil)
	r.Header.Set(keyHeader, strings.Repeat("k", 64))
	g.known.accepted(g.known.hash(r.Header[keyHeader]), time.Now().Add(time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		a, no := g.recall(r)
		if a == nil || no != nil {
			b.Fatal("not known")
		}
		leave, err := a.lane.enter(r.Context(), a.from)
		if err != nil {
			b.Fatal(err)
		}
		leave()
	}
}
