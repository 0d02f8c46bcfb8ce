package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
)

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
	must.OK(t, nc.PublishMsg(&nats.Msg{Subject: m.subject, Reply: m.reply, Header: m.header, Data: []byte(m.data)}))
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
		for stream, consumers := range map[string][]string{
			"PDNS_ZONE": {"sec1", "sec2", "WATCH_health1", "WATCH_health2", "*"}, "PDNS_TOUCH": {"primary", "*"},
			"PDNS_BLOB": {"evil"}, "PDNS_STATUS": {"evil"}, "KV_pdns_lease": {"evil"}, "*": {"*"},
		} {
			for _, consumer := range consumers {
				list = append(list, api(prefix, stream, consumer)...)
			}
		}
	}
	return list
}

// permitted is what of the JetStream API a node may use.
var permitted = map[string][]string{
	"sec1":   {"P.API.CONSUMER.INFO.PDNS_ZONE.sec1", "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec1", "P.API.DIRECT.GET.PDNS_ZONE.pdns.zone.example.a"},
	"proxy1": {"P.API.DIRECT.GET.PDNS_STATUS"},
	"health1": {
		"P.API.DIRECT.GET.PDNS_STATUS", "P.API.STREAM.INFO.*", "P.API.STREAM.INFO.PDNS_ZONE", "P.API.STREAM.INFO.PDNS_TOUCH", "P.API.STREAM.INFO.PDNS_BLOB",
		"P.API.STREAM.INFO.PDNS_STATUS", "P.API.STREAM.INFO.KV_pdns_lease", "P.API.CONSUMER.LIST.PDNS_ZONE", "P.API.CONSUMER.INFO.PDNS_TOUCH.primary",
		"P.API.CONSUMER.INFO.PDNS_ZONE.WATCH_health1", "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.WATCH_health1", "P.API.CONSUMER.RESET.PDNS_ZONE.WATCH_health1",
		"P.API.DIRECT.GET.KV_pdns_lease.$KV.pdns_lease.health",
	},
}

// apiFor is what of it a node may not use.
func (g *target) apiFor(id string) []message {
	return slices.DeleteFunc(g.apiOfAll(), func(m message) bool { return slices.Contains(permitted[id], m.subject) })
}

// words are what a consumer is told of a message.
var words = []string{"+ACK", "", "-NAK", `-NAK {"delay":1}`, "+TERM", "+WPI", `+NXT {"batch":1,"no_wait":true}`}

// acks are all words about what others have in hand, to both forms of their addresses.
func (g *target) acks() (list []message) {
	for _, address := range g.foreignAcks() {
		for _, word := range words {
			list = append(list, message{subject: address, data: word})
		}
	}
	return list
}

// foreignAcks are the addresses of what others have in hand, and of what one of the two forms takes for such.
func (g *target) foreignAcks() (list []string) {
	watch := strings.Replace(g.inHand["PDNS_ZONE"], ".sec2.", ".WATCH_health2.", 1)
	for _, address := range []string{g.inHand["PDNS_ZONE"], g.inHand["PDNS_TOUCH"], watch} {
		list = append(list, address, strings.Replace(address, "$JS.ACK.", "$JS.ACK._.ACCOUNT.", 1)+".random")
	}
	for _, id := range []string{"sec1", "proxy1", "health1", "WATCH_health1"} { // the older form, with a node's own feed in the place of the newer one
		list = append(list, "$JS.ACK.PDNS_TOUCH.primary.PDNS_ZONE."+id+".1.1.1", "$JS.ACK.PDNS_ZONE.sec2.PDNS_ZONE."+id+".1.1.1", "$JS.ACK.PDNS_TOUCH.primary.PDNS_ZONE."+id+".1.1.1.1")
	}
	return append(list, "$JS.ACK.PDNS_ZONE.*.1.1.1.1.1", "$JS.ACK.PDNS_ZONE.>", "$JS.ACK.*.*.PDNS_ZONE.sec2.1.1.1.1.0.x")
}

