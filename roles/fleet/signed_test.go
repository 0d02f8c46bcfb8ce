package fleet_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// forger has all of the broker: it publishes what it likes, with the rights of the primary role, but without its key.
type forger struct {
	*harness
	conn *broker.Conn
}

func newForger(i *harness) *forger {
	i.t.Helper()
	i.attacked = true
	return &forger{harness: i, conn: i.connect(fleet.Primary)}
}

// published is what the broker has of the zone.
func (f *forger) published(name zone.Name) broker.StateMsg {
	f.t.Helper()
	m, err := f.conn.LastState(f.ctx, name)
	must.OK(f.t, err)
	return m
}

func (f *forger) publish(name zone.Name, data []byte, header broker.StateHeader) {
	f.t.Helper()
	seq := uint64(0)
	if m, err := f.conn.LastState(f.ctx, name); err == nil {
		seq = m.Seq
	}
	_, err := f.conn.PublishState(f.ctx, name, data, header, seq)
	must.OK(f.t, err)
}

// unsigned is the state in a signed one.
func (f *forger) unsigned(data []byte) []byte {
	f.t.Helper()
	state, err := zone.Verify(data, nil)
	must.OK(f.t, err)
	return state
}

// Nothing that was not signed for just this zone, or is older than what it replaces, is served, whoever has the broker.
func TestForgedStates(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	f := newForger(i)
	foreign, err := zone.NewSignKey()
	must.OK(t, err)

	forgeries := map[string]func(name, other zone.Name, now, old broker.StateMsg){
		"unsigned": func(name, _ zone.Name, now, _ broker.StateMsg) {
			f.publish(name, f.unsigned(now.Data), now.Header)
		},
		"foreign": func(name, _ zone.Name, now, _ broker.StateMsg) { // key
			f.publish(name, foreign.Sign(f.unsigned(now.Data)), now.Header)
		},
		"altered": func(name, _ zone.Name, now, _ broker.StateMsg) {
			now.Data[len(now.Data)-1] ^= 1
			f.publish(name, now.Data, now.Header)
		},
		"exchanged": func(name, other zone.Name, _, _ broker.StateMsg) { // properly signed, for another zone
			m := f.published(other)
			f.publish(name, m.Data, m.Header)
		},
		"replayed": func(name, _ zone.Name, _, old broker.StateMsg) {
			f.publish(name, old.Data, old.Header)
		},
		"younger": func(name, _ zone.Name, now, old broker.StateMsg) { // replayed, with a later time in its header
			old.Header.Published = now.Header.Published.Add(time.Second)
			f.publish(name, old.Data, old.Header)
		},
		"ahead": func(name, _ zone.Name, now, _ broker.StateMsg) { // so that the primary dates its own ones even later
			now.Header.Published = now.Header.Published.AddDate(100, 0, 0)
			f.publish(name, f.unsigned(now.Data), now.Header)
		},
		"unreadable": func(name, _ zone.Name, now, _ broker.StateMsg) {
			now.Header.Published = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
			f.publish(name, now.Data, now.Header)
		},
		"buried": func(name, _ zone.Name, now, _ broker.StateMsg) { // by a tombstone of the forger's own
			at := now.Header.Published.Add(time.Second)
			data, err := zone.NewTombstone(name, at).MarshalBinary()
			must.OK(t, err)
			f.publish(name, foreign.Sign(data), broker.StateHeader{Kind: broker.KindGone, Published: at.Truncate(time.Millisecond)})
		},
	}
	other := zone.MustParseName("other.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(other)))
	old := map[zone.Name]broker.StateMsg{}
	zoneOf := func(forgery string) zone.Name { return zone.MustParseName(forgery + ".example") }
	for forgery := range forgeries {
		must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(zoneOf(forgery), text(zoneOf(forgery), "old")), "")))
	}
	i.eventually("created", i.allSame)
	for forgery := range forgeries {
		name := zoneOf(forgery)
		old[name] = f.published(name)
		must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, "true")}))
	}

	// Zones that were deleted: with one the deletion of a zone that is there again is played back, with the other the
	// zone.
	gone, again := zone.MustParseName("gone.example"), zone.MustParseName("again.example")
	for _, name := range []zone.Name{gone, again} {
		must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name)))
	}
	i.eventually("changed", i.allSame)
	old[gone] = f.published(gone)
	for _, name := range []zone.Name{gone, again} {
		must.OK(t, i.api.DeleteZone(i.ctx, name))
	}
	i.eventually("deleted", i.allSame)
	old[again] = f.published(again)
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(again, text(again, "true"))))
	i.eventually("made again", i.allSame)

	must.OK(t, i.StopRole(fleet.Primary)) // it would put things right
	for forgery, forge := range forgeries {
		forge(zoneOf(forgery), other, f.published(zoneOf(forgery)), old[zoneOf(forgery)])
	}
	for _, name := range []zone.Name{gone, again} {
		f.publish(name, old[name].Data, old[name].Header)
	}
	for name := range old {
		i.eventually("it shows", func(context.Context) error { return i.failing("ns1", name) })
		i.eventually("it shows", func(context.Context) error { return i.failing("ns2", name) })
	}
	i.alarm("refused", "ns1")
	must.OK(t, i.allSame(i.ctx))

	for _, s := range i.Secondaries { // nor after a restart
		must.OK(t, i.StopRole(s.ID))
		must.OK(t, i.StartRole(i.ctx, s.ID))
	}
	for name := range old {
		i.eventually("it shows again", func(context.Context) error { return i.failing("ns1", name) })
	}
	must.OK(t, i.allSame(i.ctx))

	must.OK(t, i.StartRole(i.ctx, fleet.Primary))
	i.eventually("ordered again", func(context.Context) error {
		_, err := i.sync(flags{"all": true})
		return err
	})
	i.eventually("nothing is left of it", func(context.Context) error { return i.untroubled() })
	must.OK(t, i.allSame(i.ctx))
	for name := range old {
		if at := f.published(name).Header.Published; time.Until(at) > time.Hour {
			t.Errorf("%s is dated %s", name, at)
		}
	}
}

