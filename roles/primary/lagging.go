package primary

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
)

// errLagging says that PowerDNS gives something older than it should, and may not have caught up yet.
var errLagging = errors.New("PowerDNS seems to lag behind")

// lagging remembers since when PowerDNS gives something older than it should: behind a replica that lags it is soon
// over, and a zone that was deleted and made again keeps its low serial. It is safe for concurrent use.
type lagging struct {
	proven bool // heartbeats prove that what is read is no older than what is published

	// Under mu.
	mu      sync.Mutex
	zones   map[zone.Name]lag
	expired time.Time // when it was last looked for what is over
}

type lag struct{ since, last time.Time }

// lagPatience is how long what looks old is not believed, and after twice that without a look it counts anew.
const lagPatience = 5 * time.Second

func newLagging() *lagging { return &lagging{zones: map[zone.Name]lag{}} }

// check compares what was read with what is published and with what PowerDNS showed the proxy.
func (l *lagging) check(now time.Time, name zone.Name, serial uint32, before index.Published, j job) error {
	if l.proven {
		return nil
	}
	lower := before.Remembered() && zone.SerialNewer(before.Header.Serial, serial)
	switch {
	case j.cause == causeDeleted:
		return l.suspect(now, name, "it was deleted, and is there")
	case j.shown != nil && zone.SerialNewer(*j.shown, serial):
		return l.suspect(now, name, fmt.Sprintf("serial %d, and PowerDNS showed %d after the write", serial, *j.shown))
	case lower && j.shown == nil:
		return l.suspect(now, name, fmt.Sprintf("serial %d, published is %d", serial, before.Header.Serial))
	}
	l.clear(name)
	return nil
}

// checkGone suspects a zone that PowerDNS showed the proxy and that is not there. One that is there as another kind
// of zone is not suspected.
func (l *lagging) checkGone(now time.Time, name zone.Name, j job, why error) error {
	if j.shown != nil && !errors.Is(why, errOtherKind) && !l.proven {
		if err := l.suspect(now, name, "PowerDNS showed it after the write, and it is not there"); err != nil {
			return err
		}
	}
	l.clear(name)
	return nil
}

// suspect returns errLagging while what looks old is not to be believed.
func (l *lagging) suspect(now time.Time, name zone.Name, why string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	seen, known := l.zones[name]
	if !known || now.Sub(seen.last) > 2*lagPatience {
		seen.since = now
	}
	seen.last = now
	l.zones[name] = seen
	if now.Sub(seen.since) < lagPatience {
		return fmt.Errorf("%w: zone %s: %s", errLagging, name, why)
	}
	delete(l.zones, name)
	return nil
}

// expire forgets zones that are looked at no more: another primary may have been done with them.
func (l *lagging) expire(now time.Time) {
	if now.Sub(l.expired) < lagPatience {
		return
	}
	l.expired = now
	maps.DeleteFunc(l.zones, func(_ zone.Name, seen lag) bool { return now.Sub(seen.last) > 2*lagPatience })
}

func (l *lagging) clear(name zone.Name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.zones, name)
}
