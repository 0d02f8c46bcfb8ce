package zone

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
)

// ErrUnverified means that a state is not signed by a key that is trusted.
var ErrUnverified = errors.New("not signed by a trusted key")

// SignKey signs states (Ed25519, RFC 8032). It is a primary's secret.
type SignKey struct{ private ed25519.PrivateKey }

// TrustedKey is the public half of a SignKey. Its text form is the base64 of its 32 bytes.
type TrustedKey [ed25519.PublicKeySize]byte

// NewSignKey makes a key.
func NewSignKey() (SignKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return SignKey{private}, err
}

// ParseSignKey reads a key from PEM (PKCS #8), as MarshalPEM and `openssl genpkey -algorithm ed25519` write it.
func ParseSignKey(text []byte) (SignKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return SignKey{}, errors.New("no PEM block PRIVATE KEY")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return SignKey{}, err
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return SignKey{}, fmt.Errorf("a key of another algorithm (%T), not Ed25519", key)
	}
	return SignKey{private}, nil
}

// MarshalPEM encodes the key for its file.
func (k SignKey) MarshalPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Public is what those who verify need.
func (k SignKey) Public() TrustedKey { return TrustedKey(k.private.Public().(ed25519.PublicKey)) }

// ParseTrustedKey reads the text form.
func ParseTrustedKey(text string) (k TrustedKey, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(k) {
		return k, fmt.Errorf("%q is no public key: base64 of %d bytes", text, len(k))
	}
	return TrustedKey(raw), nil
}

// String is the text form.
func (k TrustedKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// signing keeps signatures of states from being taken for those of anything else, and the other way round.
const signing = "pdns-distribute zone state\x00"

// Sign returns an encoded state with its signature: magic, version, 64 bytes of signature, the state. The signature is
// over all of the state, so over name, kind, time, serials, digests, and content or the hashes of its chunks.
func (k SignKey) Sign(state []byte) []byte {
	signature := ed25519.Sign(k.private, append([]byte(signing), state...))
	return bytes.Join([][]byte{[]byte(signedMagic), signature, state}, nil)
}

const signedMagic = "PDS\x01"

// Verify returns the state in what Sign made. Without trusted keys an unsigned state passes as well, and signatures are
// not looked at; with some, whatever none of them signed is an ErrUnverified.
func Verify(data []byte, trusted []TrustedKey) (state []byte, err error) {
	rest, signed := bytes.CutPrefix(data, []byte(signedMagic))
	switch {
	case signed && len(rest) < ed25519.SignatureSize:
		return nil, fmt.Errorf("%w: a signed state that ends early", ErrCorrupt)
	case !signed && len(trusted) == 0:
		return data, nil
	case !signed:
		return nil, fmt.Errorf("%w: it has no signature", ErrUnverified)
	}
	signature, state := rest[:ed25519.SignatureSize], rest[ed25519.SignatureSize:]
	if len(trusted) == 0 {
		return state, nil
	}
	message := append([]byte(signing), state...)
	for _, k := range trusted {
		if ed25519.Verify(k[:], message, signature) {
			return state, nil
		}
	}
	return nil, fmt.Errorf("%w: it is of another key, or forged", ErrUnverified)
}
