package zone

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func aCheckpoint() Checkpoint {
	c := Checkpoint{At: ledgerNoon, Complete: true, Zones: 1234}
	for i := range c.Sums {
		c.Sums[i] = BucketSum{byte(i), 1, 2}
	}
	return c
}

func TestCheckpoint(t *testing.T) {
	ours, theirs := signKey(t), signKey(t)
	trusted := []TrustedKey{theirs.Public(), ours.Public()}
	for _, c := range []Checkpoint{aCheckpoint(), {At: ledgerNoon}} {
		data := ours.SignCheckpoint(c)
		got, by, err := VerifyCheckpoint(data, trusted)
		if err != nil || got != c || by != ours.Public() || len(data) != 1105 {
			t.Errorf("%+v by %s, %v, %d bytes", got, by, err, len(data))
		}
	}
	if at := aCheckpoint().AsOf(); !at.Equal(ledgerNoon.Add(-settling)) {
		t.Errorf("as of %s", at)
	}
	data := signKey(t).SignCheckpoint(aCheckpoint())
	if _, _, err := VerifyCheckpoint(data, trusted); !errors.Is(err, ErrUnverified) {
		t.Errorf("of a foreign key: %v", err)
	}
	if _, _, err := VerifyCheckpoint(data, nil); !errors.Is(err, ErrUnverified) {
		t.Errorf("nobody is trusted: %v", err)
	}
}

// Whatever bit of a checkpoint is turned over, and wherever it is cut, it is refused.
func TestCheckpointAltered(t *testing.T) {
	key := signKey(t)
	trusted := []TrustedKey{key.Public()}
	data := key.SignCheckpoint(aCheckpoint())
	for bit := 0; bit < 8*len(data); bit += 3 {
		altered := bytes.Clone(data)
		altered[bit/8] ^= 1 << (bit % 8)
		if _, _, err := VerifyCheckpoint(altered, trusted); err == nil {
			t.Fatalf("bit %d was turned over", bit)
		}
	}
	for _, other := range [][]byte{nil, data[1:], data[:len(data)-1], append(bytes.Clone(data), 0)} {
		if _, _, err := VerifyCheckpoint(other, trusted); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: %v", len(other), err)
		}
	}
}

// A signature of a state is none of a checkpoint, and the other way round, whatever bytes are signed.
func TestCheckpointIsNoState(t *testing.T) {
	key := signKey(t)
	trusted := []TrustedKey{key.Public()}
	encoded := aCheckpoint().encode()
	state := key.Sign(encoded)[len(signedMagic):] // a signature, and what it is of
	if _, _, err := VerifyCheckpoint(state, trusted); !errors.Is(err, ErrUnverified) {
		t.Errorf("a state's signature passes for that of a checkpoint: %v", err)
	}
	checkpoint := append([]byte(signedMagic), key.SignCheckpoint(aCheckpoint())...)
	if _, err := Verify(checkpoint, trusted); !errors.Is(err, ErrUnverified) {
		t.Errorf("a checkpoint's signature passes for that of a state: %v", err)
	}
}

// FuzzDecodeCheckpoint: what can be decoded is what is encoded again.
func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add(aCheckpoint().encode())
	f.Add(Checkpoint{At: time.UnixMilli(0)}.encode())
	f.Add([]byte(checkpointMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCheckpoint(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		if again := c.encode(); !bytes.Equal(again, b) {
			t.Errorf("% x\n% x", b, again)
		}
	})
}
