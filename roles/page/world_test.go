package page

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/status"
)

// world is an installation that a test makes up: the page reads it as it reads a health role.
type world struct {
	cfg    health.Config
	seen   map[string]health.Sighting
	feeds  []health.Feed
	alarms []health.Alarm
	index  *index.Index
	now    time.Time
	looked []zone.Name
	busy   bool
}

const thisPage = "health1"

// newWorld has so many secondaries and zones, all in order.
func newWorld(secondaries, zones int) *world {
	w := &world{
		cfg: health.Config{InactiveAfter: 30 * time.Second, CheckInterval: 15 * time.Minute, MaxLoad: 4},
		now: time.Now().UTC(), seen: map[string]health.Sighting{}, index: index.New(),
	}
	for _, node := range []struct{ id, role string }{
		{"broker1", health.RoleBroker}, {thisPage, health.RoleHealth}, {"primary1", health.RolePrimary}, {"proxy1", health.RoleProxy},
	} {
		w.put(node.id, node.role, zones)
	}
	leader := w.seen[thisPage]
	leader.Leads = true
	leader.Health.Compared = &health.Compared{At: w.now, Sources: 4*secondaries + 3, Nodes: secondaries + 1, Zones: zones}
	w.seen[thisPage] = leader
	for i := range secondaries {
		w.put(fmt.Sprintf("ns%d", i+1), health.RoleSecondary, zones)
	}
	for i := range zones {
		w.publish(uint64(i+1), zoneNumber(i))
	}
	return w
}

func zoneNumber(i int) zone.Name {
	return zone.MustParseName(fmt.Sprintf("customer-%06d.shop%d.example", i, i%1000))
}

func (w *world) publish(seq uint64, name zone.Name) {
	w.index.Set(name, seq, broker.StateHeader{
		Kind: broker.KindZone, Serial: uint32(2026112800 + seq%100), Stored: uint32(2026112800 + seq%100),
		Digest: fmt.Sprintf("%096x", seq*7919), Stable: fmt.Sprintf("%064x", seq), Published: w.now.Add(-time.Hour),
		Expires: uint32(w.now.Add(12 * 24 * time.Hour).Unix()),
	})
}

func (w *world) put(id, role string, zones int) {
	p := health.Presence{Node: id, Role: role, Zones: zones}
	p.Version, p.Started, p.Clock, p.PowerDNS = "1.8.0", w.now.Add(-50*time.Hour), w.now, "4.9.7"
	p.Host = health.Host{Name: id + ".example.net", Load: .4, Cores: 4, DiskFree: 31e9, DiskTotal: 100e9}
	if role == health.RoleSecondary {
		p.Secondary = health.SecondaryReport{
			LastApplied: w.now.Add(-3 * time.Second), LastZone: zoneNumber(0), Addresses: []string{"192.0.2.53:53"},
			SignedUntil: &health.SignedUntil{Zone: zoneNumber(0), At: w.now.Add(10 * 24 * time.Hour)},
			Checkpoint:  &health.Checkpoint{At: w.now, Signed: zones, Here: zones},
		}
	}
	w.seen[id] = health.Sighting{Presence: p, At: w.now}
}

// alter changes what a node reports.
func (w *world) alter(id string, change func(*health.Sighting)) {
	s := w.seen[id]
	change(&s)
	w.seen[id] = s
}

func (w *world) Document() status.Document {
	return status.NewDocument(health.NewBoard(w.now, w.cfg, w.seen, w.feeds), w.cfg, thisPage, w.alarms)
}

func (w *world) Prepare() { w.index.Find("", 0) }

func (w *world) Find(text string, most int) index.Found { return w.index.Find(text, most) }

func (w *world) Renewals() index.Signatures {
	zones := w.index.Remembered()
	return index.Signatures{Zones: zones, Due: zones / 5, First: zoneNumber(0), At: w.now.Add(9 * 24 * time.Hour)}
}

