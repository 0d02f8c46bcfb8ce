package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"pdns-distribute/private"
)

const (
	// lifetime of the pair that the proxy makes itself: the longest that today's clients accept.
	lifetime = 825 * 24 * time.Hour

	// renewal is how long before its end the proxy's own pair is replaced.
	renewal = 30 * 24 * time.Hour
)

// certificates is what the listener shows to its clients, and what it asks of them, kept as the files are. A file that
// is no good changes nothing: what was taken last stays.
type certificates struct {
	cfg      Config
	now      func() time.Time
	interval time.Duration
	log      zerolog.Logger

	pair      atomic.Pointer[tls.Certificate]
	clientCAs atomic.Pointer[x509.CertPool]
	warned    bool // that the pair has ended
}

func newCertificates(cfg Config, log zerolog.Logger) (*certificates, error) {
	c := &certificates{cfg: cfg, now: time.Now, interval: lookInterval, log: log}
	return c, c.look()
}

// watch looks at the files until ctx ends.
func (c *certificates) watch(ctx context.Context) error {
	return keepLooking(ctx, c.interval, c.look, func(err error) {
		c.log.Error().Err(err).Msg("certificate files cannot be used, keeping the former ones")
	})
}

// look takes the pair and the client CAs each by itself: a broken pair does not keep a CA that was removed.
func (c *certificates) look() error {
	return errors.Join(c.lookAtPair(), c.lookAtClientCAs())
}

func (c *certificates) lookAtPair() error {
	pair, err := c.loadPair()
	if err != nil {
		return err
	}
	if old := c.pair.Load(); old == nil || !slices.EqualFunc(old.Certificate, pair.Certificate, bytes.Equal) {
		c.pair.Store(&pair)
		c.warned = false
		c.log.Info().Stringer("serial", pair.Leaf.SerialNumber).Time("not_after", pair.Leaf.NotAfter).
			Msg("new certificate in use")
	}
	if !c.warned && c.now().After(pair.Leaf.NotAfter) {
		c.warned = true
		c.log.Warn().Time("not_after", pair.Leaf.NotAfter).
			Msg("certificate has expired and clients refuse it, renew proxy.tls_cert")
	}
	return nil
}

func (c *certificates) lookAtClientCAs() error {
	if c.cfg.ClientCA == "" {
		return nil
	}
	pool, err := readCAs(c.cfg.ClientCA)
	if err != nil {
		return fmt.Errorf("proxy.client_ca: %w", err)
	}
	if old := c.clientCAs.Load(); !pool.Equal(old) {
		c.clientCAs.Store(pool)
		c.log.Info().Str("file", c.cfg.ClientCA).Msg("new client CA certificates in use")
	}
	return nil
}

// config is for the listener. Each handshake gets what was taken last; connections that are there already stay.
func (c *certificates) config() *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all good
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
	if c.cfg.ClientCA == "" {
		return config
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	checked := config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := checked.Clone()
		now.ClientCAs = c.clientCAs.Load()
		return now, nil
	}
	return config
}

func (c *certificates) metric() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_proxy_certificate_expiry_timestamp_seconds",
		Help: "When the certificate that clients are shown ends.",
	}, func() float64 { return float64(c.pair.Load().Leaf.NotAfter.Unix()) })
}

func (c *certificates) loadPair() (tls.Certificate, error) {
	if c.cfg.TLSCert == "" {
		return c.ownPair()
	}
	return givenPair(c.cfg.TLSCert, c.cfg.TLSKey)
}

// Certificate returns what the proxy shows to its clients, without making it: fs.ErrNotExist while its own pair is yet
// to be made.
func (c Config) Certificate() (*x509.Certificate, error) {
	load, certFile, keyFile := givenPair, c.TLSCert, c.TLSKey
	if certFile == "" {
		load = keptPair
		certFile, keyFile = c.ownFiles()
	}
	pair, err := load(certFile, keyFile)
	return pair.Leaf, err
}

// ownFiles are the certificate and key that the proxy makes itself.
func (c Config) ownFiles() (cert, key string) {
	return filepath.Join(c.StateDir, "proxy.crt"), filepath.Join(c.StateDir, "proxy.key")
}

func givenPair(certFile, keyFile string) (none tls.Certificate, err error) {
	cert, err := readPEM(certFile, private.ReadPublic)
	if err != nil {
		return none, fmt.Errorf("proxy.tls_cert: %w", err)
	}
	key, err := readPEM(keyFile, private.Read)
	if err != nil {
		return none, fmt.Errorf("proxy.tls_key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return none, fmt.Errorf("proxy.tls_cert, proxy.tls_key: %s and %s make no pair: %w", certFile, keyFile, err)
	}
	return pair, nil
}

// keptPair reads the proxy's own pair, which others can neither read nor write.
func keptPair(certFile, keyFile string) (none tls.Certificate, err error) {
	if err := private.Check(keyFile); err != nil {
		const remove = "or remove it to have a new pair made, if others may have read it"
		return none, fmt.Errorf("the proxy's own key: %w; %s", err, remove)
	}
	if err := private.CheckPublic(certFile); err != nil {
		return none, fmt.Errorf("the proxy's own certificate: %w", err)
	}
	return tls.LoadX509KeyPair(certFile, keyFile)
}

func isOpen(err error) bool {
	_, is := errors.AsType[*private.Fault](err)
	return is
}

// readPEM refuses a file that is still being written: crypto/tls takes as many blocks as there are and no offence.
func readPEM(file string, read func(string) ([]byte, error)) ([]byte, error) {
	text, err := read(file)
	if err != nil {
		return nil, err
	}
	if len(pemBlocks(text)) != bytes.Count(text, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("%s is cut off or damaged: a PEM block in it has no proper end", file)
	}
	return text, nil
}

func pemBlocks(text []byte) (blocks []*pem.Block) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
	}
	return blocks
}

