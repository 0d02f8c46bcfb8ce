package proxy

import (
	"fmt"
	"net/http"
	"pdns-distribute/powerdns/must"
	"slices"
	"strings"
	"testing"
)

// spellings are targets of the zone v.example., which PowerDNS and the proxy may read in different ways.
func spellings() []string {
	const whole = zonesPath + "/v.example."
	list := []string{whole, "/API" + whole[4:], strings.Replace(whole, "localhost", "other", 1)}
	for i := range whole {
		for _, form := range []string{"%%%02X", "%%%02x", "%%25%02x", "%%2525%02x"} {
			if strings.Contains("/.azv", whole[i:i+1]) && i > 0 {
				list = append(list, whole[:i]+fmt.Sprintf(form, whole[i])+whole[i+1:])
			}
		}
		for _, slash := range []string{"//", "/./", "/x/../", "/;/", `\`, "/#/", "/?/"} {
			if whole[i] == '/' {
				list = append(list, whole[:i]+slash+whole[i+1:])
			}
		}
	}
	for _, end := range []string{
		"/", "//", "/.", "/..", ".", "..", "%2e", "=2E", "=00", "%00", "%20",
		"%", "%z", "%3F", "%23x", "#x", "?", "?#x", ";x", "&", "+", ":",
		"@", `\`, `\.`, `\046`, "\x80",
		"%ff", "?/cryptokeys/1", "#/cryptokeys/1", "/#/cryptokeys/1", "/%23/cryptokeys/1", ";/cryptokeys/1",
		"/cryptokeys/../../v.example.", "#/x/metadata/1",
	} {
		list = append(list, whole+end)
	}
	for _, begin := range []string{
		"http://h", "HTTP://h:80", "http:", "http:/", "http://", "http://u:p@h",
		"http://[::1%25a]", "http://h?", "http://h#", "x:", "h:80", "a/",
		"*", "?", "/", "//", "/.", "/..", "//h", "/#", "/?",
	} {
		list = append(list, begin+whole)
	}
	for _, id := range []string{
		"v.example", "V.Example.", "v=2Eexample", "v=2eexample",
		"=76.example.", `\118.example.`, "=5C118.example.", ".v.example.", "v..example.",
		"v.example..x", "v=2E=2Eexample", "v.example.=0A", "v.example.=2",
	} {
		list = append(list, zonesPath+"/"+id)
	}
	return append(list, "api"+whole[4:], "x:api"+whole[4:], "a:%2fapi"+whole[4:])
}

// Whatever of a zone's spellings PowerDNS acts on, the touch is of that zone or of all, and a deletion counts.
func TestWritesInEverySpelling(t *testing.T) {
	p := startPowerDNS(t)
	p.proxy.limits.maxDeletes = 10_000
	const whole = zonesPath + "/v.example."
	p.create(t, "v.example.")
	acted := 0
	for _, method := range []string{"DELETE", "delete", "PATCH"} {
		for i, target := range spellings() {
			body := ""
			if method == "PATCH" {
				body = replacing("www.v.example.", fmt.Sprintf("192.0.2.%d", i%250+1))
			}
			before, counted := direct(t, p.Server, "GET", whole, "", http.StatusOK), p.deletions()
			a := p.proxied(t, p.call(method, target, body))
			touched := p.queue.take()
			gone, changed := p.became(t, whole, before)
			if !gone && !changed {
				continue
			}
			acted++
			if !slices.ContainsFunc(touched, func(t string) bool { return t == "sweep" || strings.HasSuffix(t, " v.example.") }) {
				t.Errorf("%s %q: answered %d, PowerDNS acted, and %q is touched", method, target, a.status, touched)
			}
			if n := p.deletions() - counted; gone != (n == 1) {
				t.Errorf("%s %q: %d deletions are counted", method, target, n)
			}
			if gone {
				p.create(t, "v.example.")
			}
		}
	}
	if acted < 50 {
		t.Errorf("PowerDNS acted on %d requests only: this test shows little", acted)
	}
}

// became tells what became of a zone since it was answered like that.
func (p powerDNS) became(t *testing.T, target, before string) (gone, changed bool) {
	t.Helper()
	req, err := http.NewRequest("GET", p.APIURL+target, nil)
	must.OK(t, err)
	req.Header.Set(keyHeader, p.APIKey.Reveal())
	res, err := http.DefaultClient.Do(req)
	must.OK(t, err)
	res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return true, true
	}
	return false, direct(t, p.Server, "GET", target, "", http.StatusOK) != before
}

// deletions are those that are counted for PowerDNS's own key.
func (p powerDNS) deletions() int {
	d := p.proxy.limits.deletions
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.made[powerdnsKey])
}
