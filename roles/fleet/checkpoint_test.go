package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// unrepaired are settings with which nobody finds or repairs what the broker does to zones, other than by checkpoints.
func unrepaired() map[string]string {
	return map[string]string{
		"primary.scrub_period": "0s", "secondary.scrub_period": "0s", "primary.sweep_interval": "1h",
		"health.event_check_wait": "1h", "health.check_interval": "1h",
	}
}

// ownAlarm returns an alarm that a node itself raises.
func (i *harness) ownAlarm(id, kind string) (health.Group, error) {
	body, err := get("http://" + i.Observe(id) + "/readyz")
	if err != nil {
		return health.Group{}, err
	}
	var answer struct{ Alarms []health.Group }
	if err := json.Unmarshal(body, &answer); err != nil {
		return health.Group{}, err
	}
	for _, a := range answer.Alarms {
		if string(a.Kind) == kind {
			return a, nil
		}
	}
	return health.Group{}, fmt.Errorf("%s does not raise %s: %s", id, kind, body)
}

// incomplete waits until a secondary says that it was not given everything.
func (i *harness) incomplete(id string) (found health.Group) {
	i.t.Helper()
	i.eventually(id+" knows that it lacks something", func(context.Context) (err error) {
		found, err = i.ownAlarm(id, "incomplete")
		return err
	})
	return found
}

// complete waits until the secondaries know by a checkpoint after this moment that they have everything.
func (i *harness) complete(ids ...string) {
	i.t.Helper()
	since := time.Now()
	for _, id := range ids {
		i.eventually(id+" knows that it has everything", func(ctx context.Context) error {
			s, err := i.status(ctx)
			if err != nil {
				return err
			}
			for _, n := range s.Nodes {
				if c := n.Secondary.Checkpoint; n.Node == id && c != nil {
					quiet := c.Since.IsZero() && c.Incomplete == "" && c.Silent == "" && !c.Filling
					if quiet && c.At.After(since) && c.Signed > 0 && c.Here == c.Signed {
						return nil
					}
					return fmt.Errorf("%s: %+v", id, *c)
				}
			}
			return fmt.Errorf("%s is not there, or says nothing of checkpoints", id)
		})
	}
}

// stateStream is where the broker keeps the states.
func (f *forger) stateStream() jetstream.Stream {
	f.t.Helper()
	stream, err := f.jetStream().Stream(f.ctx, "PDNS_ZONE")
	must.OK(f.t, err)
	return stream
}

// A broken-in broker gives a new secondary one zone less, another one in an old version, and a third one that was
// deleted. The secondary knows by itself, within seconds; and one that has everything does, too.
func TestNewSecondaryIsGivenLess(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: unrepaired()})
	f := newForger(i)
	withheld, gone := zone.MustParseName("withheld.example"), zone.MustParseName("gone.example")
	rolled := zone.MustParseName("rolled.example")
	buckets := map[int]bool{zone.Bucket(withheld): true, zone.Bucket(rolled): true, zone.Bucket(gone): true}
	if len(buckets) != 3 {
		t.Fatal("two of the zones are in one group, so that what is found does not show that all are")
	}
	must.OK(t, createMany(i.ctx, i.api, "many", 30, 4))
	old := map[zone.Name]broker.StateMsg{}
	for _, name := range []zone.Name{withheld, rolled, gone} {
		must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "old"))))
	}
	i.eventually("created", i.allSame)
	for _, name := range []zone.Name{rolled, gone} {
		old[name] = f.published(name)
	}
	must.OK(t, i.api.Patch(i.ctx, rolled, []powerdns.RRset{text(rolled, "new")}))
	must.OK(t, i.api.DeleteZone(i.ctx, gone))
	i.eventually("changed", i.allSame)
	i.complete("ns1", "ns2")

	must.OK(t, i.StopRole(fleet.Health)) // which would find it, and have it published anew
	must.OK(t, i.StopRole("ns2"))
	must.OK(t, i.WipeStore("ns2"))
	stream := f.stateStream()
	must.OK(t, stream.Purge(i.ctx, jetstream.WithPurgeSubject("pdns.zone.example.withheld")))
	for name, m := range old {
		subject := "pdns.zone.example." + strings.TrimSuffix(name.String(), ".example.")
		must.OK(t, stream.Purge(i.ctx, jetstream.WithPurgeSubject(subject)))
		f.publish(name, m.Data, m.Header)
	}
	must.OK(t, i.StartRole(i.ctx, "ns2"))
	if a := i.incomplete("ns2"); !strings.Contains(a.What, "3 of 64 groups") || !strings.Contains(fmt.Sprint(a.Run), "sync --all") {
		t.Errorf("it says %+v", a)
	}
	if n := i.metric("ns2", "pdns_distribute_secondary_incomplete"); n != 1 {
		t.Errorf("the metric says %v", n)
	}
	if a, err := i.ownAlarm("ns1", "incomplete"); err == nil {
		t.Errorf("ns1 has everything, and says %+v", a)
	}

	must.OK(t, i.StartRole(i.ctx, fleet.Health))
	must.OK(t, i.StopRole(fleet.Primary)) // what the alarm advises
	must.OK(t, i.StartRole(i.ctx, fleet.Primary))
	i.eventually("put right", func(context.Context) error {
		_, err := i.sync(flags{"all": true})
		return err
	})
	i.complete("ns1", "ns2")
	must.OK(t, i.allSame(i.ctx))
}

