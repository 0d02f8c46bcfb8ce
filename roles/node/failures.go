package node

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// Failures are the failing zones, each with its reason. It is safe for concurrent use.
type Failures struct {
	// Under mu.
	mu    sync.Mutex
	zones map[zone.Name]health.Failure
}

func newFailures(reg prometheus.Registerer) *Failures {
	f := &Failures{zones: map[zone.Name]health.Failure{}}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_failing_zones", Help: "Zones that failed; they are retried with growing pauses.",
	}, func() float64 { return float64(f.Count()) }))
	return f
}

// maxFailing is how many failing zones are known. More are tried again all the same, as if for the sixth time.
const (
	maxFailing      = 100_000
	attemptsUnknown = 6
)

// Add notes one more failed attempt and returns how many there were in a row.
func (f *Failures) Add(name zone.Name, reason error) int {
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
	failure.Reason, failure.Refused = health.Cut(reason.Error()), errors.As(reason, new(RefusedError))
	f.zones[name] = failure
	return failure.Attempts
}

// Has reports whether the zone is failing.
func (f *Failures) Has(name zone.Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, is := f.zones[name]
	return is
}

// Clear forgets the zone's failures and reports whether there were any.
func (f *Failures) Clear(name zone.Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, was := f.zones[name]
	delete(f.zones, name)
	return was
}

// Reset forgets all failures: they are another node's now.
func (f *Failures) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.zones)
}

// Count is how many zones fail.
func (f *Failures) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.zones)
}

// list returns those that were refused, and then those that have been failing longest, at most limit, and how many
// there are.
func (f *Failures) list(limit int) ([]health.Failure, int) {
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

// RefusedError is why a state is not applied: it may be forged. The zone goes on being served as it was.
type RefusedError struct{ Err error }

func (e RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e RefusedError) Unwrap() error { return e.Err }
