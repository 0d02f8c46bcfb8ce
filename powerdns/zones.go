package powerdns

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"pdns-distribute/powerdns/zone"
)

// Kind is what a zone is to its server, as the API writes it.
type Kind string

// The kinds that PowerDNS 4.7 to 5.1 know.
const (
	Native   Kind = "Native"
	Master   Kind = "Master"
	Slave    Kind = "Slave"
	Producer Kind = "Producer"
	Consumer Kind = "Consumer"
)

// ZoneInfo is what PowerDNS knows of a zone besides its records.
type ZoneInfo struct {
	Name    zone.Name
	ID      string // as PowerDNS writes it in paths
	Kind    Kind
	Masters []string // host or host:port; PowerDNS drops a port of 53

	// Serial is the stored SOA serial, 0 while there is no SOA. It moves with every edit.
	Serial uint32
	// EditedSerial is the serial that SOA queries and AXFR show, after SOA-EDIT. Zones doesn't ask for it and leaves 0.
	EditedSerial uint32
	// DNSSEC reports whether the server signs the zone itself, or has it signed already ([Client.Presigned]). Zones
	// doesn't ask for it and leaves false.
	DNSSEC bool
	// NSEC3Param are the parameters of NSEC3, such as "1 0 0 -", "" where the zone has NSEC. Listings leave it out.
	NSEC3Param string
	// LastCheck is when PowerDNS last saw that a secondary zone is fresh, in seconds since 1970; it moves when a
	// transfer succeeds.
	LastCheck int64
}

// zoneJSON is ZoneInfo on the wire.
type zoneJSON struct {
	Name         string   `json:"name"`
	ID           string   `json:"id"`
	Kind         Kind     `json:"kind"`
	Masters      []string `json:"masters"`
	Serial       uint32   `json:"serial"`
	EditedSerial uint32   `json:"edited_serial"`
	DNSSEC       bool     `json:"dnssec"`
	NSEC3Param   string   `json:"nsec3param"`
	LastCheck    int64    `json:"last_check"`
}

func (z zoneJSON) info() (ZoneInfo, error) {
	name, err := zone.ParseName(z.Name)
	if err != nil {
		return ZoneInfo{}, fmt.Errorf("zone with id %q: %w", z.ID, err)
	}
	return ZoneInfo{
		Name: name, ID: z.ID, Kind: z.Kind, Masters: z.Masters,
		Serial: z.Serial, EditedSerial: z.EditedSerial, DNSSEC: z.DNSSEC, NSEC3Param: z.NSEC3Param, LastCheck: z.LastCheck,
	}, nil
}

// named is info, if it is about the zone of that name.
func (z zoneJSON) named(n zone.Name) (ZoneInfo, error) {
	info, err := z.info()
	if err == nil && info.Name != n {
		err = fmt.Errorf("it is about zone %q", info.Name)
	}
	return info, err
}

// isVariant recognises names like example.org..internal (doc.powerdns.com/authoritative/views.html): those of zones
// end in a dot.
func (z zoneJSON) isVariant() bool {
	return strings.Contains(z.Name, "..") && !strings.HasSuffix(z.Name, ".")
}

// Zones lists all zones, complete or not at all. It leaves out what is costly (EditedSerial, DNSSEC). Variants of
// zones (views, PowerDNS 5) are no zones in this sense: they have no DNS name of their own.
func (c *Client) Zones(ctx context.Context) ([]ZoneInfo, error) {
	return c.list(ctx, "/zones?dnssec=false")
}

// ServedZones is Zones with EditedSerial and DNSSEC, which takes PowerDNS three to five times as long.
func (c *Client) ServedZones(ctx context.Context) ([]ZoneInfo, error) {
	return c.list(ctx, "/zones")
}

func (c *Client) list(ctx context.Context, path string) ([]ZoneInfo, error) {
	var zones []ZoneInfo
	q := call{what: "list zones", method: http.MethodGet, path: path, listing: true}
	err := c.do(ctx, q, func(r io.Reader) (err error) {
		zones, err = readZones(r, maxListed)
		return err
	})
	if err != nil {
		return nil, err
	}
	return zones, nil
}

// errEntry means that one zone takes more than a zone can.
var errEntry = fmt.Errorf("a zone with more than %d bytes", maxEntry)

// entryReader ends a listing whose next entry has no end: the decoder keeps all of one.
type entryReader struct {
	io.Reader
	left int
}

func (r *entryReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errEntry
	}
	n, err := r.Reader.Read(p)
	r.left -= n
	return n, err
}

