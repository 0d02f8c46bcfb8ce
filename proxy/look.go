package proxy

import (
	"context"
	"time"
)

// lookInterval is how often files are looked at. They are read each time: whatever way they are replaced, a symbolic
// link on the path to them included, shows in what they hold.
const lookInterval = 5 * time.Second

// keepLooking looks at files until ctx ends. A fault is logged once, not each time that it is seen again.
func keepLooking(ctx context.Context, interval time.Duration, look func() error, tell func(error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	known := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := look()
		if err == nil {
			known = ""
		} else if fault := err.Error(); fault != known {
			known = fault
			tell(err)
		}
	}
}
