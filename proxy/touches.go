package proxy

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"pdns-distribute/powerdns/zone"
)

// Reasons for a touch: how the primary explains in its logs why it looked, and what a 'not found' means to its brake.
const (
	ReasonCreate = "create"
	ReasonChange = "change"
	ReasonDelete = "delete"

	ReasonNotify   = "notify"   // nothing changed; its client wants to know when all is in sync
	ReasonRetrieve = "retrieve" // PowerDNS will transfer the zone, a little later
)

// touch is what a request would change if PowerDNS accepts it. Without a zone it is that of any: a sweep finds it.
type touch struct {
	zone   zone.Name
	reason string
}

const zonesSegment = "zones"

// touches tells from method and path which zone a request touches; create is true when only the body knows. The path
// is the escaped one, as sent: /api/v1/servers/SERVER/zones[/ID[/...]].
func touches(method, escapedPath string) (t touch, create, ok bool) {
	method = strings.ToUpper(method) // as PowerDNS reads it (4.7.3)
	if reads(method) {
		return touch{}, false, false
	}
	segments := strings.Split(strings.Trim(escapedPath, "/"), "/")
	if len(segments) < 5 || segments[0] != "api" || segments[1] != "v1" || segments[2] != "servers" || segments[4] != zonesSegment {
		return touch{}, false, false
	}
	if len(segments) == 5 {
		return touch{reason: ReasonCreate}, true, method == http.MethodPost
	}
	if len(segments) > 6 && strings.ContainsAny(segments[6], ".=%") { // no endpoint: PowerDNS takes ids with a bare slash, too
		segments = append(segments[:5], strings.Join(segments[5:], "/"))
	}
	name, err := zoneOf(segments[5])
	if err != nil {
		return touch{}, false, false // PowerDNS will not know such a zone either
	}
	if len(segments) == 6 && method == http.MethodDelete {
		return touch{zone: name, reason: ReasonDelete}, false, true
	}
	reason := ReasonChange
	if len(segments) > 6 {
		reason = cmp.Or(endpointReasons[segments[6]], ReasonChange)
	}
	return touch{zone: name, reason: reason}, false, true
}

// endpointReasons are those of what is below a zone. Whatever is not here counts as a change, so that what a later
// PowerDNS may have is not missed.
var endpointReasons = map[string]string{"notify": ReasonNotify, "axfr-retrieve": ReasonRetrieve}

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

// isVariant tells an id such as "example.org..internal".
func isVariant(escapedID string) bool {
	id, err := url.PathUnescape(escapedID)
	name, variant, cut := strings.Cut(strings.ReplaceAll(id, "=2E", "."), "..")
	return err == nil && cut && name != "" && variant != ""
}

func reads(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

func zoneOf(escapedID string) (zone.Name, error) {
	id, err := url.PathUnescape(escapedID)
	if err != nil {
		return "", err
	}
	return zone.ParseID(id)
}

// nameReader passes a request body through and finds the zone's name in it on the way, in constant memory.
type nameReader struct {
	io.Reader
	body  io.Closer
	pipe  *io.PipeWriter
	found chan string // gets one value
}

func newNameReader(body io.ReadCloser) *nameReader {
	pr, pw := io.Pipe()
	n := &nameReader{Reader: io.TeeReader(body, pw), body: body, pipe: pw, found: make(chan string, 1)}
	go func() { // ends when the body is closed, which every request's is
		n.found <- jsonName(pr)
		_, _ = io.Copy(io.Discard, pr)
	}()
	return n
}

// Read ends the search together with the body.
func (n *nameReader) Read(p []byte) (int, error) {
	got, err := n.Reader.Read(p)
	if err != nil {
		n.pipe.Close()
	}
	return got, err
}

func (n *nameReader) Close() error {
	n.pipe.Close()
	return n.body.Close()
}

// name waits for the search to end; it does once the body was read or closed.
func (n *nameReader) name() (zone.Name, error) { return zone.ParseName(<-n.found) }

// jsonName returns the string member "name" of the object in r, "" if there is none. Of several the last one counts, as
// in PowerDNS.
func jsonName(r io.Reader) (name string) {
	dec := json.NewDecoder(r)
	dec.UseNumber() // PowerDNS takes numbers that no float64 can hold
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return ""
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return name
		}
		if key == "name" {
			var value any
			err = dec.Decode(&value)
			name, _ = value.(string)
		} else {
			err = skipValue(dec)
		}
		if err != nil {
			return name
		}
	}
	return name
}

// skipValue reads one value token by token, so that a huge one takes no memory.
func skipValue(dec *json.Decoder) error {
	for depth := 0; ; {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
