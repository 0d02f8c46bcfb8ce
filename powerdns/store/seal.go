package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrDamaged says that something in the store is not what was put there: the disk, or the memory, has changed it.
var ErrDamaged = errors.New("the store is damaged there")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	sealMark   = 'S' // no state, record or time begins with it: so what an earlier version wrote shows to be unsealed
	sealLength = 5
)

// seal puts a checksum of key and value before the value.
func seal(key, value []byte) []byte {
	sealed := make([]byte, sealLength, sealLength+len(value))
	sealed[0] = sealMark
	binary.BigEndian.PutUint32(sealed[1:], sum(key, value))
	return append(sealed, value...)
}

// unseal is a view into what seal made, or what an earlier version wrote without a seal. Nothing stays nothing.
func unseal(key, sealed []byte) ([]byte, error) {
	if len(sealed) < sealLength || sealed[0] != sealMark {
		return sealed, nil
	}
	value := sealed[sealLength:]
	if binary.BigEndian.Uint32(sealed[1:]) != sum(key, value) {
		return nil, fmt.Errorf("%w: a checksum is wrong", ErrDamaged)
	}
	return value, nil
}

func sum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}
