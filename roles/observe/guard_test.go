package observe_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/private"
	"pdns-distribute/roles/observe"
)

// authority signs certificates in a folder.
type authority struct {
	t      *testing.T
	folder string
	pair   *tls.Certificate
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	a := authority{t: t, folder: t.TempDir()}
	must.OK(t, os.Chmod(a.folder, 0o700))
	pair := a.make(name, true)
	a.pair = &pair
	return a
}

func (a authority) make(name string, ca bool) tls.Certificate {
	a.t.Helper()
	pair, err := private.NewPair(&x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, []string{"other.example"}, a.pair)
	must.OK(a.t, err)
	a.write(name+".crt", string(pair.Cert))
	a.write(name+".key", string(pair.Key))
	loaded, err := tls.X509KeyPair(pair.Cert, pair.Key)
	must.OK(a.t, err)
	return loaded
}

func (a authority) write(name, text string) string {
	a.t.Helper()
	file := filepath.Join(a.folder, name)
	must.OK(a.t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// listening starts a listener, and returns its configuration with the address that it has.
func listening(t *testing.T, cfg observe.Config) observe.Config {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	must.OK(t, cfg.Validate())
	s, err := observe.New(cfg, observe.NewRegistry("", ""), observe.NewReadiness(), zerolog.Nop())
	must.OK(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must.OK(t, <-ended)
	})
	cfg.Listen = s.Addr()
	return cfg
}

func TestCredentials(t *testing.T) {
	ours, others := newAuthority(t, "ca"), newAuthority(t, "strange")
	ours.make("server", false)
	client, stranger := ours.make("client", false), others.make("client", false)
	cfg := observe.Config{
		TLSCertFile: filepath.Join(ours.folder, "server.crt"), TLSKeyFile: filepath.Join(ours.folder, "server.key"),
		ClientCAFile: filepath.Join(ours.folder, "ca.crt"),
	}
	certified := listening(t, cfg)
	cfg.PasswordFile = ours.write("password", "correct horse battery\n")
	both := listening(t, cfg)
	plain := listening(t, observe.Config{PasswordFile: cfg.PasswordFile})
	for _, test := range []struct {
		what     string
		cfg      observe.Config
		path     string
		client   *tls.Certificate
		password string
		want     int
	}{
		{"a probe", certified, "/healthz", nil, "", 200}, {"a probe", plain, "/healthz", nil, "", 200},
		{"nobody", certified, "/metrics", nil, "", 403}, {"nobody", both, "/metrics", nil, "", 401}, {"nobody", plain, "/readyz", nil, "", 401},
		{"a client", certified, "/metrics", &client, "", 200}, {"a client", both, "/readyz", &client, "", 200},
		{"who knows the password", both, "/metrics", nil, "correct horse battery", 200},
		{"who knows the password", plain, "/metrics", nil, "correct horse battery", 200},
		{"who guesses", plain, "/metrics", nil, "correct horse batter", 401}, {"a password where none is", certified, "/metrics", nil, "x", 403},
		{"a path beside it", both, "/healthz/../metrics", nil, "", 401}, {"no such path", both, "/x", nil, "", 401},
		{"a client of another authority", both, "/healthz", &stranger, "", 0},
	} {
		tlsConfig := &tls.Config{InsecureSkipVerify: true}
		if test.client != nil {
			tlsConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return test.client, nil }
		}
		scheme := "http://"
		if test.cfg.TLS() {
			scheme = "https://"
		}
		req, err := http.NewRequest(http.MethodGet, scheme+test.cfg.Listen+test.path, nil)
		must.OK(t, err)
		if test.password != "" {
			req.SetBasicAuth("anybody", test.password)
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: tlsConfig}}
		code := 0
		if resp, err := client.Do(req); err == nil {
			code = resp.StatusCode
			resp.Body.Close()
		}
		if code != test.want {
			t.Errorf("%s, %s: %d, want %d", test.what, test.path, code, test.want)
		}
	}
	for _, own := range []observe.Config{both, plain} { // as healthcheck and doctor ask
		if text, code, err := own.Ask(t.Context(), "/metrics"); err != nil || code != 200 || !strings.Contains(string(text), "pdns_distribute_build_info") {
			t.Errorf("%d, %v", code, err)
		}
	}
	both.TLSCertFile = filepath.Join(others.folder, "client.crt")
	if _, _, err := both.Ask(t.Context(), "/healthz"); err == nil {
		t.Error("another one's certificate is taken for the role's")
	}
}

func TestCredentialsThatAreRefused(t *testing.T) {
	a := newAuthority(t, "ca")
	a.make("server", false)
	in := func(name string) string { return filepath.Join(a.folder, name) }
	open := a.write("open", "correct horse battery")
	must.OK(t, os.Chmod(open, 0o640))
	for want, cfg := range map[string]observe.Config{
		"observe.tls_cert_file, observe.tls_key_file: set both or none":                 {TLSCertFile: in("server.crt")},
		"observe.client_ca_file: clients show certificates over TLS alone":              {ClientCAFile: in("ca.crt")},
		"observe.password_file: beyond loopback the password would travel in the clear": {Listen: ":0", PasswordFile: open},
		"observe.tls_cert_file, observe.tls_key_file: the files make no pair":           {TLSCertFile: in("server.crt"), TLSKeyFile: in("ca.key")},
		"has fewer than 12 characters":                                                  {PasswordFile: a.write("short", "12345678901\n")},
		"chmod 600 " + open:                                                             {PasswordFile: open},
		"has no certificate (PEM)":                                                      {TLSCertFile: in("server.crt"), TLSKeyFile: in("server.key"), ClientCAFile: in("server.key")},
		"observe.password_file: open " + in("none") + ": no such file or directory":     {PasswordFile: in("none")},
	} {
		if cfg.Listen == "" {
			cfg.Listen = "127.0.0.1:0"
		}
		err := cfg.Validate()
		if err == nil {
			_, err = observe.New(cfg, observe.NewRegistry("", ""), observe.NewReadiness(), zerolog.Nop())
		}
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
