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
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"pdns-distribute/powerdns/must"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

// fakeServer is a server for the proxy to stand in front of. serve gets each connection, which is closed behind it.
func fakeServer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must.OK(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return "http://" + listener.Addr().String()
}

// front is a forwarder by itself, over TLS, with what it told.
type front struct {
	*forwarder
	server  *httptest.Server
	stall   time.Duration // of clients
	lane    *lane
	written chan int // status
	failed  chan error
}

func startFront(t *testing.T, to string, config *tls.Config, timeout, stall time.Duration) *front {
	t.Helper()
	u, err := url.Parse(to)
	must.OK(t, err)
	f := &front{stall: stall, lane: newLanes(60, patience).keyed, written: make(chan int, 1000), failed: make(chan error, 1000)}
	f.forwarder = newForwarder(newUpstream(u, config, timeout, stall),
		func(_ *http.Request, p *pending, status int) http.Header {
			f.written <- status
			return nil
		},
		func(_ *http.Request, err error) { f.failed <- err })
	f.server = httptest.NewUnstartedServer(f)
	f.server.EnableHTTP2 = true
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	return f
}

// ServeHTTP is what the gate lets in.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := newClient(w, r, f.stall)
	_ = c.control.EnableFullDuplex()
	defer c.finish()
	r = r.WithContext(context.WithValue(r.Context(), clientKey{}, c))
	f.forwarder.ServeHTTP(w, withAdmission(r, &admission{who: powerdnsKey, lane: f.lane}))
}

func (f *front) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", f.server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	must.OK(t, err)
	must.OK(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// client speaks HTTP/2, or only HTTP/1.1.
func (f *front) client(http2 bool) *http.Client {
	c := f.server.Client()
	if !http2 {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		tr := c.Transport.(*http.Transport).Clone()
		tr.Protocols = protocols
		tr.TLSClientConfig.NextProtos = nil
		c = &http.Client{Transport: tr}
	}
	return c
}

func eachProtocol(t *testing.T, check func(t *testing.T, http2 bool)) {
	t.Run("HTTP/1.1", func(t *testing.T) { check(t, false) })
	t.Run("HTTP/2", func(t *testing.T) { check(t, true) })
}

// What arrives is what was sent, but for what is about the connection.
func TestRequestsAreSentAsTheyCame(t *testing.T) {
	arrived := make(chan string, 1)
	f := startFront(t, fakeServer(t, func(conn net.Conn) {
		var text strings.Builder
		for in := bufio.NewReader(conn); !strings.HasSuffix(text.String(), "END"); {
			b, err := in.ReadByte()
			if err != nil {
				t.Error(err)
				return
			}
			text.WriteByte(b)
		}
		arrived <- text.String()
		_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 299 Odd\r\nX-Odd: a\r\nx-odd: b\r\nKeep-Alive: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
	}), nil, patience, patience)
	conn := f.dial(t)
	defer conn.Close()
	in := bufio.NewReader(conn)
	for i, test := range []struct{ sent, want string }{
		{
			"PUT //a/../%2f\"|{}\xff;b?x;y=%&%zz#? HTTP/1.1\r\nHost: h:1\r\nX-API-Key: k\r\nContent-Length: 3\r\n\r\nEND",
			"PUT //a/../%2f\"|{}\xff;b?x;y=%&%zz#? HTTP/1.1\r\nHost: h:1\r\nConnection: close\r\nContent-Length: 3\r\nX-Api-Key: k\r\n\r\nEND",
		}, {
			"brew /? HTTP/1.1\r\nHost: h\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: x\r\nForwarded: for=a\r\nX-Forwarded-For: a\r\nX-Forwarded-For: b\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: p\r\nUser-Agent: me\r\nAccept-Encoding: gzip\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nEND",
			"brew /? HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 3\r\nAccept-Encoding: gzip\r\nExpect: 100-continue\r\nForwarded: for=a\r\nUser-Agent: me\r\nX-Forwarded-For: a\r\nX-Forwarded-For: b\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: p\r\n\r\nEND",
		}, {
			"GET ftp://u:p@h:99/a%2Fb?c;d HTTP/1.1\r\nHost: other\r\nContent-Length: 3\r\n\r\nEND",
			"GET /a%2Fb?c;d HTTP/1.1\r\nHost: h:99\r\nConnection: close\r\nContent-Length: 3\r\n\r\nEND",
		},
	} {
		_, err := io.WriteString(conn, test.sent)
		must.OK(t, err)
		res, err := http.ReadResponse(in, nil)
		for err == nil && res.StatusCode == http.StatusContinue {
			res, err = http.ReadResponse(in, nil)
		}
		must.OK(t, err)
		body, err := io.ReadAll(res.Body)
		must.OK(t, err)
		res.Header.Del("Date")
		want := http.Header{"X-Odd": {"a", "b"}, "Content-Length": {"2"}}
		if res.StatusCode != 299 || string(body) != "ok" || fmt.Sprint(res.Header) != fmt.Sprint(want) {
			t.Errorf("%d: answered %s %v %q", i, res.Status, res.Header, body)
		}
		if got := <-arrived; got != test.want {
			t.Errorf("%d: arrived %q\nwant      %q", i, got, test.want)
		}
	}
}

// Over HTTP/2 spaces may come in where a line of HTTP/1.1 has none.
func TestNoRequestWithinARequest(t *testing.T) {
	lines := make(chan string, 1)
	f := startFront(t, fakeServer(t, func(conn net.Conn) {
		line, _ := bufio.NewReader(conn).ReadString('\n')
		lines <- line
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}), nil, patience, patience)
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/a HTTP/1.1 b", http.StatusOK},
		{"POST /api/v1/servers/localhost/zones HTTP/1.1", "/", http.StatusBadRequest},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.RequestURI, r.URL = test.method, test.path, &url.URL{Path: test.path}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%s %s: answered %d", test.method, test.path, w.Code)
		}
	}
	if line := <-lines; line != "GET /a%20HTTP/1.1%20b HTTP/1.1\r\n" {
		t.Errorf("arrived %q", line)
	}
}

