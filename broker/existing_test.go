package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// existing is a nats-server that somebody else has configured.
type existing struct {
	t      *testing.T
	dir    string
	ca     broker.Certificate
	server *broker.Server
	stop   func()
}

// startExisting runs a server with what is common to all, and with auth, which says who may connect.
func startExisting(t *testing.T, tlsMore string, auth func(*existing) string) *existing {
	t.Helper()
	e := &existing{t: t, dir: t.TempDir()}
	var err error
	e.ca, err = broker.NewCA("somebody", time.Now())
	must.OK(t, err)
	cert, err := e.ca.NewServerCertificate([]string{"127.0.0.1"}, time.Now())
	must.OK(t, err)
	e.write("ca.crt", e.ca.CertPEM)
	e.write("server.crt", cert.CertPEM)
	e.write("server.key", cert.KeyPEM)
	e.run("127.0.0.1:-1", tlsMore, auth(e))
	return e
}

func (e *existing) run(listen, tlsMore, auth string) {
	e.t.Helper()
	file := e.write("nats.conf", fmt.Appendf(nil, `
listen: %q
jetstream { store_dir: %q, max_memory_store: 64MB, max_file_store: 1GB }
tls { cert_file: %q, key_file: %q, ca_file: %q, handshake_first: true, %s }
%s`, listen, e.path("store"), e.path("server.crt"), e.path("server.key"), e.path("ca.crt"), tlsMore, auth))
	var err error
	e.server, err = broker.NewServer(file, zerolog.Nop())
	must.OK(e.t, err)
	e.stop = background(e.t, e.server.Run)
	receive(e.t, e.server.Ready())
}

func (e *existing) path(name string) string { return filepath.Join(e.dir, name) }

func (e *existing) write(name string, content []byte) (path string) {
	e.t.Helper()
	must.OK(e.t, os.WriteFile(e.path(name), content, 0o600))
	return e.path(name)
}

// config is what all nodes have in common.
func (e *existing) config() broker.Config {
	return broker.Config{URLs: []string{e.server.ClientURL()}, CAFile: e.path("ca.crt")}
}

// works makes a round trip: a state that is published is read again, and delivered.
func (e *existing) works(cfg broker.Config) *broker.Conn {
	t := e.t
	t.Helper()
	conn, err := broker.Connect(cfg, broker.Options{Node: "node1", Role: broker.RolePrimary})
	must.OK(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	reconnect(t, conn)
	ensure(t, conn)
	publish(t, conn, "a.example", "content")
	s, err := conn.LastState(t.Context(), zone.MustParseName("a.example"))
	if err != nil || string(s.Data) != "content" {
		t.Errorf("state is %q, %v", s.Data, err)
	}
	must.OK(t, conn.ProvisionFeed(t.Context(), "node1"))
	states, stop := feed(t, conn, nil)
	m := receive(t, states)
	must.OK(t, m.Ack())
	stop()
	if string(m.Data) != "content" {
		t.Errorf("the feed delivers %q", m.Data)
	}
	return conn
}

// refusedHere wants the server to refuse the credentials.
func (e *existing) refusedHere(what string, cfg broker.Config, reason string) {
	e.t.Helper()
	visit, err := broker.Diagnose(e.t.Context(), cfg, broker.Options{Node: "node1", Role: broker.RolePrimary}, cfg.URLs[0])
	if err == nil {
		must.OK(e.t, visit.Close(e.t.Context()))
		e.t.Fatalf("%s: let in", what)
	}
	if cause := errors.Unwrap(err); cause == nil || !strings.Contains(cause.Error(), reason) {
		e.t.Errorf("%s: %v (%v)", what, err, cause)
	}
}

func TestExistingBrokerWithPasswordsOrTokens(t *testing.T) {
	for name, c := range map[string]struct {
		auth string // with the secret for %q
		use  func(*broker.Config, string)
	}{
		"password": {`accounts { PDNS { jetstream: enabled, users: [ { user: "node1", password: %q } ] } }`,
			func(c *broker.Config, file string) { c.User, c.PasswordFile = "node1", file }},
		"token": {`authorization { token: %q }`,
			func(c *broker.Config, file string) { c.TokenFile = file }},
	} {
		t.Run(name, func(t *testing.T) {
			e := startExisting(t, "", func(*existing) string { return fmt.Sprintf(c.auth, "first-secret") })
			cfg := e.config()
			c.use(&cfg, e.write("secret", []byte("first-secret\n")))
			conn := e.works(cfg)

			wrong := cfg
			c.use(&wrong, e.write("wrong", []byte("wrong-secret\n")))
			e.refusedHere("wrong secret", wrong, "Authorization Violation")

			// Another secret on both sides is taken at the next connection.
			connected, unsubscribe := conn.Connections()
			defer unsubscribe()
			receive(t, connected) // the present one
			e.write("secret", []byte("second-secret\n"))
			address := e.server.Addr().String()
			e.stop()
			e.run(address, "", fmt.Sprintf(c.auth, "second-secret"))
			receive(t, connected)
			publish(t, conn, "b.example", "content")

			must.OK(t, os.Chmod(e.path("secret"), 0o644))
			_, err := broker.Connect(cfg, broker.Options{Node: "node1", Role: broker.RolePrimary})
			if err == nil || !strings.Contains(err.Error(), "chmod 600 "+e.path("secret")) {
				t.Errorf("a secret that all can read, of a broker on loopback: %v", err)
			}
		})
	}
}

func TestExistingBrokerWithOperatorAccounts(t *testing.T) {
	operator, user := key(t, nkeys.CreateOperator), key(t, nkeys.CreateUser)
	account, system, stranger := key(t, nkeys.CreateAccount), key(t, nkeys.CreateAccount), key(t, nkeys.CreateAccount)
	var creds []byte
	e := startExisting(t, "", func(*existing) string {
		o := jwt.NewOperatorClaims(public(t, operator))
		o.Name = "somebody"
		a := jwt.NewAccountClaims(public(t, account))
		a.Name = "PDNS"
		a.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		operatorJWT, err := o.Encode(operator)
		must.OK(t, err)
		accountJWT, err := a.Encode(operator)
		must.OK(t, err)
		systemJWT, err := jwt.NewAccountClaims(public(t, system)).Encode(operator)
		must.OK(t, err)
		creds = credsOf(t, user, account, "")
		return fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload { %s: %s, %s: %s }\n",
			operatorJWT, public(t, system), public(t, account), accountJWT, public(t, system), systemJWT)
	})
	cfg := e.config()
	cfg.CredsFile = e.write("node1.creds", creds)
	e.works(cfg)
	cfg.CredsFile = e.write("stranger.creds", credsOf(t, user, stranger, ""))
	e.refusedHere("of an account that the operator doesn't know", cfg, "Authorization Violation")
	cfg.CredsFile = e.write("forged.creds", credsOf(t, user, stranger, public(t, account)))
	e.refusedHere("in the name of an account that didn't sign it", cfg, "Authorization Violation")
	must.OK(t, os.Chmod(e.path("node1.creds"), 0o640))
	cfg.CredsFile = e.path("node1.creds")
	if _, err := broker.Connect(cfg, broker.Options{Node: "node1", Role: broker.RolePrimary}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("credentials that the group can read: %v", err)
	}
}

