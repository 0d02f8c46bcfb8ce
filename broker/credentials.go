package broker

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nkeys"

	"pdns-distribute/private"
)

const (
	caYears    = 10
	serverDays = 825 // the longest that all TLS libraries accept

	// backdate lets hosts whose clock is behind take a certificate at once.
	backdate = time.Hour
)

// Certificate is a certificate and its private key (ECDSA P-256), both PEM. The key is a secret.
type Certificate struct {
	CertPEM, KeyPEM []byte
}

// NewCA makes a self-signed authority, valid for ten years, that can sign servers but no further authorities.
func NewCA(name string, now time.Time) (Certificate, error) {
	template := certificate(name, now)
	template.NotAfter = now.AddDate(caYears, 0, 0)
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return sign(template, nil, nil)
}

// NewServerCertificate makes a broker's certificate for host names and IP addresses, valid for 825 days. It serves on
// both ends of a route between brokers. now must lie in the authority's time.
func (ca Certificate) NewServerCertificate(hosts []string, now time.Time) (Certificate, error) {
	if len(hosts) == 0 {
		return Certificate{}, errors.New("broker certificate: give at least one host name or IP address")
	}
	template := certificate(hosts[0], now)
	template.NotAfter = now.AddDate(0, 0, serverDays)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	authority, err := tls.X509KeyPair(ca.CertPEM, ca.KeyPEM)
	if err != nil {
		return Certificate{}, fmt.Errorf("broker certificate: read authority: %w", err)
	}
	return sign(template, hosts, &authority)
}

// certificate is the part of a template common to all. The serial number is chosen when it is signed.
func certificate(name string, now time.Time) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-backdate)}
}

// sign makes a key and the certificate for it, signed by the authority, or by itself if there is none.
func sign(template *x509.Certificate, hosts []string, authority *tls.Certificate) (Certificate, error) {
	pair, err := private.NewPair(template, hosts, authority)
	return Certificate{CertPEM: pair.Cert, KeyPEM: pair.Key}, err
}

// Certificates takes a file of certificates (PEM) apart.
func Certificates(text []byte) (each [][]byte) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		each = append(each, pem.EncodeToMemory(block))
	}
	return each
}

// CheckSigned returns why a broker's certificate is not good by an authority alone (both PEM).
func CheckSigned(certificate, authority []byte) error {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return errors.New("there is no certificate (PEM)")
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	_, err = parsed.Verify(x509.VerifyOptions{Roots: roots})
	return err
}

// UserKey is what a user proves its identity with: the seed is the node's secret, and the content of its nkey_file; the
// broker's configuration has the public key only.
type UserKey struct {
	Seed      []byte
	PublicKey string
}

// NewUserKey makes an nkey (Ed25519) for a user.
func NewUserKey() (UserKey, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return UserKey{}, fmt.Errorf("make nkey: %w", err)
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return UserKey{}, fmt.Errorf("make nkey: %w", err)
	}
	return ReadUserKey(append(seed, '\n'))
}

// ReadUserKey reads the content of an nkey_file.
func ReadUserKey(seed []byte) (UserKey, error) {
	pair, err := nkeys.ParseDecoratedUserNKey(seed)
	if err != nil {
		return UserKey{}, fmt.Errorf("read nkey: %w", err)
	}
	defer pair.Wipe()
	public, err := pair.PublicKey()
	if err != nil {
		return UserKey{}, fmt.Errorf("read nkey: %w", err)
	}
	return UserKey{Seed: seed, PublicKey: public}, nil
}
