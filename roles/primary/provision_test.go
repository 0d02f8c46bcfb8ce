package primary

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"pdns-distribute/broker/brokertest"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/node"
)

// A secondary that lost its store gets all again, and one that says so all the time does not keep the primary busy.
func TestFeedsAreRenewedAtAPace(t *testing.T) {
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}, Secondaries: []string{"ns1", "ns2"}})
	conn, ns1, ns2 := b.Connect("primary1"), b.Connect("ns1"), b.Connect("ns2")
	_, err := conn.EnsureStreams(t.Context(), 1)
	must.OK(t, err)
	must.OK(t, conn.ProvisionFeed(t.Context(), "ns1"))
	p := newProvisioner(&node.Node{Conn: conn}, 1, func(time.Time, health.Sighting) {})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.provisionFeeds(ctx) }()
	defer func() {
		stop()
		must.OK(t, <-ended)
	}()
	created := func(node string) time.Time {
		feeds, err := conn.Feeds(t.Context())
		must.OK(t, err)
		for _, f := range feeds {
			if f.Node == node {
				return f.Created
			}
		}
		return time.Time{}
	}
	say := func(refeed time.Time) {
		text, err := json.Marshal(health.Presence{Role: health.RoleSecondary, Secondary: health.SecondaryReport{Refeed: refeed}})
		must.OK(t, err)
		must.OK(t, ns1.PublishStatus(t.Context(), text))
	}
	first := created("ns1")
	second := first
	for deadline := time.Now().Add(must.Patience); second.Equal(first) || second.IsZero(); second = created("ns1") {
		if say(first); time.Now().After(deadline) {
			t.Fatal("its feed is not renewed")
		}
	}
	say(second)
	other, err := json.Marshal(health.Presence{Role: health.RoleSecondary}) // that it is provisioned shows that the one before was heard
	must.OK(t, err)
	for deadline := time.Now().Add(must.Patience); created("ns2").IsZero(); {
		must.OK(t, ns2.PublishStatus(t.Context(), other))
		if time.Now().After(deadline) {
			t.Fatal("the feed of another secondary is not provisioned")
		}
	}
	if third := created("ns1"); !third.Equal(second) {
		t.Errorf("it was renewed at %s, and again at %s", second, third)
	}
}
