package primary

import (
	"testing"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/node"
	"pdns-distribute/roles/roletest"
)

// What a primary believes of the stream is put right when it reads the stream: what it has missed, and what is not
// there.
func TestStreamIsReadAnew(t *testing.T) {
	conn, _ := roletest.StartBroker(t)
	p := newTestPrimary(&node.Node{Conn: conn, Log: zerolog.Nop()})
	publish := func(n int) uint64 {
		seq, err := conn.PublishState(t.Context(), roletest.Numbered(n), nil, broker.StateHeader{Kind: broker.KindZone, Serial: uint32(n)}, 0)
		must.OK(t, err)
		return seq
	}
	seq := publish(1)
	publish(2)
	p.index.Set(roletest.Numbered(1), seq, broker.StateHeader{Kind: broker.KindZone, Serial: 1})
	p.index.Set(roletest.Numbered(3), 2, broker.StateHeader{Kind: broker.KindZone, Serial: 3}) // it is not there
	zones, err := p.readStream(t.Context())
	must.OK(t, err)
	if n := zones.Sum().Zones; n != 2 {
		t.Errorf("%d zones are there", n)
	}
	for n, stands := range map[int]bool{1: true, 2: true, 3: false} {
		if is := p.index.Get(roletest.Numbered(n)).Stands(); is != stands {
			t.Errorf("zone %d is believed to be there: %v", n, is)
		}
	}
	for n, waits := range map[int]bool{1: false, 2: false, 3: true} {
		if is := p.jobs.Has(roletest.Numbered(n)); is != waits {
			t.Errorf("zone %d is to be published anew: %v", n, is)
		}
	}
}
