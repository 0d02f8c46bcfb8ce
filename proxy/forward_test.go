package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

const patience = must.Patience

// testProxy is a proxy with what its clients must know.
type testProxy struct {
	*Proxy
	cfg      Config
	registry *prometheus.Registry
	tracker  *Tracker
	accepted chan struct{} // of an impatient one: gets a value for each connection
}

func newConfig(t *testing.T) Config {
	return Config{Listen: "127.0.0.1:0", StateDir: filepath.Join(t.TempDir(), "state"), UpstreamTimeout: patience, StallTimeout: patience, StorePatience: patience, MaxWait: patience, MaxConnections: 4096, MaxConnectionsPerSource: 4096, MaxUpstream: 60,
		PowerDNSKey: true, PrivateKeys: true, MaxDeletesPerHour: 1000,
	}
}

func newProxy(cfg Config, upstream string, m TouchStore) (*testProxy, error) {
	to, err := url.Parse(upstream)
	if err != nil {
		return nil, err
	}
	p := &testProxy{cfg: cfg, registry: prometheus.NewRegistry()}
	p.tracker = NewTracker(TrackerOptions{Ask: func(zone.Name) error { return nil }, Connected: func() bool { return true }, InactiveAfter: patience})
	p.Proxy, err = New(cfg, Options{Upstream: to, ServerID: "localhost", Touches: m, Tracker: p.tracker, Registry: p.registry, Log: zerolog.Nop()})
	return p, err
}

func startProxy(t *testing.T, upstream string, m TouchStore) *testProxy {
	t.Helper()
	p, err := newProxy(newConfig(t), upstream, m)
	must.OK(t, err)
	p.run(t)
	return p
}

// run has the proxy serve until the test ends.
func (p *testProxy) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error("proxy ended: ", err)
		}
	})
}

// trust has requests without any key count as those of who has a good one, for servers that ask for none.
func (p *testProxy) trust() { p.gate.known.accepted(p.gate.known.hash(nil), time.Now()) }

// touches is the metric of writes by what became of their touch, as far as there were any.
func (p *testProxy) touches(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := p.registry.Gather()
	must.OK(t, err)
	counts := map[string]float64{}
	for _, family := range families {
		if family.GetName() == "pdns_distribute_proxy_touches_total" {
			for _, m := range family.GetMetric() {
				if n := m.GetCounter().GetValue(); n > 0 {
					counts[m.GetLabel()[0].GetValue()] = n
				}
			}
		}
	}
	return counts
}

// dial connects as a client does that was given the proxy's certificate.
func (p *testProxy) dial(t *testing.T) *tls.Conn {
	t.Helper()
	file := p.cfg.TLSCert
	if file == "" {
		file = filepath.Join(p.cfg.StateDir, "proxy.crt")
	}
	cert, err := os.ReadFile(file)
	must.OK(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	conn, err := p.secured(&tls.Config{RootCAs: roots})
	must.OK(t, err)
	return conn
}

// secured tries again until it is through: a proxy with little patience hangs up on a client whose own handshake takes
// longer, as it does on a machine that has much else to do.
func (p *testProxy) secured(cfg *tls.Config) (conn *tls.Conn, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if conn, err = tls.Dial("tcp", p.Addr().String(), cfg); err == nil {
			return conn, conn.SetDeadline(time.Now().Add(patience))
		}
		if certificate := new(tls.CertificateVerificationError); errors.As(err, &certificate) {
			return nil, err
		}
	}
	return nil, err
}

// call is a request, as it goes over the wire.
type call struct {
	method, target, body string
	header               http.Header
}

// answer is what a client sees, without what is about the connection only.
type answer struct {
	status int
	header http.Header
	body   string
}

func (c call) over(t *testing.T, conn net.Conn) answer {
	t.Helper()
	a, err := c.send(conn)
	must.OK(t, err)
	return a
}

