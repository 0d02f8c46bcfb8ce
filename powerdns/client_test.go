package powerdns_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// These tests are for what a real PowerDNS can't be made to do. All else is in contract_test.go.

var example = zone.MustParseName("example.org")

const zoneText = `{"name":"example.org.","id":"example.org.","kind":"Native","masters":[],"serial":7}`

// fake answers every request by handler.
func fake(t *testing.T, handler http.HandlerFunc) (*powerdns.Client, powerdns.Config) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	cfg := goodConfig()
	cfg.APIURL = server.URL
	return clientOf(t, cfg), cfg
}

func answer(code int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func TestListingIsWholeOrAnError(t *testing.T) {
	tests := map[string]struct {
		body string
		want error
	}{
		"empty body":        {``, powerdns.ErrProtocol},
		"not a list":        {zoneText, powerdns.ErrProtocol},
		"null":              {`null`, powerdns.ErrProtocol},
		"error with 200":    {`{"error":"oops"}`, powerdns.ErrProtocol},
		"list not closed":   {`[` + zoneText, powerdns.ErrProtocol},
		"broken in a zone":  {`[` + zoneText + `,{"name":"exam`, powerdns.ErrProtocol},
		"second list":       {`[` + zoneText + `][]`, powerdns.ErrProtocol},
		"text behind":       {`[]garbage`, powerdns.ErrProtocol},
		"no name":           {`[{"id":"x"}]`, powerdns.ErrProtocol},
		"impossible name":   {`[{"name":"a..b."}]`, powerdns.ErrProtocol},
		"impossible serial": {`[{"name":"a.","serial":-1}]`, powerdns.ErrProtocol},
		"HTML":              {`<html>login</html>`, powerdns.ErrProtocol},
		"empty list":        {`[]`, nil},
		"one zone":          {`[` + zoneText + "]\n", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := fake(t, answer(200, "application/json", test.body))
			zones, err := c.Zones(t.Context())
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if (zones == nil) != (err != nil) {
				t.Errorf("zones %v with error %v", zones, err)
			}
		})
	}
}

func TestListingLeavesOutVariants(t *testing.T) {
	c, _ := fake(t, answer(200, "application/json", `[{"name":"example.org..internal"},{"name":"..internal"},`+zoneText+`]`))
	zones, err := c.Zones(t.Context())
	must.OK(t, err)
	if len(zones) != 1 || zones[0].Name != example {
		t.Errorf("zones %v", zones)
	}
}

func TestConnectionLostWithinListing(t *testing.T) {
	c, _ := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `[`+zoneText)
	})
	zones, err := c.Zones(t.Context())
	wantError(t, err, powerdns.ErrUnavailable)
	if zones != nil {
		t.Errorf("zones: %v", zones)
	}
}

func TestListingOfManyZones(t *testing.T) {
	const many = 20_000
	c, _ := fake(t, listing(many))
	zones, err := c.Zones(t.Context())
	must.OK(t, err)
	if len(zones) != many || zones[many-1].Serial != many-1 {
		t.Errorf("%d zones, the last %+v", len(zones), zones[len(zones)-1])
	}
}

// BenchmarkListing: reading half a million zones, in as many bytes as PowerDNS sends for them.
func BenchmarkListing(b *testing.B) {
	const many = 500_000
	server := httptest.NewServer(listing(many))
	defer server.Close()
	cfg := goodConfig()
	cfg.APIURL = server.URL
	c, err := powerdns.NewClient(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		zones, err := c.Zones(b.Context())
		if err != nil || len(zones) != many {
			b.Fatal(len(zones), err)
		}
	}
}

// listing answers with a list of many zones.
func listing(many int) http.HandlerFunc {
	const text = `{"account":"","catalog":"","id":"zone%d.example.","kind":"Native","last_check":0,"masters":[],"name":"zone%[1]d.example.","notified_serial":0,"serial":%[1]d,"url":"/api/v1/servers/localhost/zones/zone%[1]d.example."}`
	return func(w http.ResponseWriter, _ *http.Request) {
		separator := "["
		for i := range many {
			_, _ = fmt.Fprintf(w, separator+text, i)
			separator = ","
		}
		_, _ = io.WriteString(w, "]")
	}
}

func TestAnswerWithoutEnd(t *testing.T) {
	_, cfg := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"name":"`)
		for chunk := strings.Repeat("x", 1<<16); ; {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	})
	cfg.Timeout = must.Patience // the bound ends it, not the time
	_, err := clientOf(t, cfg).Zone(t.Context(), example)
	wantError(t, err, powerdns.ErrProtocol)
}

