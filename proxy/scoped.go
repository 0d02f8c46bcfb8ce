package proxy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"pdns-distribute/powerdns/zone"
)

// limits judges requests by the API key that they come with: scoped keys by their scopes, and PowerDNS's own key by
// what holds for everybody. It is the gate's keyring, and safe for concurrent use.
type limits struct {
	keys      *scopedKeys
	own       *ownKey
	deletions *deletions
	serverID  string

	ownGood     bool // clients may use PowerDNS's own key
	privateKeys bool // may be shown
	maxDeletes  int  // per hour, with PowerDNS's own key

	// checking shares out the bytes of bodies that are checked at once.
	checking *semaphore.Weighted

	metrics *metrics

	// log is of who has a good key, strangers of others. Both are sampled: clients make the lines up.
	log, strangers zerolog.Logger
}

func newLimits(cfg Config, o Options, m *metrics, log, strangers zerolog.Logger) (*limits, error) {
	own := &ownKey{read: o.OwnKey}
	keys, err := newScopedKeys(cfg, own.ready, m, o.Log)
	return &limits{
		keys: keys, own: own, deletions: newDeletions(), serverID: o.ServerID, ownGood: cfg.PowerDNSKey,
		privateKeys: cfg.PrivateKeys, maxDeletes: cfg.MaxDeletesPerHour, checking: semaphore.NewWeighted(maxChecked),
		metrics: m, log: log, strangers: strangers,
	}, err
}

// Why a request is refused, in metrics.
const (
	refusedKey       = "key"
	refusedScope     = "scope"
	refusedRate      = "rate"
	refusedDeletions = "deletions"
)

// admit is for the gate.
func (l *limits) admit(secret string, from netip.Addr) (*admission, *refusal) {
	key, err := l.keys.find(secret)
	if err == nil && key == nil && !l.ownGood {
		err = errors.New("this API key is not known")
	}
	switch {
	case err != nil:
		l.metrics.refused.WithLabelValues("", refusedKey).Inc()
		l.strangers.Info().Stringer("source", from).Err(err).Msg("API key refused")
		return nil, &refusal{status: http.StatusUnauthorized, text: err.Error()}
	case key == nil:
		return nil, nil
	case !key.use.limiter.Allow():
		return nil, l.tooMany(key, float64(time.Second)/key.rate, "key %s may make %v requests a second", key.rate)
	case !key.use.begin():
		return nil, l.tooMany(key, 0, "key %s may have %d requests in hand at once", maxInHand)
	}
	a := &admission{
		who: key.id, send: l.own.current(), covers: key.coversZone, done: key.use.end,
	}
	a.renew = func() (string, error) { return l.own.renew(a.send) }
	a.check = func(r *http.Request, body []byte) *refusal { return l.check(key, a, r, body) }
	return a, nil
}

func (l *limits) tooMany(key *scopedKey, wait float64, text string, bound any) *refusal {
	l.metrics.refused.WithLabelValues(key.id, refusedRate).Inc()
	l.log.Warn().Str("key", key.id).Interface("limit", bound).Msg("request refused, its API key is over a limit")
	return later(time.Duration(wait), fmt.Sprintf(text, key.id, bound))
}

// later refuses what may be tried again.
func later(wait time.Duration, text string) *refusal {
	seconds := max(1, int(math.Ceil(wait.Seconds())))
	header := http.Header{"Retry-After": {strconv.Itoa(seconds)}}
	return &refusal{status: http.StatusTooManyRequests, header: header, text: text}
}

// check lets a request pass that is in the key's scope, and puts it into the words in which it was understood.
func (l *limits) check(key *scopedKey, a *admission, r *http.Request, body []byte) *refusal {
	end, err := l.beginCheck(r.Context(), key, int64(len(body)))
	if err != nil {
		return busy("the client left")
	}
	op, d := key.decide(l.serverID, r.Method, r.URL.EscapedPath(), r.URL.RawQuery, body)
	end()
	if d != nil {
		l.metrics.refused.WithLabelValues(key.id, refusedScope).Inc()
		l.log.Warn().Str("key", key.id).Str("zone", clip(d.zone.String())).Str("method", clip(r.Method)).
			Str("reason", clip(d.reason)).Msg("request refused, it is not in the scope of its API key")
		return &refusal{status: d.status, text: fmt.Sprintf("key %s: %s", key.id, d.reason)}
	}
	if op.deletes() {
		if no := l.reserve(a, key.deletes, op.zone.String()); no != nil {
			return no
		}
	}
	if op.lists() {
		a.filter = after(a.filter, func(res *http.Response) error { return filterListing(res, key.coversZone) })
	}
	op.rewrite(r, body)
	return nil
}

