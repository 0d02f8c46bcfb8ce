package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
)

func TestStolenNodeListens(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	for id, subjects := range map[string][]string{
		"sec1": {
			"pdns.status.*.*", "pdns.applied.sec2", "pdns.settled.*", "pdns.check.*.sec2", "pdns.check.*.*", "pdns.check.sec1.*", "P.API.>", "pdns.status.secondary.sec1",
			"pdns.leader.*.*", "pdns.checked.>",
		},
		"proxy1": {"pdns.coming.*", "pdns.published.*", "pdns.checkpoint.*", "pdns.check.*.sec1", "pdns.ask.*.*", "pdns.checked.*", "pdns.checked.>", "pdns.*.*", "pdns.*.*.*", "pdns.leader.*.*", "_INBOX_health2.>"},
		"health1": {
			"pdns.coming.*", "pdns.published.*", "pdns.check.*.*", "pdns.ask.*.*", "pdns.touch.health.*.>", "P.API.>", "P.API.CONSUMER.MSG.NEXT.>", "P.API.$KV.>", "pdns.*.*", "pdns.*.*.*",
			"_INBOX_health2.x",
		},
	} {
		nc, refusals := g.intrude(id)
		subs := g.wantDeaf(nc, refusals, append(subjects, ">", "*", "pdns.>", "pdns.zone.>", "pdns.zone.example.a", "pdns.blob.*", "pdns.check.*",
			"pdns.leader.>", "pdns.forget.*.*", "pdns.forget.>", "pdns.confirm.*.*", "pdns.confirm.>", "pdns.sweep.*.*", "pdns.touch.>", "pdns.touch.proxy.proxy2.>", "pdns.status.>",
			"$KV.>", "$KV.pdns_lease.health", "$JS.>", "$JS.EVENT.>", "$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$SYS.>", "$SYS.ACCOUNT.>", "$SYS.REQ.>",
			"_R_.>", "_GR_.>", "$NRG.>", "_INBOX.>", "_INBOX_sec2.>", "_INBOX_*.>", "_INBOX_primary1.x"))
		// Something of everything is sent, and the last of it, which this node may hear, comes after all others.
		own, err := nc.SubscribeSync("_INBOX_" + id + ".>")
		must.OK(t, err)
		must.OK(t, nc.Flush())
		for by, list := range map[string][]string{
			"primary1": {
				"pdns.zone.example.a", "pdns.touch.primary.primary1.example.b", "pdns.leader.primary.primary1", "pdns.forget.primary.primary1",
				"pdns.confirm.primary.primary1", "pdns.coming.primary1", "pdns.published.primary1", "pdns.settled.primary1", "pdns.forgotten.primary1", "pdns.ask.primary.primary1", "_INBOX_primary1.x",
			},
			"health2": {"pdns.check.health2.sec2", "pdns.leader.health.health2", "pdns.touch.health.health2.example.b", "P.API.$KV.pdns_lease.health", "_INBOX_health2.x"},
			"sec2":    {"pdns.applied.sec2", "pdns.checked.sec2"},
		} {
			sender, _ := g.intrude(by)
			for _, subject := range list {
				send(t, sender, message{subject: subject, data: "secret"})
			}
			must.OK(t, sender.Flush())
		}
		g.settle(nc, g.legalOf(id))
		for _, sub := range subs {
			if n, _, _ := sub.Pending(); n > 0 {
				t.Errorf("%s hears %d messages on %s", id, n, sub.Subject)
			}
		}
		if n, _, _ := own.Pending(); n == 0 {
			t.Errorf("%s doesn't even hear the answers to itself", id)
		}
	}
}

// wantDeaf wants each subscription to be refused.
func (g *target) wantDeaf(nc *nats.Conn, refusals <-chan string, subjects []string) (subs []*nats.Subscription) {
	g.t.Helper()
	for _, subject := range subjects {
		for _, queue := range []string{"", "workers"} {
			sub, err := nc.QueueSubscribeSync(subject, queue)
			must.OK(g.t, err)
			subs = append(subs, sub)
			want := fmt.Sprintf("Permissions Violation for Subscription to %q", subject)
			if queue != "" {
				want += fmt.Sprintf(" using queue %q", queue)
			}
			select {
			case got := <-refusals:
				if !strings.HasSuffix(got, want) {
					g.t.Fatalf("got %s, want %s", got, want)
				}
			case <-time.After(patience):
				g.t.Fatalf("not refused: %s", subject)
			}
		}
	}
	return subs
}

// feedAnew has the feed of a secondary begin with all states.
func (g *target) feedAnew(id string) {
	g.t.Helper()
	if g.broker.Role(id) == broker.RoleSecondary {
		must.OK(g.t, g.core.RemoveFeed(g.t.Context(), id))
		eventually(g.t, func() bool { return g.core.ProvisionFeed(g.t.Context(), id) == nil }) // its folder may still be on its way out
	}
}
