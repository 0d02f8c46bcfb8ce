package powerdns

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pdns-distribute/powerdns/zone"
)

// ServerInfo says which program answers.
type ServerInfo struct {
	ID      string `json:"id"`
	Version string `json:"version"` // such as 4.7.3

	Daemon string `json:"daemon_type"`
}

// Server asks the server who it is. Anything but an authoritative PowerDNS of the configured id is ErrProtocol.
func (c *Client) Server(ctx context.Context) (ServerInfo, error) {
	var s ServerInfo
	if err := c.do(ctx, call{what: "identify server", method: http.MethodGet}, into(&s)); err != nil {
		return ServerInfo{}, err
	}
	if s.Daemon != "authoritative" {
		return ServerInfo{}, fmt.Errorf("identify server at %s: %w: it is a %q", c.server, ErrProtocol, s.Daemon)
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

// Uptime is the time since the server's start, to the second: where it went down, PowerDNS was restarted.
func (c *Client) Uptime(ctx context.Context) (time.Duration, error) {
	var list []nameValue
	q := call{what: "read uptime", method: http.MethodGet, path: "/statistics?statistic=uptime"}
	if err := c.do(ctx, q, into(&list)); err != nil {
		return 0, err
	}
	if len(list) != 1 {
		return 0, fmt.Errorf("read uptime at %s: %w: %d values", c.server, ErrProtocol, len(list))
	}
	seconds, err := strconv.ParseInt(list[0].Value, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("read uptime at %s: %w: %w", c.server, ErrProtocol, err)
	}
	return time.Duration(seconds) * time.Second, nil
}

// FlushCache drops what PowerDNS's packet and query caches hold for n and for all names below it. What it caches of how
// a zone is signed stays (zone-metadata-cache-ttl).
func (c *Client) FlushCache(ctx context.Context, n zone.Name) error {
	return c.do(ctx, call{
		what:   fmt.Sprintf("flush caches of %q", n),
		method: http.MethodPut,
		path:   "/cache/flush?domain=" + url.QueryEscape(n.String()),
	}, nil)
}
