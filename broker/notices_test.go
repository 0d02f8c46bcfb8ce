package broker_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// Every secondary hears of what is coming, also after the broker was away; what is no name is not passed on.
func TestComing(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	heard := make(chan string, 10)
	sec1, sec2 := b.Connect("sec1"), b.Connect("sec2")
	for id, c := range map[string]*broker.Conn{"sec1": sec1, "sec2": sec2} {
		stop, err := c.SubscribeComing(t.Context(), func(name zone.Name) { heard <- id + " " + name.String() })
		must.OK(t, err)
		defer stop()
	}
	tell := func(name string) {
		t.Helper()
		must.OK(t, primary.NATS().PublishMsg(&nats.Msg{Subject: "pdns.coming.primary1", Header: nats.Header{"Pdns-Notice": {"1"}}, Data: []byte("no name")}))
		must.OK(t, primary.PublishComing(zone.MustParseName(name)))
		got := map[string]bool{receive(t, heard): true, receive(t, heard): true}
		if !got["sec1 "+name+"."] || !got["sec2 "+name+"."] {
			t.Errorf("heard %v", got)
		}
	}
	tell("a.example")
	restart(t, stopAndStart(b), primary, sec1, sec2)
	for _, c := range []*broker.Conn{sec1, sec2} { // their subscriptions are renewed
		must.OK(t, c.NATS().Flush())
	}
	tell("b.example")
}

// Every secondary hears which states are news; what is none is not passed on.
func TestPublished(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	heard := make(chan string, 10)
	for _, id := range []string{"sec1", "sec2"} {
		stop, err := b.Connect(id).SubscribePublished(t.Context(), func(name zone.Name, seq uint64) {
			heard <- fmt.Sprint(id, " ", name, " ", seq)
		})
		must.OK(t, err)
		defer stop()
	}
	for _, strange := range []string{"", "1234567", "12345678", "12345678no name"} {
		must.OK(t, primary.NATS().PublishMsg(&nats.Msg{
			Subject: "pdns.published.primary1", Header: nats.Header{"Pdns-Notice": {"1"}}, Data: []byte(strange),
		}))
	}
	must.OK(t, primary.PublishPublished(zone.MustParseName("a.example"), 1<<40+7))
	got := map[string]bool{receive(t, heard): true, receive(t, heard): true}
	if !got["sec1 a.example. 1099511627783"] || !got["sec2 a.example. 1099511627783"] {
		t.Errorf("heard %v", got)
	}
}

// Every secondary hears the checkpoints of all primaries, and who they say they are from; what is too long is not
// passed on.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	heard := make(chan string, 10)
	for _, id := range []string{"sec1", "sec2"} {
		stop, err := b.Connect(id).SubscribeCheckpoint(t.Context(), func(node string, signed []byte) {
			heard <- id + " " + node + " " + string(signed)
		})
		must.OK(t, err)
		defer stop()
	}
	must.OK(t, primary.PublishCheckpoint(make([]byte, 10_000)))
	must.OK(t, primary.NATS().Publish("pdns.checkpoint.NO", []byte("no node")))
	must.OK(t, primary.PublishCheckpoint([]byte("signed")))
	got := map[string]bool{receive(t, heard): true, receive(t, heard): true}
	if !got["sec1 primary1 signed"] || !got["sec2 primary1 signed"] {
		t.Errorf("heard %v", got)
	}
}
