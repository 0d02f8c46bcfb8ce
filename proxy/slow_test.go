package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"pdns-distribute/powerdns/must"
	"strings"
	"testing"
	"time"
)

// impatient is a proxy with four places that waits half a second for everything. It tells the clients whose
// connections it ended.
func impatient(t *testing.T, upstream string) (_ *testProxy, closed <-chan string) {
	t.Helper()
	cfg := newConfig(t)
	cfg.MaxConnections, cfg.StallTimeout = 4, 500*time.Millisecond
	p, err := newProxy(cfg, upstream, &queue{})
	must.OK(t, err)
	p.trust()
	if d := p.server.IdleTimeout; d <= 0 || d > 5*time.Minute {
		t.Errorf("a connection may be idle for %s", d)
	}
	p.server.ReadHeaderTimeout, p.server.IdleTimeout = 500*time.Millisecond, 500*time.Millisecond
	ends := make(chan string, 100)
	p.accepted = make(chan struct{}, 100)
	p.server.ConnState = func(conn net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			select {
			case p.accepted <- struct{}{}:
			default: // nobody counts any more
			}
		case http.StateClosed:
			ends <- conn.RemoteAddr().String()
		}
	}
	p.run(t)
	return p, ends
}

// handshake leaves a connection behind its handshake.
func (p *testProxy) handshake(t *testing.T, protocol string) net.Conn {
	t.Helper()
	conn, err := p.secured(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
	must.OK(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Clients that hold all places, in every way there is, are ended, and another one is served.
func TestSlowClients(t *testing.T) {
	const (
		api     = "GET " + apiPath + "/zones/example.org. HTTP/1.1\r\nHost: a\r\n"
		preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	)
	upstream := fakeServer(t, func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		if r.URL.Path == "/endless" {
			_, _ = io.Copy(conn, zeroReader{})
		}
	})
	for what, c := range map[string]struct{ protocol, said string }{
		"no handshake":               {},
		"half a handshake":           {said: "\x16\x03\x01"},
		"plain HTTP without an end":  {said: "PATCH /"},
		"nothing":                    {"http/1.1", ""},
		"half a header":              {"http/1.1", "GET / HTTP/1.1\r\nHost: a\r\nX-"},
		"half a body":                {"http/1.1", "POST " + zonesPath + " HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{"},
		"half a body for the API":    {"http/1.1", api + "Content-Length: 1000\r\n\r\n{"},
		"a body for the API, and no": {"http/1.1", api + "Transfer-Encoding: chunked\r\n\r\n"},
		"nothing after a request":    {"http/1.1", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		"it reads no answer":         {"http/1.1", "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n"},
		"it reads no answers":        {"http/1.1", strings.Repeat("GET "+apiPath+" HTTP/1.1\r\nHost: a\r\n\r\n", 50_000)},
		"HTTP/2 without a request":   {"h2", preface},
		"HTTP/2, half a header":      {"h2", preface + "\x00\x00\x20\x01\x04\x00\x00\x00\x01\x82"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p, closed := impatient(t, upstream)
			held := map[string]bool{}
			for range 4 {
				conn, err := net.Dial("tcp", p.Addr().String())
				must.OK(t, err)
				defer conn.Close()
				must.OK(t, conn.SetDeadline(time.Now().Add(patience)))
				must.OK(t, conn.(*net.TCPConn).SetReadBuffer(4096))
				held[conn.LocalAddr().String()] = true
				go func() {
					to := conn
					if c.protocol != "" {
						to = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{c.protocol}})
					}
					_, _ = io.WriteString(to, c.said)
				}()
			}
			for range held { // one that makes room before it is accepted the server does not hear of
				<-p.accepted
			}
			good := &http.Client{Timeout: patience, Transport: &http.Transport{
				DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			}}
			getIn(t, good, "https://"+p.Addr().String()+"/")
			for late := time.After(patience); len(held) > 0; {
				select {
				case client := <-closed:
					delete(held, client)
				case <-late:
					t.Fatalf("%d slow connections are still open", len(held))
				}
			}
		})
	}
}

// getIn waits until the client is served. On a busy machine it may be too slow itself for half a second: then it comes
// again.
func getIn(t *testing.T, good *http.Client, url string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		res, err := good.Get(url)
		if err == nil {
			res.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a good client is kept out: ", err)
		}
	}
}

// A body may take as long as it likes as long as it goes on.
func TestSteadyClientIsServed(t *testing.T) {
	arrived := make(chan int64, 1)
	p, _ := impatient(t, fakeServer(t, func(conn net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		arrived <- n
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
	}))
	conn := p.handshake(t, "http/1.1")
	_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12000\r\n\r\n")
	must.OK(t, err)
	for range 12 { // each within the time for a piece, all together beyond every time-out
		time.Sleep(100 * time.Millisecond)
		_, err := conn.Write(bytes.Repeat([]byte("x"), 1000))
		must.OK(t, err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must.OK(t, err)
	if n := <-arrived; n != 12000 || res.StatusCode != http.StatusNoContent {
		t.Errorf("%d bytes arrived, answered %s", n, res.Status)
	}
}
