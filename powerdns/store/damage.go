package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"pdns-distribute/powerdns/zone"
)

// inspect reads all of a store's file but the chunks' content, before anything relies on it: its structure, the
// checksums of what it holds, and whether that can be decoded. spoiled are entries that are not what was put there,
// in a file that is otherwise sound. ErrDamaged says that the file cannot be used.
func inspect(file string) (spoiled []spoil, err error) {
	if err := checkLength(file); err != nil {
		return nil, err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // the file is mapped: what points beyond it is a fault
	defer func() {
		if r := recover(); r != nil { // the file's mapping is left as it is: nobody can say what can still be touched
			spoiled, err = nil, fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: openTimeout, PreLoadFreelist: true})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout), errors.Is(err, fs.ErrPermission):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		if spoiled, err = readThrough(tx); err != nil {
			return err
		}
		if about := tx.Bucket(aboutBucket); about != nil && len(spoiled) == 0 {
			if noted, is := decodeTally(about.Get(tallyKey)); is && noted != count(tx) {
				return fmt.Errorf("%w: entries are missing, or are there that should not be", ErrDamaged)
			}
		}
		var first error
		for fault := range tx.Check() { // to its end
			if first == nil {
				first = fmt.Errorf("%w: %w", ErrDamaged, fault)
			}
		}
		return first
	})
	return spoiled, errors.Join(err, db.Close())
}

// spoil is an entry that is not what was put there.
type spoil struct{ bucket, key []byte }

// readThrough reads each entry. Keys that are not in order are no tree, and might lead round in circles.
func readThrough(tx *bbolt.Tx) (spoiled []spoil, err error) {
	err = tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		check := checks[string(name)]
		var last []byte
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if last != nil && bytes.Compare(last, k) >= 0 {
				return fmt.Errorf("%w: keys of %s are out of order", ErrDamaged, name)
			}
			last = k
			if check != nil && check(k, v) != nil {
				spoiled = append(spoiled, spoil{bytes.Clone(name), bytes.Clone(k)})
			}
		}
		return nil
	})
	return spoiled, err
}

// checks say of each bucket's entries whether they can be used. Chunks are checked when they are: they are most of a
// store.
var checks = map[string]func(key, value []byte) error{
	"states": func(key, value []byte) error {
		value, err := unseal(key, value)
		if err != nil {
			return err
		}
		state, err := zone.UnmarshalState(value)
		if err == nil && string(state.Name) != string(key) {
			err = ErrDamaged
		}
		return err
	},
	"apex": func(key, value []byte) error {
		value, err := unseal(key, value)
		if err == nil {
			_, err = zone.SplitRecords(value)
		}
		return err
	},
	"newest": func(key, value []byte) error {
		value, err := unseal(key, value)
		if err == nil && len(value) != 8 {
			err = ErrDamaged
		}
		return err
	},
	"parked": func(key, value []byte) error { return checkName(key) },
	"chunks": func(key, _ []byte) error {
		if len(key) <= len(zone.Chunk{}.Hash) {
			return ErrDamaged
		}
		return checkName(key[:len(key)-len(zone.Chunk{}.Hash)])
	},
}

func checkName(wire []byte) error {
	name, err := zone.NameFromWire(wire)
	if err == nil && string(name) != string(wire) {
		err = ErrDamaged
	}
	return err
}

// drop removes spoiled entries with all that is held of their zones, and the tally, which counts them still. It notes
// that the store is not whole any more: as for a new store, the feed is then delivered anew.
func drop(tx *bbolt.Tx, spoiled []spoil) error {
	if len(spoiled) == 0 {
		return nil
	}
	for _, s := range spoiled {
		name := s.key
		if string(s.bucket) == string(chunksBucket) && len(name) > len(zone.Chunk{}.Hash) {
			name = name[:len(name)-len(zone.Chunk{}.Hash)]
		}
		if err := tx.Bucket(s.bucket).Delete(s.key); err != nil {
			return err
		}
		if err := forget(tx, name); err != nil {
			return err
		}
	}
	about := tx.Bucket(aboutBucket)
	return errors.Join(about.Delete(tallyKey), about.Delete(feedKey))
}

