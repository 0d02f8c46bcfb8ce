package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
)

// These tests hold the files of a stolen node and a client that keeps no rules, and try to reach beyond what that node
// may do, against the configuration that init writes. Whatever is tried must leave as it was all that isn't the stolen
// node's own: the tests compare pictures of everything that the broker holds, and listen where others listen.

// target is a broker with something of everything that can be stolen, forged or destroyed.
type target struct {
	t      *testing.T
	broker *brokertest.Broker
	core   *broker.Conn
	blob   string            // the subject of one that is there
	inHand map[string]string // by stream: the address for acknowledging what somebody else has in hand
	ears   map[string]*nats.Subscription
	others map[string]*nats.Conn // that have the ears
}

// stolen are those whose files somebody holds, each with the other node of its kind.
var stolen = map[string]string{"sec1": "sec2", "proxy1": "proxy2", "health1": "health2"}

// hears is what a node of each kind may listen to.
var hears = map[broker.Role][]string{
	broker.RolePrimary:   {"pdns.status.*.*", "pdns.applied.*", "pdns.settled.*", "pdns.ask.*.*", "pdns.confirm.*.*", "pdns.forget.*.*"},
	broker.RoleHealth:    {"pdns.status.*.*", "pdns.applied.*", "pdns.checked.*", "pdns.settled.*", "pdns.leader.*.*", "pdns.forgotten.*"},
	broker.RoleProxy:     {"pdns.status.*.*", "pdns.applied.*", "pdns.settled.*"},
	broker.RoleSecondary: {"pdns.coming.*", "pdns.published.*", "pdns.ask.*.*", "pdns.check.*.sec2"},
}

// newTarget begins with one of each, and with states that are empty messages, as acknowledgements are.
func newTarget(t *testing.T) *target {
	t.Helper()
	b := brokertest.Start(t, brokertest.Options{
		Primaries: []string{"primary1", "primary2"}, Health: []string{"health1", "health2"}, Proxies: []string{"proxy1", "proxy2"}, Secondaries: []string{"sec1", "sec2"},
	})
	g := &target{
		t: t, broker: b, core: b.Connect("primary1"), inHand: map[string]string{}, ears: map[string]*nats.Subscription{}, others: map[string]*nats.Conn{},
	}
	ensure(t, g.core)
	publish(t, g.core, "a.example", "a")
	publish(t, g.core, "b.example", "")
	publish(t, g.core, "c.example", "")
	hash, err := g.core.PutBlob(t.Context(), []byte("blob"))
	must.OK(t, err)
	g.blob = "pdns.blob." + hash.String()
	touch(t, b.Connect("proxy2"), "a.example")
	touch(t, b.Connect("health2"), "c.example")
	for _, id := range []string{"primary1", "health1", "health2", "proxy1", "proxy2", "sec1", "sec2"} {
		must.OK(t, b.Connect(id).PublishStatus(t.Context(), []byte(`"`+id+`"`)))
	}
	leases, err := b.Connect("health2").JetStream().KeyValue(t.Context(), "pdns_lease")
	must.OK(t, err)
	_, err = leases.Put(t.Context(), "health", []byte("health2"))
	must.OK(t, err)
	for _, id := range []string{"sec1", "sec2"} {
		must.OK(t, g.core.ProvisionFeed(t.Context(), id))
	}
	for _, id := range []string{"health1", "health2"} {
		must.OK(t, g.core.ProvisionWatch(t.Context(), id))
	}
	g.stopClocks()
	for _, id := range []string{"primary2", "health2", "proxy2", "sec2"} {
		g.overhear(id)
	}
	g.take("primary2", "$JS.API", "PDNS_TOUCH", "primary", 2)
	g.take("sec2", "P.API", "PDNS_ZONE", "sec2", 3)
	return g
}

