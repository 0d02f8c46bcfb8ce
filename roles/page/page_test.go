package page

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
)

// get asks as a browser does.
func get(t *testing.T, url string) (code int, text string, header http.Header) {
	t.Helper()
	answer, err := http.Get(url)
	must.OK(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must.OK(t, err)
	return answer.StatusCode, string(body), answer.Header
}

func wants(t *testing.T, what, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q:\n%s", what, want, text)
		}
	}
}

func TestOverviewInOrder(t *testing.T) {
	w, h := newWorld(3, 10), NewHistory()
	w.busyHour(h)
	_, text, header := get(t, w.serve(t, h)+"/")
	wants(t, "the page", text, "Everything is in order", "health1 compares and repairs", "customer-000", "proxy proxy1", "signatures renewed",
		"Half of ", `href="/node?id=ns3"`, "8 of 10 signed zones are renewed", "Ended within the last day", "good.svg")
	if got := header.Get("Content-Security-Policy"); got != policy || strings.Contains(got, "unsafe") {
		t.Errorf("policy %q", got)
	}
	for _, inline := range []string{"<script>", " style=", "onclick", "<style", "http://", "https://"} {
		if strings.Contains(text, inline) {
			t.Errorf("the page has %s, which its policy does not let in", inline)
		}
	}
}

// One cause at twelve secondaries is one alarm with twelve nodes.
func TestOverviewOfTwelveFailing(t *testing.T) {
	w, h := newWorld(14, 10), NewHistory()
	w.fail(12)
	url := w.serve(t, h)
	_, text, _ := get(t, url+"/")
	wants(t, "the page", text, "Not everything is in order", "NOT in order (1)", "12 secondaries (", "read the log of PowerDNS on the secondary", "bad.svg")
	if n := strings.Count(text, `<article class="alarm"`); n != 1 {
		t.Errorf("%d alarms", n)
	}
	if strings.Index(text, `data-key="ns12"`) > strings.Index(text, `data-key="ns13"`) {
		t.Error("what is in order comes first")
	}
	_, text, _ = get(t, url+"/node?id=ns7")
	wants(t, "the node's page", text, "secondary ns7", "Failing zones (3)", "database is locked", `href="/zone?name=customer-000001.shop1.example"`, "12 secondaries (")
	_, text, _ = get(t, url+"/alarm?kind=failing")
	wants(t, "the alarm's page", text, "12 secondaries (", "<strong>Do</strong>")
}

func TestWhatIsNotThere(t *testing.T) {
	w := newWorld(1, 1)
	url := w.serve(t, NewHistory())
	for path, want := range map[string]int{
		"/node?id=<b>": 404, "/alarm?kind=no-such": 404, "/zone?name=a..b": 400, "/zone": 400, "/zone?name=unheard.example": 404,
		"/page/none.css": 404, "/zones": 200, "/zones?q=": 200, "/zones?q=%00%ff<script>": 200, "/zone?name=customer-000000.shop0.example": 200,
	} {
		code, text, header := get(t, url+path)
		if code != want || header.Get("Content-Security-Policy") != policy {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
		if strings.Contains(text, "<b>") || strings.Contains(text, "<script>") {
			t.Errorf("%s: what was asked for is not escaped", path)
		}
	}
	w.busy = true
	if code, text, _ := get(t, url+"/zone?name=a.example"); code != http.StatusTooManyRequests || !strings.Contains(text, "try again") {
		t.Errorf("%d\n%s", code, text)
	}
}

func TestOnlyReads(t *testing.T) {
	url := newWorld(1, 1).serve(t, NewHistory())
	for _, path := range []string{"/", "/zones", "/zone", "/node", "/alarm"} {
		answer, err := http.Post(url+path, "text/plain", strings.NewReader("x"))
		must.OK(t, err)
		answer.Body.Close()
		if answer.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, answer.StatusCode)
		}
	}
}

func TestSearch(t *testing.T) {
	w := newWorld(1, 2000)
	url := w.serve(t, NewHistory())
	_, text, _ := get(t, url+"/zones?q=MER-00012")
	wants(t, "the search", text, "10 of 2,000 zones", "custo<mark>mer-00012</mark>0.shop120.example", `value="MER-00012"`)
	_, text, _ = get(t, url+"/zones?q=shop&part=1")
	wants(t, "the search", text, "2,000 of 2,000 zones; the first 50 are shown")
	if strings.Count(text, "<li>") != hitsShown || strings.Contains(text, "<html") {
		t.Errorf("the part has too much:\n%s", text)
	}
	_, text, _ = get(t, url+"/zones?q=nothing.such")
	wants(t, "the search", text, "None of 2,000 zones", `href="/zone?name=nothing.such"`)
	for range searchesOnce + searchesEach {
		if code, _, _ := get(t, url+"/zones?q=a"); code == http.StatusTooManyRequests {
			return
		}
	}
	t.Error("as many searches as one likes")
}

func TestZone(t *testing.T) {
	w := newWorld(3, 10)
	w.fail(1)
	w.alter("ns3", func(s *health.Sighting) { s.At = w.now.Add(-time.Minute) })
	h := NewHistory()
	w.busyHour(h)
	_, text, _ := get(t, w.serve(t, h)+"/zone?name=customer-000001.shop1.example.")
	wants(t, "the zone's page", text, "<h1>customer-000001.shop1.example</h1>", "1 as published, 2 not", "2026112802", "2026112801",
		"PowerDNS answered 500: database is locked", "SERVFAIL", "inactive", "in 12 ms", "pdns-distribute status customer-000001.shop1.example")
	if len(w.looked) != 1 {
		t.Errorf("looked %d times", len(w.looked))
	}
}

// A fleet of 300 with many zones behind it costs a browser no more than it can show.
func TestLargeInstallation(t *testing.T) {
	zones := 20_000
	if os.Getenv("MILLION") != "" { // a measurement: MILLION=1 go test -run TestLargeInstallation -v ./roles/page
		zones = 1_000_000
	}
	w, h := newWorld(300, zones), NewHistory()
	w.busyHour(h)
	url := w.serve(t, h)
	for _, path := range []string{"/", "/?part=1", "/zones?q=99", "/zone?name=customer-000007.shop7.example", "/node?id=ns299"} {
		request, err := http.NewRequest(http.MethodGet, url+path, nil)
		must.OK(t, err)
		request.Header.Set("Accept-Encoding", "gzip")
		begin := time.Now()
		answer, err := http.DefaultClient.Do(request)
		must.OK(t, err)
		packed, err := io.ReadAll(answer.Body)
		must.OK(t, err)
		answer.Body.Close()
		took := time.Since(begin)
		reader, err := gzip.NewReader(strings.NewReader(string(packed)))
		must.OK(t, err)
		text, err := io.ReadAll(reader)
		must.OK(t, err)
		t.Logf("%-45s %4d KB, packed %3d KB, in %s", path, len(text)>>10, len(packed)>>10, took.Round(time.Millisecond))
		if len(text) > 1<<20 {
			t.Errorf("%s: %d bytes", path, len(text))
		}
	}
	_, text, _ := get(t, url+"/")
	wants(t, "the page", text, "more nodes, all in order", fmt.Sprintf("<strong>%s</strong> zones", number(zones)))
}
