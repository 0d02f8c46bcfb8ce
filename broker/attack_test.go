package broker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/zone"
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
	others []*nats.Conn // that have the ears
}

// newTarget begins with one of each, and with states that are empty messages, as acknowledgements are.
func newTarget(t *testing.T) *target {
	t.Helper()
	b := brokertest.Start(t, brokertest.Options{
		Core: []string{"primary1", "health1"}, Health: []string{"health2"}, Proxies: []string{"proxy1", "proxy2"}, Secondaries: []string{"sec1", "sec2"},
	})
	g := &target{t: t, broker: b, core: b.Connect("primary1"), inHand: map[string]string{}, ears: map[string]*nats.Subscription{}}
	ensure(t, g.core)
	publish(t, g.core, "a.example", "a")
	publish(t, g.core, "b.example", "")
	publish(t, g.core, "c.example", "")
	hash, err := g.core.PutBlob(t.Context(), []byte("blob"))
	must(t, err)
	g.blob = "pdns.blob." + hash.String()
	touch(t, g.core, "a.example", "edited")
	touch(t, g.core, "c.example", "edited")
	for _, id := range []string{"primary1", "proxy1", "proxy2", "sec1", "sec2"} {
		must(t, b.Connect(id).PublishStatus(t.Context(), []byte(`"`+id+`"`)))
	}
	leases, err := b.Connect("health2").JetStream().KeyValue(t.Context(), "pdns_lease")
	must(t, err)
	_, err = leases.Put(t.Context(), "health", []byte("health1"))
	must(t, err)
	for _, id := range []string{"sec1", "sec2"} {
		must(t, g.core.ProvisionFeed(t.Context(), id))
	}
	g.stopClocks()
	health1 := g.overhear("health1", "pdns.>", "_INBOX_health1.>")
	sec2 := g.overhear("sec2", "pdns.coming", "pdns.ask", "pdns.check.sec2", "_INBOX_sec2.>")
	g.overhear("proxy2", "pdns.status.*", "pdns.applied.*", "pdns.settled", "_INBOX_proxy2.>")
	g.take(health1, "health1", "$JS.API", "PDNS_TOUCH", "primary", 2)
	g.take(sec2, "sec2", "P.API", "PDNS_ZONE", "sec2", 3)
	return g
}

// stopClocks has nothing expire, and nothing delivered again, while pictures are compared.
func (g *target) stopClocks() {
	g.t.Helper()
	ctx, js := g.t.Context(), g.core.JetStream()
	for _, name := range []string{"PDNS_STATUS", "KV_pdns_lease"} {
		stream, err := js.Stream(ctx, name)
		must(g.t, err)
		cfg := stream.CachedInfo().Config
		cfg.MaxAge = 0
		_, err = js.UpdateStream(ctx, cfg)
		must(g.t, err)
	}
	for stream, name := range map[string]string{"PDNS_ZONE": "sec2", "PDNS_TOUCH": "primary"} {
		consumer, err := js.Consumer(ctx, stream, name)
		must(g.t, err)
		cfg := consumer.CachedInfo().Config
		cfg.AckWait = time.Hour
		_, err = js.UpdateConsumer(ctx, stream, cfg)
		must(g.t, err)
	}
}

// take has in hand the n messages that the consumer has, and hears of all that it gets later, and again.
func (g *target) take(nc *nats.Conn, id, prefix, stream, consumer string, n int) {
	g.t.Helper()
	must(g.t, nc.PublishRequest(prefix+".CONSUMER.MSG.NEXT."+stream+"."+consumer, "_INBOX_"+id+".pull", []byte(`{"batch":1000}`)))
	for range n {
		msg, err := g.ears[id+" on _INBOX_"+id+".>"].NextMsg(patience)
		must(g.t, err)
		g.inHand[stream] = msg.Reply
	}
}

// overhear listens with a node's own credentials wherever it may.
func (g *target) overhear(id string, subjects ...string) *nats.Conn {
	g.t.Helper()
	nc, _ := g.intrude(id)
	for _, subject := range subjects {
		sub, err := nc.SubscribeSync(subject)
		must(g.t, err)
		g.ears[id+" on "+subject] = sub
	}
	must(g.t, nc.Flush())
	g.others = append(g.others, nc)
	return nc
}

