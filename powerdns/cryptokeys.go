package powerdns

import (
	"context"
	"fmt"
	"net/http"

	"pdns-distribute/powerdns/zone"
)

// Cryptokeys returns the ids of the zone's DNSSEC keys. Keys themselves are never asked for: the list holds public
// parts only, while the path of a single key would give the private one.
func (c *Client) Cryptokeys(ctx context.Context, n zone.Name) ([]int, error) {
	var keys []struct {
		ID int `json:"id"`
	}
	err := c.do(ctx, zoneCall("list keys of zone", n, http.MethodGet, "/cryptokeys", nil), into(&keys))
	if err != nil {
		return nil, err
	}
	ids := make([]int, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	return ids, nil
}

// DeleteCryptokey deletes a DNSSEC key of the zone for good. ErrNotFound: there is no such zone or no such key.
func (c *Client) DeleteCryptokey(ctx context.Context, n zone.Name, id int) error {
	verb := fmt.Sprintf("delete key %d of zone", id)
	return c.do(ctx, zoneCall(verb, n, http.MethodDelete, fmt.Sprintf("/cryptokeys/%d", id), nil), nil)
}
