package installation

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
	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/roletest"
)

// Stolen nodes at one broker of a cluster, victims at another: what a single broker refuses, routes do not let through.
// Package broker tries the same at length at one broker.
func TestStolenNodesInACluster(t *testing.T) {
	must.NotShort(t)
	c := startCluster(t)
	c.wantReplicated()
	primary, ns2 := c.at("primary1", 0), c.at("ns2", 1)
	js, err := jetstream.New(c.mustDial("primary1", c.Brokers[0]))
	must.OK(t, err)
	roletest.PublishState(t, primary, roletest.Named("a"))
	for _, id := range []string{"ns1", "ns2"} {
		must.OK(t, primary.ProvisionFeed(t.Context(), id))
	}
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
	for _, id := range []string{"primary1", "ns2", "proxy1", "health1"} {
		must.OK(t, c.at(id, 1).PublishStatus(t.Context(), []byte(`{}`)))
	}
	heard := make(chan string, 1000)
	hear := func(kind string) func(string, []byte) {
		return func(node string, notice []byte) { heard <- fmt.Sprintf("%s of %s: %.80s", kind, node, notice) }
	}
	stop, err := c.at("health1", 1).SubscribeApplied(t.Context(), hear("applied"))
	must.OK(t, err)
	defer stop()
	stop, err = c.at("proxy1", 1).SubscribeSettled(t.Context(), func(notice []byte) { heard <- "settled: " + string(notice) })
	must.OK(t, err)
	defer stop()
	stop, err = ns2.SubscribeCheckpoint(t.Context(), hear("checkpoint"))
	must.OK(t, err)
	defer stop()
	stop, err = ns2.SubscribeComing(t.Context(), func(name zone.Name) { heard <- "coming: " + name.String() })
	must.OK(t, err)
	defer stop()

	before := picture(t, js)
	for _, id := range []string{"ns1", "proxy1", "health1"} {
		for _, from := range c.Brokers[1:] { // none that the primary is at
			c.attack(id, from)
		}
	}
	if after := picture(t, js); after != before {
		t.Errorf("the broker had\n%s\nand has\n%s", before, after)
	}
	select {
	case what := <-heard:
		t.Errorf("somebody hears %s", what)
	default:
	}
}

// at connects a node to one of the brokers.
func (c cluster) at(id string, n int) *broker.Conn {
	c.t.Helper()
	cfg := c.config(c.node(*c.found(id)))
	cfg.Broker.URLs = []string{"tls://" + c.Brokers[n]}
	conn := c.connect(cfg)
	ctx, cancel := context.WithTimeout(c.t.Context(), must.Patience)
	defer cancel()
	must.OK(c.t, conn.Wait(ctx))
	return conn
}

func (c cluster) found(id string) *member {
	c.t.Helper()
	r, err := readRegister(c.Dir)
	must.OK(c.t, err)
	return r.find(id)
}

func (c cluster) node(m member) initNode {
	c.t.Helper()
	r, err := readRegister(c.Dir)
	must.OK(c.t, err)
	return r.node(m)
}

