package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"pdns-distribute/powerdns/zone"
)

const zonesPath = "/api/v1/servers/localhost/zones"

var (
	example = touch{zone.MustParseName("example.org"), ReasonChange}
	deleted = touch{zone.MustParseName("example.org"), ReasonDelete}
	reverse = touch{zone.MustParseName("0/25.2.0.192.in-addr.arpa"), ReasonChange}
)

func TestWhatTouchesAZone(t *testing.T) {
	for _, test := range []struct {
		method, path string
		want         touch
	}{
		{"PATCH", zonesPath + "/example.org.", example},
		{"PUT", zonesPath + "/example.org.", example},
		{"DELETE", zonesPath + "/example.org.", deleted},
		{"dELETE", zonesPath + "/example.org.", deleted},
		{"patch", zonesPath + "/example.org.", example},
		{"PUT", zonesPath + "/example.org./rectify", example},
		{"PUT", zonesPath + "/example.org./axfr-retrieve", touch{example.zone, ReasonRetrieve}},
		{"PUT", zonesPath + "/example.org./notify", touch{example.zone, ReasonNotify}},
		{"POST", zonesPath + "/example.org./cryptokeys", example},
		{"PUT", zonesPath + "/example.org./cryptokeys/1", example},
		{"DELETE", zonesPath + "/example.org./cryptokeys/1", example},
		{"POST", zonesPath + "/example.org./metadata", example},
		{"PUT", zonesPath + "/example.org./metadata/PUBLISH-CDS", example},
		{"DELETE", zonesPath + "/example.org./metadata/PUBLISH-CDS", example},

		// What a later PowerDNS may bring.
		{"POST", zonesPath + "/example.org./comments/1", example},
		{"MERGE", zonesPath + "/example.org.", example},
		{"PATCH", "/api/v1/servers/another/zones/example.org.", example},

		// An id has many spellings.
		{"PATCH", zonesPath + "/example.org", example},
		{"PATCH", zonesPath + "/EXAMPLE.Org.", example},
		{"PATCH", zonesPath + "/example=2Eorg=2E", example},
		{"PATCH", zonesPath + "/example%2Eorg%2e", example},
		{"PATCH", zonesPath + "/e%78ample%3D2Eorg.", example},
		{"PATCH", zonesPath + "/0=2F25.2.0.192.in-addr.arpa.", reverse},
		{"PATCH", zonesPath + "/0%2F25.2.0.192.in-addr.arpa.", reverse},
		{"PATCH", zonesPath + "/0%2f25.2.0.192.in-addr.arpa/metadata", reverse},
		{"PATCH", zonesPath + "/0/25.2.0.192.in-addr.arpa.", reverse},
		{"DELETE", zonesPath + "/0/25.2.0.192.in-addr.arpa.", touch{reverse.zone, ReasonDelete}},
		{"PATCH", zonesPath + "/=2E", touch{zone.Root, ReasonChange}},
		{"PATCH", zonesPath + "/.", touch{zone.Root, ReasonChange}},
	} {
		got, create, ok := touches(test.method, test.path)
		if got != test.want || create || !ok {
			t.Errorf("%s %s: %+v, create %v, touches %v; want %+v", test.method, test.path, got, create, ok, test.want)
		}
	}
}

func TestCreateIsNamedByItsBody(t *testing.T) {
	for _, method := range []string{"POST", "post", "PoSt"} {
		got, create, ok := touches(method, zonesPath)
		if got != (touch{reason: ReasonCreate}) || !create || !ok {
			t.Errorf("%s: %+v, create %v, touches %v", method, got, create, ok)
		}
	}
}

