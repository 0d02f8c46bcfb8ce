package local

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeConf writes pdns.conf for the server's present addresses.
func (s *Server) writeConf() error {
	conf := s.conf()
	maps.Copy(conf, s.settings)
	return writeSettings(filepath.Join(s.Dir, "pdns.conf"), conf)
}

func writeSettings(file string, conf map[string]string) error {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(conf)) {
		fmt.Fprintf(&text, "%s=%s\n", key, conf[key])
	}
	return os.WriteFile(file, []byte(text.String()), 0o600)
}

func (s *Server) conf() map[string]string {
	conf := map[string]string{
		"launch":               string(s.Backend),
		"local-address":        host,
		"local-port":           port(s.DNSAddr),
		"server-id":            s.id,
		"api":                  "yes",
		"api-key":              s.APIKey.Reveal(),
		"webserver":            "yes",
		"webserver-address":    host,
		"webserver-port":       port(apiAddress(s.APIURL)),
		"webserver-allow-from": host,
		"webserver-loglevel":   "none", // one line per request otherwise
		"socket-dir":           s.socketDir,
		"loglevel":             "5", // transfers, and why they fail
		"daemon":               "no",
		"guardian":             "no",
		"security-poll-suffix": "", // asks the Internet otherwise
	}
	if s.socket {
		conf["webserver-address"] = strings.TrimPrefix(s.APIURL, "unix:")
		delete(conf, "webserver-port")
	}
	if s.Primary {
		conf["primary"] = "yes"
	} else {
		maps.Copy(conf, secondary)
	}
	maps.Copy(conf, s.databaseConf(s.Backend))
	return conf
}

// databaseConf is where a backend has its database. Those of a database server are in the settings that Start is given.
func (s *Server) databaseConf(b Backend) map[string]string {
	switch b {
	case SQLite:
		return map[string]string{"gsqlite3-database": s.databaseFile(b), "gsqlite3-dnssec": "yes"}
	case LMDB:
		return map[string]string{"lmdb-filename": s.databaseFile(b)}
	}
	return map[string]string{string(b) + "-dnssec": "yes"}
}

// secondary are the settings that keep a secondary from answering out of caches that a transfer has made stale: 20 s
// for records, 60 s for whether and how a zone is signed (seen with 4.7.3; the packet cache is purged properly).
var secondary = map[string]string{
	"secondary":               "yes",
	"query-cache-ttl":         "0",
	"negquery-cache-ttl":      "0",
	"zone-metadata-cache-ttl": "0",
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// apiAddress is host:port of the API.
func apiAddress(apiURL string) string {
	u, err := url.Parse(apiURL)
	if err != nil {
		return ""
	}
	return u.Host
}