func (w *world) Look(_ context.Context, name zone.Name) (Zone, error) {
	if w.busy {
		return Zone{}, ErrBusy
	}
	w.looked = append(w.looked, name)
	p := w.index.Get(name)
	settled := index.NewSettled(name, p)
	z := Zone{Name: name, At: w.now, Published: p, Primary: &settled}
	for _, r := range w.Document().Nodes {
		if r.Role != health.RoleSecondary {
			continue
		}
		s := Secondary{Node: r.Node, Active: r.Active}
		if r.Active {
			s.Has = &health.Applied{
				Zone: name, Serial: settled.Serial, Digest: settled.Digest, Stable: settled.Stable, At: settled.Published,
				Expires: settled.Expires, Published: settled.Published, Gone: settled.Gone,
			}
			s.InSync = true
			s.Outside = []Outside{{Address: "192.0.2.53:53", Serial: settled.Serial, Took: 12 * time.Millisecond, Equal: true, Expires: settled.Expires}}
		}
		for _, f := range r.Failing {
			if f.Zone == name {
				s.Failing, s.InSync, s.Has.Serial = &f, false, s.Has.Serial-1
				s.Outside[0] = Outside{Address: "192.0.2.53:53", Fault: "SERVFAIL"}
			}
		}
		z.Secondaries = append(z.Secondaries, s)
	}
	return z, nil
}

// fail has so many secondaries fail with zones, in the same way.
func (w *world) fail(secondaries int) {
	for i := range secondaries {
		id := fmt.Sprintf("ns%d", i+1)
		w.alter(id, func(s *health.Sighting) {
			s.Failures = 3
			for n := range 3 {
				s.Failing = append(s.Failing, health.Failure{
					Zone: zoneNumber(n), Reason: "PowerDNS answered 500: database is locked", Since: w.now.Add(-4 * time.Minute), Attempts: 7,
				})
			}
		})
		w.alarms = append(w.alarms, health.Alarm{
			Kind: health.AlarmFailing, Role: health.RoleSecondary, Node: id, Zone: zoneNumber(0), Cause: "database-locked", Since: w.now.Add(-4 * time.Minute),
			What:   "secondary " + id + ": 3 zones fail, the first is customer-000000.shop0.example.: PowerDNS answered 500: database is locked",
			Remedy: "read the log of PowerDNS on the secondary; the zones are retried automatically",
		})
	}
}

// busyHour is the history of an hour in which zones were changed, some slowly, and some nodes were not well.
func (w *world) busyHour(h *History) {
	rows := w.Document().Nodes
	for at := w.now.Add(-time.Hour); at.Before(w.now); at = at.Add(time.Minute) {
		d := w.Document()
		minute := int(at.Unix() / 60)
		d.Alarms = nil
		for i := range d.Nodes {
			r := &d.Nodes[i]
			r.Clock, r.Seen = at, at
			if r.Role == health.RoleSecondary && (minute+7*i)%41 < 3 {
				r.State, r.Behind = health.StateBehind, uint64(minute%7*300)
			}
			if (minute+11*i)%97 == 0 {
				r.State = health.StateInactive
				d.Alarms = append(d.Alarms, health.Alarm{
					Kind: health.AlarmInactive, Role: r.Role, Node: r.Node, Since: at,
					What: r.Role + " " + r.Node + ": no heartbeat for 30s; excluded from sync waits", Remedy: "start the node",
				})
			}
		}
		h.Observe(at, d)
		for n := range 3 + minute%5 {
			name := zoneNumber((minute*5 + n) % 1000)
			cause, by := "changed", "proxy proxy1"
			if n == 0 {
				cause, by = "renew", ""
			}
			h.Published(at, Change{Zone: name, At: at, Serial: uint32(2026112800 + n), Cause: cause, By: by, Background: n == 0})
			for i, r := range rows {
				if r.Role == health.RoleSecondary {
					after := time.Duration(60+i*13%140+minute%9*25) * time.Millisecond
					h.Served(at.Add(after), r.Node, health.Applied{Zone: name, Published: at, Serial: uint32(2026112800 + n)})
				}
			}
		}
	}
	h.Observe(w.now, w.Document())
}

// serve answers for the world until the test ends.
func (w *world) serve(t testing.TB, h *History) string {
	t.Helper()
	s := httptest.NewServer(New(thisPage, w, h, zerolog.Nop()).Handler())
	t.Cleanup(s.Close)
	return s.URL
}