func key(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	pair, err := create()
	must.OK(t, err)
	return pair
}

func public(t *testing.T, pair nkeys.KeyPair) string {
	t.Helper()
	k, err := pair.PublicKey()
	must.OK(t, err)
	return k
}

// credsOf is a user's file, signed by an account's key, as that of the account named issuer unless "".
func credsOf(t *testing.T, user, signer nkeys.KeyPair, issuer string) []byte {
	t.Helper()
	claims := jwt.NewUserClaims(public(t, user))
	claims.Name, claims.IssuerAccount = "node1", issuer
	token, err := claims.Encode(signer)
	must.OK(t, err)
	seed, err := user.Seed()
	must.OK(t, err)
	creds, err := jwt.FormatUserConfig(token, seed)
	must.OK(t, err)
	return creds
}

func TestExistingBrokerWithClientCertificates(t *testing.T) {
	nkey, err := broker.NewUserKey()
	must.OK(t, err)
	const accounts = `accounts { PDNS { jetstream: enabled, users: [ { %s } ] } }`
	for name, c := range map[string]struct {
		tls, user string
		nkey      bool
	}{
		"the certificate says who it is":  {tls: "verify_and_map: true", user: `user: "CN=node1,O=pdns"`},
		"a certificate beside the nkey":   {tls: "verify: true", user: "nkey: " + nkey.PublicKey, nkey: true},
		"a mail address in a certificate": {tls: "verify_and_map: true", user: `user: "node1@example.net"`},
	} {
		t.Run(name, func(t *testing.T) {
			e := startExisting(t, c.tls, func(*existing) string { return fmt.Sprintf(accounts, c.user) })
			cfg := e.config()
			if c.nkey {
				cfg.NKeyFile = e.write("node.nkey", nkey.Seed)
				e.refusedHere("no certificate", cfg, "certificate required")
			}
			cfg.CertFile, cfg.KeyFile = e.clientCertificate("node1", e.ca, "node1")
			e.works(cfg)

			other, err := broker.NewCA("somebody", time.Now()) // of the same name
			must.OK(t, err)
			forged := cfg
			forged.CertFile, forged.KeyFile = e.clientCertificate("forged", other, "node1")
			e.refusedHere("signed by another CA", forged, "tls")
			if !c.nkey {
				cfg.CertFile, cfg.KeyFile = e.clientCertificate("node2", e.ca, "node2")
				e.refusedHere("of somebody who is no user", cfg, "Authorization Violation")
			}
			must.OK(t, os.Chmod(cfg.KeyFile, 0o604))
			if _, err := broker.Connect(cfg, broker.Options{Node: "node1", Role: broker.RolePrimary}); err == nil || !strings.Contains(err.Error(), "broker.key_file") || !strings.Contains(err.Error(), "chmod 600") {
				t.Errorf("a key that all can read: %v", err)
			}
		})
	}
}

// clientCertificate writes a pair, signed by a CA, for a client of this name.
func (e *existing) clientCertificate(file string, ca broker.Certificate, name string) (certFile, keyFile string) {
	t := e.t
	t.Helper()
	authority, err := tls.X509KeyPair(ca.CertPEM, ca.KeyPEM)
	must.OK(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must.OK(t, err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name, Organization: []string{"pdns"}}, EmailAddresses: []string{name + "@example.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, authority.Leaf, key.Public(), authority.PrivateKey)
	must.OK(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must.OK(t, err)
	return e.write(file+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		e.write(file+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}
