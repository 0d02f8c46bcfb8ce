package primary

import (
	"testing"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/roletest"
)

// Whoever floods the queue with orders to sweep has no more remembered; one that is delivered again takes no second
// place.
func TestSweepOrdersAreBounded(t *testing.T) {
	primary, _ := roletest.StartBroker(t)
	for n := range maxSweepOrders + 1 {
		_, err := primary.PublishTouch(t.Context(), roletest.Numbered(n), broker.Touch{Cause: broker.Ordered, Again: broker.ToAll})
		must.OK(t, err)
	}
	orders := roletest.InHand(t, roletest.TouchesOf(primary))
	var o sweepOrders
	var last broker.TouchMsg
	for n := range maxSweepOrders {
		last = roletest.Receive(t, orders)
		if !o.add(last) {
			t.Errorf("there is no room for order %d", n)
		}
	}
	beyond := roletest.Receive(t, orders)
	if o.add(beyond) || !o.add(last) {
		t.Error("one more is kept, or one that is known is not")
	}
	if taken := o.take(); len(taken) != maxSweepOrders || !o.add(beyond) {
		t.Errorf("%d orders were taken", len(taken))
	}
}
