package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
)

// requests are all that a node may send and that somebody answers, with all kinds of answers: data, refusals, empty
// ones.
func (g *target) requests(id string) []message {
	foreign := nats.Header{"Nats-Expected-Stream": {"evil"}}
	status := "pdns.status." + string(g.broker.Role(id)) + "." + id
	statuses := []message{
		{subject: status, header: foreign},
		{subject: "P.API.DIRECT.GET.PDNS_STATUS", data: `{"multi_last":["pdns.status.*.*"]}`},
		{subject: "P.API.DIRECT.GET.PDNS_STATUS", data: `{"seq":999999}`},
		{subject: "P.API.DIRECT.GET.PDNS_STATUS", data: `{"seq":1,"batch":9}`},
		{subject: "P.API.DIRECT.GET.PDNS_STATUS", data: `{"next_by_subj":">","batch":9,"max_bytes":9999}`},
	}
	touches := []message{
		{subject: "pdns.touch." + string(g.broker.Role(id)) + "." + id + ".example.b"},
		{subject: "pdns.touch." + string(g.broker.Role(id)) + "." + id + ".example.b", header: foreign},
	}
	var list []message
	switch g.broker.Role(id) {
	case broker.RoleProxy:
		list = append(append(statuses, touches...), message{subject: "pdns.sweep.proxy." + id})
	case broker.RoleHealth:
		list = append(append(statuses, touches...), g.requestsOfHealth(id)...)
	default:
		list = append(statuses[:1], g.requestsOfSecondary(id)...)
	}
	return append(list, g.legalOf(id)...)
}

func (g *target) requestsOfHealth(id string) []message {
	own := ".PDNS_ZONE.WATCH_" + id
	list := []message{
		{subject: "P.API.CONSUMER.MSG.NEXT" + own, data: "3"}, {subject: "P.API.CONSUMER.MSG.NEXT" + own, data: "nonsense"},
		{subject: "P.API.CONSUMER.MSG.NEXT" + own, data: `{"batch":9,"no_wait":true}`},
		{subject: "P.API.CONSUMER.MSG.NEXT" + own, data: `{"batch":1,"expires":1000000,"idle_heartbeat":100000}`},
		{subject: "P.API.CONSUMER.RESET" + own}, {subject: "P.API.CONSUMER.RESET" + own, data: "nonsense"}, {subject: "P.API.CONSUMER.RESET" + own, data: `{"seq":2}`},
		{subject: "P.API.$KV.pdns_lease.health", header: nats.Header{"Nats-Expected-Last-Subject-Sequence": {"999"}}, data: "forged"},
		{subject: "pdns.leader.health." + id}, {subject: "pdns.confirm.health." + id}, {subject: "pdns.forget.health." + id, data: "sec2"},
	}
	for _, stream := range []string{"PDNS_ZONE", "PDNS_TOUCH", "PDNS_BLOB", "PDNS_STATUS", "KV_pdns_lease", "evil"} {
		list = append(list, message{subject: "P.API.STREAM.INFO." + stream, data: `{"subjects_filter":">","deleted_details":true}`})
	}
	return list
}

func (g *target) requestsOfSecondary(id string) []message {
	next, ack := "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE."+id, "$JS.ACK.PDNS_ZONE."+id+".1.1.1.1.1"
	list := []message{
		{subject: "P.API.DIRECT.GET.PDNS_BLOB.pdns.blob." + strings.Repeat("0", 64)},
		{subject: next, data: "3"}, // a state, and two that are empty
		{subject: next, data: `{"batch":9,"no_wait":true}`},
		{subject: next, data: `{"batch":1,"expires":1000000,"idle_heartbeat":100000}`},
		{subject: next, data: "nonsense"},
	}
	for _, word := range append(words, "evil", `+NXT {"batch":9,"no_wait":true}`) {
		list = append(list, message{subject: ack, data: word})
	}
	return list
}

