package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// PowerDNS 5.1 takes a number of connections at once (webserver-max-concurrent-connections, 100 by default) and hangs
// up on more. The proxy keeps to proxy.max_upstream of them, or to less where PowerDNS takes less than that and what
// others need: the primary role has 8 by default (powerdns.api_connections), and whoever speaks to PowerDNS directly.

const (
	// othersShare is what the proxy leaves of all connections: a fifth, but leastOthers at least.
	othersShare = 5
	leastOthers = 10

	// budgetAge is how long what PowerDNS says of it counts.
	budgetAge = 10 * time.Minute

	limitSetting = "webserver-max-concurrent-connections"
)

// budget is how many places there are to share out. It is safe for concurrent use.
type budget struct {
	most int // proxy.max_upstream

	mu      sync.Mutex
	learned time.Time
}

// due reports whether PowerDNS is to be asked, at most once in budgetAge.
func (b *budget) due(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.learned) < budgetAge {
		return false
	}
	b.learned = now
	return true
}

// within returns how many connections the proxy may have of so many.
func (b *budget) within(limit int) int {
	others := max(leastOthers, limit/othersShare)
	return min(b.most, max(minUpstream, limit-others))
}

// fit asks PowerDNS how many connections it takes, with a key that is good, and shares out as many.
func (g *gate) fit(header http.Header, in *lane, from netip.Addr) {
	if !g.budget.due(time.Now()) {
		return
	}
	limit, known, err := g.readLimit(header, in, from)
	switch {
	case err != nil:
		g.log.Debug().Err(err).Msg("failed to read the settings of PowerDNS")
	case known:
		g.lanes.resize(g.budget.within(limit))
	}
}

// readLimit returns the setting; not known: PowerDNS is older than 5.1.
func (g *gate) readLimit(header http.Header, in *lane, from netip.Addr) (limit int, known bool, err error) {
	res, err := g.get(g.probe+"/config", header, in, from)
	if err != nil {
		return 0, false, err
	}
	if res.status != http.StatusOK {
		return 0, false, fmt.Errorf("answered %d", res.status)
	}
	var settings []struct{ Name, Value string }
	if err := json.Unmarshal(res.body, &settings); err != nil {
		return 0, false, err
	}
	for _, s := range settings {
		if s.Name == limitSetting {
			limit, err = strconv.Atoi(s.Value)
			return limit, err == nil && limit > 0, err
		}
	}
	return 0, false, nil
}
