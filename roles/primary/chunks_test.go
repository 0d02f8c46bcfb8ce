package primary

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/origin"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/roletest"
)

// Chunks that the broker lost are stored again, and the others left as they are.
func TestLostChunksAreRestored(t *testing.T) {
	server, z := roletest.LargeZone(t)
	conn, _ := roletest.StartBroker(t)
	c := &chunks{
		Node: &node.Node{Conn: conn, Log: zerolog.Nop()}, source: &source{origin: origin.New(nil, server.DNSAddr, 64<<20)},
	}
	state, contents := zone.NewState(z, z.Serial(), time.Now())
	if len(contents) < 3 {
		t.Fatalf("%d chunks are too few for this test", len(contents))
	}
	_, err := conn.PutBlobs(t.Context(), contents)
	must.OK(t, err)
	kept := broker.Hash(state.Chunks()[1].Hash)
	_, err = conn.CollectBlobs(t.Context(), func(h broker.Hash) bool { return h == kept }, 0)
	must.OK(t, err)
	must.OK(t, c.restore(t.Context(), state))
	for i, c := range state.Chunks() {
		if has, err := conn.HasBlob(t.Context(), c.Hash); err != nil || !has {
			t.Errorf("chunk %d is still lost: %v", i, err)
		}
	}
}
