package proxy

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
)

const serverPath = "/api/v1/servers/localhost"

// twins are two PowerDNS servers with the same history: one is asked directly, the other through a proxy.
type twins struct {
	direct *local.Server
	behind powerDNS
}

func startTwins(t *testing.T) twins {
	t.Helper()
	return twins{localtest.Start(t, local.Options{Primary: true}), startPowerDNS(t)}
}

// question is a request as it goes over the wire. KEY in it stands for the server's API key.
type question struct {
	name    string
	request string
}

// q makes a question in the usual form. headers are lines.
func q(method, target, body string, headers ...string) question {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: dns.example.net\r\nX-API-Key: KEY\r\n", method, target)
	for _, h := range append([]string{"Accept: application/json"}, headers...) {
		text.WriteString(h + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&text, "Content-Length: %d\r\n", len(body))
	}
	name := strings.TrimSpace(method + " " + target + " " + body + " " + strings.Join(headers, ", "))
	return question{name[:min(len(name), 120)], text.String() + "\r\n" + body}
}

func raw(name, request string) question { return question{name, request} }

// reply is all of an answer that is not about the connection.
type reply struct {
	status string
	header http.Header
	body   string
}

func (x question) ask(t *testing.T, conn net.Conn, key string) reply {
	t.Helper()
	defer conn.Close()
	must.OK(t, conn.SetDeadline(time.Now().Add(patience)))
	_, _ = io.WriteString(conn, strings.ReplaceAll(x.request, "KEY", key)) // fails where PowerDNS does not take all of it
	method, _, _ := strings.Cut(x.request, " ")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, &http.Request{Method: strings.ToUpper(method)})
	for err == nil && res.StatusCode == http.StatusContinue { // which PowerDNS never says
		res, err = http.ReadResponse(in, &http.Request{Method: strings.ToUpper(method)})
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return reply{status: hungUp}
	}
	must.OK(t, err)
	body, err := io.ReadAll(res.Body)
	must.OK(t, err)
	for name := range res.Header {
		if name == "Connection" || name == "Date" || strings.HasPrefix(name, "Pdns-Distribute-") {
			res.Header.Del(name)
		}
	}
	if res.StatusCode == http.StatusNoContent {
		res.Header.Del("Content-Length") // sent by PowerDNS 4.7.3, which RFC 9110 §8.6 forbids
	}
	return reply{res.Status, res.Header, string(body)}
}

// hungUp stands for the status where there is no answer: PowerDNS 5.1 gives none to what it cannot decode.
const hungUp = "hung up"

// own is what each server has of its own: keys, serials by the date, counters.
var own = regexp.MustCompile(`"(dnskey|cds|ds|privatekey|key|value|serial|edited_serial|notified_serial)": *("[^"]*"|\[[^\]]*\]|\d+)|\b(0x)?[A-Fa-f0-9]{40,}\b|[A-Za-z0-9+/]{40,}=*`)

func (r reply) withoutOwn() reply {
	if body := own.ReplaceAllString(r.body, "OWN"); body != r.body {
		r.body = body
		r.header = maps.Clone(r.header)
		r.header.Del("Content-Length") // that of what is random
	}
	return r
}

