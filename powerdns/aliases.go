package powerdns

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// Alias is an ALIAS record: its name has the addresses of its target.
type Alias struct {
	Name, Target zone.Name
	TTL          time.Duration
}

// Aliases returns the ALIAS records of a zone, which no transfer shows where PowerDNS expands them. PowerDNS writes out
// the whole zone for it, without records that are disabled.
func (c *Client) Aliases(ctx context.Context, n zone.Name) (aliases []Alias, err error) {
	q := zoneCall("read the ALIAS records of zone", n, http.MethodGet, "/export", nil)
	q.accept, q.listing = "text/plain", true
	err = c.do(ctx, q, func(r io.Reader) (err error) {
		aliases, err = readAliases(r)
		return err
	})
	return aliases, err
}

// maxLine is how long the line of a record may be: each of at most 64 KB bytes is escaped with three more.
const maxLine = 300 << 10

// readAliases reads a zone in lines of name, TTL, class, type and content, with tabs in between.
func readAliases(r io.Reader) (aliases []Alias, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		fields := strings.SplitN(lines.Text(), "\t", 5)
		if len(fields) < 5 || fields[3] != "ALIAS" {
			continue
		}
		a, err := parseAlias(fields[0], fields[1], fields[4])
		if err != nil {
			return nil, fmt.Errorf("ALIAS record %.200q: %w", lines.Text(), err)
		}
		aliases = append(aliases, a)
	}
	return aliases, lines.Err()
}

func parseAlias(name, ttl, target string) (a Alias, err error) {
	if a.Name, err = zone.ParseName(name); err != nil {
		return a, err
	}
	if a.Target, err = zone.ParseName(target); err != nil {
		return a, err
	}
	seconds, err := strconv.ParseUint(ttl, 10, 32)
	a.TTL = time.Duration(seconds) * time.Second
	return a, err
}

// Expansion is what a PowerDNS does with ALIAS records as it transfers their zone: nothing, or it gives the addresses
// in their place that its resolver has for the target. Where the target does not resolve it breaks the transfer off, or
// leaves the record out (4.9 and later, with ignore-errors).
type Expansion struct {
	On       bool
	Resolver string // host:port; "" where neither PowerDNS nor the host has one
}

// ExpansionOf reads it from the settings that Config gave.
func ExpansionOf(settings map[string]string) (e Expansion) {
	mode := settings["outgoing-axfr-expand-alias"]
	e.On = mode != "" && mode != "no"
	if e.Resolver = settings["resolver"]; e.Resolver == "no" || e.Resolver == "" {
		e.Resolver = resolverOfHost()
	}
	if e.Resolver != "" && checkAddress(e.Resolver) != nil {
		e.Resolver = net.JoinHostPort(strings.Trim(e.Resolver, "[]"), "53")
	}
	return e
}

// resolverOfHost is what PowerDNS asks to expand records where no resolver is set.
func resolverOfHost() string {
	const file = "/etc/resolv.conf"
	conf, err := dns.ClientConfigFromFile(file)
	if err != nil || len(conf.Servers) == 0 {
		return ""
	}
	return conf.Servers[0]
}
