package broker_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"pdns-distribute/powerdns/must"
	"testing"
	"time"
)

// TestBrokerUnderSlowClients holds connections to the broker in every way that comes before the credentials. A node
// connects beside them, and they are ended.
func TestBrokerUnderSlowClients(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	b, _ := start(t)
	u, err := url.Parse(b.URL())
	must.OK(t, err)
	var held []net.Conn
	for range 20 {
		for _, said := range []string{"", "\x16\x03\x01", "PUB a 1", "TLS"} {
			conn, err := net.Dial("tcp", u.Host)
			must.OK(t, err)
			defer conn.Close()
			must.OK(t, conn.SetDeadline(time.Now().Add(patience)))
			if said == "TLS" { // and no credentials behind it
				secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				must.OK(t, secured.Handshake())
				conn = secured
			} else if _, err := io.WriteString(conn, said); err != nil {
				t.Fatal(err)
			}
			held = append(held, conn)
		}
	}
	late := b.Connect("sec1")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must.OK(t, late.Wait(ctx))
	must.OK(t, late.PublishStatus(ctx, []byte("here")))
	for _, conn := range held {
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a slow connection is still open")
		}
	}
}