// attack sends what no stolen node may send, plainly and as where answers to what it may send are to go, and returns
// when the broker is through with it.
func (c cluster) attack(id, address string) {
	c.t.Helper()
	nc := c.mustDial(id, address)
	forbidden := []string{
		"pdns.zone.example.a", "pdns.blob." + strings.Repeat("0", 64), "pdns.status.primary.primary1", "pdns.status.secondary.ns2", "pdns.status.health.health9",
		"pdns.touch.primary.primary1.example.a", "pdns.touch.proxy.proxy9.example.a", "pdns.touch.health.health9.example.a", "pdns.sweep.proxy.proxy9",
		"pdns.applied.ns2", "pdns.checked.ns2", "pdns.settled.primary1", "pdns.coming.primary1", "pdns.checkpoint.primary1", "pdns.forgotten.primary1",
		"pdns.confirm.primary.primary1", "pdns.forget.primary.primary1", "pdns.leader.primary.primary1", "pdns.check.health9.ns2",
		"$JS.API.STREAM.DELETE.PDNS_ZONE", "$JS.API.STREAM.PURGE.PDNS_ZONE", "P.API.STREAM.DELETE.PDNS_ZONE", "P.API.CONSUMER.DELETE.PDNS_ZONE.ns2",
		"P.API.CONSUMER.MSG.NEXT.PDNS_ZONE.ns2", "P.API.CONSUMER.RESET.PDNS_ZONE.ns2", "P.API.CONSUMER.CREATE.PDNS_ZONE.ns2",
		"$JS.ACK.PDNS_TOUCH.primary.PDNS_ZONE." + id + ".1.1.1", "$JS.ACK.PDNS_ZONE.ns2.1.1.1.1.1", "$JS.ACK._.X.PDNS_ZONE.ns2.1.1.1.1.0.x",
	}
	allowed := map[string][]string{
		"ns1":     {"P.API.CONSUMER.INFO.PDNS_ZONE.ns1", "$JS.ACK.PDNS_ZONE.ns1.1.9999.1.1.0"},
		"proxy1":  {"P.API.DIRECT.GET.PDNS_STATUS"},
		"health1": {"P.API.STREAM.INFO.PDNS_ZONE", "P.API.CONSUMER.LIST.PDNS_ZONE", "P.API.DIRECT.GET.PDNS_STATUS"},
	}
	for _, subject := range forbidden {
		must.OK(c.t, nc.PublishMsg(&nats.Msg{Subject: subject, Reply: "_INBOX_" + id + ".loot", Data: []byte(`{"filter_subject":"none"}`)}))
		must.OK(c.t, nc.PublishMsg(&nats.Msg{Subject: subject, Header: nats.Header{"Pdns-Notice": {"1"}}, Data: []byte("+NXT")}))
		for _, request := range allowed[id] {
			must.OK(c.t, nc.PublishMsg(&nats.Msg{Subject: request, Reply: subject}))
		}
	}
	// The last of what it may do is answered when all before it was looked at.
	if _, err := nc.Request(allowed[id][0], nil, must.Patience); err != nil {
		c.t.Fatalf("%s: %v", id, err)
	}
}

// picture is what the streams hold, and how their consumers are set and have come. It leaves out the messages and
// consumers by which the brokers prove themselves meanwhile.
func picture(t *testing.T, js jetstream.JetStream) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"PDNS_TOUCH", "PDNS_ZONE", "PDNS_BLOB", "PDNS_STATUS"} {
		stream, err := js.Stream(t.Context(), name)
		must.OK(t, err)
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(">"))
		must.OK(t, err)
		if state := info.State; name == "PDNS_TOUCH" || name == "PDNS_ZONE" { // where no proof leaves anything
			fmt.Fprintf(&all, "%s: %d to %d, %d messages\n", name, state.FirstSeq, state.LastSeq, state.Msgs)
		}
		for _, subject := range slices.Sorted(maps.Keys(info.State.Subjects)) {
			last, err := stream.GetLastMsgForSubject(t.Context(), subject)
			must.OK(t, err)
			if !strings.HasPrefix(subject, "pdns.status.broker.") && !strings.HasSuffix(string(last.Data), "proves itself") {
				fmt.Fprintf(&all, "%s: %s, %d messages, the last is %d: %.40q\n", name, subject, info.State.Subjects[subject], last.Sequence, last.Data)
			}
		}
		for consumer := range stream.ListConsumers(t.Context()).Info() {
			if strings.HasPrefix(consumer.Name, "PROBE_broker") {
				continue
			}
			config, err := json.Marshal(consumer.Config)
			must.OK(t, err)
			fmt.Fprintf(&all, "  %s, made %s, at %d: %s\n", consumer.Name, consumer.Created.Format(time.RFC3339Nano), consumer.AckFloor.Stream, config)
		}
	}
	return all.String()
}
