package health

import (
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/roles/roletest"
	"pdns-distribute/roles/status"
)

// However often a node is checked, a repair that does not help is ordered after growing pauses. Another zone's is
// ordered at once, and the same zone's when it was right in between.
func TestRepairsAreOrderedAfterGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestChecker(1)
		check := func(zones ...int) (ordered int) {
			var r status.NodeReport
			r.Node = "ns1"
			c.beginRound("ns1")
			for _, n := range zones {
				c.order(health.Difference{Zone: roletest.Numbered(n)}, "ns1", &r)
			}
			ordered = len(c.repairer.orders)
			clear(c.repairer.orders)
			return ordered
		}
		orders := 0
		for end := time.Now().Add(time.Hour); time.Now().Before(end); time.Sleep(time.Second) {
			orders += check(1)
		}
		if orders < 15 || orders > 25 { // one every five minutes, after nine
			t.Errorf("within an hour the same repair was ordered %d times", orders)
		}
		if n := check(1, 2); n != 1 {
			t.Errorf("of a zone that is ordered again and a new one %d were ordered", n)
		}
		check()
		if n := check(1); n != 1 {
			t.Error("a zone that was right in between waits")
		}
	})
}
