// Package store is a secondary's own copy of everything that was published to it, in one local file (bbolt): it lets
// the secondary serve its PowerDNS with the broker gone and refill an emptied one, and saves large zones from being
// sent again whole.
//
// Six buckets: states holds each zone's encoded [zone.State], chunks the compressed chunks of the large ones under
// zone and hash, apex each zone's [zone.Apex], so that a question for the SOA costs
// nothing, parked the names of zones that PowerDNS has not taken yet, newest when the newest known state of each zone was
// published, and about which feed the states came from. One transaction replaces a zone: a crash leaves the old version or
// the new one.
package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/private"
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
)

// Store is safe for concurrent use.
type Store struct {
	db *bbolt.DB
}

// Open opens the file or makes it, mode 0600 in a folder of mode 0700; a folder that is open to others is refused. Only one process may hold it.
func Open(file string) (*Store, error) {
	if err := private.Folder(filepath.Dir(file)); err != nil {
		return nil, fmt.Errorf("store %s: %w; secondary.state_dir must be a writable folder of its own", file, err)
	}
	if err := private.Tighten(file); err != nil {
		return nil, fmt.Errorf("store %s: %w", file, err)
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: 2 * time.Second, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("store %s is in use: another secondary role runs with this secondary.state_dir", file)
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: %w; if it is damaged, remove it: it is filled again from the broker", file, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{statesBucket, chunksBucket, apexBucket, parkedBucket, newestBucket, aboutBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return dropGraves(tx, time.Now())
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", file, err), db.Close())
	}
	db.MaxBatchDelay = 2 * time.Millisecond // long enough for what comes together, too short to be felt
	return &Store{db: db}, nil
}

// Close waits for transactions in hand.
func (s *Store) Close() error { return s.db.Close() }

// Put makes state the zone's newest and drops the chunks that only the old one had. z is its content, nil for a
// tombstone; fresh holds the compressed chunks that the store lacks. parked notes that PowerDNS has still to take it. When
// it returns nil all is on disk. Calls that come together share one transaction.
func (s *Store) Put(state *zone.State, z *zone.Zone, fresh map[zone.Chunk][]byte, parked bool) error {
	encoded, err := state.MarshalBinary()
	if err != nil {
		return err
	}
	return s.db.Batch(func(tx *bbolt.Tx) error {
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
		if err := park(tx, state.Name, parked); err != nil {
			return err
		}
		if err := note(tx, state); err != nil {
			return err
		}
		return tx.Bucket(statesBucket).Put([]byte(state.Name), encoded)
	})
}

// graveAge is how long a deleted zone is remembered: a state from before its deletion must not bring it back.
const graveAge = 366 * 24 * time.Hour

// note keeps the latest time: an older state with the content of the newest must not make room for those in between.
func note(tx *bbolt.Tx, state *zone.State) error {
	if !state.Published.After(noted(tx.Bucket(newestBucket).Get([]byte(state.Name)))) {
		return nil
	}
	at := binary.BigEndian.AppendUint64(nil, uint64(state.Published.UnixMilli()))
	return tx.Bucket(newestBucket).Put([]byte(state.Name), at)
}

// DropGraves forgets zones that were deleted more than a year ago, as Open does: call it about once a day.
func (s *Store) DropGraves(now time.Time) error {
	return s.db.Update(func(tx *bbolt.Tx) error { return dropGraves(tx, now) })
}

// dropGraves forgets zones that were deleted long ago.
func dropGraves(tx *bbolt.Tx, now time.Time) error {
	newest, states := tx.Bucket(newestBucket), tx.Bucket(statesBucket)
	var old [][]byte
	err := newest.ForEach(func(name, at []byte) error {
		if now.Sub(noted(at)) > graveAge && states.Get(name) == nil {
			old = append(old, bytes.Clone(name))
		}
		return nil
	})
	for _, name := range old {
		err = errors.Join(err, newest.Delete(name))
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

// Newest is when the newest state of the zone that the store was given was published, for a year also that of one which is
// gone. The zero time: nothing is known of the zone.
func (s *Store) Newest(name zone.Name) (at time.Time, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		at = noted(tx.Bucket(newestBucket).Get([]byte(name)))
		return nil
	})
	return at, err
}

// Confirm notes a newer state that says what the one that the store has says.
func (s *Store) Confirm(state *zone.State) error {
	return s.db.Batch(func(tx *bbolt.Tx) error { return note(tx, state) })
}

// dropChunks removes what the store has of the zone and next has not. It looks at the chunks themselves, so that a state
// that cannot be read can be replaced.
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
		return tx.Bucket(apexBucket).Delete([]byte(name))
	}
	var joined []byte
	for _, r := range z.Apex() {
		joined = append(joined, r...)
	}
	return tx.Bucket(apexBucket).Put([]byte(name), joined)
}

var feedKey = []byte("feed")

// Feed is when the feed that the states came from was created; the zero time of a new store.
func (s *Store) Feed() (created time.Time, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		if text := tx.Bucket(aboutBucket).Get(feedKey); text != nil {
			return created.UnmarshalText(text)
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
	return s.db.Batch(func(tx *bbolt.Tx) error { return park(tx, name, false) })
}

func park(tx *bbolt.Tx, name zone.Name, parked bool) error {
	if parked {
		return tx.Bucket(parkedBucket).Put([]byte(name), []byte{})
	}
	return tx.Bucket(parkedBucket).Delete([]byte(name))
}

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

// Bury removes all that is held of the zone but when the tombstone was published.
func (s *Store) Bury(tombstone *zone.State) error {
	return s.db.Batch(func(tx *bbolt.Tx) error {
		if err := dropChunks(tx, tombstone); err != nil {
			return err
		}
		for _, bucket := range [][]byte{apexBucket, parkedBucket, statesBucket} {
			if err := tx.Bucket(bucket).Delete([]byte(tombstone.Name)); err != nil {
				return err
			}
		}
		return note(tx, tombstone)
	})
}

// State returns what is held about a zone: its state, tombstones included, or ErrNotFound.
func (s *Store) State(name zone.Name) (state *zone.State, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		state, err = stateIn(tx, name)
		return err
	})
	return state, err
}

func stateIn(tx *bbolt.Tx, name zone.Name) (*zone.State, error) {
	encoded := tx.Bucket(statesBucket).Get([]byte(name))
	if encoded == nil {
		return nil, fmt.Errorf("zone %s: %w", name, ErrNotFound)
	}
	return zone.UnmarshalState(encoded)
}

// Zone rebuilds and verifies the content of a zone; ErrNotFound for tombstones too.
func (s *Store) Zone(name zone.Name) (z *zone.Zone, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
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
			return nil, fmt.Errorf("chunk %x: %w", c.Hash[:4], ErrNotFound)
		})
		return err
	})
	return z, err
}

// Apex returns the zone's.
func (s *Store) Apex(name zone.Name) (apex zone.Apex, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		joined := bytes.Clone(tx.Bucket(apexBucket).Get([]byte(name)))
		apex, err = zone.SplitRecords(joined)
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
			state, err := zone.UnmarshalState(v)
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

func chunkKey(name zone.Name, c zone.Chunk) []byte {
	return append([]byte(name), c.Hash[:]...)
}
