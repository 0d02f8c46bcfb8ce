package proxy

import (
	"strings"
	"testing"

	"pdns-distribute/powerdns/zone"
)

const zonesPath = "/api/v1/servers/localhost/zones"

var (
	example = Touch{Zone: zone.MustParseName("example.org"), Cause: Changed}
	deleted = Touch{Zone: zone.MustParseName("example.org"), Cause: Deleted}

	exampleEdit = write{zone: example.Zone}
	reverseEdit = write{zone: zone.MustParseName("0/25.2.0.192.in-addr.arpa")}
)

func created(serial uint32) Touch { return Touch{example.Zone, Changed, &serial} }

func TestWhatTouchesAZone(t *testing.T) {
	for _, test := range []struct {
		method, path string
		want         write
	}{
		{"PATCH", zonesPath + "/example.org.", exampleEdit},
		{"PUT", zonesPath + "/example.org.", exampleEdit},
		{"DELETE", zonesPath + "/example.org.", write{example.Zone, remove}},
		{"dELETE", zonesPath + "/example.org.", write{example.Zone, remove}},
		{"patch", zonesPath + "/example.org.", exampleEdit},
		{"PUT", zonesPath + "/example.org./rectify", exampleEdit},
		{"PUT", zonesPath + "/example.org./axfr-retrieve", write{example.Zone, retrieve}},
		{"PUT", zonesPath + "/example.org./notify", write{example.Zone, notify}},
		{"POST", zonesPath + "/example.org./cryptokeys", exampleEdit},
		{"PUT", zonesPath + "/example.org./cryptokeys/1", exampleEdit},
		{"DELETE", zonesPath + "/example.org./cryptokeys/1", exampleEdit},
		{"POST", zonesPath + "/example.org./metadata", exampleEdit},
		{"PUT", zonesPath + "/example.org./metadata/PUBLISH-CDS", exampleEdit},
		{"DELETE", zonesPath + "/example.org./metadata/PUBLISH-CDS", exampleEdit},

		// What a later PowerDNS may bring.
		{"POST", zonesPath + "/example.org./comments/1", exampleEdit},
		{"MERGE", zonesPath + "/example.org.", exampleEdit},
		{"PATCH", "/api/v1/servers/another/zones/example.org.", exampleEdit},

		// An id has many spellings.
		{"PATCH", zonesPath + "/example.org", exampleEdit},
		{"PATCH", zonesPath + "/EXAMPLE.Org.", exampleEdit},
		{"PATCH", zonesPath + "/example=2Eorg=2E", exampleEdit},
		{"PATCH", zonesPath + "/example%2Eorg%2e", exampleEdit},
		{"PATCH", zonesPath + "/e%78ample%3D2Eorg.", exampleEdit},
		{"PATCH", zonesPath + "/0=2F25.2.0.192.in-addr.arpa.", reverseEdit},
		{"PATCH", zonesPath + "/0%2F25.2.0.192.in-addr.arpa.", reverseEdit},
		{"PATCH", zonesPath + "/0%2f25.2.0.192.in-addr.arpa/metadata", reverseEdit},
		{"PATCH", zonesPath + "/0/25.2.0.192.in-addr.arpa.", reverseEdit},
		{"DELETE", zonesPath + "/0/25.2.0.192.in-addr.arpa.", write{reverseEdit.zone, remove}},
		{"PATCH", zonesPath + "/example.org..", exampleEdit}, // 5.1.5 answers 204
		{"PATCH", zonesPath + "/example.org=2E=2E", exampleEdit},
		{"PATCH", zonesPath + "/example.org.%2E/metadata", exampleEdit},
		{"PATCH", zonesPath + "/=2E", write{zone: zone.Root}},
		{"PATCH", zonesPath + "/.", write{zone: zone.Root}},
	} {
		if got, ok := writes(test.method, test.path); got != test.want || !ok {
			t.Errorf("%s %s: %+v, writes %v; want %+v", test.method, test.path, got, ok, test.want)
		}
	}
}

