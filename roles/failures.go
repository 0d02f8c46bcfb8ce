package roles

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// failures are the zones in trouble, each with its reason. It is safe for concurrent use.
type failures struct {
	mu    sync.Mutex
	zones map[zone.Name]health.Failure
}

func newFailures(reg prometheus.Registerer) *failures {
	f := &failures{zones: map[zone.Name]health.Failure{}}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_failing_zones", Help: "Zones in trouble; they are retried with growing pauses.",
	}, func() float64 { return float64(f.len()) }))
	return f
}

// maxFailing is how many zones in trouble are known. More are tried again all the same, as if for the sixth time.
const (
	maxFailing      = 100_000
	attemptsUnknown = 6
)

// add notes one more failed attempt and returns how many there were in a row.
func (f *failures) add(name zone.Name, reason error) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	failure, known := f.zones[name]
	switch {
	case !known && len(f.zones) >= maxFailing:
		return attemptsUnknown
	case !known:
		failure = health.Failure{Zone: name, Since: time.Now().UTC()}
	}
	failure.Attempts++
	failure.Reason, failure.Refused = health.Cut(reason.Error()), errors.As(reason, new(refusedError))
	f.zones[name] = failure
	return failure.Attempts
}

// has tells whether the zone is in trouble.
func (f *failures) has(name zone.Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, is := f.zones[name]
	return is
}

// clear forgets the zone's trouble and tells whether there was any.
func (f *failures) clear(name zone.Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, was := f.zones[name]
	delete(f.zones, name)
	return was
}

func (f *failures) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.zones)
}

// list returns those that were refused, and then those that have been in trouble longest, at most limit, and how many there are.
func (f *failures) list(limit int) ([]health.Failure, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]health.Failure, 0, len(f.zones))
	for _, failure := range f.zones {
		list = append(list, failure)
	}
	slices.SortFunc(list, func(a, b health.Failure) int {
		return cmp.Or(refusedFirst(a, b), a.Since.Compare(b.Since), cmp.Compare(a.Zone, b.Zone))
	})
	return list[:min(limit, len(list))], len(list)
}

func refusedFirst(a, b health.Failure) int {
	switch {
	case a.Refused == b.Refused:
		return 0
	case a.Refused:
		return -1
	}
	return 1
}

// Pauses before a zone in trouble is tried again.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// retryPause doubles with each attempt in a row; a tenth at random keeps zones that failed together apart.
func retryPause(attempts int) time.Duration {
	pause := min(firstRetry<<min(attempts-1, 16), lastRetry)
	return pause + rand.N(pause/10)
}
