// Package store is a secondary's own copy of everything that was published to it, in one local file (bbolt): it lets
// the secondary serve its PowerDNS with the broker gone and refill an emptied one, and saves large zones from being
// sent again whole.
//
// Six buckets: states holds each zone's encoded [zone.State], chunks the compressed chunks of the large ones under
// zone and hash, apex each zone's [zone.Apex], so that a question for the SOA costs nothing, parked the names of
// zones that PowerDNS has not taken yet, newest when the newest known state of each zone was published, and about
// which feed the states came from. One transaction replaces a zone: a crash leaves the old version or the new one.
package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/private"
)

// ErrNotFound is returned for zones and chunks that are not held.
var ErrNotFound = errors.New("not in the store")

var (
	statesBucket = []byte("states")
	chunksBucket = []byte("chunks")
	apexBucket   = []byte("apex")
	parkedBucket = []byte("parked")
	newestBucket = []byte("newest")
	aboutBucket  = []byte("about")

	buckets = [][]byte{statesBucket, chunksBucket, apexBucket, parkedBucket, newestBucket, aboutBucket}
)

// Store is one open file. It is safe for concurrent use.
type Store struct {
	db     *bbolt.DB
	damage string // found when it was opened, "" if none

	// Set before the store is used.
	onChange func(*zone.State)
	onDamage func(zone.Name, error)
}

// OnChange has fn called with each state, tombstones included, once the store holds it for good, before the call
// returns that made it do so. Of one zone only one such call must be made at a time. Call it before the store is used.
func (s *Store) OnChange(fn func(*zone.State)) { s.onChange = fn }

// changed passes on that a state is held, unless that failed.
func (s *Store) changed(state *zone.State, err error) error {
	if err == nil && s.onChange != nil {
		s.onChange(state)
	}
	return err
}

// File is the store in a secondary's folder (secondary.state_dir).
func File(dir string) string { return filepath.Join(dir, "zones.db") }

// openTimeout is how long another process may hold the file.
const openTimeout = 2 * time.Second

// Open opens the file or makes it, mode 0600 in a folder of mode 0700; a folder that is open to others is refused.
// Only one process may hold it. A file that is damaged is put aside, and a new one made: it is a copy, and is filled
// again.
func Open(file string) (*Store, error) {
	s, spoiled, err := examine(file)
	if err != nil {
		return nil, err
	}
	if err := s.open(file, spoiled); err != nil {
		return nil, err
	}
	return s, nil
}

// examine finds what is damaged in the file before it is opened, and puts the file aside where it cannot be used at
// all. spoiled are the entries to be dropped from a file that can.
func examine(file string) (s *Store, spoiled []spoil, err error) {
	s = &Store{}
	if _, err := os.Stat(file); err != nil {
		return s, nil, nil
	}
	spoiled, err = inspect(file)
	switch {
	case err == nil && len(spoiled) > 0:
		s.damage = fmt.Sprintf("%d entries of its copy %s were damaged; they are asked for again", len(spoiled), file)
	case errors.Is(err, ErrDamaged):
		kept, moving := putAside(file, time.Now())
		if moving != nil {
			return nil, nil, fmt.Errorf("store %s: %w; it cannot be put aside: %w", file, err, moving)
		}
		s.damage = fmt.Sprintf("its copy %s was damaged and is kept as %s; all zones are asked for again (%v)",
			file, kept, err)
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, nil, inUse(file)
	case err != nil:
		return nil, nil, fmt.Errorf("store %s: %w", file, err)
	}
	return s, spoiled, nil
}

func inUse(file string) error {
	return fmt.Errorf("store %s is in use: another secondary role runs with this secondary.state_dir", file)
}

func (s *Store) open(file string, spoiled []spoil) error {
	if err := private.Folder(filepath.Dir(file)); err != nil {
		return fmt.Errorf("store %s: %w; secondary.state_dir must be a writable folder of its own", file, err)
	}
	if err := private.Tighten(file); err != nil {
		return fmt.Errorf("store %s: %w", file, err)
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: openTimeout, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return inUse(file)
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", file, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return errors.Join(drop(tx, spoiled), keepTally(tx), dropTombstones(tx, time.Now()), redate(tx))
	})
	if err != nil {
		return errors.Join(fmt.Errorf("store %s: %w", file, err), db.Close())
	}
	db.MaxBatchDelay = 2 * time.Millisecond // long enough for what comes together, too short to be felt
	s.db = db
	return nil
}

