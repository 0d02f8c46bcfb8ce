package powerdns

import (
	"context"
	"net/http"

	"pdns-distribute/powerdns/zone"
)

// SetMasters makes the zone a plain secondary of masters (host or host:port), as if this program had never been there:
// its transfers are signed with the TSIG key of that name ("": unsigned), and SOA-EDIT is as PowerDNS's configuration
// has it. Its records stay until a transfer replaces them. A key that PowerDNS does not have is ErrRejected.
func (c *Client) SetMasters(ctx context.Context, n zone.Name, masters []string, tsigKey string) error {
	body := struct {
		Kind     Kind     `json:"kind"`
		Masters  []string `json:"masters"`
		TSIGKeys []string `json:"slave_tsig_key_ids"`
		SOAEdit  string   `json:"soa_edit"`
	}{Slave, masters, []string{}, ""}
	if tsigKey != "" {
		body.TSIGKeys = []string{tsigKey}
	}
	return c.do(ctx, zoneCall("set masters of zone", n, http.MethodPut, "", body), nil)
}

// TSIGKeys returns the names of the keys that PowerDNS has for transfers, not the keys themselves.
func (c *Client) TSIGKeys(ctx context.Context) ([]zone.Name, error) {
	var keys []struct {
		Name string `json:"name"`
	}
	if err := c.do(ctx, call{what: "list TSIG keys", method: http.MethodGet, path: "/tsigkeys"}, into(&keys)); err != nil {
		return nil, err
	}
	names := make([]zone.Name, 0, len(keys))
	for _, k := range keys {
		if name, err := zone.ParseName(k.Name); err == nil {
			names = append(names, name)
		}
	}
	return names, nil
}
