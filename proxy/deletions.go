package proxy

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// deletionWindow is the hour in which deletions of zones are counted, at any time the last one.
const deletionWindow = time.Hour

// deletions counts, for each API key by its id, the zones that were deleted with it within the last hour, so that who
// stole one cannot delete all zones at once. A restart of the proxy forgets them. Its methods may be called
// concurrently.
type deletions struct {
	now func() time.Time

	mu   sync.Mutex
	made map[string][]time.Time // ascending
}

func newDeletions() *deletions { return &deletions{now: time.Now, made: map[string][]time.Time{}} }

// reserve counts a deletion with the key before it is sent, of most within an hour. Where there are as many already, it
// says how long until one more is let through. A caller that learns that nothing was deleted calls undo, once.
func (d *deletions) reserve(key string, most int) (undo func(), wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	made := d.made[key]
	past, _ := slices.BinarySearchFunc(made, now.Add(-deletionWindow), time.Time.Compare)
	made = slices.Delete(made, 0, past)
	if len(made) >= most {
		d.made[key] = made
		if most == 0 {
			return nil, deletionWindow
		}
		return nil, made[len(made)-most].Add(deletionWindow).Sub(now)
	}
	d.made[key] = append(made, now)
	return func() { d.undo(key, now) }, 0
}

func (d *deletions) undo(key string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	made := d.made[key]
	if i, found := slices.BinarySearchFunc(made, at, time.Time.Compare); found {
		d.made[key] = slices.Delete(made, i, i+1)
	}
}

// retain forgets keys that are no more.
func (d *deletions) retain(is func(key string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key := range d.made {
		if !is(key) {
			delete(d.made, key)
		}
	}
}

// deletesZone reports whether a request may delete a zone, in any way in which PowerDNS may read it: of what it deletes
// below zones all but DNSSEC keys and metadata.
func deletesZone(method, escapedPath string) bool {
	if !strings.EqualFold(method, http.MethodDelete) {
		return false
	}
	below, _ := zonesOf(escapedPath)
	if n := len(below); n > 2 && plainSegment.MatchString(below[n-1]) {
		if kind := below[n-2]; kind == "cryptokeys" || kind == "metadata" {
			return false
		}
	}
	return strings.Contains(spelledOut(escapedPath), zonesSegment)
}
