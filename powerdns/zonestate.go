package powerdns

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"pdns-distribute/powerdns/zone"
)

// ZoneState is what PowerDNS obeys of a zone besides its records. What of it a secondary needs, and what is somebody
// else's business, says secondaryzone.go.
type ZoneState struct {
	Name     zone.Name
	Kind     Kind
	Masters  []string
	Serial   uint32              // stored, 0 while there is no content
	Catalog  string              // the catalog zone that has it as a member; 4.7 with gsqlite3 does not tell
	Account  string              // PowerDNS does nothing by it
	Keys     []int               // ids of its DNSSEC keys, active or not
	Metadata map[string][]string // by kind, see doc.powerdns.com/authoritative/domainmetadata.html
}

// ZoneState reads the state by three calls. ErrNotFound is that of [Client.Zone].
func (c *Client) ZoneState(ctx context.Context, n zone.Name) (ZoneState, error) {
	var z struct {
		Kind    Kind     `json:"kind"`
		Masters []string `json:"masters"`
		Serial  uint32   `json:"serial"`
		Catalog string   `json:"catalog"`
		Account string   `json:"account"`
	}
	if err := c.do(ctx, zoneCall("get zone", n, http.MethodGet, "?rrsets=false", nil), into(&z)); err != nil {
		return ZoneState{}, err
	}
	metadata, err := c.metadata(ctx, n)
	if err != nil {
		return ZoneState{}, err
	}
	keys, err := c.Cryptokeys(ctx, n)
	return ZoneState{
		Name: n, Kind: z.Kind, Masters: z.Masters, Serial: z.Serial, Catalog: z.Catalog, Account: z.Account,
		Keys: keys, Metadata: metadata,
	}, err
}

func (c *Client) metadata(ctx context.Context, n zone.Name) (map[string][]string, error) {
	var list []struct {
		Kind   string   `json:"kind"`
		Values []string `json:"metadata"`
	}
	err := c.do(ctx, zoneCall("get metadata of zone", n, http.MethodGet, "/metadata", nil), into(&list))
	byKind := make(map[string][]string, len(list))
	for _, m := range list {
		byKind[m.Kind] = m.Values
	}
	return byKind, err
}

// Correct changes what deviates at an existing zone, as far as the API lets one: ErrRejected where it does not, of which
// the zone may have been corrected in part. What a transfer brings is left to the next transfer.
func (c *Client) Correct(ctx context.Context, state ZoneState, want SecondaryZone, wrong []Deviation) error {
	done := map[correction]bool{}
	for _, d := range wrong {
		if done[d.by] && d.by != byMetadata {
			continue
		}
		done[d.by] = true
		if err := c.correct(ctx, state, want, d); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) correct(ctx context.Context, state ZoneState, want SecondaryZone, d Deviation) error {
	switch d.by {
	case byPut:
		return c.MakeSlave(ctx, state.Name, []string{want.Master})
	case byMetadata:
		return c.deleteMetadata(ctx, state.Name, d.what)
	case byKeys:
		return c.deleteKeys(ctx, state)
	case byTransfer:
		return c.forgetNSEC3(ctx, state)
	}
	return fmt.Errorf("zone %s has %w: %w", state.Name, d, ErrRejected)
}

// forgetNSEC3 removes parameters of NSEC3 that PowerDNS does not look at now, and that a transfer would leave. Others
// belong to the content that is there.
func (c *Client) forgetNSEC3(ctx context.Context, state ZoneState) error {
	params, narrow := state.Metadata["NSEC3PARAM"], state.Metadata["NSEC3NARROW"]
	if state.presigned() && len(params) > 0 || len(params)+len(narrow) == 0 {
		return nil
	}
	return c.SetNSEC3Param(ctx, state.Name, "")
}

// deleteMetadata deletes one kind of metadata. ErrRejected: the API of this release does not let one.
func (c *Client) deleteMetadata(ctx context.Context, n zone.Name, kind string) error {
	verb, path := fmt.Sprintf("delete metadata %s of zone", kind), "/metadata/"+url.PathEscape(kind)
	return c.do(ctx, zoneCall(verb, n, http.MethodDelete, path, nil), nil)
}

func (c *Client) deleteKeys(ctx context.Context, state ZoneState) error {
	for _, id := range state.Keys {
		if err := c.DeleteCryptokey(ctx, state.Name, id); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// Restore gives a zone what [ZoneState.Kept] says of state: what is somebody else's business and would be lost where
// the zone is made anew. Where the zone has it already nothing changes: so it can be tried before. ErrRejected: the API
// cannot write all of it.
func (c *Client) Restore(ctx context.Context, state ZoneState) error {
	body := map[string]any{"account": state.Account}
	for kind, values := range state.Kept() {
		if kind == tsigAllowAXFR { // metadata that is written by the zone alone (4.7 to 4.9)
			body["master_tsig_key_ids"] = values
			continue
		}
		if err := c.SetMetadata(ctx, state.Name, kind, values); err != nil {
			return err
		}
	}
	return c.do(ctx, zoneCall("restore zone", state.Name, http.MethodPut, "", body), nil)
}