// PowerDNS answers 400 to more than webserver-max-bodysize, having read only the header, and resets the connection
// while the body is being sent. The client gets that answer each time, also if it does not read before it has sent
// everything.
func TestEarlyAnswer(t *testing.T) {
	times := earlyAnswers
	if os.Getenv("TORTURE") != "" {
		times = 1000
	}
	p := startPowerDNS(t)
	body := strings.Repeat("x", 3<<20)
	t.Run("all is sent first", func(t *testing.T) {
		text := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\n%s", zonesPath, p.APIKey.Reveal(), len(body), body)
		for i := range times {
			conn := p.proxy.dial(t)
			must.OK(t, conn.SetDeadline(time.Now().Add(patience)))
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatalf("request %d could not be sent: %v", i, err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			must.OK(t, err)
			answer, err := io.ReadAll(res.Body)
			must.OK(t, err)
			if res.StatusCode != http.StatusBadRequest || string(answer) != "Bad Request" {
				t.Fatalf("request %d: %s %s", i, res.Status, answer)
			}
			conn.Close()
		}
	})
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("Go's client, HTTP/2 %v", http2), func(t *testing.T) {
			client := p.proxy.client(t, http2)
			for i := range times {
				r, err := http.NewRequest("POST", "https://"+p.proxy.Addr().String()+zonesPath, strings.NewReader(body))
				must.OK(t, err)
				r.Header.Set("X-API-Key", p.APIKey.Reveal())
				res, err := client.Do(r)
				if err != nil {
					t.Fatalf("request %d: %v", i, err)
				}
				answer, err := io.ReadAll(res.Body)
				must.OK(t, err)
				res.Body.Close()
				if res.StatusCode != http.StatusBadRequest || string(answer) != "Bad Request" || res.ProtoAtLeast(2, 0) != http2 {
					t.Fatalf("request %d: %s %s %s", i, res.Proto, res.Status, answer)
				}
			}
		})
	}
	if touched := p.queue.take(); len(touched) > 0 {
		t.Errorf("stored %q", touched)
	}
}