// A header is not signed: whoever has the broker cannot have the primary sign a zone that is not to be distributed.
func TestForgedHeader(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{})
	f := newForger(i)
	model, internal := zone.MustParseName("model.example"), zone.MustParseName("internal.example")
	must.OK(t, i.api.CreateZoneWith(i.ctx, spec(model)))
	hidden := spec(internal)
	hidden.Kind = powerdns.Slave
	must.OK(t, i.api.CreateZoneWith(i.ctx, hidden))
	i.eventually("created", i.these(model))
	i.eventually("the touch is done with", i.untouched(f.conn, internal))

	forged := f.published(model)
	seq, err := f.conn.PublishState(f.ctx, internal, forged.Data, forged.Header, 0)
	must.OK(t, err)
	i.eventually("it shows", func(context.Context) error { return i.failing("ns1", internal) })
	_, err = i.connect(fleet.Proxy).PublishTouch(i.ctx, internal, broker.Touch{Cause: broker.Changed})
	must.OK(t, err)
	i.eventually("the touch is done with", i.untouched(f.conn, internal))
	for m := f.published(internal); m.Seq != seq; m = f.published(internal) {
		if m.Header.Kind != broker.KindGone {
			t.Fatalf("the primary published it, serial %d", m.Header.Serial)
		}
		seq = m.Seq
	}
	for _, s := range i.Secondaries {
		edge, err := s.Client()
		must.OK(t, err)
		if _, err := edge.Zone(i.ctx, internal); !errors.Is(err, powerdns.ErrNotFound) {
			t.Errorf("%s has it: %v", s.ID, err)
		}
	}
}

// set changes a setting of a role from its next start on.
func (i *harness) set(id, key, value string) {
	_, set := i.Config(id)
	set[key] = value
}

// An installation that did not sign comes to sign without a zone going away: the primary first, then the secondaries.
func TestBeginToSign(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: map[string]string{"primary.sign_key_file": "", "secondary.trusted_keys": ""}})
	must.OK(t, createMany(i.ctx, i.api, "unsigned", 5, 2))
	i.eventually("created", i.allSame)
	key, err := zone.NewSignKey()
	must.OK(t, err)
	text, err := key.MarshalPEM()
	must.OK(t, err)
	file := filepath.Join(i.Dir, "sign.key")
	must.OK(t, os.WriteFile(file, text, 0o600))

	i.set(fleet.Primary, "primary.sign_key_file", file)
	must.OK(t, i.StopRole(fleet.Primary))
	must.OK(t, i.StartRole(i.ctx, fleet.Primary))
	conn := i.connect(fleet.Primary)
	trusted := []zone.TrustedKey{key.Public()}
	i.eventually("all are signed", func(ctx context.Context) error {
		for n := range 5 {
			m, err := conn.LastState(ctx, numbered("unsigned", n))
			if err == nil {
				_, err = zone.Verify(m.Data, trusted)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})

	for _, s := range i.Secondaries {
		i.set(s.ID, "secondary.trusted_keys", key.Public().String())
		must.OK(t, i.StopRole(s.ID))
		must.OK(t, i.StartRole(i.ctx, s.ID))
	}
	name := numbered("unsigned", 3)
	must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{{Name: name, Type: "TXT", TTL: 60, Content: []string{`"signed"`}}}))
	must.OK(t, createMany(i.ctx, i.api, "signed", 3, 2))
	i.eventually("changed", i.allSame)
}
