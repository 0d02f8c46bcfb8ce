package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/nats-io/nats.go"
)

// dialer connects by TLS and bounds what the broker may announce. nats.go v1.55 takes any size for true: it allocates
// what a broken-in broker says, and panics where that is more than there can be.
type dialer struct{ options nats.Options }

// bounded is an option that must come behind those for certificates.
func bounded(o *nats.Options) error {
	o.CustomDialer = &dialer{*o}
	o.SkipHostLookup = true // the name is needed to check the certificate; the dialer tries all of its addresses
	return nil
}

// SkipTLSHandshake returns true: connections come encrypted, and nats.go must not encrypt them again.
func (d *dialer) SkipTLSHandshake() bool { return true }

// Dial implements [nats.CustomDialer]. Certificates are read anew for each connection.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d.options.Timeout)
	defer cancel()
	config, err := d.config(address)
	if err != nil {
		return nil, err
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", nats.ErrTLS, err), raw.Close())
	}
	return &boundedConn{Conn: conn}, nil
}

func (d *dialer) config(address string) (*tls.Config, error) {
	config := d.options.TLSConfig.Clone()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	config.ServerName = host
	if d.options.RootCAsCB != nil {
		if config.RootCAs, err = d.options.RootCAsCB(); err != nil {
			return nil, err
		}
	}
	if d.options.TLSCertCB != nil {
		certificate, err := d.options.TLSCertCB()
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// boundedConn ends when the broker says what no broker of ours does.
type boundedConn struct {
	net.Conn
	frames frames
}

func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if wrong := c.frames.check(p[:n]); wrong != nil {
		return 0, errors.Join(wrong, c.Conn.Close())
	}
	return n, err
}

const (
	maxLine  = 256 << 10 // bytes of a line of the protocol; the longest is INFO, with the addresses of a cluster
	maxFrame = 8 << 20   // bytes of a message with its headers; ours have 640 KB, answers of JetStream more
)

var errFrame = errors.New("the broker does not keep to the protocol")

// frames follows what a NATS server sends, line by line and message by message. It takes only what nats-server writes,
// less than nats.go does: the two must never differ on where a message begins.
type frames struct {
	line    []byte // begun, and not ended yet
	payload int    // bytes of the message that are still to come
	ends    bool   // a message is over but for its end of line
}

// check looks at what came next.
func (f *frames) check(b []byte) error {
	for len(b) > 0 {
		if f.payload > 0 {
			n := min(f.payload, len(b))
			f.payload, b = f.payload-n, b[n:]
			continue
		}
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		if len(f.line)+len(line) > maxLine {
			return fmt.Errorf("%w: a line of more than %d bytes", errFrame, maxLine)
		}
		if !ended {
			f.line = append(f.line, line...)
			return nil
		}
		if len(f.line) > 0 {
			line = append(f.line, line...)
		}
		if err := f.end(line); err != nil {
			return err
		}
		f.line, b = f.line[:0], rest
	}
	return nil
}

// end takes a whole line.
func (f *frames) end(line []byte) error {
	line, ok := bytes.CutSuffix(line, []byte("\r"))
	if !ok || bytes.ContainsRune(line, '\r') {
		return fmt.Errorf("%w: a line ends otherwise", errFrame)
	}
	if f.ends {
		f.ends = false
		if len(line) > 0 {
			return fmt.Errorf("%w: a message is longer than was announced", errFrame)
		}
		return nil
	}
	kind, arguments, _ := bytes.Cut(line, []byte(" "))
	switch string(kind) {
	case "INFO", "PING", "PONG", "+OK", "-ERR":
		return nil
	case "MSG", "HMSG":
	default:
		return fmt.Errorf("%w: %.40q", errFrame, line)
	}
	sizes := bytes.Fields(arguments)
	if len(sizes) < 3 {
		return fmt.Errorf("%w: %.200q", errFrame, line)
	}
	size, err := strconv.ParseUint(string(sizes[len(sizes)-1]), 10, 31)
	if err != nil || size > maxFrame {
		return fmt.Errorf("%w: a message of %.40q bytes", errFrame, sizes[len(sizes)-1])
	}
	f.payload, f.ends = int(size), true
	return nil
}