func (p *testProxy) client(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: protocols}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// zeros is a body of n bytes.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Bodies of any length pass in memory that does not grow with them.
func TestConstantMemory(t *testing.T) {
	const size = 50 << 20
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if n != size || err != nil {
			t.Errorf("%d bytes arrived: %v", n, err)
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.Copy(w, zeros(size))
	}))
	defer upstream.Close()
	f := startFront(t, upstream.URL, nil, patience, patience)
	eachProtocol(t, func(t *testing.T, http2 bool) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		res, err := f.client(http2).Post(f.server.URL+zonesPath, "application/json", zeros(size))
		must.OK(t, err)
		n, err := io.CopyN(io.Discard, res.Body, size/2)
		must.OK(t, err)
		runtime.ReadMemStats(&after)
		rest, err := io.Copy(io.Discard, res.Body)
		must.OK(t, err)
		res.Body.Close()
		if n+rest != size {
			t.Errorf("%d bytes came back", n+rest)
		}
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 10<<20 {
			t.Errorf("the heap grew by %d bytes", grown)
		}
	})
}

// A client that waits for leave to send its body gets it, over a connection that is kept.
func TestExpectContinue(t *testing.T) {
	p := startPowerDNS(t)
	conn := p.proxy.dial(t)
	defer conn.Close()
	must.OK(t, conn.SetDeadline(time.Now().Add(patience)))
	in := bufio.NewReader(conn)
	for i := range 3 {
		body := fmt.Sprintf(`{"name":"z%d.example.","kind":"Native","nameservers":[]}`, i)
		_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", zonesPath, p.APIKey.Reveal(), len(body))
		must.OK(t, err)
		res, err := http.ReadResponse(in, nil)
		must.OK(t, err)
		if res.StatusCode != http.StatusContinue {
			t.Fatal(res.Status)
		}
		_, err = io.WriteString(conn, body)
		must.OK(t, err)
		res, err = http.ReadResponse(in, nil)
		must.OK(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		must.OK(t, err)
		if res.StatusCode != http.StatusCreated {
			t.Fatal(res.Status)
		}
		p.queue.want(t, fmt.Sprintf("create z%d.example.", i))
	}
}

// An answer that breaks off does so for the client, too.
func TestBrokenAnswer(t *testing.T) {
	for name, begin := range map[string]string{
		"length": "HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\nbegin",
		"chunks": "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, fakeServer(t, func(conn net.Conn) {
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, begin)
			}), nil, patience, patience)
			eachProtocol(t, func(t *testing.T, http2 bool) {
				res, err := f.client(http2).Get(f.server.URL)
				must.OK(t, err)
				defer res.Body.Close()
				if body, err := io.ReadAll(res.Body); err == nil {
					t.Errorf("took %q for the whole answer", body)
				}
				if err := <-f.failed; !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Error(err)
				}
			})
		})
	}
}

