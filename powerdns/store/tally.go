package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"go.etcd.io/bbolt"
)

// tally is what all entries but chunks come to: how many there are, and a sum that each changes by coming and by
// going. A page that lost some of its entries, or shows former ones again, is sound by itself: only the tally does
// not fit then.
type tally struct{ entries, sum uint64 }

var tallyKey = []byte("tally")

// tallied are the buckets that count. Chunks need not: states name them, and they are named by their content.
var tallied = [][]byte{statesBucket, apexBucket, parkedBucket, newestBucket}

// with is the tally once an entry is replaced; nil is none.
func (t tally) with(bucket, key, old, next []byte) tally {
	if old != nil {
		t.entries--
		t.sum ^= weight(bucket, key, old)
	}
	if next != nil {
		t.entries++
		t.sum ^= weight(bucket, key, next)
	}
	return t
}

func weight(bucket, key, value []byte) uint64 {
	var w [2]uint32
	for i, table := range []*crc32.Table{castagnoli, crc32.IEEETable} {
		for _, part := range [][]byte{bucket, key, value} {
			w[i] = crc32.Update(w[i], table, part)
		}
	}
	return uint64(w[0])<<32 | uint64(w[1])
}

func (t tally) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, t.entries), t.sum)
}

func decodeTally(b []byte) (t tally, ok bool) {
	if len(b) != 16 {
		return t, false
	}
	return tally{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, true
}

// set puts an entry, or removes it where value is nil, and keeps the tally.
func set(tx *bbolt.Tx, bucket, key, value []byte) error {
	b, about := tx.Bucket(bucket), tx.Bucket(aboutBucket)
	old := b.Get(key)
	if old == nil && value == nil {
		return nil
	}
	t, _ := decodeTally(about.Get(tallyKey))
	t = t.with(bucket, key, old, value) // before old is overwritten
	if value == nil {
		return errors.Join(b.Delete(key), about.Put(tallyKey, t.encode()))
	}
	return errors.Join(b.Put(key, value), about.Put(tallyKey, t.encode()))
}

// count tallies all that is there.
func count(tx *bbolt.Tx) (t tally) {
	for _, name := range tallied {
		if b := tx.Bucket(name); b != nil {
			_ = b.ForEach(func(k, v []byte) error { // which does not fail
				t = t.with(name, k, nil, v)
				return nil
			})
		}
	}
	return t
}

// keepTally begins a tally where there is none: an earlier version kept none, and drop removes it.
func keepTally(tx *bbolt.Tx) error {
	if _, is := decodeTally(tx.Bucket(aboutBucket).Get(tallyKey)); is {
		return nil
	}
	return tx.Bucket(aboutBucket).Put(tallyKey, count(tx).encode())
}
