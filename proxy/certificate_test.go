package proxy

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"pdns-distribute/powerdns/must"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

const (
	shownAnew  = "new certificate in use"
	casAnew    = "new client CA certificates in use"
	stayAsWere = "certificate files cannot be used, keeping the former ones"
)

// day is what the clock of the certificates moves by.
const day = 24 * time.Hour

// nowhere is where no PowerDNS is: requests are answered 502, which is enough to see that a connection is good.
const nowhere = "http://127.0.0.1:1"

// lines is a log that can be waited for.
type lines struct {
	more chan string
	seen []string
}

func newLines() *lines { return &lines{more: make(chan string, 1000)} }

func (l *lines) Write(line []byte) (int, error) {
	l.more <- string(line)
	return len(line), nil
}

func (l *lines) await(t *testing.T, parts ...string) {
	t.Helper()
	end := time.After(patience)
	for {
		select {
		case line := <-l.more:
			l.seen = append(l.seen, line)
			if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
				return
			}
		case <-end:
			t.Fatalf("waited in vain for %q, seen are %q", parts, l.seen)
		}
	}
}

// count is of the lines seen so far.
func (l *lines) count(part string) (n int) {
	for len(l.more) > 0 {
		l.seen = append(l.seen, <-l.more)
	}
	for _, line := range l.seen {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// watched is a proxy that looks at its files all the time.
func watched(t *testing.T, cfg Config) (*testProxy, *lines) {
	t.Helper()
	p, err := newProxy(cfg, nowhere, &queue{})
	must.OK(t, err)
	log := newLines()
	p.certificates.interval, p.certificates.log = time.Millisecond, zerolog.New(log)
	return p, log
}

// connect is a handshake and a request: with TLS 1.3 a client is told only then that it was refused.
func (p *testProxy) connect(t *testing.T, config *tls.Config) (*tls.Conn, error) {
	t.Helper()
	config.InsecureSkipVerify = true // these tests look at the certificate themselves
	dialer := &net.Dialer{Timeout: patience}
	conn, err := tls.DialWithDialer(dialer, "tcp", p.Addr().String(), config)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, ask(conn)
}

// ask makes a request and leaves the connection open.
func ask(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

func (p *testProxy) shown(t *testing.T) *x509.Certificate {
	t.Helper()
	conn, err := p.connect(t, &tls.Config{})
	must.OK(t, err)
	return conn.ConnectionState().PeerCertificates[0]
}

func (p *testProxy) wantShown(t *testing.T, want *x509.Certificate) {
	t.Helper()
	if got := p.shown(t); !got.Equal(want) {
		t.Errorf("shown is the certificate %s that ends on %s, want %s on %s", got.SerialNumber, got.NotAfter, want.SerialNumber, want.NotAfter)
	}
}

func (p *testProxy) wantExpiry(t *testing.T, want time.Time) {
	t.Helper()
	families, err := p.registry.Gather()
	must.OK(t, err)
	for _, family := range families {
		if family.GetName() == "pdns_distribute_proxy_certificate_expiry_timestamp_seconds" {
			if got := family.GetMetric()[0].GetGauge().GetValue(); got != float64(want.Unix()) {
				t.Errorf("the metric is %f, want %d", got, want.Unix())
			}
			return
		}
	}
	t.Error("there is no metric")
}

// givenFiles is a configuration with a given pair, and the certificate of it.
func givenFiles(t *testing.T) (Config, *x509.Certificate) {
	t.Helper()
	cfg, dir := newConfig(t), t.TempDir()
	cfg.TLSCert, cfg.TLSKey = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	return cfg, makePair(t, cfg.TLSCert, cfg.TLSKey, time.Now())
}

func makePair(t *testing.T, certFile, keyFile string, now time.Time) *x509.Certificate {
	t.Helper()
	must.OK(t, writePair(certFile, keyFile, nil, now))
	return readCert(t, certFile)
}

func readCert(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(file)
	must.OK(t, err)
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	must.OK(t, err)
	return cert
}

// replace leaves no moment in which the file is half there.
func replace(t *testing.T, file string, text []byte) {
	t.Helper()
	must.OK(t, os.WriteFile(file+".tmp", text, 0o600))
	must.OK(t, os.Rename(file+".tmp", file))
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	must.OK(t, err)
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %04o, want %04o", path, got, want)
	}
}

func TestOwnPair(t *testing.T) {
	cfg := newConfig(t)
	cfg.StateDir = filepath.Join(cfg.StateDir, "proxy")
	cfg.Names = []string{"dns.example.net", "*.api.example.net", "192.0.2.53"}
	log := newLines()
	_, err := newCertificates(cfg, zerolog.New(log))
	must.OK(t, err)
	log.await(t, "created a certificate", `"info"`, "there was none")
	certFile := filepath.Join(cfg.StateDir, "proxy.crt")
	wantMode(t, cfg.StateDir, 0o700)
	wantMode(t, certFile, 0o600)
	wantMode(t, filepath.Join(cfg.StateDir, "proxy.key"), 0o600)

	first := readCert(t, certFile)
	for _, name := range []string{"dns.example.net", "v1.api.example.net", "192.0.2.53", "localhost", "127.0.0.1", "::1"} {
		if err := first.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if err := first.VerifyHostname("elsewhere.example.net"); err == nil {
		t.Error("the certificate is good for any name")
	}
	roots := x509.NewCertPool()
	roots.AddCert(first) // what clients are given as their CA file
	if _, err := first.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost", CurrentTime: time.Now().Add(824 * day)}); err != nil {
		t.Error(err)
	}

	p, err := newProxy(cfg, nowhere, &queue{})
	must.OK(t, err)
	p.run(t)
	p.wantShown(t, first) // not made anew by another start
	p.wantExpiry(t, first.NotAfter)
}

func TestOwnPairIsMadeAnew(t *testing.T) {
	for what, test := range map[string]struct {
		age    time.Duration
		spoil  func(dir string, cfg *Config)
		reason string
	}{
		"30 days left": {795 * day, nil, "the former one ends on "},
		"ended":        {900 * day, nil, "the former one ends on "},
		"31 days left": {794 * day, nil, ""},
		"name added":   {0, func(_ string, cfg *Config) { cfg.Names = append(cfg.Names, "new.example.net") }, "the former one lacks new.example.net"},
		"IP added":     {0, func(_ string, cfg *Config) { cfg.Names = append(cfg.Names, "192.0.2.54") }, "the former one lacks 192.0.2.54"},
		"name removed": {0, func(_ string, cfg *Config) { cfg.Names = nil }, ""},
		"cut off":      {0, func(dir string, _ *Config) { must.OK(t, os.Remove(filepath.Join(dir, "proxy.key"))) }, "there was none"},
	} {
		t.Run(what, func(t *testing.T) {
			cfg := newConfig(t)
			cfg.Names = []string{"DNS.example.net", "*.api.example.net", "2001:db8:0::53"}
			must.OK(t, writePairAged(cfg, test.age))
			certFile := filepath.Join(cfg.StateDir, "proxy.crt")
			old := readCert(t, certFile)
			if test.spoil != nil {
				test.spoil(cfg.StateDir, &cfg)
			}
			log := newLines()
			c, err := newCertificates(cfg, zerolog.New(log))
			must.OK(t, err)
			if test.reason != "" {
				log.await(t, "created a certificate", `"info"`, test.reason)
			}
			shown := c.pair.Load().Leaf
			if kept := shown.Equal(old); kept != (test.reason == "") {
				t.Errorf("the former certificate is kept: %v", kept)
			}
			if !shown.Equal(readCert(t, certFile)) {
				t.Error("shown is another certificate than kept")
			}
			if key := shown.PublicKey.(*ecdsa.PublicKey); test.reason != "" && key.Equal(old.PublicKey) {
				t.Error("the former key is used again")
			}
		})
	}
}

func writePairAged(cfg Config, age time.Duration) error {
	certFile, keyFile := filepath.Join(cfg.StateDir, "proxy.crt"), filepath.Join(cfg.StateDir, "proxy.key")
	return writePair(certFile, keyFile, cfg.Names, time.Now().Add(-age))
}

func TestOwnPairIsRenewedWhileRunning(t *testing.T) {
	p, log := watched(t, newConfig(t))
	var passed atomic.Int64
	p.certificates.now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	p.run(t)
	first := p.shown(t)
	conn, err := p.connect(t, &tls.Config{})
	must.OK(t, err)

	passed.Store(int64(796 * day))
	log.await(t, "created a certificate", "the former one ends on "+first.NotAfter.Format(time.DateOnly))
	log.await(t, shownAnew)
	second := p.shown(t)
	if second.NotAfter.Before(first.NotAfter.Add(700 * day)) {
		t.Errorf("the certificate that is shown ends on %s", second.NotAfter)
	}
	p.wantExpiry(t, second.NotAfter)
	must.OK(t, ask(conn))
	if n := log.count("created a certificate"); n != 1 {
		t.Errorf("%d certificates were made", n)
	}
}

// The disk is full when the pair is to be renewed.
func TestOwnPairStaysWhereNoneCanBeWritten(t *testing.T) {
	p, log := watched(t, newConfig(t))
	must.OK(t, os.Mkdir(filepath.Join(p.cfg.StateDir, "proxy.key.new"), 0o700))
	p.certificates.now = func() time.Time { return time.Now().Add(800 * day) }
	p.run(t)
	log.await(t, stayAsWere, `"error"`, "make the proxy's own certificate: ", "proxy.state_dir must be writable")
	p.wantShown(t, readCert(t, filepath.Join(p.cfg.StateDir, "proxy.crt")))
	must.OK(t, os.Remove(filepath.Join(p.cfg.StateDir, "proxy.key.new")))
	log.await(t, shownAnew)
	if n := log.count(stayAsWere); n != 1 {
		t.Errorf("the fault was logged %d times", n)
	}
}

func TestUnusablePairs(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "proxy.crt"), filepath.Join(dir, "proxy.key")
	must.OK(t, os.WriteFile(cert, []byte("no certificate"), 0o600))
	must.OK(t, os.WriteFile(key, []byte("no key"), 0o600))
	good, _ := givenFiles(t)
	other, _ := givenFiles(t)
	readable, _ := givenFiles(t)
	must.OK(t, os.Chmod(readable.TLSKey, 0o640))
	cut := filepath.Join(dir, "cut.crt")
	text, err := os.ReadFile(good.TLSCert)
	must.OK(t, err)
	must.OK(t, os.WriteFile(cut, append(text, text[:100]...), 0o600))
	for what, test := range map[string]struct {
		cfg  Config
		want []string
	}{
		"own, damaged":        {Config{StateDir: dir}, []string{"the proxy's own certificate in " + dir + " cannot be read; remove proxy.crt and proxy.key there to have it made anew: "}},
		"own, no folder":      {Config{StateDir: "/proc/none"}, []string{"make the proxy's own certificate: ", "; proxy.state_dir must be writable"}},
		"given, damaged":      {Config{TLSCert: cert, TLSKey: good.TLSKey, StateDir: dir}, []string{"proxy.tls_cert, proxy.tls_key: " + cert + " and ", "tls: failed to find any PEM data in certificate input"}},
		"given, not there":    {Config{TLSCert: filepath.Join(dir, "none"), TLSKey: key}, []string{"proxy.tls_cert: open " + filepath.Join(dir, "none") + ": no such file or directory"}},
		"given, cut off":      {Config{TLSCert: cut, TLSKey: good.TLSKey}, []string{"proxy.tls_cert: " + cut + " is cut off or damaged"}},
		"given, key amiss":    {Config{TLSCert: good.TLSCert, TLSKey: key}, []string{"proxy.tls_cert, proxy.tls_key: ", "tls: failed to find any PEM data in key input"}},
		"given, mismatched":   {Config{TLSCert: good.TLSCert, TLSKey: other.TLSKey}, []string{"proxy.tls_cert, proxy.tls_key: " + good.TLSCert + " and " + other.TLSKey + " make no pair: tls: private key does not match public key"}},
		"given, key readable": {readable, []string{"proxy.tls_key: " + readable.TLSKey + ": others than its owner can read it (mode 0640); run: chmod 600 " + readable.TLSKey}},
		"given, key a folder": {Config{TLSCert: good.TLSCert, TLSKey: dir}, []string{"proxy.tls_key: " + dir + " is no regular file"}},
		"CA not there":        {Config{StateDir: good.StateDir, ClientCA: filepath.Join(dir, "none")}, []string{"proxy.client_ca: open " + filepath.Join(dir, "none")}},
		"CA damaged":          {Config{StateDir: good.StateDir, ClientCA: cert}, []string{"proxy.client_ca: " + cert + " holds no certificate (PEM)"}},
		"CA cut off":          {Config{StateDir: good.StateDir, ClientCA: cut}, []string{"proxy.client_ca: " + cut + " is cut off or damaged"}},
		"CA is a key":         {Config{StateDir: good.StateDir, ClientCA: good.TLSKey}, []string{"proxy.client_ca: " + good.TLSKey + " holds a PRIVATE KEY; leave only the CA certificates in it"}},
	} {
		t.Run(what, func(t *testing.T) {
			test.cfg.Listen = "127.0.0.1:0"
			_, err := newProxy(test.cfg, nowhere, &queue{})
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error is %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestGivenPairIsReloaded(t *testing.T) {
	cfg, first := givenFiles(t)
	p, log := watched(t, cfg)
	p.run(t)
	p.wantShown(t, first)
	p.wantExpiry(t, first.NotAfter)
	if _, err := os.Stat(filepath.Join(cfg.StateDir, "proxy.crt")); !os.IsNotExist(err) {
		t.Errorf("an own pair was made: %v", err)
	}
	conn, err := p.connect(t, &tls.Config{})
	must.OK(t, err)

	second := makePair(t, cfg.TLSCert, cfg.TLSKey, time.Now().Add(-day))
	log.await(t, shownAnew)
	p.wantShown(t, second)
	p.wantExpiry(t, second.NotAfter)
	must.OK(t, ask(conn))
}

func TestUnusableReplacementIsNotTaken(t *testing.T) {
	for what, test := range map[string]struct {
		spoil func(t *testing.T, cfg Config)
		want  string
	}{
		"mismatched": {func(t *testing.T, cfg Config) {
			other, _ := givenFiles(t)
			must.OK(t, os.Rename(other.TLSCert, cfg.TLSCert))
		}, "make no pair"},
		"cut off": {func(t *testing.T, cfg Config) {
			text, err := os.ReadFile(cfg.TLSKey)
			must.OK(t, err)
			replace(t, cfg.TLSKey, text[:len(text)/2])
		}, "cut off or damaged"},
		"empty":    {func(t *testing.T, cfg Config) { replace(t, cfg.TLSCert, nil) }, "failed to find any PEM data"},
		"gone":     {func(t *testing.T, cfg Config) { must.OK(t, os.Remove(cfg.TLSKey)) }, "no such file"},
		"readable": {func(t *testing.T, cfg Config) { must.OK(t, os.Chmod(cfg.TLSKey, 0o604)) }, "run: chmod 600"},
	} {
		t.Run(what, func(t *testing.T) {
			cfg, first := givenFiles(t)
			p, log := watched(t, cfg)
			p.run(t)
			test.spoil(t, cfg)
			log.await(t, stayAsWere, `"error"`, test.want)
			p.wantShown(t, first)
			if n := log.count(stayAsWere); n != 1 {
				t.Errorf("the fault was logged %d times: %q", n, log.seen)
			}
			second := makePair(t, cfg.TLSCert, cfg.TLSKey, time.Now())
			log.await(t, shownAnew)
			p.wantShown(t, second)
		})
	}
}

// Kubernetes swaps one link on the way to all files, certbot the link of each.
func TestSwappedLinksAreFollowed(t *testing.T) {
	for what, test := range map[string]struct{ before, swapped [][2]string }{
		"folder": {[][2]string{{"tls.crt", "..data/tls.crt"}, {"tls.key", "..data/tls.key"}, {"..data", "v1"}}, [][2]string{{"..data", "v2"}}},
		"files":  {[][2]string{{"tls.crt", "v1/tls.crt"}, {"tls.key", "v1/tls.key"}}, [][2]string{{"tls.key", "v2/tls.key"}, {"tls.crt", "v2/tls.crt"}}},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			link := func(links [][2]string) {
				for _, l := range links {
					must.OK(t, os.Symlink(l[1], filepath.Join(dir, "new")))
					must.OK(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, l[0])))
				}
			}
			v1 := makePair(t, filepath.Join(dir, "v1", "tls.crt"), filepath.Join(dir, "v1", "tls.key"), time.Now())
			v2 := makePair(t, filepath.Join(dir, "v2", "tls.crt"), filepath.Join(dir, "v2", "tls.key"), time.Now())
			cfg := newConfig(t)
			cfg.TLSCert, cfg.TLSKey = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
			link(test.before)
			p, log := watched(t, cfg)
			p.run(t)
			p.wantShown(t, v1)
			link(test.swapped)
			log.await(t, shownAnew)
			p.wantShown(t, v2)
		})
	}
}

func TestEndedGivenPairIsShownAndWarnedAbout(t *testing.T) {
	cfg, _ := givenFiles(t)
	ended := makePair(t, cfg.TLSCert, cfg.TLSKey, time.Now().Add(-826*day))
	log := newLines()
	_, err := newCertificates(cfg, zerolog.New(log))
	must.OK(t, err)
	log.await(t, `"warn"`, "certificate has expired", "renew proxy.tls_cert")

	p, log := watched(t, cfg)
	p.run(t)
	p.wantShown(t, ended)
	good := makePair(t, cfg.TLSCert, cfg.TLSKey, time.Now())
	log.await(t, shownAnew)
	p.wantShown(t, good)
	if n := log.count("certificate has expired"); n != 0 {
		t.Errorf("warned again %d times", n)
	}
}

func TestPairEndsWhileRunning(t *testing.T) {
	cfg, cert := givenFiles(t)
	p, log := watched(t, cfg)
	p.certificates.now = func() time.Time { return cert.NotAfter.Add(time.Second) }
	p.run(t)
	log.await(t, `"warn"`, "certificate has expired")
	p.wantShown(t, cert)
}

// authority signs certificates for clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must.OK(t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	must.OK(t, err)
	cert, err = x509.ParseCertificate(der)
	must.OK(t, err)
	return authority{cert, key}
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a authority) issue(t *testing.T, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must.OK(t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "a client"}, NotAfter: time.Now().Add(day),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, key.Public(), a.key)
	must.OK(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// show is a client that shows its certificate whatever CAs it is asked for.
func show(cert tls.Certificate, version uint16) *tls.Config {
	return &tls.Config{
		MaxVersion:           version,
		ClientSessionCache:   tls.NewLRUClientSessionCache(1),
		ServerName:           "localhost",
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
	}
}

func TestClientCertificates(t *testing.T) {
	first, second, third := newAuthority(t, "first"), newAuthority(t, "second"), newAuthority(t, "third")
	cfg := newConfig(t)
	cfg.ClientCA = filepath.Join(t.TempDir(), "clients.crt")
	replace(t, cfg.ClientCA, append(first.pem(), second.pem()...))
	p, log := watched(t, cfg)
	p.run(t)
	refused := func(who string, config *tls.Config) {
		t.Helper()
		if _, err := p.connect(t, config); err == nil || !strings.Contains(err.Error(), "remote error: tls: ") {
			t.Errorf("%s: %v", who, err)
		}
	}
	of := map[uint16][]*tls.Config{}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		of[version] = []*tls.Config{
			show(first.issue(t, x509.ExtKeyUsageClientAuth), version),
			show(second.issue(t, x509.ExtKeyUsageClientAuth), version),
			show(third.issue(t, x509.ExtKeyUsageClientAuth), version),
		}
		refused("no certificate", &tls.Config{MaxVersion: version})
		refused("another CA", of[version][2])
		refused("a server's certificate", show(first.issue(t, x509.ExtKeyUsageServerAuth), version))
		for _, config := range of[version][:2] {
			_, err := p.connect(t, config)
			must.OK(t, err)
		}
	}
	conn, err := p.connect(t, of[tls.VersionTLS13][0])
	must.OK(t, err)
	if !conn.ConnectionState().DidResume {
		t.Error("sessions are not resumed: this test shows less than it should")
	}

	replace(t, cfg.ClientCA, third.pem()[:100])
	log.await(t, stayAsWere, `"error"`, "proxy.client_ca: ", "cut off")
	_, err = p.connect(t, of[tls.VersionTLS13][0])
	must.OK(t, err)

	replace(t, cfg.ClientCA, third.pem())
	log.await(t, casAnew)
	for _, clients := range of {
		refused("a CA that was taken out", clients[0]) // it tries to resume its session
		_, err := p.connect(t, clients[2])
		must.OK(t, err)
	}
	must.OK(t, ask(conn))
}