// forget removes all that is held of a zone, as if it had never come.
func forget(tx *bbolt.Tx, name []byte) error {
	if err := dropChunks(tx, &zone.State{Name: zone.Name(name), Gone: true}); err != nil {
		return err
	}
	for _, bucket := range [][]byte{statesBucket, apexBucket, parkedBucket, newestBucket} {
		if err := set(tx, bucket, name, nil); err != nil {
			return err
		}
	}
	return nil
}

// Forget removes what is held of a zone that cannot be read, and notes that the store is not whole any more: the feed
// is to be delivered anew.
func (s *Store) Forget(name zone.Name) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		return errors.Join(forget(tx, []byte(name)), tx.Bucket(aboutBucket).Delete(feedKey))
	})
}

// OnDamage has fn called, by whoever reads, for each zone that turns out not to be what was put there. Call it before
// the store is used.
func (s *Store) OnDamage(fn func(zone.Name, error)) { s.onDamage = fn }

// read looks at one zone, and reports damage once the transaction is over.
func (s *Store) read(name zone.Name, look func(*bbolt.Tx) error) error {
	err := s.db.View(look)
	if err != nil && s.onDamage != nil && (errors.Is(err, ErrDamaged) || errors.Is(err, zone.ErrCorrupt)) {
		s.onDamage(name, err)
	}
	return err
}

// Damage says what was found damaged when the store was opened, and what became of it; "" if nothing was.
func (s *Store) Damage() string { return s.damage }

// maxAside is how many damaged files are kept.
const maxAside = 3

// putAside renames a file that cannot be used, so that a new one can be made, and keeps the last ones.
func putAside(file string, now time.Time) (kept string, err error) {
	kept = file + ".damaged-" + now.UTC().Format("20060102T150405Z")
	if err := os.Rename(file, kept); err != nil {
		return "", err
	}
	all, err := filepath.Glob(file + ".damaged-*")
	if err != nil {
		return kept, err
	}
	slices.Sort(all)
	for _, old := range all[:max(0, len(all)-maxAside)] {
		err = errors.Join(err, os.Remove(old))
	}
	return kept, err
}

// The two pages at the beginning of a file say how far it goes (bbolt 1.4, internal/common/meta.go).
const (
	metaMagic  = 0xED0CDAED
	metaAt     = 16 // in its page, behind the page's own header
	metaLength = 64
)

// checkLength reports whether a file ends before it says it does. A page beyond the end, once mapped, ends the
// process.
func checkLength(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var pages, newest uint64
	size := uint64(os.Getpagesize())
	for at := uint64(0); at <= size; at += size {
		page := make([]byte, metaAt+metaLength)
		if _, err := f.ReadAt(page, int64(at)); err != nil {
			continue
		}
		if end, tx, sound := readMeta(page[metaAt:], size); sound && tx >= newest {
			pages, newest = end, tx
		}
	}
	if pages == 0 {
		return fmt.Errorf("%w: neither of its first two pages can be read", ErrDamaged)
	}
	if uint64(info.Size()) < pages*size {
		return fmt.Errorf("%w: it has %d bytes and should have %d", ErrDamaged, info.Size(), pages*size)
	}
	return nil
}

func readMeta(b []byte, pageSize uint64) (pages, tx uint64, sound bool) {
	le := binary.NativeEndian
	hash := fnv.New64a()
	hash.Write(b[:metaLength-8])
	sound = le.Uint32(b) == metaMagic && uint64(le.Uint32(b[8:])) == pageSize &&
		le.Uint64(b[metaLength-8:]) == hash.Sum64()
	return le.Uint64(b[40:]), le.Uint64(b[48:]), sound
}