// Close waits for transactions in hand.
func (s *Store) Close() error { return s.db.Close() }

// Put makes state the zone's newest, which PowerDNS has taken, and drops the chunks that only the old one had. z is
// its content, nil for a tombstone; fresh holds the compressed chunks that the store lacks. When it returns nil all
// is on disk. Calls that come together share one transaction.
func (s *Store) Put(state *zone.State, z *zone.Zone, fresh map[zone.Chunk][]byte) error {
	return s.put(state, z, fresh, unpark)
}

// Park is Put for a state that PowerDNS has still to take: the same transaction parks the zone.
func (s *Store) Park(state *zone.State, z *zone.Zone, fresh map[zone.Chunk][]byte) error {
	return s.put(state, z, fresh, park)
}

func (s *Store) put(
	state *zone.State, z *zone.Zone, fresh map[zone.Chunk][]byte, mark func(*bbolt.Tx, zone.Name) error,
) error {
	kept := state
	err := s.db.Batch(func(tx *bbolt.Tx) error {
		kept = asNewAs(tx, state)
		if err := dropChunks(tx, state); err != nil {
			return err
		}
		for c, data := range fresh {
			if err := tx.Bucket(chunksBucket).Put(chunkKey(state.Name, c), data); err != nil {
				return err
			}
		}
		if err := putApex(tx, state.Name, z); err != nil {
			return err
		}
		if err := mark(tx, state.Name); err != nil {
			return err
		}
		if err := note(tx, state); err != nil {
			return err
		}
		return putState(tx, kept)
	})
	return s.changed(kept, err)
}

// asNewAs is the state as the store keeps it: where the content is that of a newer one which the store has, it stays
// dated as that, because it is as new.
func asNewAs(tx *bbolt.Tx, state *zone.State) *zone.State {
	dated := *state
	held, err := stateIn(tx, state.Name)
	if err == nil && sameContent(held, state) && held.Published.After(state.Published) {
		dated.Published, dated.Stored = held.Published, held.Stored
	}
	return &dated
}

func putState(tx *bbolt.Tx, state *zone.State) error {
	encoded, err := state.MarshalBinary()
	if err != nil {
		return err
	}
	return putSealed(tx, statesBucket, state.Name, encoded)
}

func putSealed(tx *bbolt.Tx, bucket []byte, name zone.Name, value []byte) error {
	return set(tx, bucket, []byte(name), seal([]byte(name), value))
}

func getSealed(tx *bbolt.Tx, bucket []byte, name zone.Name) ([]byte, error) {
	return unseal([]byte(name), tx.Bucket(bucket).Get([]byte(name)))
}

func sameContent(a, b *zone.State) bool {
	return !a.Gone && !b.Gone && a.Digest == b.Digest && a.Stable == b.Stable
}

// tombstoneAge is how long a deleted zone is remembered: a state from before its deletion must not bring it back.
const tombstoneAge = 366 * 24 * time.Hour

// note keeps the latest time: an older state with the content of the newest must not make room for those in between.
func note(tx *bbolt.Tx, state *zone.State) error {
	known, _ := getSealed(tx, newestBucket, state.Name) // what is damaged is replaced
	if !state.Published.After(noted(known)) {
		return nil
	}
	at := binary.BigEndian.AppendUint64(nil, uint64(state.Published.UnixMilli()))
	return putSealed(tx, newestBucket, state.Name, at)
}

// DropTombstones forgets zones that were deleted more than a year ago, as Open does: call it about once a day.
func (s *Store) DropTombstones(now time.Time) error {
	return s.db.Update(func(tx *bbolt.Tx) error { return dropTombstones(tx, now) })
}

func dropTombstones(tx *bbolt.Tx, now time.Time) error {
	newest, states := tx.Bucket(newestBucket), tx.Bucket(statesBucket)
	var old [][]byte
	err := newest.ForEach(func(name, sealed []byte) error {
		at, err := unseal(name, sealed)
		if err != nil {
			return nil // it is found when it is needed
		}
		if now.Sub(noted(at)) > tombstoneAge && states.Get(name) == nil {
			old = append(old, bytes.Clone(name))
		}
		return nil
	})
	for _, name := range old {
		err = errors.Join(err, set(tx, newestBucket, name, nil))
	}
	return err
}

// noted decodes what note wrote; the zero time of what is no such thing.
func noted(at []byte) time.Time {
	if len(at) != 8 {
		return time.Time{}
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(at))).UTC()
}