// stopClocks has nothing expire, and nothing delivered again, while pictures are compared.
func (g *target) stopClocks() {
	g.t.Helper()
	ctx, js := g.t.Context(), g.core.JetStream()
	for _, name := range []string{"PDNS_STATUS", "KV_pdns_lease"} {
		stream, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue // deleted meanwhile, which the picture shows by what it lacks
		}
		must.OK(g.t, err)
		cfg := stream.CachedInfo().Config
		cfg.MaxAge = 0
		_, err = js.UpdateStream(ctx, cfg)
		must.OK(g.t, err)
	}
	for stream, name := range map[string]string{"PDNS_ZONE": "sec2", "PDNS_TOUCH": "primary"} {
		consumer, err := js.Consumer(ctx, stream, name)
		must.OK(g.t, err)
		cfg := consumer.CachedInfo().Config
		cfg.AckWait = time.Hour
		_, err = js.UpdateConsumer(ctx, stream, cfg)
		must.OK(g.t, err)
	}
}

// take has in hand the n messages that the consumer has, and hears of all that it gets later, and again.
func (g *target) take(id, prefix, stream, consumer string, n int) {
	g.t.Helper()
	must.OK(g.t, g.others[id].PublishRequest(prefix+".CONSUMER.MSG.NEXT."+stream+"."+consumer, "_INBOX_"+id+".pull", []byte(`{"batch":1000}`)))
	for range n {
		msg, err := g.ears[id+" on _INBOX_"+id+".>"].NextMsg(patience)
		must.OK(g.t, err)
		g.inHand[stream] = msg.Reply
	}
}

// overhear listens with a node's own credentials wherever it may.
func (g *target) overhear(id string) {
	g.t.Helper()
	nc, _ := g.intrude(id)
	for _, subject := range append(slices.Clone(hears[g.broker.Role(id)]), "_INBOX_"+id+".>") {
		sub, err := nc.SubscribeSync(subject)
		must.OK(g.t, err)
		g.ears[id+" on "+subject] = sub
	}
	must.OK(g.t, nc.Flush())
	g.others[id] = nc
}

// intrude connects with a node's files. refusals gets what the server says that it doesn't permit.
func (g *target) intrude(id string) (nc *nats.Conn, refusals <-chan string) {
	g.t.Helper()
	cfg := g.broker.Config(id)
	user, err := nats.NkeyOptionFromSeed(cfg.NKeyFile)
	must.OK(g.t, err)
	heard := make(chan string, 10_000)
	nc, err = nats.Connect(g.broker.URL(), user, nats.RootCAs(cfg.CAFile), nats.TLSHandshakeFirst(), nats.CustomInboxPrefix("_INBOX_"+id),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { heard <- err.Error() }))
	must.OK(g.t, err)
	g.t.Cleanup(nc.Close)
	return nc, heard
}

// owns tells of what a node may send, and so of what isn't an attack.
func owns(stolen, subject string) bool {
	for _, own := range map[string][]string{
		"sec1":   {"pdns.status.secondary.sec1", "pdns.applied.sec1", "pdns.checked.sec1"},
		"proxy1": {"pdns.status.proxy.proxy1", "pdns.touch.proxy.proxy1.example.b", "pdns.sweep.proxy.proxy1", "pdns.ask.proxy.proxy1"},
		"health1": {
			"pdns.status.health.health1", "pdns.touch.health.health1.example.b", "pdns.ask.health.health1", "pdns.check.health1.sec2", "pdns.leader.health.health1",
			"pdns.confirm.health.health1", "pdns.forget.health.health1", "$KV.pdns_lease.health",
		},
	}[stolen] {
		if subject == own {
			return true
		}
	}
	return false
}

// addsTo are the streams to which a node may add something of its own.
var addsTo = map[string][]string{
	"sec1": {"PDNS_STATUS"}, "proxy1": {"PDNS_STATUS", "PDNS_TOUCH"}, "health1": {"PDNS_STATUS", "PDNS_TOUCH", "KV_pdns_lease"},
}

