package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"pdns-distribute/powerdns/must"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sync/errgroup"
)

// attacked is a proxy in front of a server, with little patience.
func attacked(t *testing.T, upstream string) (*testProxy, *queue) {
	t.Helper()
	cfg := newConfig(t)
	cfg.StallTimeout = 300 * time.Millisecond
	q := &queue{more: make(chan struct{}, 1000)}
	p, err := newProxy(cfg, upstream, q)
	must.OK(t, err)
	p.run(t)
	await(t, q.more)
	q.want(t, "sweep")
	return p, q
}

// wantNoTrace demands that nothing is left of who was there.
func (p *testProxy) wantNoTrace(t *testing.T, q *queue) {
	t.Helper()
	if stored := q.take(); len(stored) > 0 || p.Waiting() > 0 || len(p.touches(t)) > 0 {
		t.Errorf("stored %q, %d zones wait, the metric says %v", stored, p.Waiting(), p.touches(t))
	}
	if _, err := os.Stat(filepath.Join(p.cfg.StateDir, "pending")); err == nil {
		t.Error("there is a journal")
	}
	p.wantFreePlaces(t)
}

// wantFreePlaces waits until nobody has a place on the way to PowerDNS.
func (p *testProxy) wantFreePlaces(t *testing.T) {
	t.Helper()
	held := func() (n int) {
		for _, l := range []*lane{p.gate.lanes.keyed, p.gate.lanes.keys, p.gate.lanes.keysAgain, p.gate.lanes.pages} {
			l.mu.Lock()
			n += l.working + l.queue.Len() + len(l.of)
			l.mu.Unlock()
		}
		p.crowd.mu.Lock()
		defer p.crowd.mu.Unlock()
		return n + p.crowd.all + len(p.crowd.of)
	}
	must.Eventually(t, func() error {
		if n := held(); n > 0 {
			return fmt.Errorf("%d places are held", n)
		}
		return nil
	})
}

// writesByStrangers are what must not happen without a good key, each begun, and what comes after the header.
func writesByStrangers(key string) map[string]string {
	const z = zonesPath + "/victim.example."
	all := map[string]string{}
	for _, line := range []string{
		"DELETE " + z, "PATCH " + z, "PUT " + z, "POST " + zonesPath, "POST " + z + "/metadata",
		"DELETE " + z + "/cryptokeys/1", "PUT " + z + "/axfr-retrieve", "PUT " + z + "/notify",
		"BREW " + z, "delete " + z, "DELETE http://x" + z,
	} {
		head := line + " HTTP/1.1\r\nHost: x\r\n" + key
		all[line+", one byte of five"] = head + "Content-Length: 5\r\n\r\n{"
		all[line+", nothing of five"] = head + "Content-Length: 5\r\n\r\n"
		all[line+", chunks without end"] = head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
		all[line+", waits for leave"] = head + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
		all[line+", much"] = head + "Content-Length: 3000000\r\n\r\n" + strings.Repeat(`{"name":"`, 1000)
		all[line+", whole"] = head + "Content-Length: 2\r\n\r\n{}"
		all[line+", no body"] = head + "\r\n"
	}
	return all
}

// Whoever has no good key has no effect, however a request begins or breaks off, and whatever PowerDNS does meanwhile.
func TestStrangersHaveNoEffect(t *testing.T) {
	real := startPowerDNS(t)
	real.create(t, "victim.example.")
	good := real.call("GET", zonesPath+"/victim.example.", "")
	real.queue.take()
	hung := fakeServer(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	hangsUp := fakeServer(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<16)) })
	failing := fakeServer(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1<<16))
		_, _ = io.WriteString(conn, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
	})
	t.Run("attacks", func(t *testing.T) {
		for what, upstream := range map[string]string{
			"PowerDNS": real.APIURL, "PowerDNS is away": "http://127.0.0.1:1", "PowerDNS hangs": hung,
			"PowerDNS hangs up": hangsUp, "PowerDNS fails": failing,
		} {
			for keyed, key := range map[string]string{
				"no key": "", "a wrong key": "X-API-Key: wrong\r\n", "two keys": "X-API-Key: a\r\nX-API-Key: b\r\n",
			} {
				t.Run(what+", "+keyed, func(t *testing.T) {
					t.Parallel()
					if upstream == real.APIURL {
						attack(t, upstream, key, &good)
					} else {
						attack(t, upstream, key, nil)
					}
				})
			}
		}
	})
	if a := real.proxied(t, real.call("GET", zonesPath+"/victim.example.", "")); a.status != http.StatusOK {
		t.Errorf("the zone: %d", a.status)
	}
}

