package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"pdns-distribute/powerdns/zone"
)

// Cause is what a touch claims of its zone. There are no other claims: whoever takes a touch looks at PowerDNS.
type Cause uint8

const (
	// Changed claims nothing: the zone may be another one than before, and may be there or not.
	Changed Cause = iota + 1

	// Deleted says that PowerDNS accepted the zone's deletion.
	Deleted
)

var causeWords = map[Cause]string{Changed: "change", Deleted: "delete"}

// String returns the cause's name in the journal and in logs.
func (c Cause) String() string { return causeWords[c] }

// parseCause takes the words of String and no others.
func parseCause(word string) (Cause, error) {
	for c, w := range causeWords {
		if w == word {
			return c, nil
		}
	}
	return 0, fmt.Errorf("%.32q is no cause of a touch", word)
}

// Touch has the primary look at a zone.
type Touch struct {
	Zone  zone.Name
	Cause Cause

	// Serial is the SOA serial that PowerDNS showed in its answer to the zone's creation; nil: it showed none. It
	// explains a serial that is lower than that of a former zone of this name.
	Serial *uint32
}

// write is what a request would do if PowerDNS accepts it.
type write struct {
	zone  zone.Name // none: PowerDNS's answer names it, or nothing does
	order order
}

// order is what a request has PowerDNS do with a zone, as far as it matters to what follows.
type order uint8

const (
	edit     order = iota // whatever may change it
	create                // the answer names the zone
	remove                // the whole zone
	notify                // nothing changes; the client may want to know when all is in sync
	retrieve              // PowerDNS will transfer the zone, a little later
)

// isNews reports whether the order adds something to a pending touch of the zone.
func (o order) isNews() bool { return o != notify && o != retrieve }

// touch returns the touch of a write once its outcome is known. accepted: PowerDNS answered 2xx. A write whose outcome
// is unclear is never more than a change, and of one that names no zone any zone may be affected: false asks for a
// sweep.
func (w write) touch(accepted bool) (Touch, bool) {
	t := Touch{Zone: w.zone, Cause: Changed}
	if w.order == remove && accepted {
		t.Cause = Deleted
	}
	return t, w.zone != ""
}

const zonesSegment = "zones"

// zonesOf are the segments of an escaped path below a server's zones: /api/v1/servers/SERVER/zones[/ID[/...]], as sent.
func zonesOf(escapedPath string) (below []string, is bool) {
	segments := strings.Split(strings.Trim(escapedPath, "/"), "/")
	if len(segments) < 5 || segments[0] != "api" || segments[1] != "v1" || segments[2] != "servers" || segments[4] != zonesSegment {
		return nil, false
	}
	return segments[5:], true
}

// writes returns, by method and path, what a request would do to zones; false: nothing. Whatever names no zone that is
// understood counts as well: a PowerDNS that accepts it knows more than this proxy, or answers with other zones from
// now on.
func writes(method, escapedPath string) (w write, ok bool) {
	method = strings.ToUpper(method) // as PowerDNS reads it (4.7.3)
	if reads(method) {
		return write{}, false
	}
	below, is := zonesOf(escapedPath)
	if !is {
		return write{}, !isHarmless(escapedPath)
	}
	if len(below) == 0 {
		if method == http.MethodPost {
			return write{order: create}, true
		}
		return write{}, true
	}
	if len(below) > 1 && strings.ContainsAny(below[1], ".=%") { // no endpoint: PowerDNS takes ids with a bare slash, too
		below = []string{strings.Join(below, "/")}
	}
	name, err := writtenZone(below[0])
	if err != nil {
		return write{}, true
	}
	w.zone = name
	switch {
	case len(below) == 1 && method == http.MethodDelete:
		w.order = remove
	case len(below) > 1:
		w.order = endpointOrders[below[1]]
	}
	return w, true
}

// harmless are the endpoints of a server that change no zone, and not which zone is answered with. Whatever is not here
// may.
var harmless = []string{"cache", "tsigkeys", "autoprimaries"}

func isHarmless(escapedPath string) bool {
	segments := strings.Split(strings.Trim(escapedPath, "/"), "/")
	return len(segments) > 4 && segments[0] == "api" && slices.Contains(harmless, segments[4])
}

// endpointOrders are those of what is below a zone. Whatever is not here is an edit, so that what a later PowerDNS may
// have is not missed.
var endpointOrders = map[string]order{"notify": notify, "axfr-retrieve": retrieve}

// undistributed names what a request writes that does not reach secondaries, "" if it is nothing of the kind. All of it
// is new in PowerDNS 5: the same zone has several contents, and who asks from where gets which.
func undistributed(method, escapedPath string) string {
	if reads(strings.ToUpper(method)) {
		return ""
	}
	segments := strings.Split(strings.Trim(escapedPath, "/"), "/")
	if len(segments) < 5 || segments[0] != "api" {
		return ""
	}
	switch {
	case segments[4] == "views" || segments[4] == "networks":
		return segments[4]
	case segments[4] == zonesSegment && len(segments) > 5 && isVariant(segments[5]):
		return "variants of zones"
	}
	return ""
}

// writtenZone is zoneOf, and takes what is a zone to PowerDNS alone: 5.1.5 reads the id "example.org.." as a variant
// without a name, which is the zone itself.
func writtenZone(escapedID string) (zone.Name, error) {
	name, err := zoneOf(escapedID)
	id, bad := url.PathUnescape(escapedID)
	if err == nil || bad != nil || decodedWholly(id) != id {
		return name, err
	}
	if own, is := strings.CutSuffix(strings.ReplaceAll(id, "=2E", "."), ".."); is {
		return zone.ParseID(own + ".")
	}
	return "", err
}

// isVariant reports whether the id is one such as "example.org..internal".
func isVariant(escapedID string) bool {
	id, err := url.PathUnescape(escapedID)
	name, variant, cut := strings.Cut(strings.ReplaceAll(id, "=2E", "."), "..")
	return err == nil && cut && name != "" && variant != ""
}

// reads reports whether a request with this method, in capitals, changes nothing.
func reads(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// zoneOf reads a zone's id in a path. PowerDNS (4.7.3, 5.1.5) decodes %XX again where that results from decoding, so an
// id that still has one is of no zone that is known here.
func zoneOf(escapedID string) (zone.Name, error) {
	id, err := url.PathUnescape(escapedID)
	if err != nil {
		return "", err
	}
	if decodedWholly(id) != id {
		return "", fmt.Errorf("%w: zone id %q is encoded twice", zone.ErrName, id)
	}
	return zone.ParseID(id)
}