// A creation is named by PowerDNS's answer. What names no zone that is understood may, once PowerDNS has accepted it,
// have written any.
func TestWhatWritesAnyZone(t *testing.T) {
	for _, method := range []string{"POST", "post", "PoSt"} {
		if got, ok := writes(method, zonesPath); got != (write{order: create}) || !ok {
			t.Errorf("%s: %+v, writes %v", method, got, ok)
		}
	}
	for _, request := range []struct{ method, path string }{
		{"PATCH", zonesPath},
		{"DELETE", zonesPath},
		{"PATCH", zonesPath + "/bad=2"},
		{"PATCH", zonesPath + "/bad=2f.example"},
		{"DELETE", zonesPath + "/" + strings.Repeat("a", 64) + ".example"},
		{"PATCH", zonesPath + "/two..dots"},
		{"PATCH", zonesPath + "/example.org..."},
		{"POST", "/api/v1/servers/localhost/views/internal"},
		{"DELETE", "/api/v1/servers/localhost/views/internal/example.org."},
		{"PUT", "/api/v1/servers/localhost/networks/192.0.2.0/24"},
		{"PUT", "/api/v1/servers/localhost/config/views"},
		{"PUT", "/api/v1/servers/localhost/whatever/comes"},
		{"POST", "/api/v2/servers/localhost/zones"},
		{"POST", "/prefix/api/v1/servers/localhost/zones"},
		{"PUT", "/api/v1/servers/localhost/zone/example.org."},
		{"POST", "/"},
		{"POST", ""},
		{"POST", "/api/v1/servers/localhost"},
		{"PATCH", zonesPath + "/example.org..variant"},
		{"PATCH", zonesPath + "/%2565xample.org."}, // of example.org. (4.7.3, 5.1.5)
		{"DELETE", zonesPath + "/%252565xample.org."},
	} {
		got, ok := writes(request.method, request.path)
		if touch, known := got.touch(true); got.zone != "" || !ok || known || touch.Cause != Changed {
			t.Errorf("%s %s: %+v, writes %v", request.method, request.path, got, ok)
		}
	}
}

// Only a deletion that PowerDNS accepted is told as one.
func TestOrderOfATouch(t *testing.T) {
	for _, test := range []struct {
		order    order
		accepted bool
		want     Cause
	}{
		{remove, true, Deleted}, {remove, false, Changed}, {edit, true, Changed}, {edit, false, Changed},
		{notify, true, Changed}, {retrieve, true, Changed},
	} {
		if got, known := (write{example.Zone, test.order}).touch(test.accepted); got != (Touch{example.Zone, test.want, nil}) || !known {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}

func TestWhatTouchesNothing(t *testing.T) {
	for _, request := range []struct{ method, path string }{
		{"GET", zonesPath + "/example.org."},
		{"HEAD", zonesPath + "/example.org."},
		{"get", zonesPath + "/example.org."},
		{"OPTIONS", zonesPath + "/example.org."},
		{"PUT", "/api/v1/servers/localhost/cache/flush"},
		{"POST", "/api/v1/servers/localhost/tsigkeys"},
		{"PUT", "/api/v1/servers/localhost/autoprimaries"},
	} {
		if got, ok := writes(request.method, request.path); ok {
			t.Errorf("%s %s: %+v", request.method, request.path, got)
		}
	}
}

func TestWhatIsNotDistributed(t *testing.T) {
	const server = "/api/v1/servers/localhost"
	for path, want := range map[string]string{
		server + "/views/internal":                        "views",
		server + "/views":                                 "views",
		server + "/networks/192.0.2.0/24":                 "networks",
		zonesPath + "/example.org..internal":              "variants of zones",
		zonesPath + "/example=2Eorg=2E=2Einternal":        "variants of zones",
		zonesPath + "/example.org%2e.internal/metadata":   "variants of zones",
		zonesPath + "/example.org.":                       "",
		zonesPath:                                         "",
		server + "/tsigkeys":                              "",
		server + "/cache/flush?domain=example.org..other": "",
		"/": "",
		"":  "",
	} {
		if got := undistributed("PUT", path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
		if got := undistributed("GET", path); got != "" {
			t.Errorf("to read %s writes %q", path, got)
		}
	}
}

func FuzzWrites(f *testing.F) {
	f.Add("PATCH", zonesPath+"/example.org.")
	f.Add("PUT", zonesPath+"/0/25.2.0.192.in-addr.arpa./rectify")
	f.Add("DELETE", "//api/v1/servers/%/zones/=2E/")
	f.Fuzz(func(t *testing.T, method, path string) {
		got, ok := writes(method, path)
		if !ok && got != (write{}) {
			t.Errorf("writes nothing, and yet %+v", got)
		}
		if _, err := zone.NameFromWire([]byte(got.zone)); got.zone != "" && err != nil {
			t.Errorf("%+v: %v", got, err)
		}
	})
}