// attackers are how many attack a proxy at once: with more a slow machine does not come to its handshakes in time.
const attackers = 16

// attack sends all there is, many at once, with a good client in between.
func attack(t *testing.T, upstream, key string, good *call) {
	p, q := attacked(t, upstream)
	p.upstream.timeout = 300 * time.Millisecond
	var all errgroup.Group
	all.SetLimit(attackers)
	var unanswered atomic.Int32
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		for what, text := range writesByStrangers(key) {
			for _, reset := range []bool{false, true} {
				all.Go(func() error {
					if !p.offend(t, what, text, reset) {
						unanswered.Add(1)
					}
					return nil
				})
			}
		}
	}()
	for range 5 {
		if good == nil {
			continue
		}
		if err := p.serves(*good); err != nil {
			t.Errorf("a good client: %v", err)
		}
	}
	<-begun
	_ = all.Wait() // none returns an error
	if n := int(unanswered.Load()); n > len(writesByStrangers(key))/20 {
		t.Errorf("%d are cut off without an answer", n)
	}
	p.wantNoTrace(t, q)
}

// serves asks until there is an answer, as secured does. It returns an error for every answer but 200.
func (p *testProxy) serves(c call) (err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		var conn *tls.Conn
		if conn, err = p.secured(&tls.Config{InsecureSkipVerify: true}); err != nil {
			return err
		}
		var a answer
		if a, err = c.send(conn); err == nil {
			if a.status != http.StatusOK {
				return fmt.Errorf("%d %s", a.status, a.body)
			}
			return nil
		}
	}
	return err
}

// offend sends the text, and looks at what comes back. It returns false where nothing does: a connection with a request
// that is over before its end may be reset, and its answer with it.
func (p *testProxy) offend(t *testing.T, what, text string, reset bool) (answered bool) {
	raw, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Error(err)
		return true
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, text)
	if reset {
		_ = raw.(*net.TCPConn).SetLinger(0)
		return true
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	for err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(in, nil)
	}
	if err != nil {
		t.Logf("%s: %v", what, err)
		return false
	}
	if res.StatusCode < 400 || res.Header.Get(HeaderChange) != "" || res.Header.Get(HeaderTouch) != "" {
		t.Errorf("%s: %s %v", what, res.Status, res.Header)
	}
	return true
}

// Over HTTP/2 one connection holds a hundred writes that go on for ever.
func TestStrangersOverHTTP2HaveNoEffect(t *testing.T) {
	real := startPowerDNS(t)
	real.create(t, "victim.example.")
	p, q := attacked(t, real.APIURL)
	for _, key := range []string{"", "wrong"} {
		conn := p.handshake(t, "h2")
		_, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		must.OK(t, err)
		writeFrame(t, conn, 4, 0, 0, nil) // SETTINGS
		var head bytes.Buffer
		enc := hpack.NewEncoder(&head)
		const streams = 90
		for n := range uint32(streams) {
			head.Reset()
			method := []string{"DELETE", "PATCH", "PUT"}[n%3]
			fields := []hpack.HeaderField{
				{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "x"},
				{Name: ":path", Value: zonesPath + "/victim.example."}, {Name: "content-length", Value: "5"},
			}
			if key != "" {
				fields = append(fields, hpack.HeaderField{Name: "x-api-key", Value: key})
			}
			for _, f := range fields {
				must.OK(t, enc.WriteField(f))
			}
			writeFrame(t, conn, 1, 4, 2*n+1, head.Bytes())
			writeFrame(t, conn, 0, 0, 2*n+1, []byte("{"))
		}
		for answered := 0; answered < streams; {
			if readFrame(t, conn) == 1 {
				answered++
			}
		}
		conn.Close()
	}
	p.wantNoTrace(t, q)
	if a := real.call("GET", zonesPath+"/victim.example.", "").over(t, p.dial(t)); a.status != http.StatusOK {
		t.Errorf("the zone: %d", a.status)
	}
}

