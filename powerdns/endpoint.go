package powerdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
)

// Endpoint is where a web server is reached: over TCP, with or without TLS, or over a Unix socket of this host, where
// PowerDNS listens if webserver-address is a path (5.0 and later).
type Endpoint struct {
	url    *url.URL // of TCP
	socket string   // path; "" for TCP
}

const socketScheme = "unix:"

// ParseEndpoint reads a URL such as http://127.0.0.1:8081 or unix:/run/pdns/api.sock.
func ParseEndpoint(s string) (Endpoint, error) {
	if path, is := strings.CutPrefix(s, socketScheme); is {
		path = "/" + strings.TrimLeft(path, "/") // unix:///run and unix:/run are the same
		if path == "/" || filepath.Clean(path) != path {
			return Endpoint{}, fmt.Errorf("%q does not name a socket: write unix: and its path, such as unix:/run/pdns/api.sock", s)
		}
		return Endpoint{socket: path}, nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return Endpoint{}, err
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return Endpoint{}, fmt.Errorf("%q is not a URL like http://127.0.0.1:8081 or unix:/run/pdns/api.sock", s)
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return Endpoint{}, errors.New("give scheme, host and port only (the key goes into powerdns.api_key_file)")
	}
	return Endpoint{url: u}, nil
}

// String returns what ParseEndpoint reads.
func (e Endpoint) String() string {
	if e.socket != "" {
		return socketScheme + e.socket
	}
	return strings.TrimRight(e.url.String(), "/")
}

// Secure reports whether the web server is spoken to by TLS.
func (e Endpoint) Secure() bool { return e.url != nil && e.url.Scheme == "https" }

// Socket returns the path of the Unix socket, "" for TCP.
func (e Endpoint) Socket() string { return e.socket }

// base is the URL that requests are made with. The host of a socket is what PowerDNS ignores.
func (e Endpoint) base() string {
	if e.socket != "" {
		return "http://localhost"
	}
	return e.String()
}

// Hostname returns the host's name or address, "" for a socket.
func (e Endpoint) Hostname() string {
	if e.socket != "" {
		return ""
	}
	return e.url.Hostname()
}

// Dial connects, without TLS. Whoever dials bounds how long the other end may be silent.
func (e Endpoint) Dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1}
	if e.socket != "" {
		return dialer.DialContext(ctx, "unix", e.socket)
	}
	port := e.url.Port()
	switch {
	case port != "":
	case e.Secure():
		port = "443"
	default:
		port = "80"
	}
	return dialer.DialContext(ctx, "tcp", net.JoinHostPort(e.url.Hostname(), port))
}