// intrude connects with a node's files. refusals gets what the server says that it doesn't permit.
func (g *target) intrude(id string) (nc *nats.Conn, refusals <-chan string) {
	g.t.Helper()
	cfg := g.broker.Config(id)
	user, err := nats.NkeyOptionFromSeed(cfg.NKeyFile)
	must(g.t, err)
	heard := make(chan string, 10_000)
	nc, err = nats.Connect(g.broker.URL(), user, nats.RootCAs(cfg.CAFile), nats.TLSHandshakeFirst(), nats.CustomInboxPrefix("_INBOX_"+id),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { heard <- err.Error() }))
	must(g.t, err)
	g.t.Cleanup(nc.Close)
	return nc, heard
}

// owns tells of what a node may send, and so of what isn't an attack.
func owns(stolen, subject string) bool {
	switch subject {
	case "pdns.status." + stolen, "pdns.applied." + stolen, "pdns.checked." + stolen:
		return true
	case "pdns.touch.example.b", "pdns.sweep":
		return strings.HasPrefix(stolen, "proxy")
	}
	return false
}

// picture is all that the broker holds, except what is the stolen node's own: its status, its feed, and a proxy's touches.
func (g *target) picture(stolen string) map[string]string {
	g.t.Helper()
	ctx, js := g.t.Context(), g.core.JetStream()
	p := map[string]string{}
	for info := range js.ListStreams(ctx).Info() {
		name := info.Config.Name
		p["stream "+name] = text(g.t, info.Config) + info.Created.String()
		addsTo := name == "PDNS_STATUS" || name == "PDNS_TOUCH" && strings.HasPrefix(stolen, "proxy")
		if !addsTo {
			info.State.Consumers = 0
			p["counters of stream "+name] = text(g.t, info.State)
		}
		stream, err := js.Stream(ctx, name)
		must(g.t, err)
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			if m, err := stream.GetMsg(ctx, seq); err == nil && !owns(stolen, m.Subject) {
				p[fmt.Sprintf("message %d of stream %s", seq, name)] = text(g.t, m)
			}
		}
		for c := range stream.ListConsumers(ctx).Info() {
			if c.Name != stolen && !addsTo {
				c.TimeStamp = time.Time{}
				p["consumer "+c.Name+" of stream "+name] = text(g.t, c)
			}
		}
	}
	return p
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
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
			must(g.t, err)
			if !owns(stolen, msg.Subject) {
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
	for _, ack := range g.inHand {
		unknown := strings.Join(strings.Split(ack, ".")[:4], ".") + ".1.999999.1.1.0" // of nothing: it is answered, and that is all
		_, err := g.core.NATS().Request(unknown, []byte("+WPI"), patience)
		must(g.t, err)
	}
	for _, nc := range g.others {
		must(g.t, nc.Flush())
	}
}

// message is what is sent. reply is where the answer is to go: the server never checks whether that is permitted.
type message struct {
	subject, reply string
	header         nats.Header
	data           string
}

func (m message) String() string {
	return fmt.Sprintf("%s, answer to %q, %v %q", m.subject, m.reply, m.header, m.data)
}

func send(t *testing.T, nc *nats.Conn, m message) {
	t.Helper()
	must(t, nc.PublishMsg(&nats.Msg{Subject: m.subject, Reply: m.reply, Header: m.header, Data: []byte(m.data)}))
}

