package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.etcd.io/bbolt"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

var example = zone.MustParseName("example.org")

// large is how many hosts, with texts that cannot be compressed, make a zone of several chunks.
const large = 4000

// version makes a version of a zone with so many hosts. Versions differ in their serials and in the first host.
func version(t testing.TB, name zone.Name, serial uint32, hosts, first int) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(name, 0)
	add := func(format string, args ...any) {
		rr, err := dns.NewRR(fmt.Sprintf(format, args...))
		must.OK(t, err)
		r, err := zone.NewRecord(rr)
		must.OK(t, err)
		must.OK(t, b.Add(r))
	}
	add("%s 3600 SOA ns.example. hostmaster.example. %d 1 1 1 1", name, serial)
	add("%s 3600 NS ns.example.", name)
	for n := range hosts {
		mark := 0
		if n == 0 {
			mark = first
		}
		add("h%d.%s 60 TXT \"%x\" \"%d\"", n, name, sha256.Sum256(fmt.Append(nil, n)), mark)
	}
	z, err := b.Zone()
	must.OK(t, err)
	return z
}

// published is what came over the broker: a state, its content and the chunks of a large zone.
type published struct {
	state  *zone.State
	zone   *zone.Zone
	chunks map[zone.Chunk][]byte
}

func publish(z *zone.Zone) published {
	state, contents := zone.NewState(z, z.Serial(), time.Now())
	p := published{state, z, map[zone.Chunk][]byte{}}
	for i, c := range state.Chunks() {
		p.chunks[c] = contents[i]
	}
	return p
}

func (p published) putInto(t testing.TB, s *Store) {
	t.Helper()
	fresh := map[zone.Chunk][]byte{}
	for c, data := range p.chunks {
		if _, err := s.Chunk(p.state.Name, c); err != nil {
			fresh[c] = data
		}
	}
	must.OK(t, s.Put(p.state, p.zone, fresh))
}

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "zones.db"))
	must.OK(t, err)
	t.Cleanup(func() { must.OK(t, s.Close()) })
	return s
}

func TestPutAndGet(t *testing.T) {
	s := open(t)
	wantNothing(t, s)
	one, many := publish(version(t, example, 1, 3, 1)), publish(version(t, example, 2, large, 1))
	if len(one.chunks) != 0 || len(many.chunks) < 5 {
		t.Fatalf("%d and %d chunks: this test shows little", len(one.chunks), len(many.chunks))
	}
	for _, p := range []published{one, many, one} {
		p.putInto(t, s)
		wantHeld(t, s, p)
	}
	wantChunks(t, s)
}

func TestTombstoneAndForget(t *testing.T) {
	for what, remove := range map[string]func(*Store) error{
		"tombstone": func(s *Store) error { return s.Put(zone.NewTombstone(example, time.Now()), nil, nil) },
		"forget":    func(s *Store) error { return s.Remove(zone.NewTombstone(example, time.Now())) },
	} {
		t.Run(what, func(t *testing.T) {
			s := open(t)
			publish(version(t, example, 1, large, 1)).putInto(t, s)
			other := publish(version(t, zone.MustParseName("sub.example.org"), 1, large, 1))
			other.putInto(t, s)
			must.OK(t, remove(s))
			if _, err := s.Zone(example); !errors.Is(err, ErrNotFound) {
				t.Errorf("its content: %v", err)
			}
			if _, err := s.Apex(example); !errors.Is(err, ErrNotFound) {
				t.Errorf("its apex: %v", err)
			}
			switch state, err := s.State(example); {
			case what == "forget" && !errors.Is(err, ErrNotFound):
				t.Errorf("its state: %v, %v", state, err)
			case what == "tombstone" && (err != nil || !state.Gone):
				t.Errorf("its state: %+v, %v", state, err)
			}
			wantHeld(t, s, other)
			wantChunks(t, s, other)
		})
	}
}

// Chunks are dropped when the next version does not have them, and only then.
func TestChunksOfALargeZone(t *testing.T) {
	s := open(t)
	first, second := publish(version(t, example, 1, large, 1)), publish(version(t, example, 2, large, 2))
	shared := 0
	for c := range first.chunks {
		if _, both := second.chunks[c]; both {
			shared++
		}
	}
	if shared == 0 || shared == len(first.chunks) {
		t.Fatalf("%d of %d chunks are shared: this test shows little", shared, len(first.chunks))
	}
	other := publish(version(t, zone.MustParseName("example.net"), 1, large, 1))
	other.putInto(t, s)
	for _, p := range []published{first, second, first, first} {
		p.putInto(t, s)
		wantHeld(t, s, p)
		wantChunks(t, s, p, other)
	}
}