func TestStatusOfFakes(t *testing.T) {
	const jsonType = "application/json; charset=utf-8"
	tests := map[string]struct {
		handler http.HandlerFunc
		want    error
	}{
		"500":                      {answer(500, jsonType, `{"error":"backend gone"}`), powerdns.ErrUnavailable},
		"502 of a gateway":         {answer(502, "text/html", `<html>`), powerdns.ErrUnavailable},
		"401":                      {answer(401, "text/plain", `Unauthorized`), powerdns.ErrUnauthorized},
		"404 of a web server":      {answer(404, "text/html", `<html>no such page`), powerdns.ErrProtocol},
		"404 as JSON of another":   {answer(404, jsonType, `{"message":"no route"}`), powerdns.ErrProtocol},
		"404 as text":              {answer(404, "text/plain", `{"error":"Not Found"}`), powerdns.ErrProtocol},
		"400 of a web server":      {answer(400, "text/html", `<html>`), powerdns.ErrProtocol},
		"redirect":                 {http.RedirectHandler("http://192.0.2.1/", http.StatusFound).ServeHTTP, powerdns.ErrProtocol},
		"another zone":             {answer(200, jsonType, `{"name":"example.com."}`), powerdns.ErrProtocol},
		"no JSON":                  {answer(200, jsonType, `ok`), powerdns.ErrProtocol},
		"404, and then no answer":  {only404(answer(500, jsonType, `{}`)), powerdns.ErrUnavailable},
		"404, but a recursor":      {only404(answer(200, jsonType, `{"daemon_type":"recursor"}`)), powerdns.ErrProtocol},
		"404 of the right server":  {only404(answer(200, jsonType, `{"daemon_type":"authoritative"}`)), powerdns.ErrNotFound},
		"422 with PowerDNS's text": {answer(422, jsonType, `{"error":"no way"}`), powerdns.ErrRejected},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := fake(t, test.handler)
			_, err := c.Zone(t.Context(), example)
			wantError(t, err, test.want)
			if test.want != powerdns.ErrNotFound && errors.Is(err, powerdns.ErrNotFound) {
				t.Errorf("%v is ErrNotFound too", err)
			}
		})
	}
}

// only404 answers 404 about zones, as PowerDNS does, and by server about the server.
func only404(server http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/zones/") {
			answer(404, "application/json", `{"error": "Not Found"}`)(w, r)
			return
		}
		server(w, r)
	}
}

func TestErrorNamesWhatAndWhere(t *testing.T) {
	c, cfg := fake(t, answer(422, "application/json", `{"error":"no way"}`))
	err := c.Retrieve(t.Context(), example)
	for _, part := range []string{"retrieve zone", `"example.org."`, cfg.APIURL, "no way"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	if strings.Contains(err.Error(), cfg.APIKey.Reveal()) {
		t.Errorf("%q shows the key", err)
	}
}

func TestHangingServer(t *testing.T) {
	address := silentListener(t)
	cfg := goodConfig()
	cfg.APIURL, cfg.Timeout = "http://"+address, 50*time.Millisecond
	c := clientOf(t, cfg)

	_, err := c.Zone(t.Context(), example)
	wantError(t, err, powerdns.ErrUnavailable)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = c.Zones(ctx)
	wantError(t, err, powerdns.ErrUnavailable)
	wantError(t, err, context.DeadlineExceeded)
}

func TestCallerGivesUp(t *testing.T) {
	cfg := goodConfig()
	cfg.APIURL = "http://" + silentListener(t)
	c := clientOf(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := c.Zone(ctx, example)
	wantError(t, err, context.Canceled)
	if errors.Is(err, powerdns.ErrUnavailable) {
		t.Errorf("%v blames PowerDNS", err)
	}
}

// silentListener takes connections and never answers.
func silentListener(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must.OK(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestConnectionsAreBounded(t *testing.T) {
	var now, most atomic.Int32
	_, cfg := fake(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(5 * time.Millisecond)
		answer(200, "application/json", zoneText)(w, r)
	})
	cfg.Connections = 3
	c := clientOf(t, cfg)
	errs := make(chan error)
	const calls = 20
	for range calls {
		go func() { _, err := c.Zone(context.Background(), example); errs <- err }()
	}
	for range calls {
		must.OK(t, <-errs)
	}
	if most.Load() > 3 {
		t.Errorf("%d requests at once", most.Load())
	}
}

func TestRequest(t *testing.T) {
	var got *http.Request
	c, cfg := fake(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		answer(200, "application/json", zoneText)(w, r)
	})
	_, err := c.Zone(t.Context(), example)
	must.OK(t, err)
	if got.URL.Path != "/api/v1/servers/localhost/zones/example.org." || got.Header.Get("X-API-Key") != cfg.APIKey.Reveal() {
		t.Errorf("request to %s with key %q", got.URL.Path, got.Header.Get("X-API-Key"))
	}
}