// api are all requests of the JetStream API that name a stream or a consumer, as they would have an effect.
func api(prefix, stream, consumer string) []message {
	const all = `{"batch":10,"no_wait":true}`
	config := `{"name":"` + stream + `","subjects":["evil.>"],"storage":"file"}`
	reading := `{"stream_name":"` + stream + `","config":{"name":"evil","durable_name":"evil","ack_policy":"none","deliver_policy":"all"}}`
	var list []message
	for subject, data := range map[string]string{
		"STREAM.INFO." + stream:                                  "",
		"STREAM.UPDATE." + stream:                                config,
		"STREAM.DELETE." + stream:                                "",
		"STREAM.PURGE." + stream:                                 "",
		"STREAM.MSG.DELETE." + stream:                            `{"seq":1}`,
		"STREAM.MSG.GET." + stream:                               `{"seq":1}`,
		"STREAM.SNAPSHOT." + stream:                              `{"deliver_subject":"_INBOX_sec1.loot"}`,
		"STREAM.LEADER.STEPDOWN." + stream:                       "",
		"STREAM.PEER.REMOVE." + stream:                           `{"peer":"test"}`,
		"DIRECT.GET." + stream:                                   `{"seq":1}`,
		"DIRECT.GET." + stream + ".pdns.zone.example.a":          "",
		"DIRECT.GET." + stream + ".pdns.touch.example.a":         "",
		"DIRECT.GET." + stream + ".$KV.pdns_lease.health":        "",
		"CONSUMER.NAMES." + stream:                               "",
		"CONSUMER.LIST." + stream:                                "",
		"CONSUMER.CREATE." + stream:                              reading,
		"CONSUMER.CREATE." + stream + ".evil":                    reading,
		"CONSUMER.CREATE." + stream + ".evil.pdns.zone.>":        reading,
		"CONSUMER.DURABLE.CREATE." + stream + ".evil":            reading,
		"CONSUMER.INFO." + stream + "." + consumer:               "",
		"CONSUMER.DELETE." + stream + "." + consumer:             "",
		"CONSUMER.MSG.NEXT." + stream + "." + consumer:           all,
		"CONSUMER.PAUSE." + stream + "." + consumer:              `{"pause_until":"2100-01-01T00:00:00Z"}`,
		"CONSUMER.RESET." + stream + "." + consumer:              `{"seq":1}`,
		"CONSUMER.UNPIN." + stream + "." + consumer:              `{"group":"g"}`,
		"CONSUMER.LEADER.STEPDOWN." + stream + "." + consumer:    "",
		"CONSUMER.CREATE." + stream + "." + consumer:             reading,
		"CONSUMER.DURABLE.CREATE." + stream + "." + consumer:     reading,
		"CONSUMER.MSG.NEXT." + stream + "." + consumer + ".more": all,
	} {
		list = append(list, message{subject: prefix + "." + subject, data: data})
	}
	return list
}

// apiOfServer are the requests that name neither.
func apiOfServer(prefix string) []message {
	var list []message
	for subject, data := range map[string]string{
		"INFO": "", "STREAM.NAMES": "", "STREAM.LIST": "",
		"STREAM.CREATE.EVIL":          `{"name":"EVIL","subjects":["evil.>"]}`,
		"STREAM.RESTORE.EVIL":         `{"config":{"name":"EVIL","subjects":["evil.>"]},"state":{}}`,
		"META.LEADER.STEPDOWN":        "",
		"SERVER.REMOVE":               `{"peer":"test"}`,
		"ACCOUNT.PURGE.CORE":          "",
		"ACCOUNT.STREAM.MOVE.CORE.X":  "",
		"CONSUMER.MSG.NEXT.*.*":       "",
		"CONSUMER.MSG.NEXT.PDNS_ZONE": "",
	} {
		list = append(list, message{subject: prefix + "." + subject, data: data})
	}
	return list
}

// apiOfAll is the whole JetStream API, under both names that a node could try.
func (g *target) apiOfAll() (list []message) {
	for _, prefix := range []string{"$JS.API", "P.API"} {
		list = append(list, apiOfServer(prefix)...)
		for stream, consumer := range map[string]string{
			"PDNS_ZONE": "sec2", "PDNS_TOUCH": "primary", "PDNS_BLOB": "evil", "PDNS_STATUS": "evil", "KV_pdns_lease": "evil",
		} {
			list = append(list, api(prefix, stream, consumer)...)
		}
	}
	return list
}

// acks are all words about what others have in hand.
func (g *target) acks() (list []message) {
	for _, address := range g.inHand {
		long := strings.Replace(address, "$JS.ACK.", "$JS.ACK._.ACCOUNT.", 1) + ".random"
		for _, word := range []string{"+ACK", "", "-NAK", "+TERM", "+WPI", `+NXT {"batch":1,"no_wait":true}`} {
			list = append(list, message{subject: address, data: word}, message{subject: long, data: word})
		}
	}
	return list
}

// noStolenNode is what no node outside of CORE may send, other than words of the JetStream API.
func noStolenNode() (list []message) {
	for _, subject := range []string{
		"pdns.zone.example.a", "pdns.zone.new", "pdns.zone.=", "pdns.zone.>", "pdns.zone.*.a",
		"pdns.blob." + strings.Repeat("0", 64), "pdns.confirm", "pdns.leader", "pdns.forget", "pdns.coming", "pdns.settled",
		"pdns.status.sec2", "pdns.status.proxy2", "pdns.status.primary1", "pdns.status.health1", "pdns.status.*", "pdns.status.>", "pdns.status.sec1.x",
		"pdns.applied.sec2", "pdns.applied.*", "pdns.checked.sec2", "pdns.check.sec2", "pdns.check.sec1",
		"$KV.pdns_lease.health", "$KV.pdns_lease.other", "$O.x.C.y",
		"_INBOX_sec2.x", "_INBOX_proxy2.x", "_INBOX_health1.x", "_INBOX.x", "_R_.x.y", "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO",
		"$SYS.REQ.ACCOUNT.CORE.CONNZ", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.SERVER.test.RELOAD", "$SRV.PING", "$JS.FC.PDNS_ZONE.sec2.x", "$JS.SNAPSHOT.ACK.x", "$NRG.x", "evil",
	} {
		list = append(list, message{subject: subject, data: "forged"})
	}
	return list
}

