package observe

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/private"
)

// guard asks whoever wants more than /healthz for a password or a certificate, if one is set. It is safe for
// concurrent use.
type guard struct {
	cfg Config
	log zerolog.Logger

	mu     sync.Mutex // guards all below
	loaded credentials
	looked time.Time
	failed bool // the files could not be read when they were last looked at
}

// credentials are what the files hold.
type credentials struct {
	pair     *tls.Certificate // nil without TLS
	clients  *x509.CertPool   // nil: no client certificate counts
	password [sha256.Size]byte
}

const (
	// reload is how often the files are read again.
	reload = 5 * time.Second

	minPassword = 12

	// wrongPause is how long the answer to a wrong password takes: who guesses, guesses slowly.
	wrongPause = time.Second
)

func newGuard(cfg Config, log zerolog.Logger) *guard {
	return &guard{cfg: cfg, log: log}
}

// asks reports whether anything is asked for.
func (g *guard) asks() bool { return g.cfg.PasswordFile != "" || g.cfg.ClientCAFile != "" }

// load reads the files.
func (g *guard) load() error {
	c, err := g.read()
	if err == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.loaded, g.looked = c, time.Now()
	}
	return err
}

func (g *guard) read() (c credentials, err error) {
	var cert, key, ca, password []byte
	for _, file := range []struct {
		key, path string
		read      func(string) ([]byte, error)
		to        *[]byte
	}{
		{"tls_cert_file", g.cfg.TLSCertFile, private.ReadPublic, &cert}, {"tls_key_file", g.cfg.TLSKeyFile, private.Read, &key},
		{"client_ca_file", g.cfg.ClientCAFile, private.ReadPublic, &ca}, {"password_file", g.cfg.PasswordFile, private.Read, &password},
	} {
		if file.path == "" {
			continue
		}
		if *file.to, err = file.read(file.path); err != nil {
			return c, fmt.Errorf("observe.%s: %w", file.key, err)
		}
	}
	if g.cfg.TLS() {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return c, fmt.Errorf("observe.tls_cert_file, observe.tls_key_file: the files make no pair: %w", err)
		}
		c.pair = &pair
	}
	if g.cfg.ClientCAFile != "" {
		if c.clients = x509.NewCertPool(); !c.clients.AppendCertsFromPEM(ca) {
			return c, fmt.Errorf("observe.client_ca_file: %s has no certificate (PEM)", g.cfg.ClientCAFile)
		}
	}
	password = bytes.TrimRight(password, "\r\n")
	if g.cfg.PasswordFile != "" && len(password) < minPassword {
		return c, fmt.Errorf("observe.password_file: the password in %s has fewer than %d characters", g.cfg.PasswordFile, minPassword)
	}
	c.password = sha256.Sum256(password)
	return c, nil
}

// credentials returns what the files hold, or held while they cannot be read.
func (g *guard) credentials() credentials {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.looked) > reload {
		g.looked = now
		c, err := g.read()
		if err == nil {
			g.loaded = c
		} else if !g.failed {
			g.log.Warn().Err(err).Msg("failed to read credentials of observe.listen again, keeping those from before")
		}
		g.failed = err != nil
	}
	return g.loaded
}

// config is for the listener. A certificate that a client shows is checked; who shows none may still know the password.
func (g *guard) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := g.credentials()
			if c.pair == nil {
				return nil, errors.New("no certificate")
			}
			now := &tls.Config{
				MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{*c.pair},
				SessionTicketsDisabled: true, // a certificate that counts no more must not be remembered
			}
			if c.clients != nil {
				now.ClientAuth, now.ClientCAs = tls.VerifyClientCertIfGiven, c.clients
			}
			return now, nil
		},
	}
}

// alivePath is what probes ask for; they have no credentials.
const alivePath = "/healthz"

func (g *guard) check(next http.Handler) http.Handler {
	if !g.asks() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == alivePath, r.TLS != nil && len(r.TLS.VerifiedChains) > 0, g.knows(r):
			next.ServeHTTP(w, r)
		case g.cfg.PasswordFile == "":
			http.Error(w, "a client certificate is wanted", http.StatusForbidden)
		default:
			if r.Header.Get("Authorization") != "" {
				pause(r.Context(), wrongPause)
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="pdns-distribute", charset="UTF-8"`)
			http.Error(w, "a password is wanted", http.StatusUnauthorized)
		}
	})
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// knows reports whether a request has the password.
func (g *guard) knows(r *http.Request) bool {
	_, password, given := r.BasicAuth()
	if !given || g.cfg.PasswordFile == "" {
		return false
	}
	got, want := sha256.Sum256([]byte(password)), g.credentials().password
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