// readZones decodes a listing of at most limit zones, zone by zone. It fails unless the list is closed and nothing
// follows it.
func readZones(from io.Reader, limit int) ([]ZoneInfo, error) {
	r := &entryReader{from, maxEntry}
	d := json.NewDecoder(r)
	if err := expect(d, '['); err != nil {
		return nil, err
	}
	zones := []ZoneInfo{}
	for entries := 0; d.More(); entries++ {
		var z zoneJSON
		if err := d.Decode(&z); err != nil {
			return nil, fmt.Errorf("after %d zones: %w", len(zones), err)
		}
		if r.left = maxEntry; entries == limit {
			return nil, fmt.Errorf("more than %d zones", limit)
		}
		if z.isVariant() {
			continue
		}
		info, err := z.info()
		if err != nil {
			return nil, err
		}
		zones = append(zones, info)
	}
	if err := expect(d, ']'); err != nil {
		return nil, fmt.Errorf("after %d zones: %w", len(zones), err)
	}
	return zones, atEnd(d)
}

func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%v in place of %v", got, want)
	}
	return nil
}

// Zone returns one zone. ErrNotFound means that the server was asked, is the configured one, and has no such zone.
func (c *Client) Zone(ctx context.Context, n zone.Name) (ZoneInfo, error) {
	var (
		z    zoneJSON
		info ZoneInfo
	)
	err := c.do(ctx, zoneCall("get zone", n, http.MethodGet, "?rrsets=false", nil), func(r io.Reader) (err error) {
		if err := into(&z)(r); err != nil {
			return err
		}
		info, err = z.named(n)
		return err
	})
	if err != nil {
		return ZoneInfo{}, err
	}
	return info, nil
}

// Presigned reports whether the zone was signed elsewhere and is served as it came.
func (c *Client) Presigned(ctx context.Context, n zone.Name) (bool, error) {
	var presigned struct {
		Metadata []string `json:"metadata"`
	}
	err := c.do(ctx, zoneCall("get metadata of zone", n, http.MethodGet, "/metadata/PRESIGNED", nil), into(&presigned))
	return len(presigned.Metadata) > 0 && presigned.Metadata[0] == "1", err
}

// settings are the fields of a zone that a secondary has to have. Without soa_edit_api, PowerDNS gives new zones
// DEFAULT and rewrites the serial at the next edit; with api_rectify, each edit costs a walk over the whole zone. An
// empty soa_edit leaves the serial to default-soa-edit, NONE to the primary (4.7 to 5.1).
type settings struct {
	Name       string   `json:"name,omitempty"` // only to create a zone
	Kind       Kind     `json:"kind"`
	Masters    []string `json:"masters"`
	SOAEdit    string   `json:"soa_edit"`
	SOAEditAPI string   `json:"soa_edit_api"`
	APIRectify bool     `json:"api_rectify"`
}

// CreateZone creates a zone without records. masters (host or host:port) are for kinds Slave and Consumer. It returns
// ErrExists and changes nothing where the zone is there. When it returns nil the zone is in PowerDNS's database, and
// served as soon as a transfer has filled it (which also ends that PowerDNS repeats REFUSED from its cache).
func (c *Client) CreateZone(ctx context.Context, n zone.Name, kind Kind, masters []string) error {
	return c.do(ctx, call{
		what:   fmt.Sprintf("create zone %q", n),
		method: http.MethodPost,
		path:   "/zones?rrsets=false",
		body:   settings{Name: n.String(), Kind: kind, Masters: masters, SOAEdit: soaEditOf(kind)},
	}, nil)
}

// soaEditOf is NONE for zones whose serial is another server's.
func soaEditOf(kind Kind) string {
	if kind == Slave {
		return "NONE"
	}
	return ""
}

// MakeSlave makes an existing zone of any kind a secondary of masters, member of no catalog zone, with transfers that
// are not signed; its records stay until a transfer replaces them, and keys and metadata besides these settings stay.
func (c *Client) MakeSlave(ctx context.Context, n zone.Name, masters []string) error {
	body := struct {
		settings
		Catalog  string   `json:"catalog"`
		TSIGKeys []string `json:"slave_tsig_key_ids"`
	}{settings{Kind: Slave, Masters: masters, SOAEdit: soaEditOf(Slave)}, "", []string{}}
	return c.do(ctx, zoneCall("make secondary of zone", n, http.MethodPut, "", body), nil)
}

// DeleteZone deletes a zone with all that belongs to it. It is answered no more when DeleteZone returns.
func (c *Client) DeleteZone(ctx context.Context, n zone.Name) error {
	return c.do(ctx, zoneCall("delete zone", n, http.MethodDelete, "", nil), nil)
}

// Retrieve queues a transfer of a secondary zone from its master, whatever the serial there. nil means queued, not
// done: a request during a running transfer of the same zone is dropped, and failures show only in PowerDNS's log.
func (c *Client) Retrieve(ctx context.Context, n zone.Name) error {
	return c.do(ctx, zoneCall("retrieve zone", n, http.MethodPut, "/axfr-retrieve", nil), nil)
}
