package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// damages are what disks and file systems do to a file.
var damages = map[string]func(r *rand.Rand, text []byte) []byte{
	"flipped bit": func(r *rand.Rand, text []byte) []byte {
		text[r.IntN(len(text))] ^= 1 << r.IntN(8)
		return text
	},
	"zeroed page": func(r *rand.Rand, text []byte) []byte {
		page := os.Getpagesize()
		at := r.IntN(len(text)/page) * page
		clear(text[at : at+page])
		return text
	},
	"cut off":   func(r *rand.Rand, text []byte) []byte { return text[:r.IntN(len(text))] },
	"cut half":  func(r *rand.Rand, text []byte) []byte { return text[:len(text)/2] },
	"garbage":   func(r *rand.Rand, text []byte) []byte { return []byte(strings.Repeat("not a store\n", 10_000)) },
	"all zeros": func(r *rand.Rand, text []byte) []byte { return make([]byte, len(text)) },
	"emptied":   func(*rand.Rand, []byte) []byte { return nil },
	"swapped pages": func(r *rand.Rand, text []byte) []byte {
		page := os.Getpagesize()
		a, b := r.IntN(len(text)/page)*page, r.IntN(len(text)/page)*page
		kept := bytes.Clone(text[a : a+page])
		copy(text[a:a+page], text[b:b+page])
		copy(text[b:b+page], kept)
		return text
	},
}

// filled makes a store of small zones and a large one, written over several times.
func filled(t *testing.T, file string) (want map[zone.Name]published) {
	t.Helper()
	s, err := Open(file)
	must.OK(t, err)
	want = map[zone.Name]published{}
	for round := range 2 {
		for n := range 40 {
			size := 4
			if n == 7 {
				size = large
			}
			name := parse(t, fmt.Sprintf("z%d.example.", n))
			p := publish(version(t, name, uint32(round+1), size, round+1))
			p.putInto(t, s)
			want[name] = p
		}
	}
	must.OK(t, s.Close())
	return want
}

// Whatever happens to the file: it is opened, and what it then gives is what was put there. What is missing is known
// to be.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	source := filepath.Join(t.TempDir(), "zones.db")
	want := filled(t, source)
	sound, err := os.ReadFile(source)
	must.OK(t, err)
	for what, damage := range damages {
		for seed := range uint64(rounds(what)) {
			r := rand.New(rand.NewPCG(seed, 1))
			dir := t.TempDir()
			file := filepath.Join(dir, "zones.db")
			must.OK(t, os.WriteFile(file, damage(r, bytes.Clone(sound)), 0o600))
			missing, known := useDamaged(t, file, want, fmt.Sprintf("%s, seed %d", what, seed))
			if missing > 0 && !known {
				t.Errorf("%s, seed %d: %d zones are missing, and nothing says so", what, seed, missing)
			}
		}
	}
}

func parse(t *testing.T, text string) zone.Name {
	t.Helper()
	name, err := zone.ParseName(text)
	must.OK(t, err)
	return name
}

// damageRounds is how often each kind of damage is done; the campaign does it more often.
var damageRounds = cmp.Or(atoi(os.Getenv("DAMAGE_ROUNDS")), 6)

func atoi(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

func rounds(what string) int {
	if what == "flipped bit" || what == "zeroed page" || what == "swapped pages" || what == "cut off" {
		return damageRounds
	}
	return 1
}

// useDamaged opens the file and reads all that should be there. It returns how many zones are not, and whether the
// store itself knows.
func useDamaged(t *testing.T, file string, want map[zone.Name]published, what string) (missing int, known bool) {
	t.Helper()
	s, err := Open(file)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return 0, false
	}
	defer s.Close()
	s.OnDamage(func(zone.Name, error) { known = true })
	known = s.Damage() != ""
	for name, p := range want {
		z, err := s.Zone(name)
		if err != nil {
			missing++
			if !errors.Is(err, ErrNotFound) && !known {
				t.Errorf("%s: zone %s: %v", what, name, err)
			}
			continue
		}
		if z.Digest() != p.zone.Digest() {
			t.Errorf("%s: zone %s is another one", what, name)
		}
		if at, err := s.Newest(name); err != nil || !at.Equal(p.state.Published) {
			if !known {
				t.Errorf("%s: zone %s: published at %v, %v", what, name, at, err)
			}
		}
	}
	if known && missing > 0 {
		if created, err := s.Feed(); s.Damage() != "" && (err != nil || !created.IsZero()) {
			t.Errorf("%s: the feed is not asked for again: %v, %v", what, created, err)
		}
	}
	refilled := 0
	for name, p := range want { // it can be filled again
		if refilled++; refilled > 3 {
			break
		}
		must.OK(t, s.Forget(name))
		p.putInto(t, s)
		wantHeld(t, s, p)
	}
	return missing, known
}

// What is damaged is kept, the last few times.
func TestDamagedFilesAreKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "zones.db")
	must.OK(t, os.WriteFile(file, []byte(strings.Repeat("x", 70_000)), 0o600))
	s, err := Open(file)
	must.OK(t, err)
	defer s.Close()
	all, err := filepath.Glob(file + ".damaged-*")
	must.OK(t, err)
	if len(all) != 1 || !strings.Contains(s.Damage(), all[0]) {
		t.Errorf("%v, %s", all, s.Damage())
	}
}
