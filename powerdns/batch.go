package powerdns

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"

	"pdns-distribute/powerdns/zone"
)

// A batch is a catalog zone (RFC 9432) by which PowerDNS makes many zones at once: a zone of kind Consumer, deleted as
// soon as its members are there, which stay. This file says what such a zone is called, and what it leaves at them.

// batches is where their names are. Nobody can own it (RFC 6761 §6.4).
var batches = zone.MustParseName("pdns-distribute-batch.invalid")

// NewBatchName returns a name that no batch ever had: PowerDNS deletes members of an earlier catalog of the same name
// that the list of the later one lacks.
func NewBatchName() zone.Name {
	return zone.MustParseName(strings.ToLower(rand.Text()) + "." + batches.String())
}

// IsBatch reports whether the zone is a batch, of this process or left by one that was killed.
func (z ZoneInfo) IsBatch() bool { return z.Kind == Consumer && z.Name.Under(batches) }

// WithoutBatches leaves batches out of a listing: they are nobody's zones.
func WithoutBatches(zones []ZoneInfo) []ZoneInfo {
	return slices.DeleteFunc(zones, ZoneInfo.IsBatch)
}

// CompleteMember gives a zone that a batch made what it lacks beside one that [Client.CreateZone] made.
func (c *Client) CompleteMember(ctx context.Context, n zone.Name) error {
	body := map[string]any{"soa_edit": soaEditOf(Slave), "soa_edit_api": "", "api_rectify": false, "catalog": ""}
	return c.do(ctx, zoneCall("complete zone", n, http.MethodPut, "", body), nil)
}

// LeftByBatch reports whether all that deviates is what a batch leaves, so that [Client.CompleteMember] is enough. None
// of it changes answers, unless default-soa-edit is set ([EditsSerials]).
func LeftByBatch(wrong []Deviation) bool {
	return !slices.ContainsFunc(wrong, func(d Deviation) bool {
		switch d.what {
		case "SOA-EDIT", "API-RECTIFY":
			return len(d.is) > 0
		case "catalog":
			name, err := zone.ParseName(d.is[0])
			return err != nil || !name.Under(batches)
		}
		return true
	})
}

// batchReleases are those for which secondary TestBatch and TestBatchIsKilled have shown that batches do no harm, with
// gsqlite3 and lmdb.
var batchReleases = []string{"4.7.", "4.9.", "5.1."}

// TakesBatches reports whether a server of that version with these settings makes zones by batches, and serves them as
// they are. 4.9 with lmdb does not: it loses the lock of a file that is first opened for a transfer (docs/upgrade.md).
func TakesBatches(version string, settings map[string]string) bool {
	backend, _, _ := strings.Cut(settings["launch"], ":")
	tried := slices.ContainsFunc(batchReleases, func(r string) bool { return strings.HasPrefix(version, r) })
	known := backend == "gsqlite3" || backend == "lmdb"
	loses := backend == "lmdb" && strings.HasPrefix(version, "4.9.")
	return tried && known && !loses && !EditsSerials(settings)
}

// EditsSerials reports whether a server answers with a serial of its own for zones that have no SOA-EDIT.
func EditsSerials(settings map[string]string) bool {
	return settings["default-soa-edit"] != "" || settings["default-soa-edit-signed"] != ""
}
