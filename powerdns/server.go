package powerdns

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ServerInfo says which program answers.
type ServerInfo struct {
	ID      string `json:"id"`
	Version string `json:"version"` // such as 4.7.3

	Daemon string `json:"daemon_type"`
}

// OldestVersion is the first that this program was developed with. Older ones are not known to do what it relies on.
const OldestVersion = "4.7"

// TooOld reports whether the version is older than OldestVersion. Builds without a released version's number are not.
func (s ServerInfo) TooOld() bool {
	var major, minor, oldMajor, oldMinor int
	if n, _ := fmt.Sscanf(s.Version, "%d.%d", &major, &minor); n < 2 || major == 0 {
		return false
	}
	fmt.Sscanf(OldestVersion, "%d.%d", &oldMajor, &oldMinor)
	return major < oldMajor || major == oldMajor && minor < oldMinor
}

// Server asks the server who it is. Anything but an authoritative PowerDNS of the configured id is ErrProtocol.
func (c *Client) Server(ctx context.Context) (ServerInfo, error) {
	var s ServerInfo
	if err := c.do(ctx, call{what: "identify server", method: http.MethodGet}, into(&s)); err != nil {
		return ServerInfo{}, err
	}
	if s.Daemon != "authoritative" {
		return ServerInfo{}, fmt.Errorf("identify server at %s: %w: it is a %q", c.where(), ErrProtocol, s.Daemon)
	}
	return s, nil
}

// nameValue is how the API lists settings and statistics.
type nameValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Config returns the settings that the server runs with, as in pdns.conf, defaults included. Secrets show as ***.
func (c *Client) Config(ctx context.Context) (map[string]string, error) {
	var list []nameValue
	if err := c.do(ctx, call{what: "read settings", method: http.MethodGet, path: "/config"}, into(&list)); err != nil {
		return nil, err
	}
	settings := make(map[string]string, len(list))
	for _, s := range list {
		settings[s.Name] = s.Value
	}
	return settings, nil
}

// Life distinguishes one run of a server from another: within a run its values only grow.
type Life struct {
	Uptime time.Duration // to the second
	CPU    time.Duration // used so far, to the millisecond
}

// Continues reports whether l can be a later moment of the same run. A restart right after another one, in between of
// which the server did nothing, can be missed.
func (l Life) Continues(before Life) bool { return l.Uptime >= before.Uptime && l.CPU >= before.CPU }

// Life asks how long the server has been running.
func (c *Client) Life(ctx context.Context) (Life, error) {
	var list []struct {
		Name  string          `json:"name"`
		Value json.RawMessage `json:"value"` // a string, or more complicated
	}
	q := call{what: "read statistics", method: http.MethodGet, path: "/statistics?includerings=false"}
	if err := c.do(ctx, q, into(&list)); err != nil {
		return Life{}, err
	}
	var life Life
	for _, s := range list {
		value, err := strconv.ParseInt(strings.Trim(string(s.Value), `"`), 10, 64)
		switch {
		case err != nil:
		case s.Name == "uptime":
			life.Uptime = time.Duration(value) * time.Second
		case s.Name == "user-msec" || s.Name == "sys-msec":
			life.CPU += time.Duration(value) * time.Millisecond
		}
	}
	if life.CPU == 0 {
		return Life{}, fmt.Errorf("read statistics at %s: %w: no user-msec and sys-msec", c.where(), ErrProtocol)
	}
	return life, nil
}
