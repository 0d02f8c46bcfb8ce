package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// PowerDNS has room for ten connections that it has not accepted yet (4.7), and the kernel drops what comes when that
// is full. It tries again by itself after 1, 3 and 7 s; many clients at once would wait that long, and some of them in
// vain.
const (
	firstDial    = 250 * time.Millisecond // each further attempt may take twice as long
	dialPatience = 15 * time.Second       // in all
)

// upstream passes each request to PowerDNS over a connection of its own: PowerDNS closes it after the answer.
//
// http.Transport would not do. To a body of more than webserver-max-bodysize PowerDNS answers 400 as soon as it has
// read the header, and closes while the body is being sent; of the answer and the failed write that then race,
// Transport takes the write if it comes first.
type upstream struct {
	network string // "tcp" or "unix"
	address string // host:port, or the path of a socket
	secure  bool   // by TLS
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	timeout time.Duration // from the request's end to the answer's beginning
	stall   time.Duration // without progress in what goes either way
}

// newUpstream is for the server at u: http, https, or unix with the path of a socket. config is that of its TLS, if it
// has any; nil trusts the host's roots.
func newUpstream(u *url.URL, config *tls.Config, timeout, stall time.Duration) *upstream {
	up := &upstream{network: "tcp", dial: new(net.Dialer).DialContext, timeout: timeout, stall: stall}
	port := "80"
	switch u.Scheme {
	case "unix":
		up.network, up.address = u.Scheme, u.Path
		return up
	case "https":
		port, up.secure = "443", true
		up.dial = (&tls.Dialer{Config: config}).DialContext
	}
	if u.Port() != "" {
		port = u.Port()
	}
	up.address = net.JoinHostPort(u.Hostname(), port)
	return up
}

// host is what a request of the proxy's own names as its host.
func (u *upstream) host() string {
	if u.network == "unix" {
		return "localhost"
	}
	return u.address
}

// unreachedError: there was no connection, so nothing of the request reached PowerDNS.
type unreachedError struct{ error }

func (e unreachedError) Unwrap() error { return e.error }

// clientError: the request could not be read to its end, and PowerDNS did not get all of it either.
type clientError struct{ error }

func (e clientError) Unwrap() error { return e.error }

// unsentError: PowerDNS did not take all of the request. It acts on whole ones only (4.7.3: it hangs up or answers
// 400).
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// droppedError: PowerDNS hung up before it had read the request, as it does with more connections than it takes
// (webserver-max-concurrent-connections, 5.1).
type droppedError struct{ error }

func (e droppedError) Unwrap() error { return e.error }

// RoundTrip returns when the answer begins, which may be before the request's end. What is left is not sent then, and
// who called may read on in the request's body once the answer's is closed. A request with a ticket waits for its
// place first.
func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	leave, err := enterLane(r.Context())
	if err != nil {
		return nil, unreachedError{err}
	}
	conn, err := u.connect(r.Context())
	if err != nil {
		leave()
		return nil, unreachedError{err}
	}
	x := &exchange{Conn: conn, upstream: u, ctx: r.Context(), leave: sync.OnceFunc(leave), sent: make(chan struct{})}
	x.stay = context.AfterFunc(x.ctx, func() { conn.Close() })
	go x.send(r)
	res, err := x.receive(r)
	x.stopSending()
	if err == nil {
		if res.StatusCode >= 500 {
			<-x.sent // it matters whether PowerDNS had all of the request
		}
		res.Body = &answerBody{res.Body, x}
		return res, nil
	}
	<-x.sent
	err = x.failure(r, err)
	x.end()
	return nil, err
}

