package roles

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// largeZone is one that is published in chunks, and the server that has it.
func largeZone(t *testing.T) (*local.Server, *zone.Zone) {
	t.Helper()
	server := startPowerDNS(t, local.Options{Primary: true})
	api, err := server.Client()
	must(t, err)
	name := zone.MustParseName("large.example")
	spec := nativeZone(name)
	spec.RRsets = randomTexts(name)
	must(t, api.CreateZoneWith(t.Context(), spec))
	z, err := transfer.Fetch(t.Context(), transfer.FetchOptions{Address: server.DNSAddr}, name)
	must(t, err)
	return server, z
}

// Chunks that the broker lost are stored again, and the others left as they are.
func TestLostChunksAreRestored(t *testing.T) {
	server, z := largeZone(t)
	conn, _ := startBroker(t)
	p := &Primary{node: &node{conn: conn, log: zerolog.Nop()}, dns: server.DNSAddr, cfg: PrimaryConfig{MaxZoneMB: 64}}
	state, contents := zone.NewState(z, z.Serial(), time.Now())
	if len(contents) < 3 {
		t.Fatalf("%d chunks are too few for this test", len(contents))
	}
	_, err := conn.PutBlobs(t.Context(), contents)
	must(t, err)
	kept := broker.Hash(state.Chunks()[1].Hash)
	_, err = conn.CollectBlobs(t.Context(), func(h broker.Hash) bool { return h == kept }, 0)
	must(t, err)
	must(t, p.restore(t.Context(), state))
	for i, c := range state.Chunks() {
		if has, err := conn.HasBlob(t.Context(), c.Hash); err != nil || !has {
			t.Errorf("chunk %d is still lost: %v", i, err)
		}
	}
}

func startPowerDNS(t *testing.T, o local.Options) *local.Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "pdns") // t.TempDir makes paths too long for sockets
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	o.Dir = dir
	server, err := local.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(server.Stop)
	return server
}

func nativeZone(name zone.Name) powerdns.ZoneSpec {
	return powerdns.ZoneSpec{Name: name, Kind: powerdns.Native, Nameservers: []string{"ns1.example.net."}}
}

// randomTexts do not compress, so that few of them make several chunks.
func randomTexts(name zone.Name) []powerdns.RRset {
	var sets []powerdns.RRset
	for i := range 1500 {
		owner := zone.MustParseName(fmt.Sprintf("t%d.%s", i, name))
		sets = append(sets, powerdns.RRset{Name: owner, Type: "TXT", TTL: 60, Content: []string{fmt.Sprintf("%q", rand.Text()+rand.Text()+rand.Text())}})
	}
	return sets
}

// A secondary that lost its store gets all again, and one that says so all the time does not keep the primary busy.
func TestFeedsAreRenewedAtAPace(t *testing.T) {
	b := brokertest.Start(t, brokertest.Options{Core: []string{"primary1"}, Secondaries: []string{"ns1", "ns2"}})
	conn, ns1, ns2 := b.Connect("primary1"), b.Connect("ns1"), b.Connect("ns2")
	_, err := conn.EnsureStreams(t.Context(), 1)
	must(t, err)
	must(t, conn.ProvisionFeed(t.Context(), "ns1"))
	p := &Primary{node: &node{conn: conn}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.provisionFeeds(ctx) }()
	defer func() {
		stop()
		must(t, <-ended)
	}()
	created := func(node string) time.Time {
		feeds, err := conn.Feeds(t.Context())
		must(t, err)
		for _, f := range feeds {
			if f.Node == node {
				return f.Created
			}
		}
		return time.Time{}
	}
	say := func(refeed time.Time) {
		text, err := json.Marshal(health.Presence{Role: roleSecondary, Refeed: refeed})
		must(t, err)
		must(t, ns1.PublishStatus(t.Context(), text))
	}
	first := created("ns1")
	second := first
	for deadline := time.Now().Add(patience); second.Equal(first) || second.IsZero(); second = created("ns1") {
		if say(first); time.Now().After(deadline) {
			t.Fatal("its feed is not renewed")
		}
	}
	say(second)
	other, err := json.Marshal(health.Presence{Role: roleSecondary}) // that it is provisioned shows that the one before was heard
	must(t, err)
	for deadline := time.Now().Add(patience); created("ns2").IsZero(); {
		must(t, ns2.PublishStatus(t.Context(), other))
		if time.Now().After(deadline) {
			t.Fatal("the feed of another secondary is not provisioned")
		}
	}
	if third := created("ns1"); !third.Equal(second) {
		t.Errorf("it was renewed at %s, and again at %s", second, third)
	}
}
