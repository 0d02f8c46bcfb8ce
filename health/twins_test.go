package health

import (
	"fmt"
	"testing"
	"time"
)

// TestTwinsAreBounded has a node that is another one each time.
func TestTwinsAreBounded(t *testing.T) {
	twins, now := NewTwins(), time.Now()
	for round := range 2 {
		for i := range 1000 {
			twins.Hear(Sighting{Presence: Presence{Node: "ns1", Instance: fmt.Sprint(i)}, At: now.Add(time.Duration(round) * time.Second)})
		}
	}
	if n := len(twins.nodes["ns1"]); n > maxInstances {
		t.Errorf("%d instances are remembered", n)
	}
	if alarms := twins.Alarms(now.Add(2 * time.Second)); len(alarms) == 0 {
		t.Error("nobody is told of it")
	}
}