// writeFrame writes a frame of HTTP/2 (RFC 9113 §4.1): kind 0 is DATA, 1 HEADERS; the flag 4 ends a header, 1 the
// request.
func writeFrame(t *testing.T, w io.Writer, kind, flags byte, stream uint32, payload []byte) {
	t.Helper()
	n := len(payload)
	frame := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	frame = binary.BigEndian.AppendUint32(frame, stream)
	_, err := w.Write(append(frame, payload...))
	must.OK(t, err)
}

// readFrame returns the next frame's kind.
func readFrame(t *testing.T, r io.Reader) byte {
	t.Helper()
	head := make([]byte, 9)
	_, err := io.ReadFull(r, head)
	must.OK(t, err)
	_, err = io.CopyN(io.Discard, r, int64(head[0])<<16|int64(head[1])<<8|int64(head[2]))
	must.OK(t, err)
	return head[3]
}

// A DELETE with a good key that PowerDNS never had whole leaves no trace; one that had no answer is a change.
func TestUnclearWritesOfClients(t *testing.T) {
	requests := make(chan string, 10)
	p, q := attacked(t, fakeServer(t, func(conn net.Conn) {
		text := make([]byte, 1<<16)
		n, _ := conn.Read(text)
		if strings.HasPrefix(string(text[:n]), "GET") {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			return
		}
		requests <- string(text[:n])
	}))
	const head = "DELETE " + zonesPath + "/example.org. HTTP/1.1\r\nHost: x\r\nX-API-Key: good\r\nContent-Length: "
	p.offend(t, "one byte of five", head+"5\r\n\r\n{", false)
	p.wantNoTrace(t, q)
	if len(requests) > 0 {
		t.Errorf("PowerDNS saw %q", <-requests)
	}
	a := call{"DELETE", zonesPath + "/example.org.", "", http.Header{keyHeader: {"good"}}}.over(t, p.dial(t))
	if a.status != http.StatusBadGateway || a.header.Get(HeaderChange) == "" {
		t.Errorf("%d %v", a.status, a.header)
	}
	q.want(t, "change example.org.")
}

// PowerDNS takes keys from the query in many spellings until 5.0, and in none from 5.1 on. None of them gets as far.
func TestKeyInQuery(t *testing.T) {
	p := startPowerDNS(t)
	taken := 0
	for _, query := range []string{
		"api-key=KEY", "API-Key=KEY", "%61pi-key=KEY", "%2561pi-key=KEY", "api%2Dkey=KEY", "x=1&api-key=KEY",
		"x?&api-key=KEY",
		"api-key=wrong&api-key=KEY", "api-key=KEY#", "api-key=KEY&", "x&api-key=KEY", "&api-key=KEY", "x;api-key=KEY",
		"#api-key=KEY", "api-key%00=KEY", "+api-key=KEY", "x-api-key=KEY", "api_key=KEY", "api-key%=KEY",
		"%25252561pi-key=KEY", "%2%35%361pi-key=KEY", "%25%36%31pi-key=KEY",
	} {
		x := question{query, "GET " + zonesPath + "?" + query + " HTTP/1.1\r\nHost: x\r\n\r\n"}
		direct, err := net.Dial("tcp", strings.TrimPrefix(p.APIURL, "http://"))
		must.OK(t, err)
		accepted := x.ask(t, direct, p.APIKey.Reveal()).status == "200 OK"
		got := x.ask(t, p.proxy.dial(t), p.APIKey.Reveal())
		if accepted {
			taken++
			if got.status != "400 Bad Request" || !strings.Contains(got.body, "X-API-Key") {
				t.Errorf("%s: %s %s", query, got.status, got.body)
			}
		} else if got.status[0] != '4' && got.status != "502 Bad Gateway" {
			t.Errorf("%s: %s", query, got.status)
		}
	}
	if taken > 0 && taken < 5 {
		t.Errorf("PowerDNS took only %d: this test shows little", taken)
	}
}