// A broken-in broker withholds a change and a deletion from one secondary, while others go on. Neither a primary that
// starts anew nor checkpoints that are played back or forged hide it.
func TestChangeIsWithheld(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: unrepaired()})
	f := newForger(i)
	noise := zone.MustParseName("noise.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(noise)))
	must.OK(t, createMany(i.ctx, i.api, "many", 20, 4))
	i.eventually("created", i.allSame)
	i.complete("ns1", "ns2")

	must.OK(t, i.StopRole("ns1")) // and what comes meanwhile is taken off its feed
	must.OK(t, i.api.Patch(i.ctx, numbered("many", 3), []powerdns.RRset{text(numbered("many", 3), "withheld")}))
	i.acknowledgeFor("ns1", numbered("many", 3))
	must.OK(t, i.api.DeleteZone(i.ctx, numbered("many", 4)))
	i.acknowledgeFor("ns1", numbered("many", 4))
	must.OK(t, i.StartRole(i.ctx, "ns1"))
	n := 0
	i.repeat("ns1 knows, though other changes come", 200*time.Millisecond, func(ctx context.Context) error {
		n++
		must.OK(t, i.api.Patch(ctx, noise, []powerdns.RRset{text(noise, fmt.Sprint(n))}))
		_, err := i.ownAlarm("ns1", "incomplete")
		return err
	})
	i.alarm("incomplete", "ns1")
	if a, err := i.ownAlarm("ns2", "incomplete"); err == nil {
		t.Errorf("ns2 has everything, and says %+v", a)
	}

	captured := make(chan []byte, 1000)
	stop, err := i.connect("ns2").SubscribeCheckpoint(i.ctx, func(_ string, signed []byte) {
		select {
		case captured <- signed:
		default:
		}
	})
	must.OK(t, err)
	defer stop()
	genuine := <-captured
	must.OK(t, i.StopRole(fleet.Primary))
	foreign, err := zone.NewSignKey()
	must.OK(t, err)
	i.repeat("what is played back or forged is no checkpoint", 200*time.Millisecond, func(context.Context) error {
		for _, signed := range [][]byte{genuine, foreign.SignCheckpoint(zone.Checkpoint{At: time.Now()}), genuine[64:]} {
			must.OK(t, f.conn.PublishCheckpoint(signed))
		}
		_, err := i.ownAlarm("ns2", "no-checkpoint")
		return err
	})
	must.OK(t, i.StartRole(i.ctx, fleet.Primary))
	i.complete("ns2") // so the primary's word counts again
	i.incomplete("ns1")

	i.eventually("put right", func(context.Context) error {
		_, err := i.sync(flags{"all": true})
		if err == nil {
			_, err = fetch(i.ctx, i.Secondaries[0].DNSAddr, numbered("many", 4))
			if err == nil {
				return errors.New("the deleted zone is still there")
			}
		}
		return nil
	})
	i.complete("ns1", "ns2")
	must.OK(t, i.allSame(i.ctx))
}