func TestZoneWhoseChunkIsMissing(t *testing.T) {
	s := open(t)
	p := publish(version(t, example, 1, large, 1))
	must.OK(t, s.Put(p.state, p.zone, nil))
	if _, err := s.Zone(example); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "chunk 1 of ") {
		t.Errorf("error is %v", err)
	}
}

func TestParked(t *testing.T) {
	s := open(t)
	a, b, c := publish(version(t, example, 1, 1, 1)), zone.MustParseName("b.example"), zone.MustParseName("c.example")
	must.OK(t, s.Park(a.state, a.zone, nil))
	must.OK(t, s.Park(zone.NewTombstone(b, time.Now()), nil, nil))
	must.OK(t, s.Park(zone.NewTombstone(c, time.Now()), nil, nil))
	wantParked(t, s, a.state.Name, b, c)
	wantHeld(t, s, a)
	must.OK(t, s.Unpark(b))
	must.OK(t, s.Unpark(b))
	wantParked(t, s, a.state.Name, c)
	must.OK(t, s.Remove(zone.NewTombstone(c, time.Now())))
	wantParked(t, s, a.state.Name)
	a.putInto(t, s)
	wantParked(t, s)
}

func TestFeedThatTheStatesCameFrom(t *testing.T) {
	s := open(t)
	for _, want := range []time.Time{{}, time.Date(2026, 11, 26, 12, 0, 0, 123456789, time.UTC), time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)} {
		if !want.IsZero() {
			must.OK(t, s.SetFeed(want))
		}
		if got, err := s.Feed(); err != nil || !got.Equal(want) {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}

func TestEverythingSurvivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zones.db")
	p := publish(version(t, example, 1, large, 1))
	s, err := Open(file)
	must.OK(t, err)
	must.OK(t, s.Park(p.state, p.zone, p.chunks))
	must.OK(t, s.Close())
	s, err = Open(file)
	must.OK(t, err)
	defer s.Close()
	wantHeld(t, s, p)
	wantParked(t, s, example)
}

func TestStatesWhileTheyChange(t *testing.T) {
	s := open(t)
	const zones = 1000 // several pages
	var names []zone.Name
	for n := range zones {
		names = append(names, zone.MustParseName(fmt.Sprintf("z%04d.example", n)))
	}
	slices.Sort(names)
	fill(t, s, names)
	at := 0
	for state, err := range s.States() {
		must.OK(t, err)
		if state.Name != names[at] {
			t.Fatalf("state %d is of %s, want %s", at, state.Name, names[at])
		}
		at++
		switch at {
		case 100: // before it, behind it in this page, and in a later one
			must.OK(t, s.Remove(zone.NewTombstone(names[10], time.Now())))
			must.OK(t, s.Remove(zone.NewTombstone(names[200], time.Now())))
			must.OK(t, s.Remove(zone.NewTombstone(names[600], time.Now())))
			names = slices.Delete(names, 600, 601) // the page is read already, later ones are not
		case 300:
			must.OK(t, s.Put(zone.NewTombstone(zone.MustParseName("zzzzz.example"), time.Now()), nil, nil))
			names = append(names, zone.MustParseName("zzzzz.example"))
		}
	}
	if at != len(names) {
		t.Errorf("%d states, want %d", at, len(names))
	}
	for range s.States() {
		break // no more is asked for
	}
}