// A key that PowerDNS refuses is forgotten at once, and so is what was known of it.
func TestKeyIsForgotten(t *testing.T) {
	var good atomic.Value
	good.Store("first")
	var asked atomic.Int32
	p, q := attacked(t, fakeServer(t, func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // what is left unread would reset the connection
		if r.RequestURI == serverPath {
			asked.Add(1)
		}
		status := "401 Unauthorized"
		if r.Header.Get(keyHeader) == good.Load().(string) {
			status = "204 No Content"
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nConnection: close\r\n\r\n")
	}))
	patch := func(key string, want int, asks int32) {
		t.Helper()
		before := asked.Load()
		a := call{"PATCH", zonesPath + "/example.org.", "{}", http.Header{keyHeader: {key}}}.over(t, p.dial(t))
		if a.status != want || asked.Load()-before != asks {
			t.Errorf("%d, asked %d times; want %d, %d", a.status, asked.Load()-before, want, asks)
		}
	}
	patch("first", 204, 1)
	patch("first", 204, 0)
	patch("second", 401, 1)
	patch("second", 401, 1) // what is bad is not remembered
	good.Store("second")
	patch("first", 401, 0) // by PowerDNS itself
	patch("first", 401, 1)
	patch("second", 204, 1)
	q.want(t, "change example.org.", "change example.org.", "change example.org.")
}

// What PowerDNS's other pages are asked for without a key has no body and gets its answer.
func TestPagesWithoutAKey(t *testing.T) {
	p := startPowerDNS(t)
	for _, test := range []struct {
		method, target, body string
		status               int
	}{
		{"GET", "/", "", 200}, {"GET", "/metrics", "", 200}, {"OPTIONS", zonesPath, "", 200},
		{"GET", "/metrics", "x", 413}, {"POST", "/", "", 401}, {"PUT", "/metrics", "x", 401},
		{"GET", apiPath + "/zones/a.", "", 401},
		{"PATCH", apiPath + "/zones/a.", "", 401},
	} {
		if a := (call{test.method, test.target, test.body, nil}).over(t, p.proxy.dial(t)); a.status != test.status {
			t.Errorf("%s %s: %d %s", test.method, test.target, a.status, a.body)
		}
	}
	head := call{method: "HEAD", target: "/"} // 5.1 answers 405
	direct, err := net.Dial("tcp", strings.TrimPrefix(p.APIURL, "http://"))
	must.OK(t, err)
	if got, want := head.over(t, p.proxy.dial(t)), head.over(t, direct); got.status != want.status {
		t.Errorf("HEAD /: %d, PowerDNS says %d", got.status, want.status)
	}
	p.proxy.wantNoTrace(t, p.queue)
}

// Who asks without a key and does not read the answer keeps no place on the way to PowerDNS.
func TestSlowReaderWithoutAKey(t *testing.T) {
	p, _ := attacked(t, fakeServer(t, func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		_, _ = io.Copy(conn, zeroReader{})
	}))
	for range 10 {
		conn := p.handshake(t, "http/1.1")
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		must.OK(t, err)
		_, err = conn.Read(make([]byte, 1))
		if err != nil {
			t.Error(err)
		}
	}
	p.wantFreePlaces(t)
}