// A CA that was taken out is not kept by a pair that is no good.
func TestClientCAIsReloadedBesideABrokenPair(t *testing.T) {
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	cfg, _ := givenFiles(t)
	cfg.ClientCA = filepath.Join(t.TempDir(), "clients.crt")
	replace(t, cfg.ClientCA, first.pem())
	p, log := watched(t, cfg)
	p.run(t)
	replace(t, cfg.TLSCert, nil)
	log.await(t, stayAsWere)
	replace(t, cfg.ClientCA, second.pem())
	log.await(t, casAnew)
	_, err := p.connect(t, show(second.issue(t, x509.ExtKeyUsageClientAuth), tls.VersionTLS13))
	must.OK(t, err)
}

func TestVersionsAndSuites(t *testing.T) {
	p := startProxy(t, nowhere, &queue{})
	for what, test := range map[string]struct {
		config *tls.Config
		good   bool
	}{
		"TLS 1.1":         {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		"TLS 1.2":         {&tls.Config{MaxVersion: tls.VersionTLS12}, true},
		"TLS 1.2, GCM":    {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}}, true},
		"TLS 1.2, ChaCha": {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}}, true},
		"TLS 1.2, CBC":    {&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}}, false},
		"TLS 1.3":         {&tls.Config{MinVersion: tls.VersionTLS13}, true},
	} {
		conn, err := p.connect(t, test.config)
		if (err == nil) != test.good {
			t.Errorf("%s: %v", what, err)
		}
		if !test.good && (conn != nil || !strings.Contains(err.Error(), "remote error: tls: ")) {
			t.Errorf("%s: not refused in the handshake: %v", what, err)
		}
	}
}

