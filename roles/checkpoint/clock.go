package checkpoint

import "time"

// clock stands while there is no connection to the broker: nothing can come then, and a broker that cuts connections
// again and again gains nothing by that.
type clock struct {
	paused time.Duration // how long it stood in all
	cut    time.Time     // since when it stands, by the host's clock; zero while it goes
}

func (c *clock) now() time.Time {
	if !c.cut.IsZero() {
		return c.cut.Add(-c.paused)
	}
	return time.Now().Add(-c.paused)
}

// connect has the clock go, or stand.
func (c *clock) connect(connected bool) {
	switch {
	case !connected && c.cut.IsZero():
		c.cut = time.Now()
	case connected && !c.cut.IsZero():
		c.paused += time.Since(c.cut)
		c.cut = time.Time{}
	}
}