// picture is all that the broker holds, except what is the stolen node's own: its status, its feed or watch, its
// touches, and the lease that health roles share.
func (g *target) picture(stolen string) map[string]string {
	g.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		p, err := g.look(stolen)
		if err == nil {
			return p
		}
		if !errors.Is(err, context.DeadlineExceeded) || time.Now().After(deadline) { // else busy with what it was sent
			g.t.Fatal(err)
		}
	}
}

// look is picture, whole or with an error.
func (g *target) look(stolen string) (map[string]string, error) {
	g.t.Helper()
	ctx, js := g.t.Context(), g.core.JetStream()
	p := map[string]string{}
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		name := info.Config.Name
		p["stream "+name] = text(g.t, info.Config) + info.Created.String()
		adds := slices.Contains(addsTo[stolen], name)
		if !adds {
			info.State.Consumers = 0
			p["counters of stream "+name] = text(g.t, info.State)
		}
		stream, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue // deleted meanwhile, which the picture shows by what it lacks
		}
		if err != nil {
			return nil, err
		}
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			m, err := stream.GetMsg(ctx, seq)
			if errors.Is(err, context.DeadlineExceeded) {
				return nil, err
			}
			if err == nil && !owns(stolen, m.Subject) {
				p[fmt.Sprintf("message %d of stream %s", seq, name)] = text(g.t, m)
			}
		}
		consumers := stream.ListConsumers(ctx)
		for c := range consumers.Info() {
			if c.Name != stolen && c.Name != "WATCH_"+stolen && !adds {
				c.TimeStamp = time.Time{}
				p["consumer "+c.Name+" of stream "+name] = text(g.t, c)
			}
		}
		if err := consumers.Err(); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, err
		}
	}
	return p, streams.Err()
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must.OK(t, err)
	return string(b)
}

// changes lists what two pictures differ in.
func changes(before, after map[string]string) (found []string) {
	for what, was := range before {
		if is, ok := after[what]; !ok {
			found = append(found, what+" is gone")
		} else if is != was {
			found = append(found, fmt.Sprintf("%s was\n%s and is\n%s", what, was, is))
		}
	}
	for what, is := range after {
		if _, ok := before[what]; !ok {
			found = append(found, what+" is new: "+is)
		}
	}
	slices.Sort(found)
	return found
}

// heard takes what the others have heard since it was last called, except what the stolen node may tell of itself.
func (g *target) heard(stolen string) (heard []string) {
	g.t.Helper()
	for who, sub := range g.ears {
		for n, _, _ := sub.Pending(); n > 0; n-- {
			msg, err := sub.NextMsg(patience)
			must.OK(g.t, err)
			if !owns(stolen, msg.Subject) && !strings.HasSuffix(msg.Subject, ".settled") {
				heard = append(heard, fmt.Sprintf("%s hears %s: %v %q", who, msg.Subject, msg.Header, msg.Data))
			}
		}
	}
	slices.Sort(heard)
	return heard
}

// settle returns when the broker is through with all that the stolen node has sent, and all that came of it has
// arrived. Requests of one kind are worked on one after the other, and so are acknowledgements to one consumer.
func (g *target) settle(nc *nats.Conn, legal []message) {
	g.t.Helper()
	for _, m := range legal {
		if _, err := nc.Request(m.subject, []byte(m.data), patience); err != nil {
			g.t.Fatalf("%s: %v", m.subject, err)
		}
	}
	for id, stream := range map[string]string{"sec2": "PDNS_ZONE", "primary2": "PDNS_TOUCH"} {
		unknown := strings.Join(strings.Split(g.inHand[stream], ".")[:4], ".") + ".1.999999.1.1.0" // of nothing: it is answered, and that is all
		inbox := "_INBOX_" + id + ".settled"
		sub, err := g.others[id].SubscribeSync(inbox)
		must.OK(g.t, err)
		must.OK(g.t, g.others[id].PublishRequest(unknown, inbox, []byte("+WPI")))
		_, err = sub.NextMsg(patience)
		must.OK(g.t, err)
		must.OK(g.t, sub.Unsubscribe())
	}
	for _, nc := range g.others {
		must.OK(g.t, nc.Flush())
	}
}

