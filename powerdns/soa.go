package powerdns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/zone"
)

// rrsetJSON is an RRset as the API shows it.
type rrsetJSON struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	TTL     uint32 `json:"ttl"`
	Records []struct {
		Content  string `json:"content"`
		Disabled bool   `json:"disabled"`
	} `json:"records"`
}

// ZoneWithSOA is Zone and the zone's SOA, with the serial that is stored. soa is empty where PowerDNS cannot show the
// SOA (a number with a unit in its database makes that a failure of the server, and of its transfers), or shows one
// that cannot be read.
func (c *Client) ZoneWithSOA(ctx context.Context, n zone.Name) (info ZoneInfo, soa []zone.Record, err error) {
	var z struct {
		zoneJSON
		RRsets []rrsetJSON `json:"rrsets"`
	}
	query := "?rrset_type=SOA&rrset_name=" + url.QueryEscape(n.String())
	err = c.do(ctx, zoneCall("get zone", n, http.MethodGet, query, nil), func(r io.Reader) (err error) {
		if err := into(&z)(r); err != nil {
			return err
		}
		info, err = z.named(n)
		return err
	})
	if ctx.Err() == nil && (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRejected)) {
		info, err = c.Zone(ctx, n)
		return info, nil, err
	}
	if err != nil {
		return ZoneInfo{}, nil, err
	}
	for _, set := range z.RRsets {
		if set.Type == "SOA" {
			soa = append(soa, set.records(n)...)
		}
	}
	return info, soa, nil
}

// records are those of the set that are served and can be read.
func (s rrsetJSON) records(owner zone.Name) (records []zone.Record) {
	for _, r := range s.Records {
		if r.Disabled {
			continue
		}
		rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s %s", owner, s.TTL, s.Type, r.Content))
		if err != nil || rr == nil {
			continue
		}
		if record, err := zone.NewRecord(rr); err == nil {
			records = append(records, record)
		}
	}
	return records
}
