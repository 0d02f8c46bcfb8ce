package zone

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestOrderOfRFC4034 has the names of RFC 4034 §6.1, in their order.
func TestOrderOfRFC4034(t *testing.T) {
	names := []string{"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`}
	for i := range names {
		for j := range names {
			a, b := []byte(MustParseName(names[i])), []byte(MustParseName(names[j]))
			if got, want := sign(compareNames(a, b)), cmp.Compare(i, j); got != want {
				t.Errorf("%s against %s: %d", names[i], names[j], got)
			}
			if got, want := bytes.Compare(appendSortKey(nil, a), appendSortKey(nil, b)), cmp.Compare(i, j); got != want {
				t.Errorf("key of %s against that of %s: %d", names[i], names[j], got)
			}
		}
	}
}

func sign(c int) int { return cmp.Compare(c, 0) }

// TestSortKey compares two implementations of the order, and the third in reversedLabels.
func TestSortKey(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		a, b := randomName(random), randomName(random)
		want := sign(compareNames([]byte(a), []byte(b)))
		if got := bytes.Compare(appendSortKey(nil, []byte(a)), appendSortKey(nil, []byte(b))); got != want {
			t.Fatalf("%q against %q: names compare %d, keys %d", a, b, want, got)
		}
		la, lb := a.Labels(), b.Labels()
		slices.Reverse(la)
		slices.Reverse(lb)
		if got := slices.Compare(la, lb); got != want {
			t.Fatalf("%q against %q: names compare %d, labels %d", a, b, want, got)
		}
	}
}

// randomName has few and awkward bytes, so that names are often alike.
func randomName(random *rand.Rand) Name {
	alphabet := []byte{0, 1, 2, '*', 'a', 'b', 0xff}
	var wire []byte
	for range random.IntN(4) {
		n := 1 + random.IntN(3)
		wire = append(wire, byte(n))
		for range n {
			wire = append(wire, alphabet[random.IntN(len(alphabet))])
		}
	}
	return Name(append(wire, 0))
}

func TestSerialNewer(t *testing.T) {
	for _, c := range []struct {
		a, b uint32
		want bool
	}{
		{1, 0, true}, {0, 1, false}, {5, 5, false}, {44, 0, true}, {100, 44, true}, {200, 100, true},
		{0, 1<<32 - 1, true}, {1<<32 - 1, 0, false},
		{1<<31 - 1, 0, true}, {1 << 31, 0, false}, {0, 1 << 31, false}, {1<<31 + 1, 0, false}, {0, 1<<31 + 1, true},
	} {
		if got := SerialNewer(c.a, c.b); got != c.want {
			t.Errorf("%d newer than %d: %t", c.a, c.b, got)
		}
	}
}