// bigZone fills n names into a zone, in one request.
func bigZone(n int) string {
	type record struct {
		Content string `json:"content"`
	}
	type rrset struct {
		Name    string   `json:"name"`
		Type    string   `json:"type"`
		TTL     int      `json:"ttl"`
		Records []record `json:"records"`
	}
	zone := struct {
		Name        string   `json:"name"`
		Kind        string   `json:"kind"`
		Nameservers []string `json:"nameservers"`
		RRsets      []rrset  `json:"rrsets"`
	}{"big.example.", "Native", []string{"ns.example.net."}, nil}
	for i := range n {
		zone.RRsets = append(zone.RRsets, rrset{fmt.Sprintf("host%d.big.example.", i), "TXT", 60, []record{{fmt.Sprintf("%q", strings.Repeat("x", 80))}}})
	}
	text, err := json.Marshal(zone)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func replacing(name, content string) string {
	return fmt.Sprintf(`{"rrsets":[{"name":%q,"type":"A","ttl":60,"changetype":"REPLACE","records":[{"content":%q,"disabled":false}]}]}`, name, content)
}

func chunked(sizes ...int) func(body string) string {
	return func(body string) string {
		var text strings.Builder
		for _, n := range append(sizes, len(body)) {
			n = min(n, len(body))
			if n > 0 {
				fmt.Fprintf(&text, "%x\r\n%s\r\n", n, body[:n])
			}
			body = body[n:]
		}
		return text.String() + "0\r\n\r\n"
	}
}

// questions are asked in this order.
func questions() []question {
	const z = zonesPath
	const org, e = z + "/example.org.", z + "/e.example."
	create := func(name string) string { return fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":[]}`, name) }
	head := func(line string) string {
		return line + "\r\nHost: x\r\nX-API-Key: KEY\r\nAccept: application/json\r\n"
	}
	list := []question{
		// Zones are made and changed.
		q("POST", z, `{"name":"example.org.","kind":"Native","nameservers":["ns1.example.org."],"rrsets":[{"name":"www.example.org.","type":"A","ttl":60,"records":[{"content":"192.0.2.1"}]}]}`),
		q("POST", z, create("e.example.")),
		q("POST", z, create("E.example.")),
		q("POST", z+"?rrsets=false", create("quiet.example.")),
		q("POST", z, create("0/25.2.0.192.in-addr.arpa.")),
		q("POST", z, create("_tcp.e.example.")),
		q("POST", z, `{"name":"secondary.example.","kind":"Slave","masters":["127.0.0.1:1"]}`),
		q("POST", z, `{"name":"signed.example.","kind":"Master","nameservers":["ns.example.net."],"dnssec":true,"api_rectify":true}`),
		q("POST", z, bigZone(8000)),
		q("GET", z+"/big.example.", ""),
		q("POST", z, create("dotless")),
		q("POST", z, create("")),
		q("POST", z, create("bad..example.")),
		q("POST", z, `{"name":"x.example.","kind":"Sideways","nameservers":[]}`),
		q("POST", z, `{"kind":"Native"}`),
		q("POST", z, `{"name":"x.example."`),
		q("POST", z, `[]`),
		q("POST", z, `null`),
		q("POST", z, `{}`),
		q("POST", z, "\xff\xfe"),
		q("POST", z, ""),
		q("POST", z, "", "Content-Length: 0"),
		q("POST", z, create("typed.example."), "Content-Type: text/plain"),
		q("POST", z, create("expected.example."), "Expect: 100-continue"),
		q("PATCH", org, replacing("a.example.org.", "192.0.2.2")),
		q("PATCH", org, replacing("a.example.org.", "300.1.2.3")),
		q("PATCH", org, replacing("a.example.net.", "192.0.2.2")),
		q("PATCH", org, replacing("b.EXAMPLE.org.", "192.0.2.2")),
		q("PATCH", org, replacing("dotless", "192.0.2.2")),
		q("PATCH", org, `{"rrsets":[{"name":"a.example.org.","type":"A","changetype":"DELETE"}]}`),
		q("PATCH", org, `{"rrsets":[{"name":"a.example.org.","type":"A","changetype":"NEITHER"}]}`),
		q("PATCH", org, `{"rrsets":[]}`),
		q("PATCH", org, `{"rrsets":[`),
		q("PATCH", org, ""),
		q("PATCH", z+"/none.example.", `{"rrsets":[]}`),
		q("PUT", org, `{"kind":"Master"}`),
		q("PUT", org, `{"kind":"Native","account":"somebody"}`),
		q("PUT", org, `{"account":1}`),
		q("put", e, `{"kind":"Native"}`),
		q("patch", e, replacing("a.e.example.", "192.0.2.2")),

		// Zones are read.
		q("GET", z, ""),
		q("GET", z+"?dnssec=false", ""),
		q("GET", z+"?zone=example.org.", ""),
		q("GET", z+"?zone=example.org", ""),
		q("GET", z+"?zone=none.example.", ""),
		q("GET", z+"?zone=none.example.;x", ""),
		q("GET", z+"?a=b;c=d&&zone=example.org.&=x&e", ""),
		q("GET", z+"?zone=%65xample.org%2E&x=a+b%20c%26", ""),
		q("GET", z+"?zone=none.example.%zz", ""),
		q("GET", z+"?zone=none.example.%", ""),
		q("GET", z+"?", ""),
		q("GET", z+"??", ""),
		q("GET", z+"?zone=example.org.?x", ""),
		q("GET", z+"?zone=example.org.#x", ""),
		q("GET", z+"?zone=\"|{}\\^`<>\xff", ""),
		q("GET", z+"?"+strings.Repeat("x", 3000), ""),
		q("GET", org, ""),
		q("GET", org+"?rrsets=false", ""),
		q("GET", org+"?rrset_name=www.example.org.&rrset_type=A", ""),
		q("GET", z+"/none.example.", ""),
		q("GET", z+"/signed.example.", ""),
		q("GET", z+"/example.org", ""),
		q("GET", z+"/EXAMPLE.ORG.", ""),
		q("GET", z+"/example=2Eorg=2E", ""),
		q("GET", z+"/example=2eorg.", ""),
		q("GET", z+"/example%2Eorg%2e", ""),
		q("GET", z+"/%65xample.org.", ""),
		q("GET", z+"/example%3D2Eorg", ""),
		q("GET", z+`/\101xample.org.`, ""),
		q("GET", z+"/bad=zz", ""),
		q("GET", z+"/bad=", ""),
		q("GET", z+"/example.org.%00", ""),
		q("GET", z+"/example.org.%20", ""),
		q("GET", z+"/example.org.+", ""),
		q("GET", z+"/example.org.#x", ""),
		q("GET", z+"/example.org.;x", ""),
		q("GET", z+`/"example.org."`, ""),
		q("GET", z+"/{example|org}", ""),
		q("GET", z+"/^`<example>`", ""),
		q("GET", z+"/ex\xe4mple.org.", ""),
		q("GET", z+"/exämple.org.", ""),
		q("GET", z+"/ex%C3%A4mple.org.", ""),
		q("GET", z+"/!$&'()*+,;=:@", ""),
		q("GET", z+"/0=2F25.2.0.192.in-addr.arpa.", ""),
		q("GET", z+"/0=2f25.2.0.192.in-addr.arpa.", ""),
		q("GET", z+"/0%2F25.2.0.192.in-addr.arpa.", ""),
		q("GET", z+"/0%2f25.2.0.192.in-addr.arpa.", ""),
		q("GET", z+"/0/25.2.0.192.in-addr.arpa.", ""),
		q("GET", z+"/=5Ftcp.e.example.", ""),
		q("GET", z+"/_tcp.e.example.", ""),
		q("GET", z+"/example..org.", ""),
		q("GET", org+"/export", ""),
		q("GET", org+"/export", "", "Accept: text/plain"),
		raw("export without Accept", "GET "+org+"/export HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\n\r\n"),
		q("GET", z+"/none.example./export", "", "Accept: text/plain"),
		q("GET", org+"/check", ""),

		// Paths that a tidy proxy would tidy.
		q("GET", org+"/", ""),
		q("GET", org+"//", ""),
		q("GET", z+"/", ""),
		q("GET", "//api/v1", ""),
		q("GET", "//api/v1/servers/localhost/zones", ""),
		q("GET", "/api//v1", ""),
		q("GET", "/api/../api/v1", ""),
		q("GET", "/api/v1/./servers", ""),
		q("GET", "/api/v1/servers/localhost/%7aones", ""),
		q("GET", "/API/V1", ""),
		q("GET", "/api/v1/servers/localhost/zones/..", ""),
		q("GET", "http://dns.example.net"+z, ""),
		q("HEAD", "http://dns.example.net", ""),
		q("GET", "https://user@dns.example.net:99"+org+"?rrsets=false", ""),
		q("GET", "/distribute", ""),
		q("GET", "/distribute/", ""),
		q("PUT", "//api/v1/servers/localhost/zones/example.org.", `{"kind":"Native"}`),
		q("PUT", org+"/", `{"kind":"Native"}`),

		// Methods.
		q("HEAD", "/", ""),
		q("HEAD", org, ""),
		q("HEAD", "/no/such/page", ""),
		q("OPTIONS", org, ""),
		q("OPTIONS", "/api", "", "Origin: https://ui.example.net", "Access-Control-Request-Method: PATCH"),
		q("OPTIONS", "/no/such/page", ""),
		q("OPTIONS", "*", ""),
		q("GET", "*", ""),
		q("TRACE", "/api", ""),
		q("CONNECT", "dns.example.net:443", ""),
		q("PROPFIND", org, ""),
		q("BREW", z, ""),
		q("get", "/api", ""),
		q("options", "/api", ""),
		q("DELETE", z, ""),
		q("PATCH", z, "{}"),
		q("POST", org, "{}"),
		q("POST", "/api", "{}"),
		q("GET", org, "a body where none is expected"),
		q("DELETE", z+"/none.example.", "a body where none is expected"),

		// Keys and other headers.
		raw("no key", "GET "+z+" HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n"),
		raw("no key, any answer", "GET "+z+" HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"),
		raw("no key, HTML", "GET "+z+" HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n"),
		raw("wrong key", "PATCH "+org+" HTTP/1.1\r\nHost: x\r\nX-API-Key: wrong\r\nContent-Length: 2\r\n\r\n{}"),
		raw("empty key", "GET "+z+" HTTP/1.1\r\nHost: x\r\nX-API-Key:\r\n\r\n"),
		raw("two keys", "GET "+z+" HTTP/1.1\r\nHost: x\r\nX-API-Key: wrong\r\nx-api-key: KEY\r\n\r\n"),
		raw("key in odd case, lines end in LF", "GET /api HTTP/1.1\nhOST: x\nx-aPI-kEY:   KEY  \n\n"),
		raw("empty Host", "GET /api HTTP/1.1\r\nHost:\r\nX-API-Key: KEY\r\n\r\n"),
		raw("HTTP/1.0 without Host", "GET /api HTTP/1.0\r\nX-API-Key: KEY\r\n\r\n"),
		raw("HTTP/1.0 with a body", head("PUT "+org+" HTTP/1.0")+"Content-Length: 17\r\n\r\n{\"kind\":\"Native\"}"),
		q("GET", "/api", "", "Connection: X-Nothing, keep-alive", "X-Nothing: 1", "Keep-Alive: timeout=5", "TE: trailers"),
		q("GET", "/api", "", "Connection: Upgrade", "Upgrade: websocket"),
		q("GET", "/api", "", "Accept-Encoding: gzip, br", "Range: bytes=0-3", "If-None-Match: *"),
		q("GET", "/api", "", "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "Via: 1.1 elsewhere", "Cookie: a=b; c=d"),
		q("GET", "/api", "", "User-Agent:"),
		q("GET", "/api", "", "X-Long: "+strings.Repeat("x", 60_000)),

		// Bodies of other forms.
		raw("chunks", head("PUT "+org+" HTTP/1.1")+"Transfer-Encoding: chunked\r\n\r\n"+chunked(1, 2, 3)(`{"kind":"Native"}`)),
		raw("chunked create", head("POST "+z+" HTTP/1.1")+"Transfer-Encoding: chunked\r\n\r\n"+chunked(10)(create("chunked.example."))),
		raw("empty chunked create", head("POST "+z+" HTTP/1.1")+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		raw("too much", head("PUT "+org+" HTTP/1.1")+"Content-Length: 3000000\r\n\r\n"+strings.Repeat("x", 3000000)),
		raw("too much, of which little comes", head("PUT "+org+" HTTP/1.1")+"Content-Length: 3000000\r\n\r\nx"),
		raw("as much as may be", head("PUT "+org+" HTTP/1.1")+"Content-Length: 2097152\r\n\r\n"+strings.Repeat("x", 2<<20)),

		// What belongs to zones.
		q("GET", org+"/metadata", ""),
		q("POST", org+"/metadata", `{"kind":"X-TEST","metadata":["1","2"]}`),
		q("POST", org+"/metadata", `{"kind":"NO-SUCH","metadata":["1"]}`),
		q("PUT", org+"/metadata/X-TEST", `{"metadata":["3"]}`),
		q("PUT", org+"/metadata/X-TEST/", `{"metadata":["4"]}`),
		q("PUT", org+"/metadata/X%2DTEST", `{"metadata":"no list"}`),
		q("PUT", org+"/metadata/ALLOW-AXFR-FROM", `{"metadata":["AUTO-NS"]}`),
		q("GET", org+"/metadata/X-TEST", ""),
		q("GET", org+"/metadata", ""),
		q("DELETE", org+"/metadata/X-TEST", ""),
		q("DELETE", org+"/metadata/NONE", ""),
		q("GET", org+"/cryptokeys", ""),
		q("POST", org+"/cryptokeys", `{"keytype":"csk","active":true}`),
		q("POST", org+"/cryptokeys", `{"keytype":"none"}`),
		q("GET", org+"/cryptokeys", ""),
		q("GET", org+"/cryptokeys/2", ""),
		q("GET", org+"/cryptokeys/99", ""),
		q("GET", org+"/cryptokeys/x", ""),
		q("PUT", org+"/cryptokeys/2", `{"active":false}`),
		q("PUT", org+"/cryptokeys/2", `{"active":true}`),
		q("DELETE", org+"/cryptokeys/2", ""),
		q("PUT", org+"/rectify", ""),
		q("PUT", z+"/signed.example./rectify", ""),
		q("PUT", z+"/none.example./rectify", ""),
		q("PUT", org+"/notify", ""),
		q("PUT", org+"/axfr-retrieve", ""),
		q("PUT", z+"/secondary.example./axfr-retrieve", ""),
		q("PUT", org+"/nothing", "{}"),
		q("GET", org+"/notify", ""),

		// What belongs to the server.
		q("GET", "/api", ""),
		q("GET", "/api/v1", ""),
		q("GET", "/api/v1/servers", ""),
		q("GET", serverPath, ""),
		q("GET", "/api/v1/servers/other", ""),
		q("GET", "/api/v1/servers/other/zones", ""),
		q("POST", "/api/v1/servers/other/zones", create("x.example.")),
		q("GET", serverPath+"/config/none", ""),
		q("PUT", serverPath+"/config/loglevel", `{"value":"3"}`),
		q("GET", serverPath+"/statistics?statistic=uptime&includerings=false", ""),
		q("GET", serverPath+"/statistics?statistic=none", ""),
		q("GET", serverPath+"/search-data?q=*example*&max=5", ""),
		q("GET", serverPath+"/search-data?q=www*&max=10&object_type=record", ""),
		q("GET", serverPath+"/search-data?q=www*&max=x", ""),
		q("GET", serverPath+"/search-data", ""),
		q("GET", serverPath+"/search-log?q=x", ""),
		q("PUT", serverPath+"/cache/flush?domain=example.org.", ""),
		q("PUT", serverPath+"/cache/flush?domain=example.org", ""),
		q("PUT", serverPath+"/cache/flush", ""),
		q("GET", serverPath+"/cache/flush?domain=example.org.", ""),
		q("GET", serverPath+"/tsigkeys", ""),
		q("POST", serverPath+"/tsigkeys", `{"name":"k","algorithm":"hmac-sha256","key":"a2V5"}`),
		q("POST", serverPath+"/tsigkeys", `{"name":"k","algorithm":"hmac-sha256"}`),
		q("POST", serverPath+"/tsigkeys", `{"name":"l","algorithm":"rot13"}`),
		q("GET", serverPath+"/tsigkeys/k.", ""),
		q("PUT", serverPath+"/tsigkeys/k.", `{"algorithm":"hmac-sha512"}`),
		q("DELETE", serverPath+"/tsigkeys/k.", ""),
		q("GET", serverPath+"/tsigkeys/k.", ""),
		q("GET", serverPath+"/autoprimaries", ""),
		q("POST", serverPath+"/autoprimaries", `{"ip":"192.0.2.1","nameserver":"ns.example.net","account":"a"}`),
		q("POST", serverPath+"/autoprimaries", `{"ip":"no address","nameserver":"ns.example.net"}`),
		q("DELETE", serverPath+"/autoprimaries/192.0.2.1/ns.example.net", ""),
		q("DELETE", serverPath+"/autoprimaries/192.0.2.9/none", ""),
		q("GET", serverPath+"/views", ""),
		q("GET", serverPath+"/networks", ""),

		// PowerDNS's other pages.
		q("GET", "/style.css", ""),
		q("GET", "/jsonstat?command=get", ""),
		q("GET", "/no/such/page", ""),
		raw("no such page, plain", "GET /no/such/page HTTP/1.1\r\nHost: x\r\n\r\n"),
		raw("no such page, HTML", "GET /no/such/page HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n"),

		// And the end of zones.
		q("DELETE", z+"/quiet.example.?x", ""),
		q("Delete", e, ""),
		q("DELETE", org, ""),
		q("DELETE", org, ""),
		q("GET", org, ""),
		q("GET", z, ""),
	}
	return list
}

// writes is true of what changes a zone, or makes one, if PowerDNS accepts it.
func (x question) writes() bool {
	line := strings.Fields(x.request)
	switch strings.ToUpper(line[0]) {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return strings.HasPrefix(line[1], zonesPath) && !strings.HasSuffix(line[1], "/notify")
}

// Whatever is asked through the proxy is answered as it is directly, and each write that PowerDNS accepts is touched
// once.
func TestTransparency(t *testing.T) {
	both := startTwins(t)
	list := questions()
	statuses := map[string]int{}
	for i, x := range list {
		want := x.ask(t, both.dial(t), both.direct.APIKey.Reveal())
		got := x.ask(t, both.behind.proxy.dial(t), both.behind.APIKey.Reveal())
		if got.body != want.body { // only then: in a large body it takes seconds to find them
			want, got = want.withoutOwn(), got.withoutOwn()
		}
		statuses[want.status]++
		if want.status == hungUp {
			if got.status != "502 Bad Gateway" {
				t.Errorf("%d: %s\ngot %s where PowerDNS hangs up", i, x.name, got.status)
			}
			both.behind.queue.take()
			continue
		}
		touches := 0
		if want.status[0] == '2' && x.writes() {
			touches = 1
		}
		const again = "change secondary.example." // of a zone that PowerDNS was to transfer it is told again, up to a minute later
		touched := slices.DeleteFunc(both.behind.queue.take(), func(said string) bool {
			return said == again && !strings.Contains(x.request, "secondary.example.")
		})
		if len(touched) != touches {
			t.Errorf("%d: %s\nanswered %s, stored %q", i, x.name, want.status, touched)
		}
		if got.status != want.status || got.body != want.body || !maps.EqualFunc(got.header, want.header, slices.Equal) {
			t.Errorf("%d: %s\ngot  %s %v %s\nwant %s %v %s", i, x.name, got.status, got.header, cut(got.body), want.status, want.header, cut(want.body))
		}
	}
	t.Logf("%d requests, answered %v", len(list), statuses)
}

func cut(text string) string { return text[:min(len(text), 1000)] }

func (b twins) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.direct.APIURL, "http://"))
	must.OK(t, err)
	return conn
}

// These say something else each time: here only the form is compared.
func TestTransparencyOfWhatChanges(t *testing.T) {
	both := startTwins(t)
	for _, target := range []string{"/", "/metrics", serverPath + "/statistics", serverPath + "/config"} {
		want := q("GET", target, "").ask(t, both.dial(t), both.direct.APIKey.Reveal())
		got := q("GET", target, "").ask(t, both.behind.proxy.dial(t), both.behind.APIKey.Reveal())
		want.header.Del("Content-Length")
		got.header.Del("Content-Length")
		if got.status != want.status || !maps.EqualFunc(got.header, want.header, slices.Equal) || len(got.body) < len(want.body)/2 {
			t.Errorf("%s: got %s %v, %d bytes\nwant %s %v, %d bytes", target, got.status, got.header, len(got.body), want.status, want.header, len(want.body))
		}
	}
}