// Newest is when the newest state of the zone that the store was given was published, for a year also that of one
// which is gone. The zero time: nothing is known of the zone.
func (s *Store) Newest(name zone.Name) (at time.Time, err error) {
	err = s.read(name, func(tx *bbolt.Tx) error {
		value, err := getSealed(tx, newestBucket, name)
		at = noted(value)
		return err
	})
	return at, err
}

// Confirm notes a newer state with the content that the store has. Chunks stay as the store has them: another primary
// may have cut them otherwise.
func (s *Store) Confirm(state *zone.State) error {
	return s.changed(state, s.db.Batch(func(tx *bbolt.Tx) error {
		held, err := stateIn(tx, state.Name)
		if err != nil {
			return err
		}
		if !sameContent(held, state) {
			return fmt.Errorf("zone %s: the store has other content than the state of %s", state.Name, state.Published)
		}
		if state.Published.After(held.Published) {
			held.Published, held.Stored = state.Published, state.Stored
		}
		return errors.Join(note(tx, state), putState(tx, held))
	}))
}

var datedKey = []byte("dated")

// redate has states dated as what confirmed them: earlier versions only noted that beside them. It does so once.
func redate(tx *bbolt.Tx) error {
	about, states := tx.Bucket(aboutBucket), tx.Bucket(statesBucket)
	if about.Get(datedKey) != nil {
		return nil
	}
	var confirmed []*zone.State
	err := states.ForEach(func(name, sealed []byte) error {
		noting, err1 := getSealed(tx, newestBucket, zone.Name(name))
		encoded, err2 := unseal(name, sealed)
		if err1 != nil || err2 != nil {
			return nil
		}
		at := noted(noting)
		if state, err := zone.UnmarshalState(encoded); err == nil && at.After(state.Published) {
			state.Published = at
			confirmed = append(confirmed, state)
		}
		return nil
	})
	for _, state := range confirmed {
		err = errors.Join(err, putState(tx, state))
	}
	return errors.Join(err, about.Put(datedKey, []byte{1}))
}

// dropChunks removes what the store has of the zone and next has not. It looks at the chunks themselves, so that a
// state that cannot be read can be replaced.
func dropChunks(tx *bbolt.Tx, next *zone.State) error {
	stays := map[string]bool{}
	for _, c := range next.Chunks() {
		stays[string(chunkKey(next.Name, c))] = true
	}
	bucket, prefix := tx.Bucket(chunksBucket), []byte(next.Name)
	var old [][]byte
	cursor := bucket.Cursor()
	for key, _ := cursor.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = cursor.Next() {
		if len(key) == len(prefix)+len(zone.Chunk{}.Hash) && !stays[string(key)] {
			old = append(old, bytes.Clone(key))
		}
	}
	for _, key := range old {
		if err := bucket.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

func putApex(tx *bbolt.Tx, name zone.Name, z *zone.Zone) error {
	if z == nil {
		return set(tx, apexBucket, []byte(name), nil)
	}
	var joined []byte
	for _, r := range z.Apex() {
		joined = append(joined, r...)
	}
	return putSealed(tx, apexBucket, name, joined)
}

var feedKey = []byte("feed")

// Feed is when the feed that the states came from was created; the zero time of a new store.
func (s *Store) Feed() (created time.Time, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		text := tx.Bucket(aboutBucket).Get(feedKey)
		if text == nil || created.UnmarshalText(text) != nil {
			created = time.Time{} // what cannot be read is as good as none: all is delivered anew
		}
		return nil
	})
	return created, err
}

// SetFeed notes which feed the states come from.
func (s *Store) SetFeed(created time.Time) error {
	text, err := created.MarshalText()
	if err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(aboutBucket).Put(feedKey, text) })
}

// Unpark notes that PowerDNS has taken the zone's state.
func (s *Store) Unpark(name zone.Name) error {
	return s.db.Batch(func(tx *bbolt.Tx) error { return unpark(tx, name) })
}

func park(tx *bbolt.Tx, name zone.Name) error { return set(tx, parkedBucket, []byte(name), []byte{}) }

func unpark(tx *bbolt.Tx, name zone.Name) error { return set(tx, parkedBucket, []byte(name), nil) }

// Parked returns the zones that are parked.
func (s *Store) Parked() (names []zone.Name, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(parkedBucket).ForEach(func(name, _ []byte) error {
			names = append(names, zone.Name(name))
			return nil
		})
	})
	return names, err
}