// failure says why there is no answer. The connection is open still.
func (x *exchange) failure(r *http.Request, err error) error {
	switch {
	case errors.Is(x.ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer from %s: %w", x.upstream.address, os.ErrDeadlineExceeded)
	case x.ctx.Err() != nil:
		return clientError{x.ctx.Err()}
	case x.unread != nil:
		return clientError{x.unread}
	}
	err = fmt.Errorf("no answer from %s: %w", x.upstream.address, err)
	reset := isReset(err) || isReset(x.cut) || wasReset(x.Conn)
	switch {
	case !x.begun && !x.whole && (reset || errors.Is(err, io.EOF)):
		return droppedError{err}
	case !x.begun && r.ContentLength >= 0 && x.near() && reset: // of chunks the last one says nothing
		return droppedError{err}
	case !x.whole:
		return unsentError{err}
	}
	return err
}

// near reports whether PowerDNS itself is at the other end, on this host: else what lies between may reset connections.
func (x *exchange) near() bool {
	at, err := netip.ParseAddrPort(x.RemoteAddr().String())
	return !x.upstream.secure && (x.upstream.network == "unix" || err == nil && at.Addr().IsLoopback())
}

// isReset reports whether the other end closed the connection with something unread, which its host says by a reset
// (RFC 1122 §4.2.2.13).
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// wasReset is isReset where the other end closed before anything came: reading shows the end then, and the reset is
// kept apart (Linux).
func wasReset(conn net.Conn) bool {
	c, is := conn.(syscall.Conn)
	if !is {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	code := 0
	_ = raw.Control(func(fd uintptr) { // fails where the connection is closed by now: then nothing is known
		code, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
	})
	return code != 0 && isReset(syscall.Errno(code))
}

// connect knocks again where nobody answers. A refusal is an answer.
func (u *upstream) connect(ctx context.Context) (conn net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	for patience := firstDial; ; patience *= 2 {
		attempt, cancel := context.WithTimeout(ctx, patience)
		conn, err = u.dial(attempt, u.network, u.address)
		cancel()
		var failed net.Error
		if unheard := errors.As(err, &failed) && failed.Timeout(); !unheard || ctx.Err() != nil {
			return conn, err
		}
	}
}

// exchange is one request and its answer.
type exchange struct {
	net.Conn
	upstream *upstream
	ctx      context.Context
	stay     func() bool   // keeps the connection when ctx ends
	leave    func()        // gives back the place, once
	begun    bool          // something of the answer came
	sent     chan struct{} // closed when nothing is read from the client any more

	mu   sync.Mutex
	over bool // PowerDNS has answered, or never will

	// Once sent is closed:
	unread error // of the request's body
	whole  bool  // PowerDNS was sent all of the request
	cut    error // of what was written to PowerDNS
}

// send writes the request. From then on the answer must begin within the time-out.
func (x *exchange) send(r *http.Request) {
	defer close(x.sent)
	err := writeRequest(x, r)
	x.whole = err == nil
	var deaf deafError
	if errors.As(err, &deaf) {
		x.cut = deaf
	}
	switch {
	case x.isOver() || errors.As(err, &deaf): // then the answer is there, or will not come
	case err != nil:
		x.unread = err
		x.Close() // PowerDNS must not wait for the rest
	default:
		_ = x.SetReadDeadline(time.Now().Add(x.upstream.timeout))
	}
}

// deafError: PowerDNS takes no more of the request.
type deafError struct{ error }

var errOver = deafError{errors.New("PowerDNS takes no more of this request")}

// Write passes a piece of the request to PowerDNS.
func (x *exchange) Write(p []byte) (int, error) {
	if !x.maySend() {
		return 0, errOver
	}
	n, err := x.Conn.Write(p)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = x.SetReadDeadline(time.Now()) // it neither reads nor answers
	}
	return n, deafError{err}
}

func (x *exchange) maySend() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.over {
		_ = x.SetWriteDeadline(time.Now().Add(x.upstream.stall))
	}
	return !x.over
}

func (x *exchange) isOver() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.over
}

// stopSending is called when PowerDNS has answered, or will not any more.
func (x *exchange) stopSending() {
	x.mu.Lock()
	x.over = true
	_ = x.SetWriteDeadline(time.Now())
	x.mu.Unlock()
	clientOf(x.ctx).hurry()
}

// end closes the connection and waits for the sender.
func (x *exchange) end() {
	x.stay()
	_ = x.Close()
	<-x.sent
	x.leave()
}

// receive reads the answer up to its body. Interim ones (1xx) are not for the client: it has sent its body already.
func (x *exchange) receive(r *http.Request) (*http.Response, error) {
	in := bufio.NewReader(x)
	if _, err := in.Peek(1); err != nil {
		return nil, err
	}
	x.begun = true
	for {
		res, err := http.ReadResponse(in, r)
		if err != nil || res.StatusCode >= 200 {
			return res, err
		}
	}
}

// answerBody is the answer's body. It must be read without long pauses.
type answerBody struct {
	io.Reader
	exchange *exchange
}

func (b *answerBody) Read(p []byte) (int, error) {
	_ = b.exchange.SetReadDeadline(time.Now().Add(b.exchange.upstream.stall))
	n, err := b.Reader.Read(p)
	if err != nil && b.exchange.ctx.Err() != nil {
		err = clientError{b.exchange.ctx.Err()} // that is why the connection is closed
	}
	return n, err
}

func (b *answerBody) Close() error {
	b.exchange.end()
	return nil
}

// writeRequest writes r as the client sent it, which http.Request.Write does not: it writes paths and queries in its
// own spelling, and headers that were not there.
func writeRequest(w io.Writer, r *http.Request) error {
	chunked := r.Body != nil && r.ContentLength < 0
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", r.Method, target(r), r.Host)
	switch {
	case chunked:
		head.WriteString("Transfer-Encoding: chunked\r\n")
	case r.ContentLength > 0 || r.Header["Content-Length"] != nil:
		fmt.Fprintf(&head, "Content-Length: %d\r\n", max(0, r.ContentLength))
	}
	_ = r.Header.WriteSubset(&head, unsent(r.Header)) // a buffer takes everything
	head.WriteString("\r\n")
	if _, err := head.WriteTo(w); err != nil || r.Body == nil {
		return err
	}
	if !chunked {
		n, err := io.Copy(w, r.Body)
		if n == r.ContentLength {
			return nil // PowerDNS has all of it, whatever else became of the client
		}
		return cmp.Or(err, io.ErrUnexpectedEOF)
	}
	chunks := httputil.NewChunkedWriter(w)
	if _, err := io.Copy(chunks, r.Body); err != nil {
		return err // without the last chunk: this is no complete request
	}
	if err := chunks.Close(); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\r\n")
	return err
}

func unsent(h http.Header) map[string]bool {
	return map[string]bool{
		"Content-Length": true,                      // written above
		"User-Agent":     h.Get("User-Agent") == "", // how ReverseProxy says that there was none
	}
}

// target is the request's target as sent. One with scheme and host goes without them (RFC 9112 §3.2.1), as net/url
// understood it and withTouch with it: PowerDNS understands some of these otherwise. Over HTTP/2 a space may be in it,
// where PowerDNS would take the target to end.
func target(r *http.Request) string {
	t := r.RequestURI
	if !strings.HasPrefix(t, "/") && r.Method != http.MethodConnect {
		t = r.URL.RequestURI()
	}
	return strings.ReplaceAll(t, " ", "%20")
}
