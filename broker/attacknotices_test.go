package broker_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// Within an account a stolen node can have the broker send others what somebody else wrote: a proxy or a health role
// even what it wrote itself, in its status. Nodes take none of the answers of the broker for a notice or a request.
func TestForgedNoticesAreIgnored(t *testing.T) {
	t.Parallel()
	for id, replies := range map[string][]string{
		"sec1":   {"pdns.coming.primary1", "pdns.published.primary1", "pdns.ask.primary.primary1", "pdns.ask.proxy.proxy2", "pdns.check.health2.sec2"},
		"proxy1": {"pdns.applied.sec1", "pdns.settled.primary1", "pdns.status.secondary.sec1", "pdns.status.primary.primary1"},
		"health1": {
			"pdns.applied.sec1", "pdns.checked.sec1", "pdns.settled.primary1", "pdns.forgotten.primary1", "pdns.leader.primary.primary1",
			"pdns.leader.health.health2", "pdns.status.secondary.sec1", "pdns.status.primary.primary1",
		},
	} {
		t.Run(id, func(t *testing.T) {
			g := newTarget(t)
			// A customer may have had a say in a state.
			publish(t, g.core, "forged.example", string(zone.MustParseName("forged.example")))
			nc, _ := g.intrude(id)
			status := nats.NewMsg("pdns.status." + string(g.broker.Role(id)) + "." + id)
			status.Header, status.Data = nats.Header{"Pdns-Notice": {"1"}, "Pdns-Kind": {"zone"}}, []byte(`"forged"`)
			_, err := nc.RequestMsg(status, patience)
			must.OK(t, err)
			told := g.toldTo(stolen[id])
			for _, reply := range replies {
				g.heard("nobody")
				g.feedAnew(id)
				for _, m := range append([]message{{subject: "P.API.DIRECT.GET.PDNS_STATUS", data: `{"last_by_subj":"` + status.Subject + `"}`}}, g.requests(id)...) {
					m.reply = reply
					send(t, nc, m)
				}
				g.settle(nc, g.legalOf(id))
				if arrived := strings.Join(g.heard("nobody"), "\n"); !strings.Contains(arrived, " hears "+reply+":") {
					t.Errorf("this test proves nothing of %s: only this arrived:\n%s", reply, arrived)
				}
			}
			g.wantOnlyGenuine(told, stolen[id])
		})
	}
}

// toldTo has a node listen to all that it acts on; what it takes for genuine comes through the channel.
func (g *target) toldTo(id string) <-chan string {
	g.t.Helper()
	told, ctx, c := make(chan string, 1000), g.t.Context(), g.broker.Connect(id)
	listen := func(stop func(), err error) {
		g.t.Helper()
		must.OK(g.t, err)
		g.t.Cleanup(stop)
	}
	hearing := func(what string) func(string, []byte) {
		return func(node string, notice []byte) { told <- what + " by " + node + ": " + string(notice) }
	}
	naming := func(what string) func(zone.Name) {
		return func(name zone.Name) { told <- what + ": " + name.String() }
	}
	switch c.Self().Role {
	case broker.RoleSecondary:
		listen(c.SubscribeComing(ctx, naming("coming")))
		listen(c.SubscribeAsk(ctx, naming("ask")))
		listen(c.SubscribeCheck(ctx, func(question []byte) { told <- "check: " + string(question) }))
		return told
	case broker.RoleHealth:
		listen(c.SubscribeChecked(ctx, hearing("checked")))
		listen(c.SubscribeForgotten(ctx, func(node string) { told <- "forgotten: " + node }))
		listen(c.ServeLeader(ctx, func(_ context.Context, request []byte) []byte {
			told <- "leader: " + string(request)
			return []byte("yes")
		}))
	}
	listen(c.SubscribeApplied(ctx, hearing("applied")))
	listen(c.SubscribeSettled(ctx, func(notice []byte) { told <- "settled: " + string(notice) }))
	background(g.t, func(ctx context.Context) error {
		return c.WatchStatuses(ctx, func(node string, s broker.StatusMsg) { told <- "status of " + node + ": " + string(s.Data) })
	})
	for range 7 { // that are stored
		receive(g.t, told)
	}
	return told
}

// wantOnlyGenuine sends what is genuine, and wants the node to be told of that alone, and of what the stolen node says
// of itself.
func (g *target) wantOnlyGenuine(told <-chan string, id string) {
	t, name := g.t, zone.MustParseName("true.example")
	t.Helper()
	sec1, health2 := g.broker.Connect("sec1"), g.broker.Connect("health2")
	must.OK(t, sec1.PublishApplied([]byte("true")))
	must.OK(t, sec1.PublishChecked([]byte("true")))
	must.OK(t, g.core.PublishSettled([]byte("true")))
	must.OK(t, g.core.PublishComing(name))
	must.OK(t, g.core.PublishAsk(name))
	must.OK(t, g.core.PublishForgotten("true"))
	must.OK(t, health2.PublishCheck("sec2", []byte("true")))
	must.OK(t, g.core.PublishStatus(t.Context(), []byte("true")))
	must.OK(t, sec1.PublishStatus(t.Context(), []byte("true")))
	if g.broker.Role(id) == broker.RoleHealth {
		_, err := g.core.AskLeader(t.Context(), []byte("true"))
		must.OK(t, err)
	}
	want := map[broker.Role][]string{
		broker.RoleSecondary: {"ask: true.example.", "check: true", "coming: true.example."},
		broker.RoleProxy:     {"applied by sec1: true", "settled: true", "status of sec1: true"},
		broker.RoleHealth: {
			"applied by sec1: true", "checked by sec1: true", "forgotten: true", "leader: true", "settled: true", "status of primary1: true", "status of sec1: true",
		},
	}[g.broker.Role(id)]
	var got []string
	for len(got) < len(want) {
		if s := receive(t, told); !strings.HasPrefix(s, "status of proxy1: ") && !strings.HasPrefix(s, "status of health1: ") {
			got = append(got, s)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s is told %q, want %q", id, got, want)
	}
}
