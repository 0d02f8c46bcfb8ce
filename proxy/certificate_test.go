package proxy

import (
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOwnPair(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "proxy")
	now := time.Now()
	first, err := ownPair(dir, []string{"dns.example.net", "192.0.2.53"}, now)
	must(t, err)
	wantMode(t, dir, 0o700)
	wantMode(t, filepath.Join(dir, "proxy.crt"), 0o600)
	wantMode(t, filepath.Join(dir, "proxy.key"), 0o600)

	again, err := ownPair(dir, []string{"other.example.net"}, now.Add(time.Hour))
	must(t, err)
	if string(again.Certificate[0]) != string(first.Certificate[0]) {
		t.Error("a restart made another certificate")
	}
	for _, name := range []string{"dns.example.net", "192.0.2.53", "localhost", "127.0.0.1", "::1"} {
		if err := first.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if err := first.Leaf.VerifyHostname("elsewhere.example.net"); err == nil {
		t.Error("the certificate is good for any name")
	}
	roots := x509.NewCertPool()
	roots.AddCert(first.Leaf) // what clients are given as their CA file
	if _, err := first.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost", CurrentTime: now.Add(824 * 24 * time.Hour)}); err != nil {
		t.Error(err)
	}
}

func TestOwnPairCutOffIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	_, err := ownPair(dir, nil, time.Now())
	must(t, err)
	must(t, os.Remove(filepath.Join(dir, "proxy.key"))) // as a crash in between leaves it
	pair, err := ownPair(dir, nil, time.Now())
	must(t, err)
	if pair.PrivateKey == nil {
		t.Error("a pair without its key")
	}
}

func TestUnusablePairs(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "proxy.crt"), filepath.Join(dir, "proxy.key")
	must(t, os.WriteFile(cert, []byte("no certificate"), 0o600))
	must(t, os.WriteFile(key, []byte("no key"), 0o600))
	for what, test := range map[string]struct {
		cfg  Config
		want []string
	}{
		"own, damaged":      {Config{StateDir: dir}, []string{"the proxy's own certificate in " + dir + " cannot be read; remove proxy.crt and proxy.key there to have it made anew: "}},
		"own, no folder":    {Config{StateDir: "/proc/none"}, []string{"make the proxy's own certificate: ", "; proxy.state_dir must be writable"}},
		"given, damaged":    {Config{TLSCert: cert, TLSKey: key, StateDir: dir}, []string{"proxy.tls_cert, proxy.tls_key: tls: failed to find any PEM data in certificate input"}},
		"given, not there":  {Config{TLSCert: filepath.Join(dir, "none"), TLSKey: key}, []string{"proxy.tls_cert, proxy.tls_key: open " + filepath.Join(dir, "none") + ": no such file or directory"}},
		"given, key amiss":  {Config{TLSCert: ownCert(t), TLSKey: key}, []string{"proxy.tls_cert, proxy.tls_key: tls: failed to find any PEM data in key input"}},
		"given, mismatched": {Config{TLSCert: ownCert(t), TLSKey: strings.TrimSuffix(ownCert(t), "crt") + "key"}, []string{"proxy.tls_cert, proxy.tls_key: tls: private key does not match public key"}},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := loadPair(test.cfg)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error is %v, want %q in it", err, want)
				}
			}
		})
	}
}

// ownCert makes a pair and returns its certificate's file; the key's is proxy.key beside it.
func ownCert(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	_, err := ownPair(dir, nil, time.Now())
	must(t, err)
	return filepath.Join(dir, "proxy.crt")
}

func TestGivenPairIsUsed(t *testing.T) {
	cert := ownCert(t)
	cfg := newConfig(t)
	cfg.TLSCert, cfg.TLSKey = cert, filepath.Join(filepath.Dir(cert), "proxy.key")
	p, err := newProxy(cfg, "http://127.0.0.1:1", &queue{})
	must(t, err)
	p.run(t)
	if _, err := os.Stat(p.cfg.StateDir); !os.IsNotExist(err) {
		t.Errorf("a folder for an own pair was made: %v", err)
	}
	text, err := os.ReadFile(cert)
	must(t, err)
	block, _ := pem.Decode(text)
	conn := p.dial(t)
	defer conn.Close()
	if served := conn.ConnectionState().PeerCertificates[0].Raw; string(served) != string(block.Bytes) {
		t.Error("another certificate is served")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	p := startProxy(t, "http://127.0.0.1:1", &queue{})
	if min := p.server.TLSConfig.MinVersion; min < 0x0303 {
		t.Errorf("TLS %#x is spoken", min)
	}
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %04o, want %04o", path, got, want)
	}
}

func TestListenAddressTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	_, err = newProxy(Config{Listen: taken.Addr().String(), StateDir: t.TempDir()}, "http://127.0.0.1:1", &queue{})
	if err == nil || !strings.HasPrefix(err.Error(), "proxy.listen: listen tcp ") {
		t.Errorf("error is %v", err)
	}
}
