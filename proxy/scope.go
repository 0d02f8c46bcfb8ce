package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"pdns-distribute/powerdns/zone"
)

// scope is what one scoped key may do. It is not changed once made.
type scope struct {
	id      string
	zones   []zonePattern
	verbs   []string
	types   []string      // none: all
	names   []namePattern // none: all
	deletes int           // per hour
	expires time.Time     // zero: never
	rate    float64       // requests a second
}

func (s *scope) coversZone(name zone.Name) bool {
	return slices.ContainsFunc(s.zones, func(p zonePattern) bool { return p.covers(name) })
}

func (s *scope) coversName(name, of zone.Name) bool {
	if len(s.names) == 0 {
		return true
	}
	labels := name.Labels()
	labels = labels[:len(labels)-len(of.Labels())]
	return slices.ContainsFunc(s.names, func(p namePattern) bool { return p.covers(labels) })
}

// coversType takes a type in capitals. One that PowerDNS runs as a program, or that is given by its number, must be
// named: TYPE65402 is LUA.
func (s *scope) coversType(typ string) bool {
	if len(s.types) > 0 {
		return slices.Contains(s.types, typ)
	}
	return typ != "LUA" && !strings.HasPrefix(typ, "TYPE")
}

func (s *scope) allows(verb string) bool { return slices.Contains(s.verbs, verb) }

// denial is why a scope refuses a request.
type denial struct {
	status int // for the client
	zone   zone.Name
	reason string
}

func (d *denial) Error() string { return d.reason }

func deny(format string, args ...any) *denial {
	return &denial{status: http.StatusForbidden, reason: fmt.Sprintf(format, args...)}
}

// route is one entry of PowerDNS's API (4.7 to 5.1) that a scoped key can be allowed.
type route struct {
	method string
	path   string // below a zone, or below the server; "*" is one segment
	verb   string
	query  []string // parameters that may be given

	// body checks the decoded body and completes what is known of the request. Where it is nil none is taken
	// that says anything.
	body func(*scope, *operation, any) error
}

// zoneRoutes are those below /api/v1/servers/SERVER/zones/ID, with the verb that each needs.
var zoneRoutes = []route{
	{http.MethodGet, "", verbRead, []string{"rrsets", "rrset_name", "rrset_type", "include_disabled"}, nil},
	{http.MethodGet, "export", verbRead, nil, nil},
	{http.MethodPatch, "", verbChange, nil, (*scope).checkPatch},
	{http.MethodPut, "", "", nil, (*scope).checkPut}, // needs a verb for each member of its body
	{http.MethodDelete, "", verbDelete, nil, nil},
	{http.MethodGet, "cryptokeys", verbDNSSEC, nil, nil},
	{http.MethodPost, "cryptokeys", verbDNSSEC, nil, only(cryptokeyMembers)},
	{http.MethodGet, "cryptokeys/*", verbDNSSEC, nil, nil},
	{http.MethodPut, "cryptokeys/*", verbDNSSEC, nil, only(cryptokeyMembers)},
	{http.MethodDelete, "cryptokeys/*", verbDNSSEC, nil, nil},
	{http.MethodPut, "rectify", verbDNSSEC, nil, nil},
	{http.MethodGet, "metadata", verbMetadata, nil, nil},
	{http.MethodPost, "metadata", verbMetadata, nil, (*scope).checkMetadata},
	{http.MethodGet, "metadata/*", verbMetadata, nil, nil},
	{http.MethodPut, "metadata/*", verbMetadata, nil, (*scope).checkMetadata},
	{http.MethodDelete, "metadata/*", verbMetadata, nil, nil},
	{http.MethodPut, "notify", verbNotify, nil, nil},
	{http.MethodPut, "axfr-retrieve", verbNotify, nil, nil},
}

// serverRoutes are those of no zone, below /api, with SERVER for the server's id. Whatever else there is, such as
// search-data, config, tsigkeys, cache/flush, views, and what a later PowerDNS brings, is for PowerDNS's own key alone.
var serverRoutes = []route{
	{http.MethodGet, "", verbRead, nil, nil},
	{http.MethodGet, "v1", verbRead, nil, nil},
	{http.MethodGet, "v1/servers", verbRead, nil, nil},
	{http.MethodGet, "v1/servers/SERVER", verbRead, nil, nil},
	{http.MethodGet, "v1/servers/SERVER/zones", verbRead, []string{"zone", "dnssec"}, nil},
	{http.MethodPost, "v1/servers/SERVER/zones", verbCreate, []string{"rrsets"}, (*scope).checkCreate},
}

// operation is a request as it was understood. It goes on in these words and not in the client's, so that PowerDNS
// cannot understand it otherwise: canonical path and query, and the very body that was checked.
type operation struct {
	route
	zone  zone.Name // "" if it is of none; that of a create is in its body
	path  string    // escaped
	query url.Values
}

// lists reports whether the answer lists zones, of which the client may see some.
func (op *operation) lists() bool { return op.zone == "" && slices.Contains(op.route.query, "zone") }

