package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
)

func TestBudget(t *testing.T) {
	b := budget{most: 60}
	for limit, want := range map[int]int{1: 4, 12: 4, 20: 10, 50: 40, 74: 60, 75: 60, 100: 60, 1000: 60} {
		if got := b.within(limit); got != want {
			t.Errorf("of %d: %d, want %d", limit, got, want)
		}
	}
}

// creates sends so many creations at once, and returns how many were answered 201. All others are 503: nothing was
// written then, nothing is said of a change, and the client is told to try again.
func (p *testProxy) creates(t *testing.T, key string, from, count int) (created int) {
	t.Helper()
	client := p.client(t, true)
	var all sync.WaitGroup
	var mu sync.Mutex
	for n := range count {
		all.Go(func() {
			body := fmt.Sprintf(`{"name":"z%d.example.","kind":"Native","nameservers":[]}`, from+n)
			r, err := http.NewRequest("POST", "https://"+p.Addr().String()+zonesPath, strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set(keyHeader, key)
			res, err := client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			id, touch, again := res.Header.Get(HeaderChange), res.Header.Get(HeaderTouch), res.Header.Get("Retry-After")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case res.StatusCode == http.StatusCreated && id != "":
				created++
			case res.StatusCode != http.StatusServiceUnavailable || id != "" || touch != "" || again == "":
				t.Errorf("%d: %s %v", n, res.Status, res.Header)
			}
		})
	}
	all.Wait()
	return created
}

// PowerDNS 5.1 hangs up on connections beyond a number. What it has not read it has not done.
func TestConnectionsOfPowerDNS(t *testing.T) {
	limited, err := localtest.TryStart(t, local.Options{
		Primary: true, Settings: map[string]string{limitSetting: "20"},
	})
	if err != nil {
		t.Skip("this PowerDNS does not know the setting "+limitSetting+": ", err)
	}
	q := &queue{}
	p := startProxy(t, limited.APIURL, q)
	p.gate.known.accepted(p.gate.known.hash([]string{limited.APIKey.Reveal()}), time.Now()) // nothing is asked yet
	first := p.creates(t, limited.APIKey.Reveal(), 0, 250)                                  // with 60 connections
	api, err := limited.Client()
	must.OK(t, err)
	zones, err := api.Zones(t.Context())
	must.OK(t, err)
	if len(zones) != first {
		t.Errorf("%d zones are there, and %d were created", len(zones), first)
	}
	p.gate.fit(http.Header{keyHeader: {limited.APIKey.Reveal()}}, p.gate.lanes.keys, alice)
	if second := p.creates(t, limited.APIKey.Reveal(), 1000, 250); second != 250 {
		t.Errorf("with as many connections as PowerDNS takes %d of 250 were created", second)
	}
	t.Logf("of 250 creations %d with too many connections", first)
}
