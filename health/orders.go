package health

import (
	"maps"
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
)

// OrderLimit is the limit of deletions that one proxy orders: PowerDNS has confirmed each to it, but a proxy, or an
// API key that it lets in, may be stolen. What is beyond the limit counts as found by accident, see [DeletionLimit].
// It is safe for concurrent use.
type OrderLimit struct {
	least   int
	percent int
	window  time.Duration

	mu      sync.Mutex
	ordered map[string]map[zone.Name]time.Time // by sender
	expired time.Time                          // when what is over was last forgotten
}

// NewOrderLimit allows each sender least deletions within the window, or percent of all zones, whichever is more.
func NewOrderLimit(least, percent int, window time.Duration) *OrderLimit {
	return &OrderLimit{least: least, percent: percent, window: window, ordered: map[string]map[zone.Name]time.Time{}}
}

// Allow reports whether the sender may have the zone deleted, out of total that exist. One that was allowed within
// the window does not count again.
func (o *OrderLimit) Allow(now time.Time, sender string, name zone.Name, total int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(now)
	zones := o.ordered[sender]
	if _, again := zones[name]; again {
		return true
	}
	if len(zones) >= o.Limit(total) || zones == nil && len(o.ordered) >= MaxNodes {
		return false
	}
	if zones == nil {
		zones = map[zone.Name]time.Time{}
		o.ordered[sender] = zones
	}
	zones[name] = now
	return true
}

// expirePause keeps the cost of forgetting out of each single deletion. What is over counts for as long more.
const expirePause = time.Minute

func (o *OrderLimit) expire(now time.Time) {
	if now.Sub(o.expired) < expirePause {
		return
	}
	o.expired = now
	for sender, zones := range o.ordered {
		maps.DeleteFunc(zones, func(_ zone.Name, at time.Time) bool { return now.Sub(at) > o.window })
		if len(zones) == 0 {
			delete(o.ordered, sender)
		}
	}
}

// Limit returns how many deletions each sender may order within the window, out of total zones.
func (o *OrderLimit) Limit(total int) int { return max(o.least, total*o.percent/100) }
