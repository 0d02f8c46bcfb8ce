package broker_test

import (
	"testing"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
)

// Every secondary hears of what is coming, also after the broker was away; what is no name is not passed on.
func TestComing(t *testing.T) {
	b, primary := start(t)
	heard := make(chan string, 10)
	sec1, sec2 := b.Connect("sec1"), b.Connect("sec2")
	for id, c := range map[string]*broker.Conn{"sec1": sec1, "sec2": sec2} {
		stop, err := c.SubscribeComing(t.Context(), func(name zone.Name) { heard <- id + " " + name.String() })
		must(t, err)
		defer stop()
	}
	tell := func(name string) {
		t.Helper()
		must(t, primary.NATS().Publish("pdns.coming", []byte("no name")))
		must(t, primary.PublishComing(zone.MustParseName(name)))
		got := map[string]bool{receive(t, heard): true, receive(t, heard): true}
		if !got["sec1 "+name+"."] || !got["sec2 "+name+"."] {
			t.Errorf("heard %v", got)
		}
	}
	tell("a.example")
	restart(t, stopAndStart(b), primary, sec1, sec2)
	for _, c := range []*broker.Conn{sec1, sec2} { // their subscriptions are renewed
		must(t, c.NATS().Flush())
	}
	tell("b.example")
}
