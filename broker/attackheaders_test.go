package broker_test

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// orders are headers by which a message says more than itself to the broker.
var orders = []nats.Header{
	{"Nats-Rollup": {"all"}}, {"Nats-Rollup": {"sub"}}, {"Nats-Purge": {"all"}}, {"KV-Operation": {"PURGE"}}, {"KV-Operation": {"DEL"}},
	{"Nats-Rollup": {"all"}, "KV-Operation": {"PURGE"}}, {"Nats-Marker-Reason": {"MaxAge"}}, {"Nats-Marker-Reason": {"Purge"}, "Nats-TTL": {"1s"}},
	{"Nats-Expected-Stream": {"PDNS_ZONE"}}, {"Nats-Expected-Last-Sequence": {"1"}}, {"Nats-Expected-Last-Msg-Id": {"x"}},
	{"Nats-Expected-Last-Subject-Sequence": {"1"}, "Nats-Expected-Last-Subject-Sequence-Subject": {"pdns.status.secondary.sec2"}},
	{"Nats-Msg-Id": {"x"}}, {"Nats-TTL": {"1s"}}, {"Nats-TTL": {"never"}}, {"Nats-Incr": {"+1"}}, {"Nats-Pending-Messages": {"1"}},
	{"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {"pdns.status.secondary.sec2"}, "Nats-Schedule-TTL": {"1s"}},
	{"Nats-Schedule": {"@at 2026-01-01T00:00:00Z"}, "Nats-Schedule-Target": {"pdns.zone.example.a"}, "Nats-Schedule-Source": {"pdns.status.secondary.sec2"}},
	{"Nats-Batch-Id": {"x"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}}, {"Nats-Batch-Id": {"y"}, "Nats-Batch-Sequence": {"1"}},
	{"Nats-Fast-Batch-Id": {"x"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}},
	{"Nats-Subject": {"pdns.status.secondary.sec2"}, "Nats-Stream": {"PDNS_ZONE"}, "Nats-Sequence": {"1"}}, {"Nats-Stream-Source": {"PDNS_ZONE 1"}},
	{"Nats-Trace-Dest": {"pdns.applied.sec2"}}, {"Nats-Trace-Dest": {"_INBOX_sec2.x"}}, {"Nats-Trace-Dest": {"pdns.status.proxy.proxy2"}},
	{"Nats-Trace-Dest": {"pdns.check.health2.sec2"}, "Nats-Trace-Only": {"true"}}, {"Nats-Trace-Dest": {"pdns.settled.primary1"}, "Nats-Trace-Hop": {"1"}},
	{"Nats-Trace-Dest": {"P.API.CONSUMER.RESET.PDNS_ZONE.WATCH_health2"}}, {"Nats-Trace-Dest": {"pdns.touch.health.health2.example.evil"}},
	{"traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}, {"Accept-Encoding": {"snappy"}},
	{"Nats-Request-Info": {`{"acc":"CORE","user":"primary1"}`}}, {"Nats-Client-Info": {"{}"}}, {"Nats-No-Interest": {"1"}},
	{"Status": {"409"}, "Description": {"Consumer Deleted"}}, {"Nats-Required-Api-Level": {"0"}}, {"Nats-Pin-Id": {"x"}},
}

// What a node may send it can send with any headers, some of which are orders to the broker.
func TestStolenNodeSendsHeaders(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	for id, subjects := range map[string][]string{
		"sec1":   {"pdns.status.secondary.sec1", "$JS.ACK.PDNS_ZONE.sec1.1.1.1.1.1", "P.API.CONSUMER.INFO.PDNS_ZONE.sec1", "P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.sec1"},
		"proxy1": {"pdns.status.proxy.proxy1", "pdns.touch.proxy.proxy1.example.b", "pdns.sweep.proxy.proxy1", "P.API.DIRECT.GET.PDNS_STATUS"},
		"health1": {
			"pdns.status.health.health1", "pdns.touch.health.health1.example.b", "P.API.$KV.pdns_lease.health", "P.API.CONSUMER.RESET.PDNS_ZONE.WATCH_health1",
			"P.API.DIRECT.GET.PDNS_STATUS", "P.API.STREAM.INFO.PDNS_ZONE", "pdns.confirm.health.health1", "pdns.forget.health.health1",
		},
	} {
		nc, _ := g.intrude(id)
		g.wantUnharmed(id, "", nc, id, func() {
			for _, h := range orders {
				for _, subject := range subjects {
					send(t, nc, message{subject: subject, header: h, reply: "_INBOX_" + id + ".loot", data: "{}"})
				}
			}
		})
	}
}
