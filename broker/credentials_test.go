package broker_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
)

func parse(t *testing.T, c broker.Certificate) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(c.CertPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	must.OK(t, err)
	return cert
}

func TestCertificates(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ca, err := broker.NewCA("pdns-distribute", now)
	must.OK(t, err)
	server, err := ca.NewServerCertificate([]string{"broker.example", "192.0.2.1", "2001:db8::1"}, now)
	must.OK(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parse(t, ca))
	cert := parse(t, server)
	for _, host := range []string{"broker.example", "192.0.2.1", "2001:db8::1"} {
		for _, usage := range cert.ExtKeyUsage {
			_, err := cert.Verify(x509.VerifyOptions{
				DNSName: host, Roots: roots, CurrentTime: now.AddDate(0, 0, 824), KeyUsages: []x509.ExtKeyUsage{usage},
			})
			if err != nil {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	if len(cert.ExtKeyUsage) != 2 {
		t.Errorf("usages are %v", cert.ExtKeyUsage)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now.AddDate(0, 0, 826)}); err == nil {
		t.Error("valid after 825 days")
	}
	if err := cert.VerifyHostname("other.example"); err == nil {
		t.Error("valid for others")
	}
	if end := parse(t, ca).NotAfter; !end.Equal(now.AddDate(10, 0, 0)) {
		t.Errorf("authority ends %v", end)
	}
}

func TestCertificatesRefused(t *testing.T) {
	ca, err := broker.NewCA("pdns-distribute", time.Now())
	must.OK(t, err)
	if _, err := ca.NewServerCertificate(nil, time.Now()); err == nil {
		t.Error("a certificate for no host")
	}
	if _, err := (broker.Certificate{}).NewServerCertificate([]string{"h"}, time.Now()); err == nil {
		t.Error("a certificate by no authority")
	}
}

func TestUserKeys(t *testing.T) {
	key, err := broker.NewUserKey()
	must.OK(t, err)
	again, err := broker.ReadUserKey(key.Seed)
	must.OK(t, err)
	if again.PublicKey != key.PublicKey || !strings.HasPrefix(key.PublicKey, "U") || !strings.HasPrefix(string(key.Seed), "SU") {
		t.Errorf("keys %q and %q", key.PublicKey, again.PublicKey)
	}
	if _, err := broker.ReadUserKey([]byte("nonsense")); err == nil {
		t.Error("nonsense is a key")
	}
}

func user(t *testing.T, id string) broker.User {
	t.Helper()
	key, err := broker.NewUserKey()
	must.OK(t, err)
	return broker.User{ID: id, PublicKeys: []string{key.PublicKey}}
}

func TestServerConf(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	ca, err := broker.NewCA("test", time.Now())
	must.OK(t, err)
	server, err := ca.NewServerCertificate([]string{"localhost"}, time.Now())
	must.OK(t, err)
	for name, content := range map[string][]byte{"ca": ca.CertPEM, "crt": server.CertPEM, "key": server.KeyPEM} {
		must.OK(t, os.WriteFile(path(name), content, 0o600))
	}
	conf := broker.ServerConf{
		ServerName: `n"1`, Listen: "127.0.0.1:-1", StoreDir: path("store with blanks"),
		CertFile: path("crt"), KeyFile: path("key"), CAFile: path("ca"), SyncAlways: true,
		Cluster: &broker.Cluster{Name: "c", Listen: "127.0.0.1:-1", Advertise: "localhost:6222", Routes: []string{"tls://localhost:6223"}},
	}
	admin := user(t, "admin")
	admin.PublicKeys = append(admin.PublicKeys, user(t, "admin").PublicKeys...)
	for _, users := range []broker.Accounts{
		{
			Primaries: []broker.User{user(t, "primary1")}, Health: []broker.User{user(t, "health1")}, Proxies: []broker.User{user(t, "proxy1"), user(t, "proxy2")},
			Secondaries: []broker.User{user(t, "0"), user(t, "sec_2-b")}, System: []broker.User{admin},
		},
		{Primaries: []broker.User{user(t, "primary1")}},
	} {
		text, err := conf.Render()
		must.OK(t, err)
		if always := strings.Contains(string(text), "\n  sync_interval: always\n"); always != conf.SyncAlways {
			t.Errorf("sync_always has no effect in:\n%s", text)
		}
		who, err := users.Render()
		must.OK(t, err)
		must.OK(t, os.WriteFile(path("conf"), text, 0o600))
		must.OK(t, os.WriteFile(path(broker.AccountsFile), who, 0o600))
		if _, err := broker.NewServer(path("conf"), zerolog.Nop()); err != nil {
			t.Errorf("%v in:\n%s\n%s", err, text, who)
		}
		conf.SyncAlways, conf.Cluster = false, nil
	}
}

func TestServerConfRefuses(t *testing.T) {
	u := user(t, "a")
	if _, err := (broker.ServerConf{}).Render(); !errors.Is(err, broker.ErrConfig) || !strings.Contains(err.Error(), "store directory") {
		t.Error(err)
	}
	_, err := broker.Accounts{
		Primaries: []broker.User{u, u}, Proxies: []broker.User{{ID: "a.b", PublicKeys: []string{"SUSECRET"}}}, Secondaries: []broker.User{{ID: "c"}},
	}.Render()
	if !errors.Is(err, broker.ErrConfig) {
		t.Fatal(err)
	}
	for _, part := range []string{`"c" has no nkey`, `node id "a.b"`, `"SUSECRET" is no public nkey`, `"a" is used by both`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q isn't in: %v", part, err)
		}
	}
}
