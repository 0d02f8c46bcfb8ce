package observe

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"pdns-distribute/private"
)

// maxAnswer is more than a role answers.
const maxAnswer = 4 << 20

// Ask asks the listener of a role on this host, whose configuration this is, as the role's own user can: with the
// password if there is one, and over TLS for its own certificate, whatever names that has.
func (c Config) Ask(ctx context.Context, path string) (answer []byte, code int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(path), nil)
	if err != nil {
		return nil, 0, err
	}
	if c.PasswordFile != "" {
		password, err := private.Read(c.PasswordFile)
		if err != nil && path != alivePath {
			return nil, 0, fmt.Errorf("observe.password_file: %w", err)
		}
		req.SetBasicAuth("pdns-distribute", string(bytes.TrimRight(password, "\r\n")))
	}
	transport := &http.Transport{DisableKeepAlives: true} // no proxy of the environment
	if c.TLS() {
		if transport.TLSClientConfig, err = c.own(); err != nil {
			return nil, 0, err
		}
	}
	client := http.Client{Transport: transport}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return answer, resp.StatusCode, err
}

// url is where a path is asked for on this host: at loopback where the listener is on all addresses.
func (c Config) url(path string) string {
	scheme, address := "http", c.Listen
	if c.TLS() {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		address = net.JoinHostPort("localhost", port)
	}
	return scheme + "://" + address + path
}

// own takes the certificate in the configured file, and no other one.
func (c Config) own() (*tls.Config, error) {
	text, err := private.ReadPublic(c.TLSCertFile)
	if err != nil {
		return nil, fmt.Errorf("observe.tls_cert_file: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("observe.tls_cert_file: %s has no certificate (PEM)", c.TLSCertFile)
	}
	return &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // names do not count: it has to be the very certificate
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, block.Bytes) {
				return errors.New("another certificate than that of observe.tls_cert_file is shown")
			}
			return nil
		},
	}, nil
}