// wantRefused sends what the server has to refuse, and waits until it has refused each.
func (g *target) wantRefused(nc *nats.Conn, refusals <-chan string, id string, list []message) {
	g.t.Helper()
	loot, err := nc.SubscribeSync("_INBOX_" + id + ".loot")
	must(g.t, err)
	open := map[string]bool{}
	for _, m := range list {
		m.reply = "_INBOX_" + id + ".loot"
		send(g.t, nc, m)
		open[fmt.Sprintf("Permissions Violation for Publish to %q", m.subject)] = true
	}
	must(g.t, nc.Flush())
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
	must(g.t, loot.Unsubscribe())
}

// legalOf is a request of each kind that a node may make. Nothing of anybody else's comes of it.
func (g *target) legalOf(id string) []message {
	if strings.HasPrefix(id, "proxy") {
		return []message{
			{subject: "pdns.status." + id, data: "{}"},
			{subject: "P.API.DIRECT.GET.PDNS_STATUS", data: `{"last_by_subj":"pdns.status.` + id + `"}`},
		}
	}
	return []message{
		{subject: "pdns.status." + id, data: "{}"},
		{subject: "P.API.CONSUMER.INFO.PDNS_ZONE." + id},
		{subject: "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE." + id, data: `{"batch":1,"no_wait":true}`},
		{subject: "$JS.ACK.PDNS_ZONE." + id + ".1.999999.1.1.0", data: "+WPI"},
		{subject: "P.API.DIRECT.GET.PDNS_BLOB." + g.blob},
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

func TestStolenNodeIsRefused(t *testing.T) {
	g := newTarget(t)
	const proxyMay = "P.API.DIRECT.GET.PDNS_STATUS"
	for id, also := range map[string][]message{
		"sec1": {
			{subject: "pdns.touch.example.a"}, {subject: "pdns.sweep"}, {subject: "pdns.ask"}, {subject: "pdns.status.proxy1"}, {subject: proxyMay},
			{subject: "P.API.CONSUMER.DELETE.PDNS_ZONE.sec1"}, {subject: "P.API.CONSUMER.CREATE.PDNS_ZONE.sec1"},
			{subject: "P.API.DIRECT.GET.PDNS_BLOB", data: `{"seq":1}`}, {subject: "$JS.API.DIRECT.GET.PDNS_BLOB." + g.blob},
		},
		"proxy1": {
			{subject: "pdns.status.sec1"}, {subject: "pdns.applied.proxy1"}, {subject: "pdns.checked.proxy1"}, {subject: "P.API.DIRECT.GET.PDNS_BLOB." + g.blob},
			{subject: "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec1", data: "1"}, {subject: "P.API.DIRECT.GET.PDNS_STATUS.pdns.status.sec1"},
		},
	} {
		nc, refusals := g.intrude(id)
		for name, list := range map[string][]message{
			"forging and commanding":           noStolenNode(),
			"what only the other kinds may":    also,
			"JetStream API":                    slices.DeleteFunc(g.apiOfAll(), func(m message) bool { return id == "proxy1" && m.subject == proxyMay }),
			"words about what others have":     g.acks(),
			"acknowledging with a foreign key": {{subject: "$JS.ACK.PDNS_ZONE.*.1.1.1.1.1", data: "+ACK"}},
		} {
			g.wantUnharmed(id, "", nc, id+": "+name, func() { g.wantRefused(nc, refusals, id, list) })
		}
	}
}

// A user of the account CORE can do all that, and each of it is seen: so the tests here would see it as well if a stolen
// node could.
func TestAttacksWouldBeSeen(t *testing.T) {
	g := newTarget(t)
	const somebody = "nobody" // everything is somebody else's
	nc, refusals := g.intrude("primary1")
	_, err := nc.SubscribeSync("_INBOX_primary1.loot")
	must(t, err)
	api := func(subject, data string) message { return message{subject: "$JS.API." + subject, data: data} }
	for _, m := range []message{
		{subject: "pdns.zone.example.a", data: "forged"},
		{subject: "pdns.touch.example.new"},
		{subject: "pdns.sweep"},
		{subject: "pdns.confirm"},
		{subject: "pdns.blob." + strings.Repeat("0", 64)},
		{subject: "pdns.status.sec2", data: "forged"},
		{subject: "pdns.applied.sec2", data: "forged"},
		{subject: "pdns.checked.sec2", data: "forged"},
		{subject: "pdns.check.sec2", data: "forged"},
		{subject: "pdns.coming"},
		{subject: "pdns.settled", data: "forged"},
		{subject: "pdns.leader"},
		{subject: "pdns.forget", data: "sec2"},
		{subject: "pdns.status.primary1", header: nats.Header{"Nats-Trace-Dest": {"pdns.applied.sec2"}}},
		{subject: g.inHand["PDNS_ZONE"], data: "-NAK"},
		{subject: g.inHand["PDNS_ZONE"], data: "+ACK"},
		{subject: g.inHand["PDNS_TOUCH"], data: "+ACK"},
		api("CONSUMER.MSG.NEXT.PDNS_ZONE.sec2", "1"),
		api("CONSUMER.PAUSE.PDNS_ZONE.sec2", `{"pause_until":"2100-01-01T00:00:00Z"}`),
		api("CONSUMER.RESET.PDNS_ZONE.sec2", `{"seq":1}`),
		api("CONSUMER.DELETE.PDNS_ZONE.sec2", ""),
		api("CONSUMER.DURABLE.CREATE.PDNS_ZONE.evil", `{"stream_name":"PDNS_ZONE","config":{"durable_name":"evil","ack_policy":"none"}}`),
		api("STREAM.MSG.DELETE.PDNS_ZONE", `{"seq":2}`),
		api("STREAM.UPDATE.PDNS_BLOB", `{"name":"PDNS_BLOB","subjects":["pdns.blob.*"],"max_msgs":7,"num_replicas":1,"storage":"file","discard":"new"}`),
		api("STREAM.CREATE.EVIL", `{"name":"EVIL","subjects":["evil.>"]}`),
		api("STREAM.PURGE.PDNS_ZONE", ""),
		api("STREAM.DELETE.PDNS_BLOB", ""),
		// The server sends the answer, and doesn't ask who wanted it.
		{subject: "$JS.API.STREAM.INFO.PDNS_ZONE", reply: "pdns.zone.example.a"},
		{subject: "$JS.API.STREAM.INFO.PDNS_ZONE", reply: "pdns.applied.sec2"},
		{subject: "$JS.API.STREAM.INFO.PDNS_ZONE", reply: "_INBOX_health1.x"},
		{subject: "$JS.API.STREAM.INFO.PDNS_ZONE", reply: "$KV.pdns_lease.health"},
	} {
		before := g.picture(somebody)
		if m.reply == "" {
			m.reply = "_INBOX_primary1.loot"
		}
		send(t, nc, m)
		must(t, nc.Flush())
		for deadline := time.Now().Add(patience); len(changes(before, g.picture(somebody)))+len(g.heard(somebody)) == 0; {
			if time.Now().After(deadline) {
				t.Fatalf("not seen: %s", m)
			}
		}
		select {
		case r := <-refusals:
			t.Fatal(r)
		default:
		}
	}
}

// requests are all that a node may send and that somebody answers, with all kinds of answers: data, refusals, empty ones.
func (g *target) requests(id string) []message {
	if strings.HasPrefix(id, "proxy") {
		list := []message{
			{subject: "pdns.touch.example.b"}, {subject: "pdns.sweep"},
			{subject: "pdns.touch.example.b", header: nats.Header{"Nats-Expected-Stream": {"evil"}}},
			{subject: "P.API.DIRECT.GET.PDNS_STATUS", data: `{"multi_last":["pdns.status.*"]}`},
			{subject: "P.API.DIRECT.GET.PDNS_STATUS", data: `{"seq":999999}`},
		}
		return append(list, g.legalOf(id)...)
	}
	next := "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE." + id
	ack := "$JS.ACK.PDNS_ZONE." + id + ".1.1.1.1.1"
	list := []message{
		{subject: "pdns.status." + id, header: nats.Header{"Nats-Expected-Stream": {"evil"}}},
		{subject: "P.API.DIRECT.GET.PDNS_BLOB.pdns.blob." + strings.Repeat("0", 64)},
		{subject: next, data: "3"}, // a state, and two that are empty
		{subject: next, data: `{"batch":9,"no_wait":true}`},
		{subject: next, data: `{"batch":1,"expires":1000000,"idle_heartbeat":100000}`},
		{subject: next, data: "nonsense"},
		{subject: ack, data: `+NXT {"batch":9,"no_wait":true}`},
	}
	for _, word := range []string{"+ACK", "", "-NAK", "-NAK {\"delay\":1}", "+TERM", "+WPI", "evil"} {
		list = append(list, message{subject: ack, data: word})
	}
	return append(list, g.legalOf(id)...)
}

// A node may name any subject for the answer, and the broker sends the answer there, within the account of the node. So it
// reaches neighbours in that account (see TestForgedNoticesAreIgnored), and must get nowhere else, least of all where the
// broker itself listens.
func TestStolenNodeNamesSubjectsForAnswers(t *testing.T) {
	g := newTarget(t)
	for id, neighbour := range map[string]string{"sec1": "sec2", "proxy1": "proxy2"} {
		nc, _ := g.intrude(id)
		g.wantUnharmed(id, neighbour, nc, id, func() {
			for _, reply := range []string{
				"pdns.zone.example.a", "pdns.zone.evil", g.blob, "pdns.confirm", "pdns.leader", "pdns.forget", "pdns.coming", "pdns.settled", "pdns.ask",
				"pdns.touch.example.evil", "pdns.sweep", "pdns.check.sec2", "pdns.applied.sec2", "pdns.checked.sec2",
				"pdns.status.primary1", "pdns.status.sec1", "pdns.status.sec2", "pdns.status.proxy2", "$KV.pdns_lease.health",
				"_INBOX_health1.pull", "_INBOX_sec2.pull", "_INBOX_proxy2.x",
				"$JS.API.STREAM.DELETE.PDNS_ZONE", "$JS.API.STREAM.PURGE.PDNS_ZONE", "$JS.API.CONSUMER.DELETE.PDNS_ZONE.sec2",
				"$JS.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec2", "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec2", "P.API.CONSUMER.INFO.PDNS_ZONE.sec2",
				"$JS.API.CONSUMER.MSG.NEXT.PDNS_TOUCH.primary", "P.API.DIRECT.GET.PDNS_STATUS", "$JS.FC.PDNS_ZONE.sec2.1", "$SYS.REQ.ACCOUNT.PING", "evil",
			} {
				g.feedAnew(id)
				for _, m := range g.requests(id) {
					m.reply = reply
					send(t, nc, m)
				}
				g.settle(nc, g.legalOf(id)) // before the feed is taken away
			}
		})
	}
}

// An answer that is addressed to where acknowledgements go would be one if it is empty, and would reach all accounts: the
// server passes that address on as it is.
func TestStolenNodeNamesAcknowledgementsForAnswers(t *testing.T) {
	g := newTarget(t)
	for id, neighbour := range map[string]string{"sec1": "sec2", "proxy1": "proxy2"} {
		nc, refusals := g.intrude(id)
		g.wantUnharmed(id, neighbour, nc, id, func() {
			for _, m := range g.acks() {
				for _, r := range g.requests(id) {
					r.reply = m.subject
					send(t, nc, r)
					if got, want := receive(t, refusals), fmt.Sprintf("Permissions Violation for Publish with Reply of %q", m.subject); !strings.HasSuffix(got, want) {
						t.Fatalf("%s: got %s, want %s", r, got, want)
					}
				}
			}
		})
	}
}

// What a node may send it can send with any headers, some of which are orders to the broker.
func TestStolenNodeSendsHeaders(t *testing.T) {
	g := newTarget(t)
	for id, subjects := range map[string][]string{
		"sec1":   {"pdns.status.sec1", "$JS.ACK.PDNS_ZONE.sec1.1.1.1.1.1", "P.API.CONSUMER.INFO.PDNS_ZONE.sec1"},
		"proxy1": {"pdns.status.proxy1", "pdns.touch.example.b", "pdns.sweep", "P.API.DIRECT.GET.PDNS_STATUS"},
	} {
		nc, _ := g.intrude(id)
		g.wantUnharmed(id, "", nc, id, func() {
			for _, h := range []nats.Header{
				{"Nats-Rollup": {"all"}}, {"Nats-Rollup": {"sub"}}, {"Nats-Purge": {"all"}}, {"KV-Operation": {"PURGE"}},
				{"Nats-Expected-Stream": {"PDNS_ZONE"}}, {"Nats-Expected-Last-Sequence": {"1"}}, {"Nats-Expected-Last-Msg-Id": {"x"}},
				{"Nats-Expected-Last-Subject-Sequence": {"1"}, "Nats-Expected-Last-Subject-Sequence-Subject": {"pdns.status.sec2"}},
				{"Nats-Msg-Id": {"x"}}, {"Nats-TTL": {"1s"}}, {"Nats-TTL": {"never"}}, {"Nats-Incr": {"+1"}}, {"Nats-Pending-Messages": {"1"}},
				{"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {"pdns.status.sec2"}, "Nats-Schedule-TTL": {"1s"}},
				{"Nats-Schedule": {"@at 2026-01-01T00:00:00Z"}, "Nats-Schedule-Target": {"pdns.zone.example.a"}, "Nats-Schedule-Source": {"pdns.status.sec2"}},
				{"Nats-Batch-Id": {"x"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}},
				{"Nats-Subject": {"pdns.status.sec2"}, "Nats-Stream": {"PDNS_ZONE"}, "Nats-Sequence": {"1"}}, {"Nats-Stream-Source": {"PDNS_ZONE 1"}},
				{"Nats-Trace-Dest": {"pdns.applied.sec2"}}, {"Nats-Trace-Dest": {"_INBOX_sec2.x"}}, {"Nats-Trace-Dest": {"pdns.status.proxy2"}},
				{"Nats-Trace-Dest": {"pdns.check.sec2"}, "Nats-Trace-Only": {"true"}}, {"Nats-Trace-Dest": {"pdns.settled"}, "Nats-Trace-Hop": {"1"}},
				{"traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}, {"Accept-Encoding": {"snappy"}},
				{"Nats-Request-Info": {`{"acc":"CORE","user":"primary1"}`}}, {"Nats-Client-Info": {"{}"}},
				{"Status": {"409"}, "Description": {"Consumer Deleted"}}, {"Nats-Required-Api-Level": {"0"}},
			} {
				for _, subject := range subjects {
					send(t, nc, message{subject: subject, header: h, reply: "_INBOX_" + id + ".loot", data: "{}"})
				}
			}
		})
	}
}

func TestStolenNodeListens(t *testing.T) {
	g := newTarget(t)
	for id, subjects := range map[string][]string{
		"sec1":   {"pdns.status.*", "pdns.applied.sec2", "pdns.settled", "pdns.check.sec2", "pdns.touch.>", "P.API.>", "pdns.status.sec1"},
		"proxy1": {"pdns.coming", "pdns.check.sec1", "pdns.ask", "pdns.checked.*", "pdns.touch.example.a", "pdns.*.*"},
	} {
		nc, refusals := g.intrude(id)
		var subs []*nats.Subscription
		for _, subject := range append(subjects, ">", "*", "pdns.>", "pdns.zone.>", "pdns.zone.example.a", "pdns.blob.*", "pdns.checked.sec2", "pdns.check.*",
			"pdns.leader", "pdns.forget", "pdns.confirm", "pdns.sweep", "$KV.>", "$KV.pdns_lease.health", "$JS.>", "$JS.EVENT.>", "$JS.API.>", "$JS.ACK.>",
			"$SYS.>", "$SYS.ACCOUNT.>", "$SYS.REQ.>", "_R_.>", "_GR_.>", "$NRG.>", "_INBOX.>", "_INBOX_sec2.>", "_INBOX_health1.>", "_INBOX_*.>", "_INBOX_primary1.x") {
			for _, queue := range []string{"", "workers"} {
				sub, err := nc.QueueSubscribeSync(subject, queue)
				must(t, err)
				subs = append(subs, sub)
				want := fmt.Sprintf("Permissions Violation for Subscription to %q", subject)
				if queue != "" {
					want += fmt.Sprintf(" using queue %q", queue)
				}
				if got := receive(t, refusals); !strings.HasSuffix(got, want) {
					t.Fatalf("got %s, want %s", got, want)
				}
			}
		}
		// Something of everything is sent, and the last of it, which this node may hear, comes after all others.
		own, err := nc.SubscribeSync("_INBOX_" + id + ".>")
		must(t, err)
		must(t, nc.Flush())
		core, _ := g.intrude("primary1")
		for _, subject := range []string{
			"pdns.zone.example.a", "pdns.touch.example.b", "pdns.status.primary1", "pdns.applied.sec2", "pdns.check.sec2", "pdns.leader", "pdns.forget",
			"pdns.coming", "pdns.settled", "$KV.pdns_lease.health", "_INBOX_sec2.x", "_INBOX_health1.x",
		} {
			send(t, core, message{subject: subject, data: "secret"})
		}
		must(t, core.Flush())
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

// feedAnew has the feed of a secondary begin with all states.
func (g *target) feedAnew(id string) {
	g.t.Helper()
	if strings.HasPrefix(id, "sec") {
		must(g.t, g.core.RemoveFeed(g.t.Context(), id))
		must(g.t, g.core.ProvisionFeed(g.t.Context(), id))
	}
}

// Within an account a stolen node can have the broker send others what somebody else wrote: a proxy even what it wrote
// itself, in its status. Nodes take none of that for a notice.
func TestForgedNoticesAreIgnored(t *testing.T) {
	g := newTarget(t)
	told := make(chan string, 100)
	listen := func(stop func(), err error) {
		t.Helper()
		must(t, err)
		t.Cleanup(stop)
	}
	proxy2, sec2 := g.broker.Connect("proxy2"), g.broker.Connect("sec2")
	listen(proxy2.SubscribeApplied(t.Context(), func(node string, notice []byte) { told <- "applied by " + node + ": " + string(notice) }))
	listen(proxy2.SubscribeSettled(t.Context(), func(notice []byte) { told <- "settled: " + string(notice) }))
	listen(sec2.SubscribeComing(t.Context(), func(name zone.Name) { told <- "coming: " + name.String() }))
	listen(sec2.SubscribeAsk(t.Context(), func(name zone.Name) { told <- "ask: " + name.String() }))
	listen(sec2.SubscribeCheck(t.Context(), func(question []byte) { told <- "check: " + string(question) }))
	statuses := make(chan string, 100)
	background(t, func(ctx context.Context) error {
		return proxy2.WatchStatuses(ctx, func(node string, s broker.StatusMsg) { statuses <- node + ": " + string(s.Data) })
	})
	for range 5 { // that are stored
		receive(t, statuses)
	}

	proxy1, _ := g.intrude("proxy1")
	send(t, proxy1, message{subject: "pdns.status.proxy1", data: `"forged"`})
	if s := receive(t, statuses); s != `proxy1: "forged"` {
		t.Fatal(s)
	}
	for _, reply := range []string{"pdns.applied.sec1", "pdns.settled", "pdns.status.sec1"} {
		send(t, proxy1, message{subject: "P.API.DIRECT.GET.PDNS_STATUS", reply: reply, data: `{"last_by_subj":"pdns.status.proxy1"}`})
	}
	g.settle(proxy1, g.legalOf("proxy1"))
	// A customer may have had a say in a state.
	publish(t, g.core, "forged.example", string(zone.MustParseName("forged.example")))
	sec1, _ := g.intrude("sec1")
	for _, reply := range []string{"pdns.coming", "pdns.ask", "pdns.check.sec2"} {
		g.feedAnew("sec1")
		send(t, sec1, message{subject: "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec1", reply: reply, data: "9"})
		g.settle(sec1, g.legalOf("sec1")[1:3])
	}
	arrived := strings.Join(g.heard("nobody"), "\n")
	for _, ear := range []string{
		"proxy2 on pdns.applied.* hears pdns.applied.sec1", "proxy2 on pdns.settled hears pdns.settled", "proxy2 on pdns.status.* hears pdns.status.sec1",
		"sec2 on pdns.coming hears", "sec2 on pdns.ask hears", "sec2 on pdns.check.sec2 hears",
	} {
		if !strings.Contains(arrived, ear) {
			t.Errorf("this test proves nothing of '%s': only this arrived:\n%s", ear, arrived)
		}
	}

	// The genuine ones come after all of these.
	name := zone.MustParseName("true.example")
	must(t, g.broker.Connect("sec1").PublishApplied([]byte("true")))
	must(t, g.core.PublishSettled([]byte("true")))
	must(t, g.core.PublishStatus(t.Context(), []byte(`"true"`)))
	must(t, g.core.PublishComing(name))
	must(t, g.core.PublishAsk(name))
	must(t, g.core.PublishCheck("sec2", []byte("true")))
	want := []string{"applied by sec1: true", "ask: true.example.", "check: true", "coming: true.example.", "settled: true"}
	var got []string
	for range want {
		got = append(got, receive(t, told))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for s := ""; s != `primary1: "true"`; {
		if s = receive(t, statuses); strings.HasPrefix(s, "sec1") {
			t.Errorf("a forged status: %s", s)
		}
	}
}
