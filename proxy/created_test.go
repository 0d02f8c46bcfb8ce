package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"pdns-distribute/powerdns/must"
	"strings"
	"testing"
)

func TestZoneInAnAnswer(t *testing.T) {
	records := strings.Repeat(`{"content":"192.0.2.1","name":"no"},`, 20_000)
	huge := `[{"name":"www.example.org.","records":[` + records + `{}]}]`
	whole := `{"account": "", "dnssec": false, "edited_serial": 7, "id": "x.", "name": "example.org.", "rrsets": `
	for what, test := range map[string]struct {
		answer, want string
		serial       uint32 // 0: none
	}{
		"as PowerDNS":    {whole + huge + `}`, "example.org.", 7},
		"cut off":        {`{"edited_serial": 7, "name": "example.org.", "rrsets": [{"na`, "example.org.", 7},
		"without serial": {`{"name":"example.org.","rrsets":` + huge + `,"serial":9}`, "example.org.", 0},
		"escaped":        {`{"name":"0\\0472.example.org."}`, "0/2.example.org.", 0},
		"no number":      {`{"edited_serial":"7","name":"example.org."}`, "example.org.", 0},
		"too large":      {`{"edited_serial":4294967296,"name":"example.org."}`, "example.org.", 0},
		"name behind":    {`{"rrsets":[],"name":"example.org."}`, "", 0},
		"nothing":        {``, "", 0},
		"no object":      {`["name","example.org."]`, "", 0},
		"no name":        {`{"kind":"Native"}`, "", 0},
		"only below":     {`{"a":{"name":"example.org."}}`, "", 0},
		"no text":        {`{"name":{"name":"example.org."}}`, "", 0},
		"no domain name": {`{"name":"two..dots"}`, "", 0},
		"ends early":     {`{"name":"exam`, "", 0},
		"broken":         {`{"kind":Native,"name":"example.org."}`, "", 0},
	} {
		name, serial, err := createdZone(strings.NewReader(test.answer))
		var got uint32
		if serial != nil {
			got = *serial
		}
		if name.String() != test.want || (err != nil) != (test.want == "") || got != test.serial {
			t.Errorf("%s: %q, serial %v, error %v; want %q, %d", what, name, serial, err, test.want, test.serial)
		}
	}
}

// PowerDNS says in its answer which zone it made, whatever the request looked like.
func TestCreatedZoneIsNamedByPowerDNS(t *testing.T) {
	p := startPowerDNS(t)
	for _, test := range []struct{ query, name, want string }{
		{"", "plain.example.", "plain.example."},
		{"?rrsets=false", "quiet.example.", "quiet.example."},
		{"", "CAPITAL.Example.", "capital.example."},
		{"", "0/25.2.0.192.in-addr.arpa.", "0/25.2.0.192.in-addr.arpa."},
		{"?rrsets=false", "\\u005ftcp.example.", "_tcp.example."},
		{"", "first.example.\",\"name\":\"second.example.", "second.example."},
	} {
		body := fmt.Sprintf(`{"kind":"Native","nameservers":[],"name":"%s"}`, test.name)
		a := p.proxied(t, p.call("POST", zonesPath+test.query, body))
		if a.status != http.StatusCreated {
			t.Errorf("%s: %d %s", test.name, a.status, a.body)
		}
		p.queue.want(t, "create "+test.want)
		name, serial, err := createdZone(strings.NewReader(a.body))
		var shown struct{ Serial uint32 }
		must.OK(t, json.Unmarshal([]byte(a.body), &shown))
		if err != nil || serial == nil || *serial != shown.Serial {
			t.Errorf("%s: serial %v, %v", name, serial, err)
		}
	}
}

// FuzzCreatedZone demands that a zone that is found is what encoding/json finds, or the first of several.
func FuzzCreatedZone(f *testing.F) {
	for _, answer := range []string{
		``, `{"name":"a.example"}`, `{"a":[[{}],{"name":1}],"name":"b"}`, `{"name":[`, `{"edited_serial":1,"name":"a"}`,
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		name, serial, err := createdZone(bytes.NewReader(answer))
		if (name == "") != (err != nil) || err != nil && serial != nil {
			t.Fatalf("%q, %v, %v", name, serial, err)
		}
		var whole map[string]any
		if err == nil && json.Unmarshal(answer, &whole) == nil && whole["name"] == nil {
			t.Errorf("found %q where there is none", name)
		}
	})
}
