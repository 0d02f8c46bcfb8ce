package health

import (
	"fmt"
	"testing"
	"time"
)

// TestDuplicateNodesAreBounded has a node that is another one each time.
func TestDuplicateNodesAreBounded(t *testing.T) {
	duplicates, now := NewDuplicateNodes(), time.Now()
	for round := range 2 {
		for i := range 1000 {
			duplicates.See(Sighting{Presence: Presence{Node: "ns1", Process: Process{Instance: fmt.Sprint(i)}}, At: now.Add(time.Duration(round) * time.Second)})
		}
	}
	if n := len(duplicates.nodes["ns1"]); n > maxInstances {
		t.Errorf("%d instances are remembered", n)
	}
	if alarms := duplicates.Alarms(now.Add(2 * time.Second)); len(alarms) == 0 {
		t.Error("there is no alarm")
	}
}
