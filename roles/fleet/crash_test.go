package fleet_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// deletions stands between a secondary and the API of its PowerDNS, and keeps answers to deletions to itself while it
// is told to.
type deletions struct {
	keep    atomic.Bool
	deleted chan struct{} // gets one for each answer that is kept
	release chan struct{}
}

func (d *deletions) serve(t *testing.T, address string) string {
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	to.ModifyResponse = func(r *http.Response) error {
		if r.Request.Method == http.MethodDelete && d.keep.Load() {
			d.deleted <- struct{}{}
			<-d.release
		}
		return nil
	}
	s := httptest.NewServer(to)
	t.Cleanup(func() {
		close(d.release)
		s.Close()
	})
	return strings.TrimPrefix(s.URL, "http://")
}

// A secondary that is killed when its PowerDNS has deleted a zone, and its own copy has not, does not bring the zone
// back.
func TestKilledWithinDeletion(t *testing.T) {
	t.Parallel()
	path := program(t)
	d := &deletions{deleted: make(chan struct{}, 10), release: make(chan struct{})}
	i := start(t, fleet.Options{
		Program: path, Secondaries: []local.Backend{local.SQLite},
		Between: func(id, to, address string) (string, error) {
			if id == "ns1" && to == "api" {
				address = d.serve(t, address)
			}
			return address, nil
		},
	})
	told := i.observe()
	name := zone.MustParseName("killed.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "deleted soon"))))
	i.eventually("created", i.allSame)
	d.keep.Store(true)
	must.OK(t, i.api.DeleteZone(i.ctx, name))
	<-d.deleted
	must.OK(t, i.KillRole("ns1"))
	d.keep.Store(false)

	ctx, cancel := context.WithCancel(i.ctx)
	defer cancel()
	var asking sync.WaitGroup
	asking.Go(func() { neverServed(ctx, t, i.Secondaries[0].DNSAddr, name) })
	must.OK(t, i.StartRole(i.ctx, "ns1"))
	told.await(i, name, 0, true)
	cancel()
	asking.Wait()
}

// neverServed asks until ctx ends, and fails the test if a server answers for the zone.
func neverServed(ctx context.Context, t *testing.T, address string, name zone.Name) {
	for ctx.Err() == nil {
		a, err := transfer.Ask(ctx, address, name, dns.TypeSOA, transfer.AskOptions{Unique: true})
		if err == nil && a.Rcode == dns.RcodeSuccess {
			t.Error("the deleted zone is served again")
			return
		}
	}
}
