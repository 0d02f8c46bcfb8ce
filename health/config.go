package health

import (
	"fmt"
	"time"
)

// Config is the section [health].
type Config struct {
	// InactiveAfter is how long a node may be silent before it counts as inactive. Nodes speak every 5 s; less than
	// three times that makes a lost packet an alarm.
	InactiveAfter time.Duration `toml:"inactive_after" env:"INACTIVE_AFTER" envDefault:"30s"`
}

// minInactiveAfter is twice the pause between two presences.
const minInactiveAfter = 10 * time.Second

// Validate returns all faults, joined.
func (c *Config) Validate() error {
	if c.InactiveAfter < minInactiveAfter {
		return fmt.Errorf("health.inactive_after: %s is too short, nodes speak every 5s; use %s or more", c.InactiveAfter, minInactiveAfter)
	}
	return nil
}