func fill(t *testing.T, s *Store, names []zone.Name) {
	t.Helper()
	must.OK(t, s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range names {
			encoded, err := zone.NewTombstone(name, time.Now()).MarshalBinary()
			if err == nil {
				err = tx.Bucket(statesBucket).Put([]byte(name), encoded)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// A state that cannot be read, of a later version of this program for instance, is that zone's trouble alone, and the
// next one to come replaces it.
func TestDamagedState(t *testing.T) {
	s := open(t)
	p := publish(version(t, example, 1, large, 1))
	p.putInto(t, s)
	names := []zone.Name{zone.MustParseName("a.example"), zone.MustParseName("zz.example")}
	fill(t, s, names)
	must.OK(t, s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(statesBucket).Put([]byte(example), []byte("PDZ\x09 of another version"))
	}))
	if _, err := s.State(example); !errors.Is(err, zone.ErrCorrupt) {
		t.Errorf("its state: %v", err)
	}
	if _, err := s.Zone(example); !errors.Is(err, zone.ErrCorrupt) {
		t.Errorf("its content: %v", err)
	}
	var faults, others int
	for state, err := range s.States() {
		switch {
		case err == nil && slices.Contains(names, state.Name):
			others++
		case err != nil && strings.HasPrefix(err.Error(), "zone example.org.: corrupt: a zone state of another version; update this program"):
			faults++
		default:
			t.Errorf("state %v, error %v", state, err)
		}
	}
	if faults != 1 || others != len(names) {
		t.Errorf("%d faults and %d states, want 1 and %d", faults, others, len(names))
	}
	next := publish(version(t, example, 2, large, 2))
	next.putInto(t, s)
	wantHeld(t, s, next)
	wantChunks(t, s, next)
}

func TestUnusableFiles(t *testing.T) {
	dir := t.TempDir()
	for what, test := range map[string]struct {
		file    string
		content []byte
		want    string
	}{
		"no folder": {"text/zones.db", nil, "; secondary.state_dir must be a writable folder of its own"},
	} {
		t.Run(what, func(t *testing.T) {
			file := filepath.Join(dir, test.file)
			must.OK(t, os.WriteFile(filepath.Join(dir, "text"), []byte("text"), 0o600))
			if test.content != nil {
				must.OK(t, os.WriteFile(file, test.content, 0o600))
			}
			_, err := Open(file)
			if err == nil || !strings.HasPrefix(err.Error(), "store "+file+": ") || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zones.db")
	s, err := Open(file)
	must.OK(t, err)
	defer s.Close()
	_, err = Open(file)
	if want := "store " + file + " is in use: another secondary role runs with this secondary.state_dir"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lib", "secondary")
	s, err := Open(filepath.Join(dir, "zones.db"))
	must.OK(t, err)
	defer s.Close()
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "zones.db"): 0o600} {
		info, err := os.Stat(path)
		must.OK(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o", path, got, want)
		}
	}
}

func wantNothing(t *testing.T, s *Store) {
	t.Helper()
	_, err1 := s.State(example)
	_, err2 := s.Zone(example)
	_, err3 := s.Apex(example)
	_, err4 := s.Chunk(example, zone.Chunk{})
	for _, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("error is %v, want %v", err, ErrNotFound)
		}
	}
	for state := range s.States() {
		t.Errorf("holds %+v", state)
	}
}

// wantHeld wants the version, in full and by its apex.
func wantHeld(t *testing.T, s *Store, p published) {
	t.Helper()
	name := p.state.Name
	state, err := s.State(name)
	must.OK(t, err)
	z, err := s.Zone(name)
	must.OK(t, err)
	if state.Digest != p.state.Digest || z.Digest() != p.zone.Digest() || z.Serial() != p.zone.Serial() || z.Len() != p.zone.Len() {
		t.Errorf("zone %s: serial %d with %d records, want %d with %d", name, z.Serial(), z.Len(), p.zone.Serial(), p.zone.Len())
	}
	apex, err := s.Apex(name)
	must.OK(t, err)
	if !slices.EqualFunc(apex, p.zone.Apex(), func(a, b zone.Record) bool { return bytes.Equal(a, b) }) {
		t.Errorf("zone %s: apex is %v, want %v", name, apex, p.zone.Apex())
	}
}

// wantChunks wants the chunks of these versions, and no others in the whole store.
func wantChunks(t *testing.T, s *Store, versions ...published) {
	t.Helper()
	n := 0
	for _, p := range versions {
		n += len(p.chunks)
		for c, want := range p.chunks {
			if got, err := s.Chunk(p.state.Name, c); err != nil || !bytes.Equal(got, want) {
				t.Errorf("zone %s: chunk %x: %d bytes, want %d: %v", p.state.Name, c.Hash[:4], len(got), len(want), err)
			}
		}
	}
	must.OK(t, s.db.View(func(tx *bbolt.Tx) error {
		if held := tx.Bucket(chunksBucket).Stats().KeyN; held != n {
			t.Errorf("the store holds %d chunks, want %d", held, n)
		}
		return nil
	}))
}

func wantParked(t *testing.T, s *Store, want ...zone.Name) {
	t.Helper()
	got, err := s.Parked()
	must.OK(t, err)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("parked is %v, want %v", got, want)
	}
}