func TestWhatTouchesNothing(t *testing.T) {
	for _, request := range []struct{ method, path string }{
		{"GET", zonesPath + "/example.org."},
		{"HEAD", zonesPath + "/example.org."},
		{"get", zonesPath + "/example.org."},
		{"OPTIONS", zonesPath + "/example.org."},
		{"PATCH", zonesPath},
		{"DELETE", zonesPath},
		{"PATCH", zonesPath + "/bad=2"},
		{"PATCH", zonesPath + "/bad=2f.example"},
		{"PATCH", zonesPath + "/" + strings.Repeat("a", 64) + ".example"},
		{"PATCH", zonesPath + "/two..dots"},
		{"PATCH", zonesPath + "/example.org..variant"},
		{"POST", "/api/v1/servers/localhost/views/internal"},
		{"PUT", "/api/v1/servers/localhost/networks/192.0.2.0/24"},
		{"POST", ""},
		{"POST", "/"},
		{"POST", "/api/v1/servers/localhost"},
		{"POST", "/api/v2/servers/localhost/zones"},
		{"POST", "/prefix/api/v1/servers/localhost/zones"},
		{"PUT", "/api/v1/servers/localhost/zone/example.org."},
		{"PUT", "/api/v1/servers/localhost/cache/flush"},
		{"POST", "/api/v1/servers/localhost/tsigkeys"},
		{"PUT", "/api/v1/servers/localhost/autoprimaries"},
	} {
		if got, create, ok := touches(request.method, request.path); ok {
			t.Errorf("%s %s: %+v, create %v", request.method, request.path, got, create)
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

func FuzzTouches(f *testing.F) {
	f.Add("PATCH", zonesPath+"/example.org.")
	f.Add("PUT", zonesPath+"/0/25.2.0.192.in-addr.arpa./rectify")
	f.Add("DELETE", "//api/v1/servers/%/zones/=2E/")
	f.Fuzz(func(t *testing.T, method, path string) {
		got, create, ok := touches(method, path)
		switch _, err := zone.NameFromWire([]byte(got.zone)); {
		case !ok && got.zone != "":
			t.Errorf("touches nothing, and yet %+v", got)
		case ok && got.reason == "":
			t.Error("a touch without a reason")
		case ok && !create && err != nil:
			t.Errorf("%+v: %v", got, err)
		}
	})
}

func TestNameInABody(t *testing.T) {
	huge := `[{"name":"www.example.org.","records":[` + strings.Repeat(`{"content":"192.0.2.1","name":"no"},`, 20_000) + `{}]}]`
	for what, test := range map[string]struct{ body, want string }{
		"alone":           {`{"name":"example.org."}`, "example.org."},
		"first":           {`{"name":"example.org.","rrsets":` + huge + `}`, "example.org."},
		"last":            {`{"kind":"Native","rrsets":` + huge + `,"name":"example.org."}`, "example.org."},
		"spaced":          {" \n{ \"name\" :\t\"EXAMPLE.org\" } ", "example.org."},
		"escaped":         {`{"n\u0061me":"example\u002eorg"}`, "example.org."},
		"twice":           {`{"name":"first.org.","name":"example.org."}`, "example.org."}, // as PowerDNS 4.7.3
		"number first":    {`{"name":5,"name":"example.org."}`, "example.org."},
		"huge number":     {`{"ttl":1e9999,"name":"example.org."}`, "example.org."},
		"broken behind":   {`{"name":"example.org.",}`, "example.org."},
		"nothing":         {``, ""},
		"no object":       {`["name","example.org."]`, ""},
		"no name":         {`{"kind":"Native"}`, ""},
		"other case":      {`{"Name":"example.org."}`, ""},
		"only below":      {`{"zone":{"name":"example.org."}}`, ""},
		"no text":         {`{"name":{"name":"example.org."}}`, ""},
		"no domain name":  {`{"name":"two..dots"}`, ""},
		"ends early":      {`{"name":"exam`, ""},
		"broken in front": {`{"kind":Native,"name":"example.org."}`, ""},
	} {
		t.Run(what, func(t *testing.T) {
			n := newNameReader(io.NopCloser(strings.NewReader(test.body)))
			passed, err := io.ReadAll(n)
			must(t, err)
			must(t, n.Close())
			if string(passed) != test.body {
				t.Errorf("%d bytes passed, not the %d of the body", len(passed), len(test.body))
			}
			name, err := n.name()
			if name.String() != test.want || (err != nil) != (test.want == "") {
				t.Errorf("name %q, error %v; want %q", name, err, test.want)
			}
		})
	}
}

func TestNameSearchEndsWithTheBody(t *testing.T) {
	broken := errors.New("the client is gone")
	for what, use := range map[string]func(*nameReader) error{
		"closed unread": (*nameReader).Close,
		"broken off": func(n *nameReader) error {
			if _, err := io.Copy(io.Discard, n); !errors.Is(err, broken) {
				t.Errorf("the body ended with %v", err)
			}
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			body := io.MultiReader(strings.NewReader(`{"rrsets":[`), iotest.ErrReader(broken))
			n := newNameReader(io.NopCloser(body))
			must(t, use(n))
			if name, err := n.name(); err == nil {
				t.Errorf("found %q", name)
			}
		})
	}
}

// FuzzNameReader compares with what encoding/json makes of the whole body.
func FuzzNameReader(f *testing.F) {
	for _, body := range []string{``, `{"name":"a.example"}`, `{"a":[[{}],{"name":1}],"name":"b"}`, `{"name":[`, `{"name":"a","name":null}`, `{"a":1e9999,"name":"x"}`} {
		f.Add([]byte(body), uint8(7))
	}
	f.Fuzz(func(t *testing.T, body []byte, size uint8) {
		n := newNameReader(io.NopCloser(bytes.NewReader(body)))
		var passed bytes.Buffer
		if _, err := io.CopyBuffer(struct{ io.Writer }{&passed}, n, make([]byte, int(size)+1)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(passed.Bytes(), body) {
			t.Error("the body was changed")
		}
		must(t, n.Close())
		found := <-n.found
		var whole map[string]any
		if json.Unmarshal(body, &whole) != nil {
			return
		}
		if want, _ := whole["name"].(string); found != want {
			t.Errorf("found %q, want %q", found, want)
		}
	})
}

// A POST without a body never reaches the reader's end.
func TestCreateWithoutBodyTouchesNothing(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://proxy"+zonesPath, http.NoBody)
	must(t, err)
	if got := withTouch(r); got != r {
		t.Error("a search for the name was begun that nothing ends")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
