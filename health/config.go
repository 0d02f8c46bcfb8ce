package health

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Config is the section [health]. The commands status, sync and forget read it, too.
type Config struct {
	// InactiveAfter is how long a node may send no heartbeat before it counts as inactive, 10 s or more. Nodes send one
	// every 5 s; less than three times that makes a lost packet an alarm.
	InactiveAfter time.Duration `toml:"inactive_after" env:"INACTIVE_AFTER" envDefault:"30s"`

	// EventCheckWait is how long a change may take until all active secondaries have reported that they serve it. For a
	// secondary that has not by then it is published again. A change takes milliseconds; a lost message comes again
	// after 15 s.
	EventCheckWait time.Duration `toml:"event_check_wait" env:"EVENT_CHECK_WAIT" envDefault:"20s"`

	// CheckInterval is how often all that each secondary has is compared with what is published. It costs one short
	// message each way where nothing differs.
	CheckInterval time.Duration `toml:"check_interval" env:"CHECK_INTERVAL" envDefault:"15m"`

	// MaxDeletePercent is how many of the zones of a secondary may be found within an hour to be not published, and be
	// deleted, before further ones are held until an operator confirms them.
	MaxDeletePercent int `toml:"max_delete_percent" env:"MAX_DELETE_PERCENT" envDefault:"10"`

	// ConfirmKeys are the public nkeys (U…) of the nodes on which an operator may confirm such deletions. Without any,
	// whoever the broker lets confirm is believed.
	ConfirmKeys []string `toml:"confirm_keys" env:"CONFIRM_KEYS"`

	// ProbeSample is how many zones each secondary is asked for at its public address in each check, besides those that
	// changed. 0 is none, and asks for no changed ones either.
	ProbeSample int `toml:"probe_sample" env:"PROBE_SAMPLE" envDefault:"20"`

	// MaxLoad is the system load average, for each core, above which a node is shown as loaded; 0 is no limit.
	MaxLoad float64 `toml:"max_load" env:"MAX_LOAD" envDefault:"4"`

	// MinDiskPercent is what must be free of the disk of a node's state.
	MinDiskPercent int `toml:"min_disk_percent" env:"MIN_DISK_PERCENT" envDefault:"5"`

	// StateDir is where the history that the page shows is kept, mode 0700: a few hundred KB. It may be deleted. Default:
	// none; the history then ends with the process.
	StateDir string `toml:"state_dir" env:"STATE_DIR" path:"folder"`

	// Webhook is a URL that changes of alarms are posted to, as JSON; "" is none.
	Webhook string `toml:"webhook" env:"WEBHOOK"`
}

// minInactiveAfter is twice the pause between two presences.
const minInactiveAfter = 10 * time.Second

// Validate returns all faults, joined.
func (c *Config) Validate() error {
	var faults []error
	if c.InactiveAfter < minInactiveAfter {
		faults = append(faults, fmt.Errorf(
			"health.inactive_after: %s is too short, nodes send a heartbeat every 5s; use %s or more",
			c.InactiveAfter, minInactiveAfter))
	}
	if c.EventCheckWait < time.Second {
		faults = append(faults, fmt.Errorf("health.event_check_wait: %s is too short; use 1s or more", c.EventCheckWait))
	}
	if c.CheckInterval < time.Second {
		faults = append(faults, fmt.Errorf("health.check_interval: %s is too short; use 1s or more", c.CheckInterval))
	}
	if c.MaxDeletePercent < 0 || c.MaxDeletePercent > 100 {
		faults = append(faults, fmt.Errorf("health.max_delete_percent: %d is not between 0 and 100", c.MaxDeletePercent))
	}
	if c.MinDiskPercent < 0 || c.MinDiskPercent > 100 {
		faults = append(faults, fmt.Errorf("health.min_disk_percent: %d is not between 0 and 100", c.MinDiskPercent))
	}
	if c.ProbeSample < 0 || c.ProbeSample > 10_000 {
		faults = append(faults, fmt.Errorf("health.probe_sample: %d is not between 0 and 10000", c.ProbeSample))
	}
	if c.MaxLoad < 0 {
		faults = append(faults, fmt.Errorf("health.max_load: %g is less than 0", c.MaxLoad))
	}
	u, err := url.Parse(c.Webhook)
	if c.Webhook != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		// The error does not show the URL, which may hold a token.
		faults = append(faults, errors.New(`health.webhook: this is not a URL such as "https://alarms.example.net/hook"`))
	}
	return errors.Join(faults...)
}