// noStolenNode is what no node outside of CORE may send, other than words of the JetStream API, and no node but another
// one.
func noStolenNode() (list []message) {
	subjects := []string{
		"pdns.zone.example.a", "pdns.zone.new", "pdns.zone.=", "pdns.zone.>", "pdns.zone.*.a", "pdns.zone", "pdns.>", "pdns.*.*.*", ">", "*",
		"pdns.blob." + strings.Repeat("0", 64), "pdns.confirm", "pdns.leader", "pdns.forget", "pdns.coming", "pdns.published", "pdns.settled", "pdns.ask", "pdns.sweep",
		"pdns.status.sec1", "pdns.status.*", "pdns.status.>", "pdns.status.secondary.sec1.x", "pdns.status.proxy.proxy1.x", "pdns.status.health.health1.x",
		"pdns.status..sec1", "pdns.status.secondary.SEC1", "pdns.touch.example.a", "pdns.touch.>", "pdns.touch.proxy.>", "pdns.touch.proxy.proxy1", "pdns.touch.health.health1",
		"pdns.applied.*", "pdns.applied.>", "pdns.applied.sec1.x", "pdns.checked.*", "pdns.check.sec2", "pdns.check.>", "pdns.check.health1.sec2.x", "pdns.check.sec2.health1",
		"pdns.settled.*", "pdns.coming.*", "pdns.published.*", "pdns.checkpoint.*", "pdns.forgotten.*",
		"$KV.pdns_lease.health", "$KV.pdns_lease.other", "P.API.$KV.pdns_lease.other", "P.API.$KV.pdns_lease.>", "$O.x.C.y",
		"_INBOX_sec2.x", "_INBOX_proxy2.x", "_INBOX_primary1.x", "_INBOX.x", "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO",
		"$SYS.REQ.ACCOUNT.CORE.CONNZ", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.SERVER.test.RELOAD", "$SRV.PING", "$JS.FC.PDNS_ZONE.sec2.x", "$JS.FC._.A.PDNS_ZONE.sec2.x",
		"$JS.SNAPSHOT.ACK.x", "$NRG.x", "$GR.x", "_GR_.x.y.z", "$MQTT.sub.x", "$LDS.x", "evil",
	}
	for _, node := range []string{"sec2", "health2", "proxy2", "primary1", "*", ">"} {
		subjects = append(subjects, "pdns.applied."+node, "pdns.checked."+node, "pdns.settled."+node, "pdns.coming."+node, "pdns.published."+node, "pdns.checkpoint."+node, "pdns.forgotten."+node, "pdns.check."+node+".sec1")
		for _, role := range append(broker.Roles, "*", "evil") {
			as := string(role) + "." + node
			subjects = append(subjects, "pdns.status."+as, "pdns.touch."+as+".example.a", "pdns.sweep."+as, "pdns.ask."+as, "pdns.leader."+as, "pdns.confirm."+as, "pdns.forget."+as)
		}
	}
	for _, subject := range subjects {
		list = append(list, message{subject: subject, data: "forged"})
	}
	return list
}

// inOtherRoles is what a node may not send under its own id, because it says another role, or because its role may not.
func inOtherRoles(id string) (list []message) {
	for _, role := range broker.Roles {
		as := string(role) + "." + id
		for _, subject := range []string{
			"pdns.status." + as, "pdns.touch." + as + ".example.b", "pdns.sweep." + as, "pdns.ask." + as, "pdns.leader." + as, "pdns.confirm." + as, "pdns.forget." + as,
		} {
			list = append(list, message{subject: subject, data: "forged"})
		}
	}
	for _, prefix := range []string{"pdns.applied.", "pdns.checked.", "pdns.settled.", "pdns.coming.", "pdns.published.", "pdns.forgotten."} {
		list = append(list, message{subject: prefix + id, data: "forged"})
	}
	return slices.DeleteFunc(list, func(m message) bool { return owns(id, m.subject) })
}

func TestStolenNodeIsRefused(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	for id, also := range map[string][]message{
		"sec1": {
			{subject: "pdns.check.sec1.sec2"}, {subject: "pdns.check.health1.sec2"}, {subject: "P.API.DIRECT.GET.PDNS_STATUS"}, {subject: "P.API.$KV.pdns_lease.health"},
			{subject: "P.API.DIRECT.GET.PDNS_BLOB", data: `{"seq":1}`}, {subject: "P.API.DIRECT.GET.PDNS_ZONE", data: `{"seq":1}`}, {subject: "$JS.API.DIRECT.GET.PDNS_BLOB." + g.blob}, {subject: "_R_.x.y"}, {subject: "_INBOX_health2.x"},
		},
		"proxy1": {
			{subject: "pdns.check.proxy1.sec2"}, {subject: "pdns.check.health1.sec2"}, {subject: "P.API.DIRECT.GET.PDNS_BLOB." + g.blob}, {subject: "P.API.$KV.pdns_lease.health"},
			{subject: "P.API.DIRECT.GET.PDNS_STATUS.pdns.status.secondary.sec1"}, {subject: "$JS.ACK.PDNS_ZONE.proxy1.1.1.1.1.1"}, {subject: "_R_.x.y"}, {subject: "_INBOX_health2.x"},
		},
		"health1": {
			{subject: "pdns.check.health2.sec2"}, {subject: "P.API.DIRECT.GET.PDNS_BLOB." + g.blob}, {subject: "P.API.DIRECT.GET.PDNS_STATUS.pdns.status.secondary.sec1"},
			{subject: "$JS.ACK.PDNS_ZONE.WATCH_health1.1.1.1.1.1"}, {subject: "$JS.ACK._.A.PDNS_ZONE.WATCH_health1.1.1.1.1.1.x"}, {subject: "$JS.ACK.PDNS_ZONE.health1.1.1.1.1.1"},
			{subject: "P.API.STREAM.INFO"}, {subject: "P.API.CONSUMER.LIST.PDNS_TOUCH"}, {subject: "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.health1"},
		},
	} {
		nc, refusals := g.intrude(id)
		for name, list := range map[string][]message{
			"forging and commanding":       noStolenNode(),
			"other roles":                  inOtherRoles(id),
			"what only the other kinds do": also,
			"JetStream API":                g.apiFor(id),
			"words about what others have": g.acks(),
		} {
			g.wantUnharmed(id, "", nc, id+": "+name, func() { g.wantRefused(nc, refusals, id, list) })
		}
	}
}