// send ends the connection.
func (c call) send(conn net.Conn) (answer, error) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return answer{}, err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: dns.example.net\r\nConnection: close\r\nContent-Length: %d\r\n", c.method, c.target, len(c.body))
	_ = c.header.Write(&text) // a buffer takes all
	text.WriteString("\r\n" + c.body)
	if _, err := text.WriteTo(conn); err != nil {
		return answer{}, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: c.method})
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	for _, name := range []string{"Connection", "Date"} {
		res.Header.Del(name)
	}
	if res.StatusCode == http.StatusNoContent {
		res.Header.Del("Content-Length") // sent by PowerDNS 4.7.3, which RFC 9110 §8.6 forbids
	}
	return answer{res.StatusCode, res.Header, string(body)}, nil
}

// powerDNS is a real one, as it answers directly and through a proxy.
type powerDNS struct {
	*local.Server
	proxy *testProxy
	queue *queue
}

func startPowerDNS(t *testing.T) powerDNS {
	t.Helper()
	s := localtest.Start(t, local.Options{Primary: true})
	q := &queue{more: make(chan struct{}, 1000)}
	p := powerDNS{s, startProxy(t, s.APIURL, q), q}
	await(t, q.more)
	q.want(t, "sweep")
	return p
}

func await(t *testing.T, event <-chan struct{}) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
}

func (p powerDNS) call(method, target, body string) call {
	return call{method, target, body, http.Header{"X-Api-Key": {p.APIKey.Reveal()}, "Accept": {"application/json"}}}
}

func (p powerDNS) proxied(t *testing.T, c call) answer {
	t.Helper()
	return c.over(t, p.proxy.dial(t))
}