// Where no answer comes, the client is told, and what may have been written is touched: PowerDNS had the whole request.
func TestNoAnswer(t *testing.T) {
	swallow := func(conn net.Conn) { // and answer nothing
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}
	for name, test := range map[string]struct {
		serve   func(net.Conn)
		timeout time.Duration
		status  int
		text    string
	}{
		"closed at once":         {func(net.Conn) {}, patience, http.StatusServiceUnavailable, "before it had read the request"},
		"closed after the body":  {swallow, patience, http.StatusBadGateway, "PowerDNS does not answer"},
		"closed within the head": {func(conn net.Conn) { swallow(conn); _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConte") }, patience, http.StatusBadGateway, "PowerDNS does not answer"},
		"no HTTP":                {func(conn net.Conn) { swallow(conn); _, _ = io.WriteString(conn, "220 welcome\r\n\r\n") }, patience, http.StatusBadGateway, "PowerDNS does not answer"},
		"broken off": {func(conn net.Conn) {
			swallow(conn)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
		}, patience, http.StatusBadGateway, "PowerDNS does not answer"},
		"silent": {func(conn net.Conn) {
			swallow(conn)
			_, _ = conn.Read(make([]byte, 1)) // until it is closed
		}, 50 * time.Millisecond, http.StatusGatewayTimeout, "did not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, fakeServer(t, test.serve), nil, test.timeout, patience)
			for _, body := range []string{"{}", strings.Repeat("x", 3<<20)} {
				res, err := f.client(false).Post(f.server.URL+zonesPath, "application/json", strings.NewReader(body))
				must.OK(t, err)
				answer, err := io.ReadAll(res.Body)
				must.OK(t, err)
				res.Body.Close()
				if res.StatusCode != test.status || res.Header.Get("Content-Type") != "application/json" || !strings.HasPrefix(string(answer), `{"error":"`) || !strings.Contains(string(answer), test.text) {
					t.Errorf("%s %v %s", res.Status, res.Header, answer)
				}
				if name != "closed at once" {
					if status := <-f.written; status != test.status {
						t.Errorf("touched as %d", status)
					}
				}
				if len(f.written) > 0 {
					t.Errorf("touched as %d, with %d bytes of body", <-f.written, len(body))
				}
				if err := <-f.failed; errors.As(err, new(clientError)) {
					t.Errorf("the client is blamed: %v", err)
				}
			}
		})
	}
}

// A server that takes nothing more of a request is given up. It has not had all of it.
func TestDeafServer(t *testing.T) {
	done := make(chan struct{})
	f := startFront(t, fakeServer(t, func(net.Conn) { <-done }), nil, patience, 50*time.Millisecond)
	f.stall = patience // that of the client
	defer close(done)
	res, err := f.client(false).Post(f.server.URL+zonesPath, "application/json", zeros(30<<20))
	must.OK(t, err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusGatewayTimeout || len(f.written) > 0 {
		t.Errorf("%s, touched %d times", res.Status, len(f.written))
	}
}

// A body of the announced length is a whole one, even if the client is lost before it says so.
func TestWholeBodyThenLost(t *testing.T) {
	to, err := url.Parse(fakeServer(t, func(conn net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(conn, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
		}
	}))
	must.OK(t, err)
	for length, whole := range map[int64]bool{2: true, 3: false, -1: false} {
		r, err := http.NewRequest("POST", to.String(), io.MultiReader(strings.NewReader("{}"), iotest.ErrReader(errors.New("lost"))))
		must.OK(t, err)
		r.ContentLength = length
		res, err := newUpstream(to, nil, patience, patience).RoundTrip(r)
		if err == nil {
			res.Body.Close()
		}
		if (err == nil) != whole || !whole && !errors.As(err, new(clientError)) {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

// What could not be sent at all is not touched.
func TestNotReached(t *testing.T) {
	f := startFront(t, "http://127.0.0.1:1", nil, patience, patience)
	for _, test := range []struct {
		size   int64
		expect string
	}{{10, ""}, {30 << 20, ""}, {1000, "100-continue"}} { // the long one is taken in before the answer is read
		r, err := http.NewRequest("POST", f.server.URL+zonesPath, zeros(test.size))
		must.OK(t, err)
		r.Header.Set("Expect", test.expect)
		res, err := f.client(false).Do(r)
		must.OK(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		must.OK(t, err)
		res.Body.Close()
		if res.StatusCode != http.StatusBadGateway || len(f.written) > 0 {
			t.Errorf("%s, touched %d times", res.Status, len(f.written))
		}
	}
}

// PowerDNS takes up to ten connections that it has not accepted yet, and leaves the others unheard.
func TestBurstOfConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must.OK(t, err)
	raw, err := listener.(*net.TCPListener).SyscallConn()
	must.OK(t, err)
	must.OK(t, raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 10) }))
	must.OK(t, err)
	ready := make(chan struct{})
	slow := &slowListener{listener, ready, sync.OnceFunc(func() { close(ready) })}
	server := &httptest.Server{Listener: slow, Config: &http.Server{Handler: http.NotFoundHandler()}}
	server.Start()
	defer server.Close()
	defer slow.begin()
	for { // until nothing more is taken
		conn, err := net.DialTimeout("tcp", listener.Addr().String(), 100*time.Millisecond)
		if err != nil {
			break
		}
		defer conn.Close()
	}

	const clients = 50
	f := startFront(t, server.URL, nil, patience, patience)
	var dials atomic.Int32
	dial := f.upstream.dial
	f.upstream.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) == 2*clients { // all have knocked, and most of them again
			slow.begin()
		}
		return dial(ctx, network, address)
	}
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			res, err := f.client(true).Get(f.server.URL)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusNotFound {
				t.Error(res.Status)
			}
		})
	}
	wg.Wait()
	if len(f.failed) > 0 {
		t.Error(<-f.failed)
	}
}

