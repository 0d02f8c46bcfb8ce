package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

func answerOf(status int, body string, header ...string) *http.Response {
	res := &http.Response{StatusCode: status, Header: http.Header{"Content-Length": {"1"}},
		Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i < len(header); i += 2 {
		res.Header.Set(header[i], header[i+1])
	}
	return res
}

func visible(name zone.Name) bool { return name.Under(zone.MustParseName("a.example.")) }

func TestListingIsFiltered(t *testing.T) {
	for body, want := range map[string]string{
		`[]`: `[]`,
		`[{"name": "a.example.", "id": "x"}, {"name":"b.example."},{"name":"x.A.example."}]`: `[{"name": "a.example.", "id": "x"}, {"name":"x.A.example."}]`,
		`[{"name":"b.example."}]`: `[]`,
		`[{"name":"a.example..internal"}, {"id":"a.example."}, 1, null, {"name":1}]`: `[]`,
		`{"error":"x"}`:           "error",
		`[{"name":"a.example."}`:  "error",
		`[{"name":"a.example."},`: "error",
		``:                        "error",
		`[{"name":"a.example.","x":"` + strings.Repeat("x", 2*maxListed) + `"}]`: "error",
	} {
		res := answerOf(200, body)
		err := filterListing(res, visible)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(res.Body)
		}
		if err != nil {
			got = []byte("error")
		}
		if string(got) != want {
			t.Errorf("%.80s: %s, %v", body, got, err)
		}
		if want != "error" && (res.ContentLength != -1 || res.Header.Get("Content-Length") != "") {
			t.Error("the answer has a length")
		}
	}
	if err := filterListing(answerOf(200, `[]`, "Content-Encoding", "gzip"), visible); err == nil {
		t.Error("a compressed answer passes")
	}
	refusal := answerOf(404, `{"error":"x"}`)
	must.OK(t, filterListing(refusal, visible))
	if text, _ := io.ReadAll(refusal.Body); string(text) != `{"error":"x"}` {
		t.Errorf("a refusal became %s", text)
	}
}

// TestLongListingIsStreamed reads a list of 20 MB that nobody holds.
func TestLongListingIsStreamed(t *testing.T) {
	const zones = 40_000
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, "[")
		for i := range zones {
			comma := ","
			if i == 0 {
				comma = ""
			}
			_, _ = fmt.Fprintf(w, `%s{"name":"z%d.%c.example.","x":"%s"}`, comma, i, 'a'+i%2, strings.Repeat("x", 400))
		}
		_, _ = io.WriteString(w, "]")
		w.Close()
	}()
	res := &http.Response{StatusCode: 200, Header: http.Header{}, Body: r}
	must.OK(t, filterListing(res, visible))
	before := heap()
	dec := json.NewDecoder(res.Body)
	_, err := dec.Token()
	must.OK(t, err)
	n := 0
	for ; dec.More(); n++ {
		var entry struct{ Name zone.Name }
		must.OK(t, dec.Decode(&entry))
		if !visible(entry.Name) {
			t.Fatal(entry.Name)
		}
		if n%10_000 == 0 && heap() > before+8<<20 {
			t.Fatalf("%d MB are held", (heap()-before)>>20)
		}
	}
	if n != zones/2 {
		t.Errorf("%d zones", n)
	}
}

func TestPrivateKeysAreTakenOut(t *testing.T) {
	for body, want := range map[string]string{
		`{"id": 1, "privatekey": "Private-key-format: v1.2\n", "dnskey": "257 3 13 <&>", "n": 12345678901234567890}`: `{"dnskey":"257 3 13 <&>","id":1,"n":12345678901234567890}`,
		`[{"id":1,"privatekey":"x"},{"id":2,"PrivateKey":"x","below":{"privatekey":["x"]}}]`:                         `[{"id":1},{"below":{},"id":2}]`,
		`[]`:                                 `[]`,
		``:                                   ``,
		`privatekey: x`:                      "error",
		`{"privatekey":"x"`:                  "error",
		`{"a":1,"a":2}`:                      "error",
		`{"a":1}{"a":1}`:                     "error",
		strings.Repeat(" ", maxCryptokeys+1): "error",
	} {
		res := answerOf(201, body)
		err := withoutPrivateKeys(res)
		got, _ := io.ReadAll(res.Body)
		if err != nil {
			got = []byte("error")
		}
		if string(got) != want {
			t.Errorf("%.80s: %s, %v", body, got, err)
		}
		if err == nil && res.Header.Get("Content-Length") != fmt.Sprint(len(want)) {
			t.Errorf("%.80s: length %s", body, res.Header.Get("Content-Length"))
		}
	}
	if err := withoutPrivateKeys(answerOf(200, `{}`, "Content-Encoding", "gzip")); err == nil {
		t.Error("a compressed answer passes")
	}
	for path, want := range map[string]bool{
		"/api/v1/servers/localhost/zones/a./cryptokeys": true, "/api/v1/servers/localhost/zones/a./CryptoKeys/1": true,
		"/api/v1/servers/localhost/zones/a./%63ryptokeys/1":   true,
		"/api/v1/servers/localhost/zones/a./%2563ryptokeys/1": true,
		"//x/cryptokeys": true, "/%63ryptokeys/%zz": true, "/api/v1/servers/localhost/zones/a.": false, "/%zz": false,
	} {
		if showsPrivateKeys(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}

func FuzzPrivateKeys(f *testing.F) {
	f.Add([]byte(`[{"id":1,"privatekey":"x"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		text, err := cutPrivateKeys(body)
		if err != nil {
			return
		}
		back, err := decodeStrictly(text) // any size of number
		must.OK(t, err)
		if found := find(back, "privatekey"); found {
			t.Errorf("%q became %q", body, text)
		}
	})
}

func find(value any, name string) bool {
	switch v := value.(type) {
	case map[string]any:
		for key, below := range v {
			if strings.EqualFold(key, name) || find(below, name) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if find(item, name) {
				return true
			}
		}
	}
	return false
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
