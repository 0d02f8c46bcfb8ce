package proxy

import (
	"net/netip"
	"sync"
)

// How many requests may be in work without a good key, each some 20 KB: in all, and of one source. HTTP/2 alone would
// allow a hundred for each connection.
const (
	maxCrowd       = 1024
	maxCrowdSource = 512
)

// crowd counts requests in work by their source. It is safe for concurrent use.
type crowd struct {
	mu  sync.Mutex
	all int
	of  map[netip.Addr]int
}

func newCrowd() *crowd { return &crowd{of: map[netip.Addr]int{}} }

// enter is false where there is no room for another one. leave may be called more than once.
func (c *crowd) enter(from netip.Addr) (leave func(), room bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= maxCrowd || c.of[from] >= maxCrowdSource {
		return func() {}, false
	}
	c.all++
	c.of[from]++
	return sync.OnceFunc(func() { c.leave(from) }), true
}

func (c *crowd) leave(from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[from]--; c.of[from] == 0 {
		delete(c.of, from)
	}
}
