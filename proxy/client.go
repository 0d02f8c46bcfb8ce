package proxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// What is still taken of a body that PowerDNS does not want to read: over HTTP/1.1 many clients read nothing before
// they have sent everything. One that pauses longer is waiting for the answer, and has it.
const (
	discardBytes    = 64 << 20
	discardPatience = 30 * time.Second
	discardPause    = 5 * time.Second
)

// client is where a request comes from. It must go on sending and reading.
type client struct {
	control *http.ResponseController
	stall   time.Duration // for which it may pause
	http2   bool          // where clients stop sending when they see an answer

	mu    sync.Mutex
	waits bool      // for leave to send the body
	ended bool      // the body
	end   time.Time // when the body must have ended, once nobody needs it any more
}

func newClient(w http.ResponseWriter, r *http.Request, stall time.Duration) *client {
	return &client{
		control: http.NewResponseController(w), stall: stall, http2: r.ProtoMajor > 1,
		waits: r.Header.Get("Expect") != "", ended: r.ContentLength == 0,
	}
}

type clientKey struct{}

// clientOf returns nil where a request has none.
func clientOf(ctx context.Context) *client {
	c, _ := ctx.Value(clientKey{}).(*client)
	return c
}

// expect gives the client its time for the next piece of the body.
func (c *client) expect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	now := time.Now()
	until := now.Add(c.stall)
	if !c.end.IsZero() {
		until = now.Add(min(c.stall, discardPause, c.end.Sub(now)))
	}
	_ = c.control.SetReadDeadline(until)
}

// hurry is called when nobody needs the rest of the body.
func (c *client) hurry() {
	if c == nil {
		return
	}
	c.mu.Lock()
	if c.end.IsZero() {
		c.end = time.Now()
		if !c.http2 && !c.waits {
			c.end = c.end.Add(discardPatience)
		}
	}
	c.mu.Unlock()
	c.expect()
}

func (c *client) bodyBegun() {
	c.mu.Lock()
	c.waits = false
	c.mu.Unlock()
	c.expect()
}

// bodyEnded leaves the connection without a deadline: now the client waits, for as long as PowerDNS takes.
func (c *client) bodyEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	_ = c.control.SetReadDeadline(time.Time{})
}

// sends is true where more of the body is to be expected.
func (c *client) sends() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.http2 && !c.waits && !c.ended
}

// finish gives the client its time for what of the answer goes out only when the request is done with: all of one
// without a body. The next request on the connection sets its own deadline before it writes.
func (c *client) finish() { _ = c.control.SetWriteDeadline(time.Now().Add(c.stall)) }

// discard takes what is left of the body, behind the answer.
func (c *client) discard(body io.Reader) {
	c.hurry()
	if c.sends() {
		_ = c.control.Flush()
		_, _ = io.CopyN(io.Discard, body, discardBytes)
	}
}

// clientBody is a request's body.
type clientBody struct {
	io.ReadCloser
	client *client
}

func (b *clientBody) Read(p []byte) (int, error) {
	b.client.bodyBegun()
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.client.bodyEnded()
	}
	return n, err
}

// clientWriter passes an answer on as it comes.
type clientWriter struct {
	http.ResponseWriter
	client *client
}

func (w *clientWriter) Write(p []byte) (int, error) {
	_ = w.client.control.SetWriteDeadline(time.Now().Add(w.client.stall))
	n, err := w.ResponseWriter.Write(p)
	if err != nil {
		return n, err
	}
	return n, w.client.control.Flush()
}

// Unwrap lets http.ResponseController reach the writer underneath.
func (w *clientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