// listened are subjects that the broker or a node listens to, or that a stream stores.
func (g *target) listened() (list []string) {
	list = []string{
		"pdns.zone.example.a", "pdns.zone.evil", g.blob, "pdns.coming.primary1", "pdns.published.primary1", "pdns.settled.primary1", "pdns.forgotten.primary1", "pdns.confirm", "pdns.ask",
		"$KV.pdns_lease.health", "P.API.$KV.pdns_lease.health",
		"_INBOX_primary2.pull", "_INBOX_health2.pull", "_INBOX_sec2.pull", "_INBOX_proxy2.x",
		"$JS.API.STREAM.DELETE.PDNS_ZONE", "$JS.API.STREAM.PURGE.PDNS_ZONE", "$JS.API.CONSUMER.DELETE.PDNS_ZONE.sec2", "$JS.API.CONSUMER.RESET.PDNS_ZONE.sec2",
		"$JS.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec2", "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec2", "P.API.CONSUMER.INFO.PDNS_ZONE.sec2",
		"P.API.CONSUMER.RESET.PDNS_ZONE.sec2", "P.API.CONSUMER.RESET.PDNS_ZONE.WATCH_health2", "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.WATCH_health2",
		"$JS.API.CONSUMER.MSG.NEXT.PDNS_TOUCH.primary", "P.API.DIRECT.GET.PDNS_STATUS", "$JS.FC.PDNS_ZONE.sec2.1", "$SYS.REQ.ACCOUNT.PING", "evil",
	}
	for _, node := range []string{"sec1", "sec2", "health1", "health2"} {
		list = append(list, "pdns.applied."+node, "pdns.checked."+node, "pdns.check."+node+".sec2")
	}
	for _, sender := range []string{"secondary.sec1", "secondary.sec2", "proxy.proxy1", "proxy.proxy2", "health.health1", "health.health2", "primary.primary1"} {
		list = append(list, "pdns.status."+sender, "pdns.touch."+sender+".example.evil", "pdns.sweep."+sender, "pdns.ask."+sender,
			"pdns.leader."+sender, "pdns.confirm."+sender, "pdns.forget."+sender)
	}
	return list
}

// A node may name any subject for the answer, and the broker sends the answer there, within the account of the node. So
// it reaches neighbours in that account (see TestForgedNoticesAreIgnored), and must get nowhere else, least of all
// where the broker itself listens.
func TestStolenNodeNamesSubjectsForAnswers(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	for id, neighbour := range stolen {
		t.Run(id, func(t *testing.T) {
			g := newTarget(t)
			nc, _ := g.intrude(id)
			g.wantUnharmed(id, neighbour, nc, id, func() {
				for _, reply := range g.listened() {
					g.feedAnew(id)
					for _, m := range g.requests(id) {
						m.reply = reply
						send(t, nc, m)
					}
					g.settle(nc, g.legalOf(id)) // before the feed is taken away
				}
			})
		})
	}
}

// An answer that is addressed to where acknowledgements go would be one if it is empty, and would reach all accounts:
// the server passes that address on as it is.
func TestStolenNodeNamesAcknowledgementsForAnswers(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	for id, neighbour := range stolen {
		nc, refusals := g.intrude(id)
		g.wantUnharmed(id, neighbour, nc, id, func() {
			for _, address := range append(g.foreignAcks(), "_R_.x.y", "$JS.ACK.PDNS_ZONE.sec2.1.1.1.1.0@pdns.zone.example.a", "_GR_.x.y.z.pdns.zone.example.a") {
				for _, r := range g.requests(id) {
					r.reply = address
					send(t, nc, r)
					if got, want := receive(t, refusals), fmt.Sprintf("Permissions Violation for Publish with Reply of %q", address); !strings.HasSuffix(got, want) {
						t.Fatalf("%s: got %s, want %s", r, got, want)
					}
				}
			}
		})
	}
}

// A node that answers requests answers those that it sends itself, too, with any subject for the answer: that must not
// be a right to publish there.
func TestStolenNodeAnswersItself(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	nc, refusals := g.intrude("health1")
	sub, err := nc.SubscribeSync("pdns.leader.*.*")
	must.OK(t, err)
	list := slices.DeleteFunc(append(append(noStolenNode(), inOtherRoles("health1")...), g.apiFor("health1")...), func(m message) bool {
		return strings.ContainsAny(m.subject, "*>") || strings.Contains(m.subject, "..") || reserved(m.subject)
	})
	g.wantUnharmed("health1", "health2", nc, "answers", func() {
		for _, m := range list {
			send(t, nc, message{subject: "pdns.leader.health.health1", reply: m.subject})
			if _, err := sub.NextMsg(patience); err != nil {
				t.Fatalf("%s: %v", m.subject, err)
			}
		}
		g.wantRefused(nc, refusals, "health1", list)
	})
}

// reserved subjects are refused as those of an answer, all of $JS since nats-server 2.15.3.
func reserved(subject string) bool {
	return slices.ContainsFunc([]string{"$JS.", "_R_.", "_GR_.", "$GR."}, func(prefix string) bool { return strings.HasPrefix(subject, prefix) })
}
