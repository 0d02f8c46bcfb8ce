package proxy

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

const (
	// keyTrust is how long a key counts as good after PowerDNS has accepted it: so long a key that was exchanged in
	// PowerDNS may still be let in here, to be refused by PowerDNS.
	keyTrust = time.Minute

	// maxKeys is how many keys are remembered. PowerDNS has one at a time.
	maxKeys = 1024
)

// knownKeys remembers which keys PowerDNS accepts, by a hash under a secret of this process: neither memory nor timing
// says anything of a key. It is safe for concurrent use.
type knownKeys struct {
	secret [sha256.Size]byte

	mu    sync.Mutex
	keys  map[keyHash]*list.Element
	order list.List // of *knownKey, the one used last in front
}

type keyHash [sha256.Size]byte

type knownKey struct {
	hash  keyHash
	until time.Time // from then on PowerDNS is asked first
}

func newKnownKeys() *knownKeys {
	k := &knownKeys{keys: map[keyHash]*list.Element{}}
	_, _ = rand.Read(k.secret[:]) // never fails
	return k
}

// hash is of all of a request's values, as they came: PowerDNS looks at all of them.
func (k *knownKeys) hash(values []string) (h keyHash) {
	mac := hmac.New(sha256.New, k.secret[:])
	for _, v := range values {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(v))) // a hash takes everything
		mac.Write([]byte(v))
	}
	mac.Sum(h[:0])
	return h
}

// standing is what is known of a key.
type standing uint8

const (
	unknown standing = iota // PowerDNS never accepted it
	former                  // it did, a while ago
	ageing                  // it did; it is time to ask again
	good
)

func (k *knownKeys) look(h keyHash, now time.Time) standing {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.keys[h]
	if e == nil {
		return unknown
	}
	k.order.MoveToFront(e)
	switch left := e.Value.(*knownKey).until.Sub(now); {
	case left <= 0:
		return former
	case left < keyTrust/2:
		return ageing
	}
	return good
}

// accepted notes that PowerDNS accepted the key.
func (k *knownKeys) accepted(h keyHash, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.keys[h]; e != nil {
		e.Value.(*knownKey).until = now.Add(keyTrust)
		return
	}
	k.keys[h] = k.order.PushFront(&knownKey{h, now.Add(keyTrust)})
	if k.order.Len() > maxKeys {
		k.remove(k.order.Back())
	}
}

// refused forgets the key.
func (k *knownKeys) refused(h keyHash) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.keys[h]; e != nil {
		k.remove(e)
	}
}

func (k *knownKeys) remove(e *list.Element) {
	delete(k.keys, e.Value.(*knownKey).hash)
	k.order.Remove(e)
}