func TestHTTP2(t *testing.T) {
	ca := newAuthority(t, "clients")
	cfg := newConfig(t)
	cfg.ClientCA = filepath.Join(t.TempDir(), "clients.crt")
	replace(t, cfg.ClientCA, ca.pem())
	checked, err := newProxy(cfg, nowhere, &queue{})
	must.OK(t, err)
	checked.run(t)
	for what, p := range map[string]*testProxy{"open to all": startProxy(t, nowhere, &queue{}), "with client certificates": checked} {
		config := show(ca.issue(t, x509.ExtKeyUsageClientAuth), 0)
		config.InsecureSkipVerify = true
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		res, err := (&http.Client{Transport: transport, Timeout: patience}).Get("https://" + p.Addr().String())
		must.OK(t, err)
		must.OK(t, res.Body.Close())
		if res.ProtoMajor != 2 || res.TLS.NegotiatedProtocol != "h2" {
			t.Errorf("%s: %s is spoken, %q was agreed on", what, res.Proto, res.TLS.NegotiatedProtocol)
		}
	}
}

func TestPlainHTTPIsAnsweredAtOnce(t *testing.T) {
	p, err := newProxy(newConfig(t), nowhere, &queue{})
	must.OK(t, err)
	p.server.ReadHeaderTimeout = time.Hour
	p.run(t)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		conn, err := net.Dial("tcp", p.Addr().String())
		must.OK(t, err)
		a := call{method: method, target: zonesPath, body: strings.Repeat("x", 1<<20)}.over(t, conn)
		if a.status != http.StatusBadRequest || method != "HEAD" && !strings.Contains(a.body, `{"error":"this port speaks HTTPS only; write https://`) {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
}

func TestSilentClientIsDropped(t *testing.T) {
	p, err := newProxy(newConfig(t), nowhere, &queue{})
	must.OK(t, err)
	if d := p.server.ReadHeaderTimeout; d <= 0 || d > time.Minute {
		t.Errorf("a handshake may take %s", d)
	}
	p.server.ReadHeaderTimeout = 10 * time.Millisecond
	p.run(t)
	for what, said := range map[string]string{"nothing": "", "half a greeting": "\x16\x03\x01", "half a plain request": "PATCH /"} {
		conn, err := net.Dial("tcp", p.Addr().String())
		must.OK(t, err)
		defer conn.Close()
		must.OK(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(conn, said)
		must.OK(t, err)
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNamesOfTheCertificate(t *testing.T) {
	for name, good := range map[string]bool{
		"dns": true, "dns.example.net": true, "*.example.net": true, "192.0.2.53": true, "2001:db8::53": true, "a_b.example": true,
		"": false, "https://dns.example.net": false, "dns.example.net:8443": false, "dns.example.net.": false, "dns example": false, "[2001:db8::53]": false, "dns.*.net": false, "dömain.example": false,
	} {
		cfg := newConfig(t)
		cfg.Names = []string{name}
		err := cfg.Validate()
		if (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
		if !good {
			continue
		}
		if _, err := newCertificates(cfg, zerolog.Nop()); err != nil {
			t.Errorf("%q is taken, but makes no certificate: %v", name, err)
		}
	}
}

func TestListenAddressTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must.OK(t, err)
	defer taken.Close()
	_, err = newProxy(Config{Listen: taken.Addr().String(), StateDir: t.TempDir()}, nowhere, &queue{})
	if err == nil || !strings.HasPrefix(err.Error(), "proxy.listen: listen tcp ") {
		t.Errorf("error is %v", err)
	}
}