// wantRefused sends what the server has to refuse, and waits until it has refused each.
func (g *target) wantRefused(nc *nats.Conn, refusals <-chan string, id string, list []message) {
	g.t.Helper()
	loot, err := nc.SubscribeSync("_INBOX_" + id + ".loot")
	must.OK(g.t, err)
	open := map[string]bool{}
	for _, m := range list {
		m.reply = "_INBOX_" + id + ".loot"
		send(g.t, nc, m)
		open[fmt.Sprintf("Permissions Violation for Publish to %q", m.subject)] = true
	}
	must.OK(g.t, nc.Flush())
	deadline := time.After(patience)
	for len(open) > 0 {
		select {
		case r := <-refusals:
			delete(open, strings.TrimPrefix(r, "nats: permissions violation: "))
		case <-deadline:
			g.t.Fatalf("not refused: %v", slices.Sorted(maps.Keys(open)))
		}
	}
	if n, _, _ := loot.Pending(); n > 0 {
		g.t.Errorf("%d answers came", n)
	}
	must.OK(g.t, loot.Unsubscribe())
}

// legalOf is a request of each kind that a node may make. Nothing of anybody else's comes of it.
func (g *target) legalOf(id string) []message {
	status := message{subject: "pdns.status." + string(g.broker.Role(id)) + "." + id, data: "{}"}
	ownStatus := message{subject: "P.API.DIRECT.GET.PDNS_STATUS", data: `{"last_by_subj":"` + status.subject + `"}`}
	switch g.broker.Role(id) {
	case broker.RoleProxy:
		return []message{status, ownStatus}
	case broker.RoleHealth:
		return []message{
			status, ownStatus,
			{subject: "P.API.STREAM.INFO.PDNS_ZONE", data: `{"subjects_filter":">"}`},
			{subject: "P.API.STREAM.INFO.PDNS_TOUCH", data: `{"subjects_filter":">"}`},
			{subject: "P.API.CONSUMER.LIST.PDNS_ZONE"},
			{subject: "P.API.CONSUMER.INFO.PDNS_TOUCH.primary"},
			{subject: "P.API.CONSUMER.INFO.PDNS_ZONE.WATCH_" + id},
			{subject: "P.API.CONSUMER.RESET.PDNS_ZONE.WATCH_" + id, data: `{"seq":1}`},
			{subject: "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.WATCH_" + id, data: `{"batch":1,"no_wait":true}`},
			{subject: "P.API.DIRECT.GET.KV_pdns_lease.$KV.pdns_lease.health"},
			{subject: "P.API.$KV.pdns_lease.health", data: id},
		}
	}
	return []message{
		status,
		{subject: "P.API.CONSUMER.INFO.PDNS_ZONE." + id},
		{subject: "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE." + id, data: `{"batch":1,"no_wait":true}`},
		{subject: "$JS.ACK.PDNS_ZONE." + id + ".1.999999.1.1.0", data: "+WPI"},
		{subject: "P.API.DIRECT.GET.PDNS_BLOB." + g.blob}, {subject: "P.API.DIRECT.GET.PDNS_ZONE.pdns.zone.example.a"},
	}
}

// wantUnharmed runs an attack, and compares before and after. neighbour may hear of it.
func (g *target) wantUnharmed(id, neighbour string, nc *nats.Conn, name string, attack func()) {
	g.t.Helper()
	before := g.picture(id)
	g.heard(id)
	attack()
	g.settle(nc, g.legalOf(id))
	for _, c := range changes(before, g.picture(id)) {
		g.t.Errorf("%s: %s", name, c)
	}
	for _, h := range g.heard(id) {
		if neighbour == "" || !strings.HasPrefix(h, neighbour+" on ") {
			g.t.Errorf("%s: %s", name, h)
		}
	}
}