func (p powerDNS) create(t *testing.T, name string) {
	t.Helper()
	body := fmt.Sprintf(`{"rrsets":[{"name":%[1]q,"type":"A","ttl":60,"records":[{"content":"192.0.2.1"}]}],"kind":"Native","nameservers":["ns.example.com."],"name":%[1]q}`, name)
	if a := p.proxied(t, p.call("POST", zonesPath, body)); a.status != http.StatusCreated {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	p.queue.want(t, "create "+name) // stored before the answer
}

// Whatever spelling of an id PowerDNS accepts for a write, the touch is of its zone.
func TestTouchMeetsTheZoneThatPowerDNSMeant(t *testing.T) {
	p := startPowerDNS(t)
	for name, ids := range map[string][]string{
		"example.org.": {"example.org.", "example.org", "EXAMPLE.ORG.", "example=2Eorg.", "example%2Eorg%2E", "%65xample.org", "example%3D2Eorg", "example=2eorg", "example.org/", "/example.org", "example.org%2F"},
		"0/25.2.0.192.in-addr.arpa.": {"0=2F25.2.0.192.in-addr.arpa.", "0%2F25.2.0.192.in-addr.arpa.", "0%2f25.2.0.192.in-addr.arpa",
			"0/25.2.0.192.in-addr.arpa.", "0/25=2E2.0.192.in-addr.arpa", "0=2f25.2.0.192.in-addr.arpa.", "0%3D2F25.2.0.192.in-addr.arpa."},
		"_tcp.example.net.": {"_tcp.example.net.", "=5Ftcp.example.net.", "%5Ftcp.example.net."},
		".":                 {"=2E", ".", "%2E", "=2e", ""},
	} {
		p.create(t, name)
		accepted := 0
		for _, id := range ids {
			for _, end := range []string{"", "/rectify", "/metadata/X-TEST"} {
				body := map[string]string{"": `{"kind":"Native"}`, "/metadata/X-TEST": `{"metadata":["1"]}`}[end]
				a := p.proxied(t, p.call("PUT", zonesPath+"/"+id+end, body))
				touched := p.queue.take()
				if a.status/100 == 2 {
					accepted++
				}
				if ok := slices.Equal(touched, []string{"change " + name}); ok != (a.status/100 == 2) {
					t.Errorf("PUT %s%s: answered %d, stored %q", id, end, a.status, touched)
				}
			}
		}
		if accepted < 3 {
			t.Errorf("%s: PowerDNS took only %d requests: this test shows little", name, accepted)
		}
	}
}

func TestLifeOfAZoneThroughTheProxy(t *testing.T) {
	p := startPowerDNS(t)
	p.create(t, "life.example.")
	for _, step := range []struct {
		method, path, body string
		status             int
		stored             string
	}{
		{"PATCH", "", `{"rrsets":[{"name":"a.life.example.","type":"A","ttl":60,"changetype":"REPLACE","records":[{"content":"192.0.2.2"}]}]}`, 204, "change life.example."},
		{"POST", "/cryptokeys", `{"keytype":"csk","active":true}`, 201, "change life.example."},
		{"DELETE", "/cryptokeys/1", "", 204, "change life.example."},
		{"DELETE", "", "", 204, "delete life.example."},
	} {
		a := p.proxied(t, p.call(step.method, zonesPath+"/life.example."+step.path, step.body))
		if a.status != step.status || a.header.Get(HeaderTouch) != "" {
			t.Errorf("%s %s: %d %s, touch %q", step.method, step.path, a.status, a.body, a.header.Get(HeaderTouch))
		}
		p.queue.want(t, step.stored)
	}
}

func TestBrokerAway(t *testing.T) {
	p := startPowerDNS(t)
	p.queue.setAway(true)
	a := p.proxied(t, p.call("POST", zonesPath, `{"name":"away.example.","kind":"Native","nameservers":[]}`))
	if a.status != http.StatusCreated || a.header.Get(HeaderTouch) != TouchPending {
		t.Errorf("%d, touch %q", a.status, a.header.Get(HeaderTouch))
	}
	if p.queue.want(t); p.proxy.Waiting() != 1 {
		t.Errorf("%d zones wait", p.proxy.Waiting())
	}
	if a := p.proxied(t, p.call("GET", zonesPath+"/away.example.", "")); a.status != http.StatusOK || a.header.Get(HeaderTouch) != "" {
		t.Errorf("a question is answered %d, touch %q", a.status, a.header.Get(HeaderTouch))
	}
	for len(p.queue.more) > 0 {
		<-p.queue.more
	}
	p.queue.setAway(false)
	await(t, p.queue.more)
	p.queue.want(t, "create away.example.")
	if got := p.proxy.touches(t); !maps.Equal(got, map[string]float64{"pending": 1}) {
		t.Errorf("the metric says %v", got)
	}
}

func TestPowerDNSDown(t *testing.T) {
	q := &queue{}
	down, err := local.FreeAddress()
	must.OK(t, err)
	p := startProxy(t, "http://"+down, q)
	a := call{method: "PATCH", target: zonesPath + "/example.org.", body: "{}"}.over(t, p.dial(t))
	want := `{"error":"PowerDNS does not answer; see the log of pdns-distribute proxy"}` + "\n"
	if a.status != http.StatusBadGateway || a.header.Get("Content-Type") != "application/json" || a.body != want {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if slices.Contains(q.take(), "change example.org.") || a.header.Get(HeaderChange) != "" {
		t.Error("the write was touched, though nothing of it can have reached PowerDNS")
	}
}

// Whatever may have changed something is touched; what PowerDNS refused is not.
func TestWhichAnswersTouch(t *testing.T) {
	status := make(chan int, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		code := <-status
		w.WriteHeader(code)
		if r.Method == http.MethodPost && code == http.StatusCreated {
			_, _ = io.WriteString(w, `{"edited_serial":1,"name":"example.net."}`)
		}
	}))
	defer upstream.Close()
	q := &queue{more: make(chan struct{}, 100)}
	p := startProxy(t, upstream.URL, q)
	p.trust()
	await(t, q.more)
	q.want(t, "sweep")
	change := call{method: "PATCH", target: zonesPath + "/example.org.", body: "{}"}
	remove := call{method: "DELETE", target: zonesPath + "/example.org."}
	create := call{method: "POST", target: zonesPath, body: `{"name":"example.org."}`}
	strange := call{method: "PATCH", target: zonesPath + "/two..dots", body: "{}"}
	for _, test := range []struct {
		call   call
		status int
		want   []string
	}{
		{change, 200, []string{"change example.org."}},
		{change, 204, []string{"change example.org."}},
		{change, 301, nil},
		{change, 404, nil},
		{change, 422, nil},
		{change, 500, []string{"change example.org."}},
		{remove, 204, []string{"delete example.org."}},
		{remove, 404, nil},
		{remove, 500, []string{"change example.org."}}, // which PowerDNS did not say it deleted
		{create, 201, []string{"create example.net."}}, // the answer counts
		{create, 409, nil},
		{create, 503, []string{"sweep"}}, // any zone may have been created
		{create, 202, []string{"sweep"}},
		{strange, 204, []string{"sweep"}}, // and any may have been changed
		{strange, 422, nil},
	} {
		status <- test.status
		a := test.call.over(t, p.dial(t))
		if a.status != test.status {
			t.Errorf("answered %d, want %d", a.status, test.status)
		}
		zone := len(test.want) > 0 && test.want[0] != "sweep"
		if id := a.header.Get(HeaderChange); (id != "") != zone {
			t.Errorf("%s %s, answered %d: the change's id is %q", test.call.method, test.call.target, test.status, id)
		}
		if got := q.take(); !slices.Equal(got, test.want) {
			t.Errorf("%s %s, answered %d: stored %q, want %q", test.call.method, test.call.body, test.status, got, test.want)
		}
	}
}

