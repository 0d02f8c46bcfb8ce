package zone

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzVerify demands that nothing passes for signed but what the trusted key signed, and that whatever passes can be
// decoded or refused.
func FuzzVerify(f *testing.F) {
	key, err := NewSignKey()
	if err != nil {
		f.Fatal(err)
	}
	other, err := NewSignKey()
	if err != nil {
		f.Fatal(err)
	}
	small, _ := NewState(parse(f, "example", signedText), 6, published2026)
	state := encode(f, small)
	for _, data := range [][]byte{state, key.Sign(state), other.Sign(state), key.Sign(nil), []byte(signedMagic)} {
		f.Add(data)
	}
	trusted := []TrustedKey{key.Public()}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Verify(data, trusted)
		switch {
		case err == nil && !bytes.Equal(key.Sign(got), data): // Ed25519 signs one text in one way
			t.Fatalf("passes unsigned: % x", data)
		case err != nil && !errors.Is(err, ErrUnverified) && !errors.Is(err, ErrCorrupt):
			t.Fatalf("error %v", err)
		}
		if got, err := Verify(data, nil); err == nil {
			if _, err := UnmarshalState(got); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error %v", err)
			}
		}
	})
}
