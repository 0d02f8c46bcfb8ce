package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// acme is what `key add --acme` makes, for two kinds of zones.
func acme() Key {
	k := Key{ID: "acme-web1", Zones: []string{"example.org", "*.customer.example"}}
	k.Verbs, k.Types, k.Names = ACME()
	return k
}

func scopeOf(t testing.TB, k Key) *scope {
	t.Helper()
	_, k.Hash = NewSecret()
	_, s, err := k.scope()
	must.OK(t, err)
	return s
}

func txt(name string) string {
	return fmt.Sprintf(`{"name":%q,"type":"TXT","ttl":60,"changetype":"REPLACE","records":[{"content":"\"x\"","disabled":false}]}`, name)
}

func rrsets(sets ...string) string { return `{"rrsets":[` + strings.Join(sets, ",") + `]}` }

// acmeRequest is one of an ACME client or an attacker, and what becomes of it with the key acme: the target as it goes
// on, or a part of the reason for which it does not.
type acmeRequest struct{ method, target, body, want string }

func (r acmeRequest) allowed() bool { return strings.HasPrefix(r.want, "/") }

func acmeRequests() []acmeRequest {
	const z, org = zonesPath, zonesPath + "/example.org."
	good := rrsets(txt("_acme-challenge.example.org."))
	return []acmeRequest{
		// What lego, acme.sh, certbot and others ask for.
		{"GET", "/api", "", "/api"},
		{"GET", "/api/v1/servers", "", "/api/v1/servers"},
		{"GET", "/api/v1/servers/localhost", "", "/api/v1/servers/localhost"},
		{"GET", z, "", z},
		{"GET", z + "?zone=example.org", "", z + "?zone=example.org."},
		{"GET", z + "?zone=foreign.example.", "", z + "?zone=foreign.example."}, // its answer is filtered
		{"GET", org, "", org},
		{"GET", org + "?rrsets=false", "", org + "?rrsets=false"},
		{"GET", org + "/export", "", org + "/export"},
		{"PATCH", org, good, org},
		{"PATCH", org + "/", good, org},
		{"PATCH", z + "/example.org", good, org},
		{"PATCH", z + "/EXAMPLE=2Eorg", good, org},
		{"PATCH", z + "/ex%61mple.org.", good, org},
		{"PATCH", org, rrsets(txt("_acme-challenge.www.example.org."), txt("_acme-challenge.a.b.example.org.")), org},
		{"PATCH", org, rrsets(txt("_ACME-Challenge.WWW.Example.ORG.")), org},
		{"PATCH", org, rrsets(strings.Replace(txt("_acme-challenge.example.org."), `"TXT"`, `"txt"`, 1)), org},
		{"PATCH", org, rrsets(`{"name":"_acme-challenge.example.org.","type":"TXT","changetype":"delete"}`), org},
		{"PATCH", org, rrsets(strings.Replace(txt("_acme-challenge.example.org."), "REPLACE", "EXTEND", 1)), org},
		{"PATCH", org, rrsets(strings.Replace(txt("_acme-challenge.example.org."), "REPLACE", "PRUNE", 1)), org},
		{"PATCH", org, rrsets(), org},
		// as lego sends it
		{"PATCH", org, `{"rrsets":[{"name":"_acme-challenge.example.org.","type":"TXT","kind":"Master","changetype":"REPLACE",
			"records":[{"content":"\"x\"","disabled":false,"name":"_acme-challenge.example.org.","type":"TXT","ttl":120}],"ttl":120}]}`, org},
		// as external-dns sends it
		{"PATCH", org, `{"id":"example.org.","name":"example.org.","url":"u","kind":"Native","serial":1,"rrsets":[]}`, org},
		{"PUT", org + "/notify", "", org + "/notify"},
		{"PUT", org + "/axfr-retrieve", "", org + "/axfr-retrieve"},
		// as lexicon sends it
		{"GET", org, "{}", org},
		{"PUT", org + "/notify", "{}", org + "/notify"},
		{"GET", z + "/a.b.customer.example", "", z + "/a.b.customer.example."},

		// Other zones.
		{"GET", z + "/foreign.example.", "", "zone foreign.example."},
		{"GET", z + "/customer.example.", "", "zone customer.example."},
		{"GET", z + "/xcustomer.example.", "", "zone xcustomer.example."},
		{"GET", z + "/xexample.org.", "", "zone xexample.org."},
		{"GET", z + "/www.example.org.", "", "zone www.example.org."},
		{"GET", z + "/=2E", "", "zone ."},
		{"PATCH", z + "/foreign.example.", good, "zone foreign.example."},
		{"PUT", z + "/foreign.example./notify", "", "zone foreign.example."},
		{"GET", z + "/example.org..internal", "", "no zone"},
		{"PATCH", z + "/example.org..", good, "no zone"},
		{"PATCH", z + "/=00example.org", good, `zone \000example.org.`},
		{"PATCH", z + "/example.org=2", good, "no zone"},
		{"PATCH", z + "/example.org%2", good, "no zone"},
		{"PATCH", z + "/foreign.example.%2F..%2Fexample.org.", good, "no zone"},
		{"PATCH", z + "/example.org.%00", good, "zone "},
		{"PATCH", z + "/example.org;x", good, `zone example.org\;x.`},

		// Other names and types.
		{"PATCH", org, rrsets(txt("www.example.org.")), "name www.example.org."},
		{"PATCH", org, rrsets(txt("example.org.")), "name example.org."},
		{"PATCH", org, rrsets(txt("x_acme-challenge.example.org.")), "name x_acme"},
		{"PATCH", org, rrsets(txt("www._acme-challenge.example.org.")), "name www._acme"},
		{"PATCH", org, rrsets(txt("*.example.org.")), "name *.example.org."},
		{"PATCH", org, rrsets(txt("_acme-challenge.foreign.example.")), "not in the zone"},
		{"PATCH", org, rrsets(txt("_acme-challenge.xexample.org.")), "not in the zone"},
		{"PATCH", org, rrsets(`{"name":"_acme-challenge.foreign.example.","type":"TXT","changetype":"DELETE"}`),
			"not in the zone"},
		{"PATCH", org, rrsets(txt("_acme-challenge.example.org")), "closing dot"},
		{"PATCH", org, rrsets(txt(`_acme-challenge\.example.org.`)), "closing dot"},
		{"PATCH", org, rrsets(txt(`\119ww.example.org.`)), "closing dot"},
		{"PATCH", org,
			rrsets(`{"name":"_acme-challenge.example.org.\u0000.example.org.","type":"TXT","changetype":"REPLACE"}`),
			"closing dot"},
		{"PATCH", org, rrsets(`{"name":["_acme-challenge.example.org."],"type":"TXT","changetype":"REPLACE"}`),
			"closing dot"},
		{"PATCH", org, rrsets(`{"type":"TXT","changetype":"REPLACE"}`), "closing dot"},
		{"PATCH", org, rrsets(strings.Replace(txt("_acme-challenge.example.org."), "TXT", "CNAME", 1)), "type CNAME"},
		{"PATCH", org, rrsets(strings.Replace(txt("_acme-challenge.example.org."), "TXT", "ANY", 1)), "type ANY"},
		{"PATCH", org, rrsets(strings.Replace(txt("_acme-challenge.example.org."), "TXT", "TYPE16", 1)), "type TYPE16"},
		{"PATCH", org, rrsets(strings.Replace(txt("_acme-challenge.example.org."), "TXT", `TXT\u0000`, 1)), "no record type"},
		{"PATCH", org, rrsets(strings.Replace(txt("_acme-challenge.example.org."), "TXT", `T\u017fT`, 1)), "no record type"},
		{"PATCH", org, rrsets(strings.Replace(txt("_acme-challenge.example.org."), `"TXT"`, "16", 1)), "no record type"},
		{"PATCH", org, rrsets(txt("_acme-challenge.example.org."), txt("www.example.org.")), "name www"},
		{"PATCH", org, rrsets(strings.Replace(txt("_acme-challenge.example.org."), "REPLACE", "NEITHER", 1)), "changetype"},
		{"PATCH", org, rrsets(`{"name":"_acme-challenge.example.org.","type":"TXT"}`), "changetype"},
		{"PATCH", org, rrsets(strings.Replace(txt("_acme-challenge.example.org."), "false", `false,"set-ptr":true`, 1)),
			"set-ptr"},

		// Bodies that may be read in two ways.
		{"PATCH", org, `{"rrsets":[],"rrsets":[` + txt("www.example.org.") + `]}`, "twice"},
		{"PATCH", org, `{"rrsets":[` + txt("www.example.org.") + `],"rrs\u0065ts":[]}`, "twice"},
		{"PATCH", org,
			rrsets(`{"name":"www.example.org.","name":"_acme-challenge.example.org.","type":"TXT","changetype":"REPLACE"}`),
			"twice"},
		{"PATCH", org, rrsets(`{"name":"_acme-challenge.example.org.","type":"A","type":"TXT","changetype":"DELETE"}`),
			"twice"},
		{"PATCH", org, `{"RRSETS":[` + txt("www.example.org.") + `],"rrsets":[]}`, `"RRSETS"`},
		{"PATCH", org,
			rrsets(`{"Name":"www.example.org.","name":"_acme-challenge.example.org.","type":"TXT","changetype":"DELETE"}`),
			`"Name"`},
		{"PATCH", org, `{"rrsets":{"name":"www.example.org."}}`, "no list of rrsets"},
		{"PATCH", org, `{"rrsets":[[]]}`, "no object"},
		{"PATCH", org, `{"rrsets":[],"views":[]}`, `"views"`},
		{"PATCH", org, good + good, "not JSON"},
		{"PATCH", org, good + "\x00", "not JSON"},
		{"PATCH", org, "\xef\xbb\xbf" + good, "not JSON"},
		{"PATCH", org, `{"rrsets":[],"comment":"` + "\xff" + `"}`, "UTF-8"},
		{"PATCH", org, `{"rrsets":[],}`, "not JSON"},
		{"PATCH", org, `{"rrsets":[]/**/}`, "not JSON"},
		{"PATCH", org, `[]`, "no object"},
		{"PATCH", org, `null`, "no object"},
		{"PATCH", org, ``, "not JSON"},
		{"PATCH", org, `{"rrsets":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, "too deep"},

		// Other routes and ways to them.
		{"GET", z + "?zone=example.org&zone=foreign.example", "", "given twice"},
		{"GET", z + "?zone=%zz", "", "malformed"},
		{"GET", z + "?zone=a;b=c", "", "malformed"},
		{"GET", z + "?api-key=x", "", `"api-key"`},
		{"GET", z + "?zone=..", "", "names no zone"},
		{"POST", z, `{"name":"new.customer.example.","kind":"Native"}`, "verb create"},
		{"DELETE", org, "", "verb delete"},
		{"PUT", org, good, "not all are in its scope"},
		{"PUT", org, `{"kind":"Native"}`, "verb metadata"},
		{"PUT", org, `{"dnssec":false}`, "verb dnssec"},
		{"PUT", org, `{"presigned":true,"rrsets":[]}`, "verb dnssec"},
		{"PUT", org, `{}`, "nothing that a verb covers"},
		{"PUT", org + "/rectify", "", "verb dnssec"},
		{"GET", org + "/cryptokeys", "", "verb dnssec"},
		{"GET", org + "/cryptokeys/1", "", "verb dnssec"},
		{"POST", org + "/cryptokeys", `{"keytype":"ksk"}`, "verb dnssec"},
		{"DELETE", org + "/cryptokeys/1", "", "verb dnssec"},
		{"GET", org + "/metadata", "", "verb metadata"},
		{"PUT", org + "/metadata/ALLOW-AXFR-FROM", `{"metadata":["0.0.0.0/0"]}`, "verb metadata"},
		{"PUT", org + "/notify", "[]", "no body"},
		{"GET", org, `{"rrsets":[]}`, "no body"},
		{"GET", org, "{} ", "no body"},
		{"HEAD", org, "", "no verb"},
		{"OPTIONS", org, "", "no verb"},
		{"patch", org, good, "no verb"},
		{"POST", org, good, "no verb"},
		{"PATCH", org + "/export", good, "no verb"},
		{"GET", org + "/cryptokeys/1/2", "", "no verb"},
		{"GET", org + "/cryptokeys/", "", "verb dnssec"},
		{"GET", org + "/metadata/..", "", "no verb"},
		{"GET", org + "/later", "", "zone example.org./later."},
		{"GET", org + "/a/b", "", "no verb"},
		{"GET", "/api/v1/servers/localhost/search-data?q=*", "", "no verb"},
		{"GET", "/api/v1/servers/localhost/config", "", "no verb"},
		{"GET", "/api/v1/servers/localhost/statistics", "", "no verb"},
		{"GET", "/api/v1/servers/localhost/tsigkeys", "", "no verb"},
		{"GET", "/api/v1/servers/localhost/autoprimaries", "", "no verb"},
		{"GET", "/api/v1/servers/localhost/views", "", "no verb"},
		{"GET", "/api/v1/servers/localhost/networks", "", "no verb"},
		{"PUT", "/api/v1/servers/localhost/cache/flush?domain=example.org.", "", "no verb"},
		{"GET", "/api/v1/servers/otherhost/zones", "", "no verb"},
		{"GET", "/api/v1/servers/SERVER/zones", "", "no verb"},
		{"GET", "/api/docs", "", "no verb"},
		{"GET", "/metrics", "", "not one of"},
		{"GET", "/", "", "not one of"},
		{"GET", "", "", "not one of"},
		{"GET", "*", "", "not one of"},
		{"GET", "//api/v1/servers/localhost/zones/example.org.", "", "not one of"},
		{"GET", "/api//v1/servers/localhost/zones/example.org.", "", "not one of"},
		{"GET", "/api/v1/servers/localhost/zones//example.org.", "", "not one of"},
		{"GET", "/api/v1/servers/localhost/zones//", "", "not one of"},
		{"GET", "/API/v1", "", "not one of"},
		{"GET", "/%61pi", "", "not one of"},
		{"GET", "/api/v1/../v1/servers/localhost/zones", "", "no verb"},
		{"GET", z + "/../config", "", "no zone"},
		{"GET", z + "/%2e%2e/config", "", "no zone"},
		{"GET", z + "/example.org./../foreign.example.", "", "no zone"},
		{"GET", z + "/./example.org.", "", "no zone"},
		{"GET", org + "/export/../cryptokeys/1", "", "no verb"},
		{"GET", org + "/export;x", "", `zone example.org./export\;x.`},
		{"GET", org + "/EXPORT", "", "zone example.org./export."},
	}
}

func TestScopeOfAcmeKey(t *testing.T) {
	s := scopeOf(t, acme())
	for _, c := range acmeRequests() {
		path, query, _ := strings.Cut(c.target, "?")
		op, refused := s.decide("localhost", c.method, path, query, []byte(c.body))
		got := ""
		if refused != nil {
			got = refused.reason
		} else {
			got = op.target()
		}
		if c.allowed() && got != c.want || !c.allowed() && (refused == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s %s %.100s: %s, want %s", c.method, c.target, c.body, got, c.want)
		}
		if refused != nil && refused.status != http.StatusForbidden && (refused.status != http.StatusNotFound ||
			c.method != "GET") {
			t.Errorf("%s %s: status %d", c.method, c.target, refused.status)
		}
	}
}

// TestScopeOfEachVerb tries one request for each verb with a key that has it, and with one that has all others.
func TestScopeOfEachVerb(t *testing.T) {
	const org = zonesPath + "/example.org."
	of := map[string][]struct{ method, target, body string }{
		"read":   {{"GET", zonesPath, ""}, {"GET", org, ""}, {"GET", org + "/export", ""}},
		"change": {{"PATCH", org, rrsets(txt("a.example.org."))}, {"PUT", org, rrsets(txt("a.example.org."))}},
		"create": {
			{"POST", zonesPath,
				`{"name":"example.org.","kind":"Native","nameservers":[],"dnssec":true,"catalog":"example.org."}`},
			{"POST", zonesPath + "?rrsets=false", `{"name":"example.org.","kind":"Slave","masters":["192.0.2.1"]}`},
		},
		"delete": {{"DELETE", org, ""}},
		"dnssec": {
			{"GET", org + "/cryptokeys", ""}, {"GET", org + "/cryptokeys/1", ""}, {"POST", org + "/cryptokeys",
				`{"keytype":"csk","active":true}`},
			{"PUT", org + "/cryptokeys/1", `{"active":false}`}, {"DELETE", org + "/cryptokeys/1", ""}, {"PUT",
				org + "/rectify", ""},
			{"PUT", org, `{"dnssec":true,"nsec3param":"1 0 0 -"}`},
		},
		"metadata": {
			{"GET", org + "/metadata", ""}, {"POST", org + "/metadata", `{"kind":"X-A","metadata":["b"]}`}, {"GET",
				org + "/metadata/X-A", ""},
			{"PUT", org + "/metadata/X-A", `{"metadata":[]}`}, {"DELETE", org + "/metadata/X-A", ""}, {"PUT", org,
				`{"kind":"Native","account":"a"}`},
		},
		"notify": {{"PUT", org + "/notify", ""}, {"PUT", org + "/axfr-retrieve", ""}},
	}
	for _, verb := range verbs {
		others := slices.DeleteFunc(slices.Clone(verbs), func(v string) bool { return v == verb })
		with, without := Key{ID: "with", Zones: []string{"example.org"}, Verbs: []string{verb}}, Key{ID: "without",
			Zones: []string{"*"}, Verbs: others}
		if verb == verbDelete {
			with.DeletesPerHour = 1
		} else {
			without.DeletesPerHour = 1
		}
		if len(of[verb]) == 0 {
			t.Errorf("%s: no request", verb)
		}
		for _, c := range of[verb] {
			path, query, _ := strings.Cut(c.target, "?")
			if _, refused := scopeOf(t, with).decide("localhost", c.method, path, query, []byte(c.body)); refused != nil {
				t.Errorf("%s, %s %s: %s", verb, c.method, c.target, refused.reason)
			}
			_, refused := scopeOf(t, without).decide("localhost", c.method, path, query, []byte(c.body))
			if refused == nil || !strings.Contains(refused.reason, "verb "+verb) {
				t.Errorf("without %s, %s %s: %v", verb, c.method, c.target, refused)
			}
		}
	}
}

// TestCreateStaysInScope tries to reach other zones by what is said of a new one.
func TestCreateStaysInScope(t *testing.T) {
	s := scopeOf(t, Key{ID: "c", Zones: []string{"*.customer.example"}, Verbs: []string{"create", "metadata"}})
	for body, want := range map[string]string{
		`{"name":"example.org."}`:                                                             "zone example.org.",
		`{"name":"customer.example."}`:                                                        "zone customer.example.",
		`{"name":"a.customer.example"}`:                                                       "closing dot",
		`{"name":"a.customer.example..x."}`:                                                   "no domain name",
		`{"name":"a.customer.example.","Name":"example.org."}`:                                `"Name"`,
		`{"name":"a.customer.example.","name":"example.org."}`:                                "twice",
		`{"name":"a.customer.example.","zone":"$INCLUDE /etc"}`:                               `"zone"`,
		`{"name":"a.customer.example.","catalog":"cat."}`:                                     "catalog zone cat.",
		`{"name":"a.customer.example.","rrsets":[{"name":"b.customer.example.","type":"A"}]}`: "not in the zone",
	} {
		if _, refused := s.decide("localhost", "POST", zonesPath, "", []byte(body)); refused == nil ||
			!strings.Contains(refused.reason, want) {
			t.Errorf("%s: %v, want %s", body, refused, want)
		}
	}
	const zone = zonesPath + "/a.customer.example."
	for _, c := range []acmeRequest{
		{"PUT", zone, `{"catalog":"cat."}`, "catalog zone cat."},
		{"PUT", zone, `{"kind":"consumer"}`, "kind"},
		{"PUT", zone, `{"kind":"Producer"}`, "kind"},
		{"PUT", zone, `{"kind":["Native"]}`, "kind"},
		{"PUT", zone, `{"kind":"Secondary","masters":["192.0.2.1"]}`, ""},
		{"POST", zone + "/metadata", `{"kind":"LUA-AXFR-SCRIPT","metadata":["/etc/x"]}`, "LUA-AXFR-SCRIPT"},
		{"PUT", zone + "/metadata/lua-axfr-script", `{"metadata":["/etc/x"]}`, "LUA-AXFR-SCRIPT"},
		{"POST", zonesPath, `{"name":"a.customer.example.","rrsets":[{"name":"a.customer.example.","type":"LUA"}]}`,
			"type LUA"},
		{"POST", zonesPath, `{"name":"a.customer.example.","rrsets":[{"name":"a.customer.example.","type":"type65402"}]}`,
			"type TYPE65402"},
	} {
		_, refused := s.decide("localhost", c.method, c.target, "", []byte(c.body))
		if (refused == nil) != (c.want == "") || refused != nil && !strings.Contains(refused.reason, c.want) {
			t.Errorf("%s %s %s: %v, want %s", c.method, c.target, c.body, refused, c.want)
		}
	}
}

func TestPatterns(t *testing.T) {
	for pattern, names := range map[string][2]string{ // covered, not covered
		"example.org":          {"example.org. EXAMPLE.ORG.", "www.example.org. org. ."},
		"*.example.org":        {"a.example.org. a.b.example.org.", "example.org. aexample.org. org."},
		"*":                    {"example.org. org. .", ""},
		".":                    {".", "org."},
		"*.":                   {"", ""},
		"0/25.2.0.192.in.ARPA": {"0/25.2.0.192.in.arpa.", "25.2.0.192.in.arpa."},
	} {
		p, err := parseZonePattern(pattern)
		if (err != nil) != (pattern == "*.") {
			t.Errorf("%s: %v", pattern, err)
		}
		for i, list := range names {
			for _, name := range strings.Fields(list) {
				if p.covers(zone.MustParseName(name)) != (i == 0) {
					t.Errorf("%s covers %s: %v", pattern, name, i != 0)
				}
			}
		}
	}
	of := zone.MustParseName("example.org.")
	for pattern, names := range map[string][2]string{
		"@":                 {"@", "a *"},
		"www":               {"www WWW", "@ a.www www.a"},
		"a.b":               {"a.b", "a b b.a"},
		"*":                 {"a a.b *", "@"},
		"*.dyn":             {"a.dyn a.b.dyn *.dyn", "dyn xdyn @ a"},
		"_acme-challenge.*": {"_acme-challenge.a _acme-challenge.a.b", "_acme-challenge a._acme-challenge @"},
	} {
		p, err := parseNamePattern(pattern)
		must.OK(t, err)
		for i, list := range names {
			for _, name := range strings.Fields(list) {
				full := of
				if name != "@" {
					full = zone.MustParseName(name + ".example.org.")
				}
				if (&scope{names: []namePattern{p}}).coversName(full, of) != (i == 0) {
					t.Errorf("%s covers %s: %v", pattern, name, i != 0)
				}
			}
		}
	}
	for _, pattern := range []string{"", "*.*", "a.*.b", "*a", "a.", "*.@", "..", ".*"} {
		if _, err := parseNamePattern(pattern); err == nil {
			t.Errorf("%q is taken for a name", pattern)
		}
	}
}

// FuzzScopeBody: what is allowed changes only what is in scope, also where the body is read with the last of two equal
// keys counting and keys in any case.
func FuzzScopeBody(f *testing.F) {
	s := scopeOf(f, acme())
	f.Add([]byte(rrsets(txt("_acme-challenge.example.org."))))
	f.Add([]byte(`{"rrsets":[],"RRSETS":[` + txt("www.example.org.") + `]}`))
	f.Add([]byte(`{"rrsets":[{"name":"_acme-challenge.example.org.","type":"TXT","Type":"A","changetype":"DELETE"}]}`))
	f.Add([]byte(`{"name":"x.","rrsets":[{"name":"_acme-challenge.example.org.","type":"TXT","changetype":"DELETE","comments":[]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, refused := s.decide("localhost", "PATCH", zonesPath+"/example.org.", "", body); refused != nil {
			return
		}
		var read struct {
			RRsets []struct{ Name, Type string }
		}
		if err := json.Unmarshal(body, &read); err != nil {
			t.Fatalf("%q is allowed, and no body: %v", body, err)
		}
		for _, set := range read.RRsets {
			name, err := zone.ParseName(set.Name)
			relative := strings.TrimSuffix(name.String(), "example.org.")
			if err != nil || strings.ToUpper(set.Type) != "TXT" || relative != "_acme-challenge." &&
				!strings.HasPrefix(relative, "_acme-challenge.") {
				t.Errorf("%q changes %s %s", body, set.Name, set.Type)
			}
		}
	})
}

// FuzzScopeTarget: whatever target is allowed goes on as one that PowerDNS can read in one way, about a zone in scope.
func FuzzScopeTarget(f *testing.F) {
	s := scopeOf(f, acme())
	for _, target := range []string{zonesPath, zonesPath + "/example.org.",
		zonesPath + "/a%2fb.customer.example/export?x", "/api/v1/servers"} {
		f.Add("GET", target, "zone=example.org")
	}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		op, refused := s.decide("localhost", method, path, query, nil)
		if refused != nil {
			return
		}
		for _, bad := range []string{"//", "..", "%", ";", " ", "\\", "/./"} {
			if strings.Contains(op.path, bad) {
				t.Errorf("%q goes on as %q", path, op.path)
			}
		}
		if op.zone != "" && (!s.coversZone(op.zone) || !strings.HasPrefix(op.path, zonesPath+"/"+op.zone.ID())) {
			t.Errorf("%q goes on as %q, of zone %s", path, op.path, op.zone)
		}
		again, refused := s.decide("localhost", method, op.path, op.query.Encode(), nil)
		if refused != nil || again.target() != op.target() {
			t.Errorf("%q goes on as %q, which is %v", path, op.target(), refused)
		}
	})
}

// BenchmarkScope is what the check of an ACME client's request costs.
func BenchmarkScope(b *testing.B) {
	s := scopeOf(b, acme())
	body := []byte(rrsets(txt("_acme-challenge.www.example.org.")))
	for b.Loop() {
		if _, refused := s.decide("localhost", "PATCH", zonesPath+"/example.org.", "", body); refused != nil {
			b.Fatal(refused)
		}
	}
}

// TestDenialsAreNotShared asks at once about two zones for the same reason.
func TestDenialsAreNotShared(t *testing.T) {
	s := scopeOf(t, acme())
	var asked sync.WaitGroup
	for _, of := range []string{"example.org.", "a.customer.example."} {
		asked.Go(func() {
			for range 100 {
				if _, refused := s.decide("localhost", "PATCH", zonesPath+"/"+of, "", nil); refused.zone.String() != of {
					t.Errorf("%s is said of %s", refused.zone, of)
				}
			}
		})
	}
	asked.Wait()
}

// TestValuesInABody: what takes much more memory than its bytes is refused.
func TestValuesInABody(t *testing.T) {
	s := scopeOf(t, acme())
	const most = maxValues - 2 // the body and its list are values, too
	for n, want := range map[int]string{most: "an rrset is no object", most + 1: "values"} {
		body := `{"rrsets":[` + strings.Repeat("1,", n-1) + `1]}`
		_, d := s.decide("localhost", "PATCH", zonesPath+"/example.org.", "", []byte(body))
		if d == nil || !strings.Contains(d.reason, want) {
			t.Errorf("%d values: %v", n, d)
		}
	}
}