// Who finds no place in time is told to come again, and nothing was written.
func TestNoPlace(t *testing.T) {
	held := make(chan struct{}, 10)
	upstream := fakeServer(t, func(conn net.Conn) {
		held <- struct{}{}
		_, _ = io.Copy(io.Discard, conn)
	})
	cfg := newConfig(t)
	cfg.StallTimeout, cfg.MaxUpstream = 300*time.Millisecond, minUpstream
	q := &queue{more: make(chan struct{}, 10)}
	p, err := newProxy(cfg, upstream, q)
	must.OK(t, err)
	p.upstream.timeout = patience
	p.trust()
	p.run(t)
	await(t, q.more)
	q.take()
	first := p.dial(t)
	defer first.Close()
	_, err = io.WriteString(first, "GET "+zonesPath+" HTTP/1.1\r\nHost: x\r\n\r\n")
	must.OK(t, err)
	await(t, held)
	a := call{method: "DELETE", target: zonesPath + "/example.org."}.over(t, p.dial(t))
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.header.Get(HeaderChange) != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
	must.OK(t, first.Close())
	p.wantNoTrace(t, q)
}

// PowerDNS does nothing of a request whose end does not come. That is why such a one leaves no trace.
func TestPowerDNSActsOnWholeRequests(t *testing.T) {
	p := startPowerDNS(t)
	p.create(t, "half.example.")
	for _, rest := range []string{"Content-Length: 5\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", ""} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.APIURL, "http://"))
		must.OK(t, err)
		head := "DELETE " + zonesPath + "/half.example. HTTP/1.1\r\nHost: x\r\nX-API-Key: " + p.APIKey.Reveal() + "\r\n"
		_, err = io.WriteString(conn, head+rest)
		must.OK(t, err)
		must.OK(t, conn.(*net.TCPConn).CloseWrite())
		_, err = io.Copy(io.Discard, conn)
		must.OK(t, err)
		conn.Close()
	}
	if a := p.proxied(t, p.call("GET", zonesPath+"/half.example.", "")); a.status != http.StatusOK {
		t.Errorf("the zone: %d", a.status)
	}
}

// The log holds a bounded number of lines about strangers, each of bounded length.
func TestStrangersAndTheLog(t *testing.T) {
	log := newLines()
	p, _ := attacked(t, "http://127.0.0.1:1")
	p.strangers = sampled(p.log.Output(log).Level(zerolog.DebugLevel))
	for range 3 * maxEach {
		r := call{"GET", "/" + strings.Repeat("%41", 10_000), "", nil}
		if a := r.over(t, p.dial(t)); a.status != http.StatusBadGateway {
			t.Fatal(a.status)
		}
	}
	if n := len(log.more); n > maxEach {
		t.Errorf("%d lines", n)
	}
	for len(log.more) > 0 {
		if line := <-log.more; len(line) > 3*maxField {
			t.Errorf("a line of %d bytes: %.100s", len(line), line)
		}
	}
	_, err := serverLog{p.strangers}.Write([]byte(strings.Repeat("x", 10_000)))
	must.OK(t, err)
}

// Many writes at once of one client all find their place, in order, and no more of them are at PowerDNS than may be.
func TestBurstOfCreates(t *testing.T) {
	const creates = 250
	real := startPowerDNS(t)
	cfg := newConfig(t)
	cfg.MaxUpstream = 20
	q := &queue{}
	p, err := newProxy(cfg, real.APIURL, q)
	must.OK(t, err)
	var open, most atomic.Int32
	dial := p.upstream.dial
	p.upstream.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		for n := open.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		return &closing{Conn: conn, closed: sync.OnceFunc(func() { open.Add(-1) })}, nil
	}
	p.run(t)
	client := p.client(t, true)
	var all sync.WaitGroup
	for n := range creates {
		all.Go(func() {
			body := fmt.Sprintf(`{"name":"z%d.example.","kind":"Native","nameservers":[]}`, n)
			r, err := http.NewRequest("POST", "https://"+p.Addr().String()+zonesPath, strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set(keyHeader, real.APIKey.Reveal())
			res, err := client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode != http.StatusCreated {
				t.Errorf("%d: %s", n, res.Status)
			}
		})
	}
	all.Wait()
	if most.Load() > int32(cfg.MaxUpstream) {
		t.Errorf("%d connections to PowerDNS at once", most.Load())
	}
	if n := len(q.take()); n != creates+1 {
		t.Errorf("%d touches", n)
	}
}

type closing struct {
	net.Conn
	closed func()
}

func (c *closing) Close() error {
	c.closed()
	return c.Conn.Close()
}