func TestPlainHTTPIsRefused(t *testing.T) {
	p := startProxy(t, "http://127.0.0.1:1", &queue{})
	conn, err := net.Dial("tcp", p.Addr().String())
	must.OK(t, err)
	a := call{method: "GET", target: "/"}.over(t, conn)
	if a.status != http.StatusBadRequest || !strings.Contains(a.body, "HTTPS") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A client that goes away in the middle of a write does not stop it: PowerDNS may have begun, and then the touch must
// follow.
func TestClientGone(t *testing.T) {
	begun, finish, broken := make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, 1)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that it was left
		begun <- struct{}{}
		select {
		case <-finish:
			w.WriteHeader(http.StatusNoContent)
		case <-r.Context().Done():
			broken <- struct{}{}
		}
	}))
	defer slow.Close()
	q := &queue{more: make(chan struct{}, 10)}
	p, err := newProxy(newConfig(t), slow.URL, q)
	must.OK(t, err)
	p.trust()
	noticed := make(chan struct{}, 1)
	inner := p.server.Handler
	p.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer context.AfterFunc(r.Context(), func() { noticed <- struct{}{} })()
		inner.ServeHTTP(w, r)
	})
	p.run(t)
	await(t, q.more) // the sweep
	q.take()

	conn := p.dial(t)
	_, err = conn.Write([]byte("PATCH " + zonesPath + "/example.org. HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"))
	must.OK(t, err)
	await(t, begun)
	must.OK(t, conn.Close())
	await(t, noticed)
	select {
	case <-broken:
		t.Fatal("the write was broken off")
	default:
	}
	close(finish)
	await(t, q.more)
	q.want(t, "change example.org.")
}

// through sends the call over a client's connections and returns the status.
func (c call) through(t *testing.T, client *http.Client, to string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), c.method, to+c.target, strings.NewReader(c.body))
	must.OK(t, err)
	r.Header = c.header
	res, err := client.Do(r)
	must.OK(t, err)
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	must.OK(t, err)
	return res.StatusCode
}