// slowListener accepts nothing until it is ready.
type slowListener struct {
	net.Listener
	ready <-chan struct{}
	begin func()
}

func (l *slowListener) Accept() (net.Conn, error) {
	<-l.ready
	return l.Listener.Accept()
}

// Half a request is none: PowerDNS is not left waiting for the rest, nor is it an error of ours. Of a short one it sees
// nothing at all.
func TestHalfARequest(t *testing.T) {
	ends := make(chan error, 100)
	to := fakeServer(t, func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		ends <- err
	})
	const head = "POST " + zonesPath + " HTTP/1.1\r\nHost: x\r\n"
	for name, test := range map[string]struct {
		sent   string
		leave  bool
		stall  time.Duration
		status int
	}{
		"long, client left":      {head + "Content-Length: 100000\r\n\r\n{}", true, patience, 0},
		"long, client stopped":   {head + "Content-Length: 100000\r\n\r\n{}", false, 50 * time.Millisecond, http.StatusRequestTimeout},
		"long, chunks":           {head + "Transfer-Encoding: chunked\r\n\r\n11000\r\n" + strings.Repeat("x", 0x11000) + "\r\n", true, patience, 0},
		"client left":            {head + "Content-Length: 10\r\n\r\n{}", true, patience, 0},
		"client left, chunks":    {head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", true, patience, 0},
		"client stopped":         {head + "Content-Length: 10\r\n\r\n{}", false, 50 * time.Millisecond, http.StatusRequestTimeout},
		"client stopped, chunks": {head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", false, 50 * time.Millisecond, http.StatusRequestTimeout},
		"bad chunks":             {head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nx\r\n", false, patience, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, to, nil, patience, test.stall)
			conn := f.dial(t)
			defer conn.Close()
			_, err := io.WriteString(conn, test.sent)
			must.OK(t, err)
			if test.leave {
				must.OK(t, conn.Close())
			} else {
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				must.OK(t, err)
				if res.StatusCode != test.status {
					t.Error(res.Status)
				}
			}
			if strings.HasPrefix(name, "long") {
				if err := <-ends; err == nil {
					t.Error("PowerDNS saw a whole request")
				}
			}
			if err := <-f.failed; !errors.As(err, new(clientError)) {
				t.Errorf("the client is not blamed: %v", err)
			}
			if len(f.written) > 0 || len(ends) > 0 {
				t.Errorf("touched %d times, and PowerDNS saw %d more", len(f.written), len(ends))
			}
		})
	}
}

// A reader that leaves is not waited for, nor one that stops reading.
func TestReaderGone(t *testing.T) {
	for name, stop := range map[string]func(conn net.Conn){
		"left":    func(conn net.Conn) { conn.Close() },
		"stopped": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			f := startFront(t, fakeServer(t, func(conn net.Conn) {
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
				_, err := io.Copy(conn, zeros(1000000000))
				ended <- err
			}), nil, patience, 500*time.Millisecond)
			conn := f.dial(t)
			defer conn.Close()
			_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			must.OK(t, err)
			_, err = conn.Read(make([]byte, 1))
			must.OK(t, err)
			stop(conn)
			if err := <-ended; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("PowerDNS went on sending: %v", err)
			}
		})
	}
}

