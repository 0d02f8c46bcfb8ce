package broker_test

import (
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
)

// Whoever looks with the nats tool reads what each stream and consumer is.
func TestObjectsDescribeThemselves(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	js := primary.JetStream()
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
	for _, name := range []string{"PDNS_TOUCH", "PDNS_ZONE", "PDNS_BLOB", "PDNS_STATUS", "KV_pdns_lease"} {
		stream, err := js.Stream(t.Context(), name)
		must.OK(t, err)
		c := stream.CachedInfo().Config
		for _, key := range []string{"writes", "reads", "lost"} {
			if c.Description == "" || c.Metadata["pdns-distribute."+key] == "" {
				t.Errorf("stream %s: %q, %v", name, c.Description, c.Metadata)
			}
		}
	}
	for name, want := range map[string][3]string{
		"sec1": {"feed of secondary sec1", "sec1", "secondary"}, "WATCH_health1": {"health role health1", "health1", "health"},
	} {
		consumer, err := js.Consumer(t.Context(), "PDNS_ZONE", name)
		must.OK(t, err)
		c := consumer.CachedInfo().Config
		if !strings.Contains(c.Description, want[0]) || c.Metadata["pdns-distribute.node"] != want[1] || c.Metadata["pdns-distribute.role"] != want[2] {
			t.Errorf("consumer %s: %q, %v", name, c.Description, c.Metadata)
		}
	}
}

// What an earlier version made had other descriptions and no metadata. It is no deviation, and is not made anew.
func TestFormerDescriptionsAreNoDeviation(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	js := primary.JetStream()
	for _, id := range []string{"sec1", "sec2"} {
		must.OK(t, primary.ProvisionFeed(t.Context(), id))
	}
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
	for _, name := range []string{"PDNS_TOUCH", "PDNS_ZONE", "PDNS_BLOB", "PDNS_STATUS", "KV_pdns_lease"} {
		stream, err := js.Stream(t.Context(), name)
		must.OK(t, err)
		former := stream.CachedInfo().Config
		former.Description, former.Metadata = "as it was", nil
		_, err = js.UpdateStream(t.Context(), former)
		must.OK(t, err)
	}
	for stream, consumers := range map[string][]string{"PDNS_ZONE": {"sec1", "sec2", "WATCH_health1"}, "PDNS_TOUCH": {"primary"}} {
		for _, name := range consumers {
			consumer, err := js.Consumer(t.Context(), stream, name)
			must.OK(t, err)
			former := consumer.CachedInfo().Config
			former.Description, former.Metadata = "a node", nil
			_, err = js.UpdateConsumer(t.Context(), stream, former)
			must.OK(t, err)
		}
	}
	before := created(t, primary)
	ensure(t, primary)
	must.OK(t, primary.ProvisionFeed(t.Context(), "sec1"))
	must.OK(t, primary.ProvisionWatch(t.Context(), "health1"))
	found, err := primary.RepairFeeds(t.Context())
	must.OK(t, err)
	if after := created(t, primary); len(found) != 0 || !after["sec1"].Equal(before["sec1"]) || !after["sec2"].Equal(before["sec2"]) {
		t.Errorf("%v; made at %v, before at %v", found, after, before)
	}
	consumer, err := js.Consumer(t.Context(), "PDNS_ZONE", "sec1")
	must.OK(t, err)
	if is := consumer.CachedInfo().Config.Description; is != "a node" {
		t.Errorf("the description became %q: an operator's own would be lost", is)
	}
}
