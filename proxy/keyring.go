package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// scopedKeys is the scoped keys that are good now: those of the configuration and those of the keys file. Both are read
// anew every few seconds; what has a fault changes nothing. Its methods but look and watch may be called concurrently.
type scopedKeys struct {
	file     string               // "" is none; one that is not there holds no keys
	settings func() (Keys, error) // the keys of the configuration, read anew
	ready    func() error         // reports whether scoped keys can be used at all
	now      func() time.Time
	interval time.Duration
	metrics  *metrics // nil: nothing is shown
	log      zerolog.Logger

	held atomic.Pointer[map[[sha256.Size]byte]*scopedKey]
}

// scopedKey is a key with the use that is made of it, which stays when the keys are read anew.
type scopedKey struct {
	*scope
	use *use
}

// use is of one key.
type use struct {
	limiter *rate.Limiter
	inHand  atomic.Int32        // requests
	check   *semaphore.Weighted // of a body: one at a time
}

// maxInHand is how many requests with one scoped key are in hand at once. Each may hold a body of 2 MB and a connection
// to PowerDNS: a key must not take these from all others.
const maxInHand = 32

// begin takes a request into hand, if it may be; then end must be called once.
func (u *use) begin() bool {
	if u.inHand.Add(1) > maxInHand {
		u.end()
		return false
	}
	return true
}

func (u *use) end() { u.inHand.Add(-1) }

// newScopedKeys reads the keys. ready is asked where there are any.
func newScopedKeys(
	cfg Config, ready func() error, m *metrics, log zerolog.Logger,
) (*scopedKeys, error) {
	k := &scopedKeys{
		file: cfg.KeysFile, settings: cfg.RereadKeys, ready: ready, now: time.Now, interval: lookInterval,
		metrics: m, log: log,
	}
	if k.settings == nil {
		k.settings = func() (Keys, error) { return cfg.Keys, nil }
	}
	k.held.Store(&map[[sha256.Size]byte]*scopedKey{})
	return k, k.look()
}

// watch looks at the files until ctx ends.
func (k *scopedKeys) watch(ctx context.Context) error {
	return keepLooking(ctx, k.interval, k.look, func(err error) {
		k.log.Error().Err(err).Msg("keys file cannot be used, keeping the former scoped API keys")
	})
}

// look takes the keys of both sources, or nothing.
func (k *scopedKeys) look() error {
	keys, err := k.settings()
	if err != nil {
		return err
	}
	if k.file != "" {
		more, err := ReadKeysFile(k.file)
		if err != nil {
			return fmt.Errorf("proxy.keys_file: %w", err)
		}
		keys = slices.Concat(keys, more)
	}
	scopes, faults := keys.scopes()
	if len(faults) > 0 {
		return fmt.Errorf("proxy.key: %w", errors.Join(faults...))
	}
	if len(scopes) > 0 {
		if err := k.ready(); err != nil {
			return err
		}
	}
	k.take(scopes)
	return nil
}

// take puts the scopes in the place of those before, and logs what changed.
func (k *scopedKeys) take(scopes map[[sha256.Size]byte]*scope) {
	before := *k.held.Load()
	known := map[string]*scopedKey{}
	for _, key := range before {
		known[key.id] = key
	}
	after := map[[sha256.Size]byte]*scopedKey{}
	news := map[string]string{} // what became of each key, by its id
	for digest, s := range scopes {
		was := known[s.id]
		after[digest] = &scopedKey{s, useOf(s, was)}
		switch {
		case was == nil:
			news[s.id] = "added"
		case before[digest] != was || !reflect.DeepEqual(was.scope, s):
			news[s.id] = "replaced"
		}
		delete(known, s.id)
	}
	for id := range known {
		news[id] = "removed"
	}
	k.held.Store(&after)
	k.show(after)
	for _, id := range slices.Sorted(maps.Keys(news)) {
		k.log.Info().Str("key", id).Str("change", news[id]).Msg("scoped API key changed")
	}
}

// show keeps the metric of the keys' ends, and has each key's refusals be counted from none on.
func (k *scopedKeys) show(keys map[[sha256.Size]byte]*scopedKey) {
	if k.metrics == nil {
		return
	}
	k.metrics.expiry.Reset()
	for _, key := range keys {
		for _, reason := range []string{refusedScope, refusedRate, refusedDeletions} {
			k.metrics.refused.WithLabelValues(key.id, reason)
		}
		if !key.expires.IsZero() {
			k.metrics.expiry.WithLabelValues(key.id).Set(float64(key.expires.Unix()))
		}
	}
}

func useOf(s *scope, before *scopedKey) *use {
	if before == nil {
		return &use{limiter: rate.NewLimiter(rate.Limit(s.rate), burst(s.rate)), check: semaphore.NewWeighted(1)}
	}
	if before.rate != s.rate {
		before.use.limiter.SetLimit(rate.Limit(s.rate))
		before.use.limiter.SetBurst(burst(s.rate))
	}
	return before.use
}

func burst(perSecond float64) int { return int(math.Ceil(perSecond)) }

// find returns the key of a secret, nil if it is none. A key that has ended is an error.
func (k *scopedKeys) find(secret string) (*scopedKey, error) {
	key := (*k.held.Load())[sha256.Sum256([]byte(secret))]
	switch {
	case key == nil && secretForm.MatchString(secret):
		return nil, errors.New("this scoped API key is not known")
	case key != nil && !key.expires.IsZero() && !k.now().Before(key.expires):
		return nil, fmt.Errorf("the scoped API key %s has ended; ask the operator for a new one", key.id)
	}
	return key, nil
}