// An answer is waited for as long as the time-out says, however short the client may stall.
func TestSlowAnswer(t *testing.T) {
	f := startFront(t, fakeServer(t, func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		left := make(chan error, 1)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			left <- err
		}()
		select {
		case <-left:
			t.Error("the proxy left")
		case <-time.After(time.Second): // thrice the stall
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		_ = conn.(*net.TCPConn).CloseWrite()
		<-left
	}), nil, patience, 300*time.Millisecond)
	eachProtocol(t, func(t *testing.T, http2 bool) {
		for _, method := range []string{"GET", "PUT"} {
			r, err := http.NewRequest(method, f.server.URL+zonesPath+"/example.org.", strings.NewReader("{}"))
			must.OK(t, err)
			res, err := f.client(http2).Do(r)
			must.OK(t, err)
			res.Body.Close()
			if res.StatusCode != http.StatusNoContent {
				t.Errorf("%s: %s", method, res.Status)
			}
		}
	})
}

// An early answer goes out at once to a client that waits for it with the rest of its body.
func TestEarlyAnswerToAPause(t *testing.T) {
	f := startFront(t, fakeServer(t, func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!")
	}), nil, patience, patience)
	conn := f.dial(t)
	defer conn.Close()
	_, err := io.WriteString(conn, "POST "+zonesPath+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{")
	must.OK(t, err)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	must.OK(t, err)
	body, err := io.ReadAll(res.Body)
	must.OK(t, err)
	if res.StatusCode != http.StatusRequestEntityTooLarge || string(body) != "no!" {
		t.Errorf("%s %s", res.Status, body)
	}
	// The rest is still taken, and the connection is as good as new.
	_, err = io.WriteString(conn, strings.Repeat("x", 99_999)+"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	must.OK(t, err)
	res, err = http.ReadResponse(in, nil)
	must.OK(t, err)
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Error(res.Status)
	}
}

func TestUpstreamWithTLS(t *testing.T) {
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(bytes.ToUpper(body))
	}))
	upstream.EnableHTTP2 = true // it is not asked for
	upstream.Config.ErrorLog = log.New(io.Discard, "", 0)
	upstream.StartTLS()
	defer upstream.Close()
	roots := x509.NewCertPool()
	roots.AddCert(upstream.Certificate())
	for name, test := range map[string]struct {
		config *tls.Config
		status int
		body   string
	}{
		"trusted":    {&tls.Config{RootCAs: roots}, http.StatusAccepted, "HELLO"},
		"a stranger": {nil, http.StatusBadGateway, `{"error":"PowerDNS does not answer; see the log of pdns-distribute proxy"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, upstream.URL, test.config, patience, patience)
			res, err := f.client(false).Post(f.server.URL, "text/plain", strings.NewReader("hello"))
			must.OK(t, err)
			body, err := io.ReadAll(res.Body)
			must.OK(t, err)
			res.Body.Close()
			if res.StatusCode != test.status || string(body) != test.body {
				t.Errorf("%s %s", res.Status, body)
			}
		})
	}
}

// Whatever becomes of a request, nothing of it stays behind.
func TestNothingStaysBehind(t *testing.T) {
	var answer atomic.Value
	f := startFront(t, fakeServer(t, func(conn net.Conn) { _, _ = io.WriteString(conn, answer.Load().(string)) }), nil, patience, patience)
	client := f.client(false)
	round := func() {
		for _, text := range []string{
			"",
			"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\n",
		} {
			answer.Store(text)
			for _, body := range []io.Reader{strings.NewReader(`{"name":"example.org."}`), zeros(1 << 20), io.MultiReader(zeros(1<<20), iotest.ErrReader(errors.New("gone")))} {
				res, err := client.Post(f.server.URL+zonesPath, "application/json", body)
				if err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			}
		}
		client.CloseIdleConnections()
	}
	round()
	before := runtime.NumGoroutine()
	const rounds = 20
	for range rounds {
		round()
	}
	f.server.Close() // waits for its handlers
	if after := runtime.NumGoroutine(); after > before+rounds {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}