// beginCheck waits until a body of this size may be decoded, which takes some thirty times its bytes (Go 1.26): all
// that are decoded at once have no more bytes than one of the longest. Each key has one at a time, so that none waits
// behind all of another's. It fails when ctx ends.
func (l *limits) beginCheck(ctx context.Context, key *scopedKey, size int64) (end func(), err error) {
	if err := key.use.check.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	if err := l.checking.Acquire(ctx, size); err != nil {
		key.use.check.Release(1)
		return nil, err
	}
	return func() {
		l.checking.Release(size)
		key.use.check.Release(1)
	}, nil
}

// reserve counts the deletion of a zone. It does not count where PowerDNS refuses it.
func (l *limits) reserve(a *admission, most int, of string) *refusal {
	undo, wait := l.deletions.reserve(a.who, most)
	if undo == nil {
		l.metrics.refused.WithLabelValues(a.who, refusedDeletions).Inc()
		l.log.Warn().Str("key", a.who).Str("zone", clip(of)).Int("limit", most).
			Msg("a deletion of a zone was refused: its API key has reached its limit per hour")
		return later(wait, fmt.Sprintf("key %s may delete %d zones an hour", a.who, most))
	}
	tell := a.answered
	a.answered = func(r *http.Request, status int) {
		if status/100 == 4 || status == notSent {
			undo()
		}
		if tell != nil {
			tell(r, status)
		}
	}
	return nil
}

// guard adds to an admission what holds for everybody.
func (l *limits) guard(a *admission, r *http.Request) {
	path := r.URL.EscapedPath()
	if a.who == powerdnsKey && deletesZone(r.Method, path) {
		a.check = func(*http.Request, []byte) *refusal { return l.reserve(a, l.maxDeletes, path) }
	}
	if !l.privateKeys && showsPrivateKeys(path) {
		a.filter = after(a.filter, withoutPrivateKeys)
	}
}

// after has an answer go through both filters.
func after(first, second func(*http.Response) error) func(*http.Response) error {
	if first == nil {
		return second
	}
	return func(res *http.Response) error {
		if err := first(res); err != nil {
			return err
		}
		return second(res)
	}
}

// passedOn are the headers that a request with a scoped key may have. Others could mean to PowerDNS, or to what stands
// before it, something else than was checked.
var passedOn = []string{"Accept", "Content-Type", "Prefer", "User-Agent"}

// rewrite makes r the request that was understood.
func (op *operation) rewrite(r *http.Request, body []byte) {
	header := http.Header{}
	for _, name := range passedOn {
		if values := r.Header[name]; len(values) > 0 {
			header[name] = values[:1]
		}
	}
	if op.method != http.MethodGet {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	plain, _ := url.PathUnescape(op.path) // it is our own
	r.RequestURI = op.target()
	r.URL = &url.URL{Path: plain, RawPath: op.path, RawQuery: op.query.Encode()}
	r.Header, r.Trailer, r.TransferEncoding, r.ContentLength = header, nil, nil, int64(len(body))
}

// ownKey is PowerDNS's own API key, with which requests of scoped keys go on. It is read when it is first needed, and
// when PowerDNS refuses it. It is safe for concurrent use.
type ownKey struct {
	read func() (string, error) // nil: there is none

	mu  sync.Mutex
	key string
}

// ready reports whether there is such a key.
func (k *ownKey) ready() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.load()
}

func (k *ownKey) load() (err error) {
	if k.key != "" {
		return nil
	}
	if k.read != nil {
		k.key, err = k.read()
	}
	if err == nil && k.key == "" {
		err = errors.New("proxy.key: scoped keys need PowerDNS's own key: set powerdns.api_key_file")
	}
	return err
}

func (k *ownKey) current() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.key
}

// errOwnKey is wrapped where PowerDNS refuses its own key. Nothing was written then.
var errOwnKey = errors.New(
	"PowerDNS refuses the API key that the proxy has: write PowerDNS's api-key into powerdns.api_key_file")

// renew reads the key anew, once PowerDNS refused it.
func (k *ownKey) renew(refused string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == refused {
		k.key = ""
	}
	if err := k.load(); err != nil {
		k.key = refused
		return "", fmt.Errorf("%w: %w", errOwnKey, err)
	}
	if k.key == refused {
		return "", errOwnKey
	}
	return k.key, nil
}

// covered reports whether the client may know of the zone.
func (a *admission) covered(name zone.Name) bool { return a.covers == nil || a.covers(name) }
