package broker_test

import (
	"fmt"
	"testing"
	"time"
)

func TestDbg(t *testing.T) {
	b, primary := start(t)
	sec := b.Connect("sec1")
	publish(t, primary, "a.example", "a")
	flow := make(chan error, 100)
	got, _ := feed(t, sec, func(err error) { flow <- err })
	receive(t, flow)
	must(t, primary.ProvisionFeed(t.Context(), "sec1"))
	must(t, receive(t, flow))
	a := receive(t, got)
	must(t, a.Nak(time.Millisecond))
	a = receive(t, got)
	must(t, a.InProgress())
	must(t, a.Ack())
	publish(t, primary, "b.example", "b")
	must(t, receive(t, got).Ack())
	eventually(t, func() bool { return feedOf(t, primary, "sec1").Behind() == 0 })
	if !feedOf(t, primary, "sec1").Pulling {
		begun := time.Now()
		i := 0
		for !feedOf(t, primary, "sec1").Pulling {
			i++
			if time.Since(begun) > 20*time.Second {
				break
			}
		}
		publish(t, primary, "c.example", "c")
		must(t, receive(t, got).Ack())
		fmt.Println("not pulling for", time.Since(begun), i)
	}
}
