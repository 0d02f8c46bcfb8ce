package powerdns

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"pdns-distribute/powerdns/zone"
)

// RRset is all records of one owner name and type. Without Content it deletes the set.
type RRset struct {
	Name    zone.Name
	Type    string
	TTL     uint32   // seconds
	Content []string // in presentation form, names with the closing dot
}

// MarshalJSON gives the change that the API takes: set this RRset as a whole, or delete it.
func (s RRset) MarshalJSON() ([]byte, error) {
	type record struct {
		Content string `json:"content"`
	}
	change := struct {
		Name    zone.Name `json:"name"`
		Type    string    `json:"type"`
		TTL     uint32    `json:"ttl"`
		Change  string    `json:"changetype"`
		Records []record  `json:"records"`
	}{s.Name, s.Type, s.TTL, "DELETE", []record{}}
	for _, content := range s.Content {
		change.Change = "REPLACE"
		change.Records = append(change.Records, record{content})
	}
	return json.Marshal(change)
}

// ZoneSpec is a zone to create with its content.
type ZoneSpec struct {
	Name        zone.Name `json:"name"`
	Kind        Kind      `json:"kind"`
	Masters     []string  `json:"masters,omitempty"`
	Nameservers []string  `json:"nameservers"` // NS records to make, names with the closing dot
	RRsets      []RRset   `json:"rrsets,omitempty"`
	DNSSEC      bool      `json:"dnssec"`               // sign, with a key made by PowerDNS
	NSEC3Param  string    `json:"nsec3param,omitempty"` // such as "1 0 0 -"; empty: NSEC
	SOAEdit     string    `json:"soa_edit,omitempty"`
	SOAEditAPI  string    `json:"soa_edit_api"` // DEFAULT moves the serial with each Patch; empty leaves it alone
	APIRectify  bool      `json:"api_rectify"`
}

// CreateZoneWith creates a zone with its content. PowerDNS adds a SOA where none is given. It takes requests of up to
// webserver-max-bodysize (2 MB) and closes the connection on larger ones. A rejected zone may be there all the same,
// without content: PowerDNS 4.7 creates first and signs then. Questions that were answered REFUSED shortly before go on
// being so for up to 20 s (cache-ttl); FlushCache ends that.
func (c *Client) CreateZoneWith(ctx context.Context, spec ZoneSpec) error {
	if spec.Nameservers == nil {
		spec.Nameservers = []string{} // PowerDNS wants the list, though empty
	}
	return c.do(ctx, call{
		what:   fmt.Sprintf("create zone %q", spec.Name),
		method: http.MethodPost,
		path:   "/zones?rrsets=false",
		body:   spec,
	}, nil)
}

// Patch sets or deletes RRsets of a zone in one transaction.
func (c *Client) Patch(ctx context.Context, n zone.Name, sets []RRset) error {
	body := struct {
		RRsets []RRset `json:"rrsets"`
	}{sets}
	return c.do(ctx, zoneCall("patch zone", n, http.MethodPatch, "", body), nil)
}

// Rectify has PowerDNS compute what DNSSEC needs of a zone anew: order of names, empty non-terminals, glue.
func (c *Client) Rectify(ctx context.Context, n zone.Name) error {
	return c.do(ctx, zoneCall("rectify zone", n, http.MethodPut, "/rectify", nil), nil)
}

// Notify has PowerDNS send NOTIFY for a zone of kind Master to its secondaries.
func (c *Client) Notify(ctx context.Context, n zone.Name) error {
	return c.do(ctx, zoneCall("notify secondaries of zone", n, http.MethodPut, "/notify", nil), nil)
}

// SetMetadata replaces one kind of metadata of a zone, such as ALSO-NOTIFY.
func (c *Client) SetMetadata(ctx context.Context, n zone.Name, kind string, values []string) error {
	body := map[string]any{"kind": kind, "metadata": values}
	return c.do(ctx, zoneCall("set metadata of zone", n, http.MethodPut, "/metadata/"+url.PathEscape(kind), body), nil)
}

// SetNSEC3Param has a zone deny with NSEC3 of these parameters, and with NSEC where there are none. PowerDNS takes it
// of presigned zones, too, and breaks them. Rectify has to follow.
func (c *Client) SetNSEC3Param(ctx context.Context, n zone.Name, parameters string) error {
	body := map[string]string{"nsec3param": parameters}
	return c.do(ctx, zoneCall("set NSEC3 parameters of zone", n, http.MethodPut, "", body), nil)
}

// SetKind changes the kind of a zone and nothing else.
func (c *Client) SetKind(ctx context.Context, n zone.Name, kind Kind) error {
	return c.do(ctx, zoneCall("change kind of zone", n, http.MethodPut, "", map[string]Kind{"kind": kind}), nil)
}