// Remove forgets all that is held of a deleted zone but when its tombstone was published.
func (s *Store) Remove(tombstone *zone.State) error {
	return s.changed(tombstone, s.db.Batch(func(tx *bbolt.Tx) error {
		if err := dropChunks(tx, tombstone); err != nil {
			return err
		}
		for _, bucket := range [][]byte{apexBucket, parkedBucket, statesBucket} {
			if err := set(tx, bucket, []byte(tombstone.Name), nil); err != nil {
				return err
			}
		}
		return note(tx, tombstone)
	}))
}

// State returns what is held about a zone: its state, tombstones included, or ErrNotFound.
func (s *Store) State(name zone.Name) (state *zone.State, err error) {
	err = s.read(name, func(tx *bbolt.Tx) error {
		state, err = stateIn(tx, name)
		return err
	})
	return state, err
}

func stateIn(tx *bbolt.Tx, name zone.Name) (*zone.State, error) {
	encoded, err := getSealed(tx, statesBucket, name)
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", name, err)
	}
	if encoded == nil {
		return nil, fmt.Errorf("zone %s: %w", name, ErrNotFound)
	}
	return zone.UnmarshalState(encoded)
}

// Zone rebuilds and verifies the content of a zone; ErrNotFound for tombstones too.
func (s *Store) Zone(name zone.Name) (z *zone.Zone, err error) {
	err = s.read(name, func(tx *bbolt.Tx) error {
		state, err := stateIn(tx, name)
		if err != nil {
			return err
		}
		if state.Gone {
			return fmt.Errorf("zone %s: %w", name, ErrNotFound)
		}
		z, err = state.Zone(func(c zone.Chunk) ([]byte, error) {
			if data := tx.Bucket(chunksBucket).Get(chunkKey(name, c)); data != nil {
				return data, nil // decompressed before the transaction ends
			}
			return nil, fmt.Errorf("chunk %x: %w: %w", c.Hash[:4], ErrDamaged, ErrNotFound)
		})
		return err
	})
	return z, err
}

// Apex returns the zone's.
func (s *Store) Apex(name zone.Name) (apex zone.Apex, err error) {
	err = s.read(name, func(tx *bbolt.Tx) error {
		joined, err := getSealed(tx, apexBucket, name)
		if err != nil {
			return fmt.Errorf("zone %s: %w", name, err)
		}
		apex, err = zone.SplitRecords(bytes.Clone(joined))
		if err != nil || len(apex) == 0 {
			return fmt.Errorf("zone %s: %w", name, errors.Join(err, ErrNotFound))
		}
		return nil
	})
	return apex, err
}

// Chunk returns the compressed bytes of a chunk of the zone.
func (s *Store) Chunk(name zone.Name, c zone.Chunk) (data []byte, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		if data = bytes.Clone(tx.Bucket(chunksBucket).Get(chunkKey(name, c))); data == nil {
			return fmt.Errorf("chunk %x of zone %s: %w", c.Hash[:4], name, ErrNotFound)
		}
		return nil
	})
	return data, err
}

// States yields all states, in the order of their names' bytes, tombstones included. For one that cannot be decoded it
// yields the error. The store can be used meanwhile; what changes then may or may not be seen.
func (s *Store) States() iter.Seq2[*zone.State, error] {
	return func(yield func(*zone.State, error) bool) {
		for after := []byte{}; after != nil; {
			var entries []entry
			entries, after = s.page(after)
			for _, e := range entries {
				if !yield(e.state, e.err) {
					return
				}
			}
		}
	}
}

type entry struct {
	state *zone.State
	err   error
}

// page reads the next states from a key on and returns where to go on, nil at the end. Transactions are kept short: a
// long one keeps pages of the file from being used again.
func (s *Store) page(from []byte) (entries []entry, next []byte) {
	const most = 256
	err := s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(statesBucket).Cursor()
		for k, v := c.Seek(from); k != nil; k, v = c.Next() {
			if len(entries) == most {
				next = bytes.Clone(k)
				return nil
			}
			state, err := openState(k, v)
			if err != nil {
				err = fmt.Errorf("zone %s: %w", zone.Name(k), err)
			}
			entries = append(entries, entry{state, err})
		}
		return nil
	})
	if err != nil {
		return []entry{{nil, err}}, nil
	}
	return entries, next
}

func openState(key, sealed []byte) (*zone.State, error) {
	encoded, err := unseal(key, sealed)
	if err != nil {
		return nil, err
	}
	return zone.UnmarshalState(encoded)
}

func chunkKey(name zone.Name, c zone.Chunk) []byte {
	return append([]byte(name), c.Hash[:]...)
}