// Who may do these things does them, and each of it is seen: so the tests here would see it as well if a stolen node
// could.
func TestAttacksWouldBeSeen(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	g := newTarget(t)
	const somebody = "nobody" // everything is somebody else's
	api := func(subject, data string) message { return message{subject: "$JS.API." + subject, data: data} }
	for _, by := range []struct {
		id   string
		list []message
	}{
		{"sec2", []message{
			{subject: "pdns.status.secondary.sec2", data: "forged"}, {subject: "pdns.applied.sec2", data: "forged"}, {subject: "pdns.checked.sec2", data: "forged"},
			{subject: g.inHand["PDNS_ZONE"], data: "-NAK"}, {subject: g.inHand["PDNS_ZONE"], data: "+ACK"},
		}},
		{"proxy2", []message{
			{subject: "pdns.touch.proxy.proxy2.example.new"}, {subject: "pdns.sweep.proxy.proxy2"}, {subject: "pdns.ask.proxy.proxy2"}, {subject: "pdns.status.proxy.proxy2"},
		}},
		{"health2", []message{
			{subject: "pdns.touch.health.health2.example.new"}, {subject: "pdns.ask.health.health2"}, {subject: "pdns.check.health2.sec2", data: "forged"},
			{subject: "pdns.leader.health.health2"}, {subject: "pdns.confirm.health.health2"}, {subject: "pdns.forget.health.health2", data: "sec2"},
			{subject: "P.API.$KV.pdns_lease.health", data: "forged"}, {subject: "P.API.CONSUMER.RESET.PDNS_ZONE.WATCH_health2", data: `{"seq":1}`},
			{subject: "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.WATCH_health2", data: "1"}, {subject: "_INBOX_health2.x"},
			{subject: "P.API.STREAM.INFO.PDNS_ZONE", reply: "pdns.status.secondary.sec1"}, {subject: "P.API.STREAM.INFO.PDNS_ZONE", reply: "_INBOX_health2.x"},
		}},
		{"primary1", []message{
			{subject: "pdns.zone.example.a", data: "forged"}, {subject: "pdns.blob." + strings.Repeat("0", 64)},
			{subject: "pdns.touch.primary.primary1.example.new"}, {subject: "pdns.sweep.primary.primary1"}, {subject: "pdns.ask.primary.primary1"},
			{subject: "pdns.confirm.primary.primary1"}, {subject: "pdns.forget.primary.primary1", data: "sec2"}, {subject: "pdns.leader.primary.primary1"},
			{subject: "pdns.coming.primary1"}, {subject: "pdns.published.primary1"}, {subject: "pdns.settled.primary1", data: "forged"}, {subject: "pdns.forgotten.primary1", data: "sec2"},
			{subject: "pdns.status.primary.primary1", header: nats.Header{"Nats-Trace-Dest": {"_INBOX_primary2.x"}}},
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
			{subject: "$JS.API.STREAM.INFO.PDNS_ZONE", reply: "_INBOX_primary2.x"},
			{subject: "$JS.API.STREAM.INFO.PDNS_ZONE", reply: "$KV.pdns_lease.health"},
		}},
	} {
		nc, refusals := g.intrude(by.id)
		_, err := nc.SubscribeSync("_INBOX_" + by.id + ".loot")
		must.OK(t, err)
		for _, m := range by.list {
			g.wantSeen(nc, refusals, m, somebody)
		}
	}
}

// wantSeen sends a message, and waits until something of it is seen.
func (g *target) wantSeen(nc *nats.Conn, refusals <-chan string, m message, by string) {
	g.t.Helper()
	before := g.picture(by)
	if m.reply == "" {
		m.reply = "_INBOX_" + nc.Opts.InboxPrefix[len("_INBOX_"):] + ".loot"
	}
	send(g.t, nc, m)
	must.OK(g.t, nc.Flush())
	for deadline := time.Now().Add(patience); len(changes(before, g.picture(by)))+len(g.heard(by)) == 0; {
		if time.Now().After(deadline) {
			g.t.Fatalf("not seen: %s", m)
		}
	}
	select {
	case r := <-refusals:
		g.t.Fatal(r)
	default:
	}
}
