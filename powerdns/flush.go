package powerdns

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Flush is a call that has PowerDNS drop what its packet and query caches hold for a name and for all names below it.
// All but its last byte is sent when it is prepared: to take a connection and to read a call takes PowerDNS longer than
// to flush. It waits 5 s for the rest (webserver, 4.7 to 5.1). What PowerDNS caches of how a zone is signed stays
// (zone-metadata-cache-ttl). It is no one of the client's connections (Config.Connections): whoever holds it may need
// those for what is to come before. It is for one goroutine.
type Flush struct {
	what    string
	conn    net.Conn
	req     *http.Request
	last    []byte
	timeout time.Duration
	close   func()
}

// PrepareFlush sends all but the end of the call. Whoever has it closes it.
func (c *Client) PrepareFlush(ctx context.Context, n zone.Name) (*Flush, error) {
	f := &Flush{what: fmt.Sprintf("flush caches of %q at %s", n, c.where()), timeout: c.timeout}
	if err := c.prepare(ctx, f, n); err != nil {
		return nil, fmt.Errorf("%s: %w", f.what, unanswered(ctx, err))
	}
	return f, nil
}

func (c *Client) prepare(ctx context.Context, f *Flush, n zone.Name) (err error) {
	dialing, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	f.req, err = c.request(ctx, call{method: http.MethodPut, path: "/cache/flush?domain=" + url.QueryEscape(n.String())})
	if err != nil {
		return err
	}
	f.req.Close = true
	f.req.Body, f.req.ContentLength = io.NopCloser(strings.NewReader(" ")), 1 // a space is nothing to PowerDNS
	var text bytes.Buffer
	if err = f.req.Write(&text); err != nil {
		return err
	}
	if f.conn, err = c.dial(dialing); err != nil {
		return err
	}
	begun := text.Len() - 1
	f.last = text.Bytes()[begun:]
	f.conn.SetDeadline(time.Now().Add(c.timeout))
	if _, err = f.conn.Write(text.Bytes()[:begun]); err != nil {
		f.conn.Close()
		return err
	}
	stop := context.AfterFunc(ctx, func() { f.conn.Close() })
	f.close = func() {
		stop()
		f.conn.Close()
	}
	return nil
}

// dial connects as the client's transport does.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	conn, err := c.endpoint.Dial(ctx)
	if err != nil || !c.endpoint.Secure() {
		return conn, err
	}
	config := c.tls.Clone()
	config.ServerName = c.endpoint.url.Hostname()
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// Do sends the end of the call, and returns when PowerDNS has flushed its caches.
func (f *Flush) Do() error {
	f.conn.SetDeadline(time.Now().Add(f.timeout))
	if _, err := f.conn.Write(f.last); err != nil {
		return fmt.Errorf("%s: %w", f.what, unanswered(f.req.Context(), err))
	}
	resp, err := http.ReadResponse(bufio.NewReader(f.conn), f.req)
	if err != nil {
		return fmt.Errorf("%s: %w", f.what, unanswered(f.req.Context(), err))
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %w", f.what, refusal(resp))
	}
	return nil
}

// Close ends the connection. A call that was not done flushes nothing.
func (f *Flush) Close() { f.close() }