// Nothing that is older makes room for what is between it and the newest, and a deleted zone is remembered for a year.
func TestNewest(t *testing.T) {
	s := open(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	at := func(after time.Duration) *zone.State {
		state, _ := zone.NewState(version(t, example, 1, 1, 1), 1, now.Add(after))
		return state
	}
	wantNewest := func(what string, want time.Time) {
		t.Helper()
		if got, err := s.Newest(example); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", what, got, err, want)
		}
	}
	wantNewest("unknown", time.Time{})
	p := publish(version(t, example, 1, 1, 1))
	must.OK(t, s.Put(at(2*time.Hour), p.zone, nil))
	must.OK(t, s.Confirm(at(time.Hour)))
	must.OK(t, s.Put(at(time.Hour), p.zone, nil))
	wantNewest("older ones", now.Add(2*time.Hour))
	must.OK(t, s.Confirm(at(3*time.Hour)))
	wantNewest("confirmed", now.Add(3*time.Hour))
	if held, err := s.State(example); err != nil || !held.Published.Equal(now.Add(3*time.Hour)) {
		t.Errorf("the store has it as of %v, %v", held.Published, err)
	}
	must.OK(t, s.Remove(zone.NewTombstone(example, now)))
	wantNewest("removed", now.Add(3*time.Hour))
	for after, want := range map[time.Duration]time.Time{tombstoneAge: now.Add(3 * time.Hour), tombstoneAge + 4*time.Hour: {}} {
		must.OK(t, s.Remove(zone.NewTombstone(example, now.Add(3*time.Hour))))
		must.OK(t, s.DropTombstones(now.Add(after)))
		wantNewest(after.String(), want)
	}
}

// OnChange reports each state once it is held, and nothing that failed.
func TestOnChange(t *testing.T) {
	s := open(t)
	var reported []string
	s.OnChange(func(state *zone.State) { reported = append(reported, fmt.Sprint(state.Published.Second(), state.Gone)) })
	p := publish(version(t, example, 1, 1, 1))
	at := func(second int) *zone.State {
		state, _ := zone.NewState(p.zone, 1, time.Date(2026, 11, 26, 12, 0, second, 0, time.UTC))
		return state
	}
	must.OK(t, s.Park(at(1), p.zone, nil))
	must.OK(t, s.Confirm(at(2)))
	must.OK(t, s.Unpark(example))
	other, _ := zone.NewState(version(t, example, 2, 1, 1), 2, time.Date(2026, 11, 26, 12, 0, 3, 0, time.UTC))
	if err := s.Confirm(other); err == nil {
		t.Error("another content was confirmed")
	}
	must.OK(t, s.Remove(zone.NewTombstone(example, time.Date(2026, 11, 26, 12, 0, 4, 0, time.UTC))))
	if err := s.Confirm(at(5)); err == nil {
		t.Error("what is not there was confirmed")
	}
	if want := []string{"1 false", "2 false", "4 true"}; !slices.Equal(reported, want) {
		t.Errorf("reported %q, want %q", reported, want)
	}
}

// What an earlier version noted beside a state is taken into it, once.
func TestRedate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "zones.db")
	p := publish(version(t, example, 1, 1, 1))
	now := time.Now().UTC().Truncate(time.Millisecond)
	for round, earlier := range []bool{true, false} {
		s, err := Open(file)
		must.OK(t, err)
		state, _ := zone.NewState(p.zone, 1, now)
		must.OK(t, s.db.Update(func(tx *bbolt.Tx) error {
			if earlier {
				must.OK(t, tx.Bucket(aboutBucket).Delete(datedKey))
			}
			encoded, err := state.MarshalBinary()
			must.OK(t, err)
			must.OK(t, tx.Bucket(statesBucket).Put([]byte(example), encoded))
			newer := zone.NewTombstone(example, now.Add(time.Hour))
			return errors.Join(note(tx, newer), tx.Bucket(aboutBucket).Delete(tallyKey)) // an earlier version kept none
		}))
		must.OK(t, s.Close())
		s, err = Open(file)
		must.OK(t, err)
		held, err := s.State(example)
		must.OK(t, err)
		if want := map[bool]time.Time{true: now.Add(time.Hour), false: now}[earlier]; !held.Published.Equal(want) {
			t.Errorf("round %d: dated %s, want %s", round, held.Published, want)
		}
		must.OK(t, s.Close())
	}
}

// OnChange reports what the store keeps: a state that comes late, with the content of a newer one, is as new.
func TestLateStateIsReportedAsKept(t *testing.T) {
	z := version(t, zone.MustParseName("late.example"), 1, 3, 1)
	older, _ := zone.NewState(z, z.Serial(), time.Unix(1000, 0))
	newer, _ := zone.NewState(z, z.Serial(), time.Unix(2000, 0))
	s := open(t)
	var reported time.Time
	s.OnChange(func(state *zone.State) { reported = state.Published })
	must.OK(t, s.Put(newer, z, nil))
	must.OK(t, s.Put(older, z, nil))
	kept, err := s.State(z.Name())
	must.OK(t, err)
	if !reported.Equal(newer.Published) || !kept.Published.Equal(newer.Published) {
		t.Errorf("reported %s, kept %s, want %s", reported, kept.Published, newer.Published)
	}
}