func readCAs(file string) (*x509.CertPool, error) {
	text, err := readPEM(file, private.ReadPublic)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, block := range pemBlocks(text) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s holds a %s; leave only the CA certificates in it", file, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		pool.AddCert(cert)
	}
	if pool.Equal(x509.NewCertPool()) {
		return nil, fmt.Errorf("%s holds no certificate (PEM)", file)
	}
	return pool, nil
}

// ownPair returns the pair kept in the state folder. It is made first when there is none, or none that will do.
func (c *certificates) ownPair() (tls.Certificate, error) {
	if err := private.CheckState(c.cfg.StateDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, fmt.Errorf("proxy.state_dir: %w", err)
	}
	certFile, keyFile := c.cfg.ownFiles()
	pair, err := keptPair(certFile, keyFile)
	reason := "there was none"
	switch {
	case err == nil:
		if reason = c.outdated(pair.Leaf); reason == "" {
			return pair, nil
		}
	case isOpen(err):
		return pair, err
	case !errors.Is(err, fs.ErrNotExist):
		return pair, fmt.Errorf("the proxy's own certificate in %s cannot be read; remove proxy.crt and proxy.key there to have it made anew: %w", c.cfg.StateDir, err)
	}
	if err := writePair(certFile, keyFile, c.cfg.Names, c.now()); err != nil {
		return pair, fmt.Errorf("make the proxy's own certificate: %w; proxy.state_dir must be writable", err)
	}
	c.log.Info().Str("file", certFile).Str("reason", reason).
		Msg("created a certificate, clients that trust the former file need this one")
	return tls.LoadX509KeyPair(certFile, keyFile)
}

// outdated says why the proxy's own certificate will not do any more, nothing if it does.
func (c *certificates) outdated(cert *x509.Certificate) string {
	if !c.now().Before(cert.NotAfter.Add(-renewal)) {
		return "the former one ends on " + cert.NotAfter.Format(time.DateOnly)
	}
	for _, name := range c.cfg.Names {
		if !holds(cert, name) {
			return "the former one lacks " + name
		}
	}
	return ""
}

// holds compares names, where VerifyHostname would match them: "*.example.net" is a name here.
func holds(cert *x509.Certificate, name string) bool {
	if ip := net.ParseIP(name); ip != nil {
		return slices.ContainsFunc(cert.IPAddresses, ip.Equal)
	}
	return slices.ContainsFunc(cert.DNSNames, func(held string) bool { return strings.EqualFold(held, name) })
}

// writePair makes a new key each time. A client that was given the former certificate must be given this one whatever
// its key is, for it is signed by itself; so keeping the key would serve no one but those who might have got hold of
// it.
func writePair(certFile, keyFile string, names []string, now time.Time) error {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "pdns-distribute proxy"},
		NotBefore:   now.Add(-time.Hour), // clients' clocks may be behind
		NotAfter:    now.Add(lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	pair, err := private.NewPair(template, append(hostNames(), names...), nil)
	if err != nil {
		return err
	}
	if err := private.Folder(filepath.Dir(certFile)); err != nil {
		return err
	}
	newCert, newKey := certFile+".new", keyFile+".new"
	if err := errors.Join(writeSecret(newCert, pair.Cert), writeSecret(newKey, pair.Key)); err != nil {
		return err // the former pair is still there
	}
	// What a crash leaves from here on has no key, and is made anew.
	if err := os.Remove(keyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(newCert, certFile); err != nil {
		return err
	}
	return os.Rename(newKey, keyFile)
}

func writeSecret(file string, text []byte) error {
	if err := private.Tighten(file); err != nil { // what a crash left
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// hostNames are the names and addresses that clients on this host and beside it use.
func hostNames() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil && host != "localhost" {
		names = append(names, host)
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && !ip.IP.IsLinkLocalUnicast() {
			names = append(names, ip.IP.String())
		}
	}
	return names
}

// httpsOnly answers clients that speak plain HTTP. net/http does so too, but not where the method is PATCH or DELETE.
type httpsOnly struct{ net.Listener }

func (l httpsOnly) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &httpsConn{Conn: conn}, nil
}

type httpsConn struct {
	net.Conn
	begun bool
}

var errPlainHTTP = errors.New("the client speaks plain HTTP")

// Read is called by the handshake first. TLS begins with a control character, a request with its method.
func (c *httpsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.begun || n == 0 {
		return n, err
	}
	c.begun = true
	if b[0] < 'A' || 'Z' < b[0] {
		return n, err
	}
	return 0, c.refusePlain()
}

// refusePlain reads what the client still sends: closing before would look to it like a broken connection, and not
// what is wrong. The deadline of the handshake ends that.
func (c *httpsConn) refusePlain() error {
	const body = `{"error":"this port speaks HTTPS only; write https:// into the client's URL"}` + "\n"
	_, err := fmt.Fprintf(c.Conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c.Conn)
	}
	return errPlainHTTP
}
