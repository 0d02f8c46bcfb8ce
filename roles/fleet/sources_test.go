package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// loseState removes a zone's message from the stream, and nobody is told.
func (i *harness) loseState(stream jetstream.Stream, name zone.Name) {
	i.t.Helper()
	labels := strings.Split(strings.TrimSuffix(name.String(), "."), ".")
	msg, err := stream.GetLastMsgForSubject(i.ctx, "pdns.zone."+labels[1]+"."+labels[0])
	must.OK(i.t, err)
	must.OK(i.t, stream.DeleteMsg(i.ctx, msg.Sequence))
}

// compared runs sync --check, and wants all of these in what it says.
func (i *harness) compared(want ...string) {
	i.t.Helper()
	var out string
	var err error
	i.eventually("all is compared", func(context.Context) error { // what was on its way was not compared, and not repaired
		if out, err = i.sync(flags{"check": true}); strings.Contains(out, "with changes on their way") {
			return errors.New(out)
		}
		return nil
	})
	for _, w := range want {
		if err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), w) {
			i.t.Errorf("%q is not in (%v):\n%s", w, err, out)
		}
	}
	if i.t.Failed() {
		i.t.FailNow()
	}
}

// Each place at which zones are counted is compared with the others: whatever one of them lost, altered or never had is
// found by another one, and repaired.
func TestSources(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Secondaries: []local.Backend{local.SQLite, local.SQLite}, Set: quick(map[string]string{"health.check_interval": "1h"})})
	must.OK(t, createMany(i.ctx, i.api, "count", 10, 4))
	i.eventually("created", i.allSame)
	i.noAlarms()
	ns1, ns2 := i.Secondaries[0], i.Secondaries[1]
	stream, err := i.jetStream().Stream(i.ctx, "PDNS_ZONE")
	must.OK(t, err)

	t.Log("the stream lost states that everybody has heard of")
	i.loseState(stream, numbered("count", 1))
	i.loseState(stream, numbered("count", 9))
	i.compared("primary1: 10 zones, as published", "primary1 stream, read again 10", "ns2 own copy 10", "ns2 PowerDNS, listed 10")
	if info, err := stream.Info(i.ctx); err != nil || info.State.Msgs != 10 {
		t.Errorf("the stream has %d states, %v", info.State.Msgs, err)
	}

	t.Log("a secondary's database was written to, with a newer serial")
	altered := i.serial(numbered("count", 2))
	_, err = ns1.SQL(i.ctx, fmt.Sprintf("update records set content=replace(content, ' %d ', ' %d ') where type='SOA' and name='count2.example'", altered, altered+5))
	must.OK(t, err)
	i.compared("ns1: 10 zones, as published; repaired: 1")
	must.OK(t, i.allSame(i.ctx))

	t.Log("a secondary's PowerDNS lost a zone")
	edge, err := ns2.Client()
	must.OK(t, err)
	must.OK(t, edge.DeleteZone(i.ctx, numbered("count", 3)))
	i.compared("ns2: 10 zones, as published")
	must.OK(t, i.allSame(i.ctx))

	t.Log("a state was acknowledged that the secondary never took")
	must.OK(t, i.StopRole("ns2"))
	must.OK(t, i.api.Patch(i.ctx, numbered("count", 4), []powerdns.RRset{text(numbered("count", 4), "new")}))
	i.acknowledgeFor("ns2", numbered("count", 4))
	must.OK(t, i.StartRole(i.ctx, "ns2"))
	i.compared("ns2: 10 zones, as published")
	must.OK(t, i.allSame(i.ctx))

	t.Log("zones were made bypassing the proxy, without a touch")
	must.OK(t, createMany(i.ctx, i.own, "behind", 3, 1))
	out, err := i.sync(flags{"all": true})
	if err != nil || !strings.Contains(out, "13 zones, 13 served everywhere") || !strings.Contains(out, "PowerDNS, listed") {
		t.Errorf("%v\n%s", err, out)
	}
	must.OK(t, i.allSame(i.ctx))

	t.Log("a health role starts beside a stream that lacks states")
	must.OK(t, i.StopRole(fleet.Health))
	i.loseState(stream, numbered("count", 5))
	checks, err := i.examine(fleet.Primary, nil)
	if at := slices.IndexFunc(checks, func(c finding) bool { return c.Check == "sources.published" }); err == nil || at < 0 ||
		checks[at].Result != "fail" || !strings.Contains(checks[at].Found, "count5.example.") {
		t.Errorf("the doctor does not see it: %v, %+v", err, checks)
	}
	must.OK(t, i.StartRole(i.ctx, fleet.Health))
	i.eventually("the state is there again", func(ctx context.Context) error {
		info, err := stream.Info(ctx)
		if err == nil && info.State.Msgs != 13 {
			err = fmt.Errorf("there are %d states", info.State.Msgs)
		}
		return err
	})
	i.noAlarms()
}