// deletes reports whether it deletes a zone.
func (op *operation) deletes() bool { return op.verb == verbDelete }

// target is what goes on to PowerDNS, path and query.
func (op *operation) target() string {
	if len(op.query) == 0 {
		return op.path
	}
	return op.path + "?" + op.query.Encode()
}

// decide returns what a request is, if the scope allows it; the error is why not. The path is the escaped one, as sent,
// the query is without '?', the body is all of it.
func (s *scope) decide(serverID, method, escapedPath, query string, body []byte) (*operation, *denial) {
	op, err := understand(serverID, method, escapedPath, query)
	if err == nil {
		err = s.allowed(op, body)
	}
	if err == nil {
		return op, nil
	}
	why := denial{status: http.StatusForbidden, reason: err.Error()}
	if d := (*denial)(nil); errors.As(err, &d) {
		why = *d // which may be shared
	}
	if op != nil {
		why.zone = op.zone
	}
	return nil, &why
}

func (s *scope) allowed(op *operation, body []byte) error {
	switch {
	case op.verb != "" && !s.allows(op.verb):
		return deny("the verb %s is not in its scope", op.verb)
	case op.zone != "" && !s.coversZone(op.zone):
		return foreignZone(op)
	case op.body == nil && !saysNothing(body):
		return deny("a request of this kind has no body")
	case op.body == nil:
		return nil
	}
	decoded, err := decodeStrictly(body)
	if err != nil {
		return err
	}
	return op.body(s, op, decoded)
}

// saysNothing reports whether a body has no member, whoever reads it. Lexicon sends such a one with each request that
// needs none, its GET included.
func saysNothing(body []byte) bool { return len(body) == 0 || string(body) == "{}" }

// foreignZone refuses a zone that the key is not for. Where it was to be read the answer is that of a zone that does
// not exist, whether it does or not: several clients look for the zone of a name by asking for one after the other.
func foreignZone(op *operation) *denial {
	d := deny("the zone %s is not in its scope", op.zone)
	if op.method == http.MethodGet {
		d.status = http.StatusNotFound
	}
	return d
}

// understand finds the route of a request. What has no plain spelling of one is no request that a scoped key can make.
func understand(serverID, method, escapedPath, query string) (*operation, error) {
	segments := strings.Split(strings.TrimSuffix(escapedPath, "/"), "/")
	if len(segments) < 2 || segments[0] != "" || segments[1] != "api" || slices.Contains(segments[2:], "") {
		return nil, deny("the path is not one of PowerDNS's API")
	}
	op := &operation{}
	routes, below := serverRoutes, strings.Join(segments[2:], "/")
	if zones := "v1/servers/" + serverID + "/" + zonesSegment; strings.HasPrefix(below, zones+"/") {
		id, rest := splitID(segments[6:])
		name, err := zoneOf(id)
		if err != nil {
			return nil, deny("the path names no zone")
		}
		routes, below = zoneRoutes, strings.Join(rest, "/")
		op.zone, op.path = name, strings.TrimSuffix("/api/"+zones+"/"+name.ID()+"/"+below, "/")
	} else {
		op.path = strings.TrimSuffix("/api/"+below, "/")
	}
	i := slices.IndexFunc(routes, func(r route) bool { return r.method == method && r.matches(below, serverID) })
	if i < 0 {
		return op, deny("no verb covers %.20q of this path", method)
	}
	op.route = routes[i]
	return op, op.readQuery(query)
}

// splitID cuts a zone's id off the segments behind /zones/. PowerDNS takes ids with a bare slash, too.
func splitID(segments []string) (escapedID string, rest []string) {
	n := 1
	if len(segments) > 1 && !slices.ContainsFunc(zoneRoutes, func(r route) bool {
		word, _, _ := strings.Cut(r.path, "/")
		return word == segments[1]
	}) {
		n = 2
	}
	return strings.Join(segments[:n], "/"), segments[n:]
}

// plainSegment is the id of a DNSSEC key, or the kind of a metadata.
var plainSegment = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (r route) matches(path, serverID string) bool {
	word, wild := strings.CutSuffix(r.path, "*")
	if !wild {
		return path == strings.Replace(r.path, "SERVER", serverID, 1)
	}
	last, is := strings.CutPrefix(path, word)
	return is && plainSegment.MatchString(last)
}

// readQuery takes each parameter that the route has, once.
func (op *operation) readQuery(query string) error {
	params, err := url.ParseQuery(query)
	if err != nil {
		return deny("the query is malformed")
	}
	for name, values := range params {
		if !slices.Contains(op.route.query, name) || len(values) != 1 {
			return deny("the query's parameter %.40q is not known here, or given twice", name)
		}
	}
	op.query = params
	if op.lists() && params.Has("zone") {
		name, err := zone.ParseName(params.Get("zone"))
		if err != nil {
			return deny("the query names no zone")
		}
		params.Set("zone", name.String())
	}
	return nil
}
