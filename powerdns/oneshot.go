package powerdns

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
)

// oneShot makes a connection for each request, in the goroutine of who asks: PowerDNS closes it after the answer.
// [http.Transport] has three goroutines for that, each of which is to be woken.
type oneShot struct{ endpoint Endpoint }

// RoundTrip implements [http.RoundTripper]. Whoever closes the answer's body closes the connection.
func (o oneShot) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	conn, err := o.endpoint.Dial(ctx)
	if err != nil {
		return nil, err
	}
	stay := context.AfterFunc(ctx, func() { conn.Close() })
	resp, err := exchange(conn, r)
	if err != nil {
		stay()
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	resp.Body = &lastBody{resp.Body, conn, stay}
	return resp, nil
}

// exchange sends the request and reads the answer up to its body. A request that PowerDNS does not read to its end may
// have an answer.
func exchange(conn net.Conn, r *http.Request) (*http.Response, error) {
	last := *r
	last.Close = true
	to := bufio.NewWriter(conn)
	sending := last.Write(to)
	if sending == nil {
		sending = to.Flush()
	}
	from := bufio.NewReader(conn)
	resp, err := http.ReadResponse(from, r)
	for err == nil && resp.StatusCode < http.StatusOK { // of the protocol, and no answer yet
		resp, err = http.ReadResponse(from, r)
	}
	if err != nil && sending != nil {
		err = sending
	}
	return resp, err
}

// lastBody is the body of the only answer on a connection.
type lastBody struct {
	io.Reader
	conn net.Conn
	stay func() bool
}

func (b *lastBody) Close() error {
	b.stay()
	return b.conn.Close()
}
