package zone

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func signKey(t *testing.T) SignKey {
	t.Helper()
	key, err := NewSignKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestVerify(t *testing.T) {
	state, err := NewTombstone(MustParseName("example.org"), time.Now()).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := signKey(t), signKey(t)
	trusted := []TrustedKey{theirs.Public(), ours.Public()}
	for _, key := range []SignKey{ours, theirs} {
		got, err := Verify(key.Sign(state), trusted)
		if err != nil || !bytes.Equal(got, state) {
			t.Errorf("%x, %v", got, err)
		}
	}
	if got, err := Verify(ours.Sign(state), nil); err != nil || !bytes.Equal(got, state) {
		t.Errorf("nobody is trusted, so the broker is: %x, %v", got, err)
	}
	if got, err := Verify(state, nil); err != nil || !bytes.Equal(got, state) {
		t.Errorf("unsigned: %x, %v", got, err)
	}
	for name, data := range map[string][]byte{"unsigned": state, "of a foreign key": signKey(t).Sign(state), "nothing": nil} {
		if got, err := Verify(data, trusted); got != nil || !errors.Is(err, ErrUnverified) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
}

// Whatever bit of a signed state is turned over, and wherever it is cut, it is refused.
func TestVerifyAltered(t *testing.T) {
	z, err := NewTombstone(MustParseName("example.org"), time.Now()).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	key := signKey(t)
	data := key.Sign(z)
	for bit := range 8 * len(data) {
		altered := bytes.Clone(data)
		altered[bit/8] ^= 1 << (bit % 8)
		if got, err := Verify(altered, []TrustedKey{key.Public()}); err == nil {
			t.Errorf("bit %d: %x", bit, got)
		}
	}
	for n := range data {
		if got, err := Verify(data[:n], []TrustedKey{key.Public()}); err == nil {
			t.Errorf("%d bytes: %x", n, got)
		}
	}
	if _, err := Verify(append(data, 0), []TrustedKey{key.Public()}); err == nil {
		t.Error("a byte more")
	}
}

// A signature is that of a state, and of nothing else that the same key may have signed.
func TestSignatureIsOfAState(t *testing.T) {
	key := signKey(t)
	message := []byte("a message")
	signature := ed25519.Sign(key.private, message)
	forged := bytes.Join([][]byte{[]byte(signedMagic), signature, message}, nil)
	if _, err := Verify(forged, []TrustedKey{key.Public()}); !errors.Is(err, ErrUnverified) {
		t.Error(err)
	}
}

func TestKeysAsText(t *testing.T) {
	key := signKey(t)
	text, err := key.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseSignKey(text)
	if err != nil || again.Public() != key.Public() {
		t.Error(err)
	}
	public, err := ParseTrustedKey(key.Public().String())
	if err != nil || public != key.Public() {
		t.Error(err)
	}
	for _, bad := range []string{"", "x", "AAAA", key.Public().String() + "AAAA", " " + key.Public().String(), strings.Repeat("A", 45)} {
		if _, err := ParseTrustedKey(bad); err == nil {
			t.Errorf("%q", bad)
		}
	}
	for _, bad := range [][]byte{nil, []byte("x"), bytes.Replace(text, []byte("PRIVATE"), []byte("PUBLIC"), 2), text[:len(text)/2]} {
		if _, err := ParseSignKey(bad); err == nil {
			t.Errorf("%q", bad)
		}
	}
}

// A key that openssl makes will do, and one of another kind is refused.
func TestKeysOfOpenSSL(t *testing.T) {
	for algorithm, good := range map[string]bool{"ed25519": true, "x25519": false, "ed448": false} {
		text, err := exec.Command("openssl", "genpkey", "-algorithm", algorithm).Output()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseSignKey(text); (err == nil) != good {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

// What signing adds to a small zone's change: once at the primary, and once at each secondary.
func BenchmarkSign(b *testing.B) {
	key, err := NewSignKey()
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{1 << 10, maxInline} {
		state := make([]byte, size)
		b.Run(fmt.Sprintf("sign %d bytes", size), func(b *testing.B) {
			for b.Loop() {
				key.Sign(state)
			}
		})
		signed, trusted := key.Sign(state), []TrustedKey{key.Public()}
		b.Run(fmt.Sprintf("verify %d bytes", size), func(b *testing.B) {
			for b.Loop() {
				if _, err := Verify(signed, trusted); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
