package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/status"
)

// sources lays beside each other what two places say of the zones, neither of which is asked by way of a role: at a
// primary what its PowerDNS lists and what the broker holds, at a secondary what its PowerDNS lists and what it
// answers. A health role has compared all places, or has not.
func (e *examination) sources(ctx context.Context, before findings) (f findings) {
	missing := slices.ContainsFunc(before, func(c check) bool { return c.Check == "broker.stream" && c.Result != ok })
	if missing || before.failedIn("broker") || before.failedIn("powerdns") {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	switch e.role {
	case health.RolePrimary:
		f.published(ctx, e)
	case health.RoleSecondary:
		f.answered(ctx, e)
	case health.RoleHealth:
		f.compared(ctx, e)
	}
	return f
}

// connect is a connection to the first broker that can be had.
func (e *examination) connect(ctx context.Context) (v *broker.Diagnosis, err error) {
	for _, url := range e.cfg.Broker.URLs {
		v, err = broker.Diagnose(ctx, e.cfg.Broker, broker.Options{Node: e.cfg.Node.ID, Role: broker.Role(e.role), Log: zerolog.Nop()}, url)
		if err == nil {
			return v, nil
		}
	}
	return nil, err
}

const notCompared = "put right what keeps it from being compared, and run this again"

// settling is how long a change may be on its way between two places.
const settling = 1500 * time.Millisecond

// serials are zones by name.
type serials map[zone.Name]uint32

// standing are the zones that two places show otherwise, and show in the same way a moment later: others are on their
// way.
func standing(ctx context.Context, look func(context.Context) (a, b serials, err error)) (zones int, differ []zone.Name, err error) {
	a, b, err := look(ctx)
	differ = otherwise(a, b)
	if len(differ) == 0 || err != nil {
		return len(a), nil, err
	}
	select {
	case <-ctx.Done():
		return len(a), nil, ctx.Err()
	case <-time.After(settling):
	}
	x, y, err := look(ctx)
	differ = slices.DeleteFunc(otherwise(x, y), func(name zone.Name) bool {
		return !slices.Contains(differ, name) || x[name] != a[name] || y[name] != b[name]
	})
	return len(x), differ, err
}

func otherwise(a, b serials) (names []zone.Name) {
	all := maps.Clone(a)
	maps.Copy(all, b)
	for name := range all {
		x, in := a[name]
		y, is := b[name]
		if in != is || x != y {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// some names a few zones.
func some(names []zone.Name) string {
	const most = 3
	var texts []string
	for _, name := range names[:min(len(names), most)] {
		texts = append(texts, name.String())
	}
	if len(names) > most {
		texts = append(texts, fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(texts, ", ")
}

// published compares what the primary PowerDNS lists with what the broker holds.
func (f *findings) published(ctx context.Context, e *examination) {
	const name, object = "sources.published", "PowerDNS and stream"
	v, err := e.connect(ctx)
	if err != nil {
		f.warn(name, object, "not compared: "+err.Error(), notCompared)
		return
	}
	defer v.Close(ctx)
	var unanswered map[zone.Name]bool
	zones, differ, err := standing(ctx, func(ctx context.Context) (listed, held serials, err error) {
		if listed, err = e.listed(ctx, e.cfg.Primary.Distributes); err != nil {
			return nil, nil, err
		}
		held, unanswered = serials{}, map[zone.Name]bool{}
		err = v.ReadStates(ctx, func(s broker.StateMsg) {
			delete(held, s.Zone)
			delete(unanswered, s.Zone)
			if s.Header.Kind == broker.KindZone {
				held[s.Zone] = s.Header.Stored
				if s.Header.Unanswered() {
					unanswered[s.Zone] = true
				}
			}
		})
		return listed, held, err
	})
	f.unanswered(slices.Sorted(maps.Keys(unanswered)))
	queue, _ := v.Queue(ctx) // unknown: none counts as waiting
	switch {
	case err != nil:
		f.warn(name, object, "not compared: "+err.Error(), notCompared)
	case len(differ) > 0 && len(differ) <= int(queue.Touches):
		f.warn(name, object, fmt.Sprintf("%d zones are in one and not in the other, or with another serial, and %d touches wait for the primary role: %s",
			len(differ), queue.Touches, some(differ)), "run this again when the primary role has taken them")
		f.run(anywhere("status"))
	case len(differ) > 0:
		f.fail(name, object, fmt.Sprintf("%d zones are in one and not in the other, or with another serial: %s", len(differ), some(differ)),
			"if the primary role runs, have it compare them; the status names what keeps a zone from being published")
		f.run(anywhere("sync --check"), anywhere("status"))
	default:
		f.ok(name, object, "PowerDNS lists %d zones to be distributed, and the stream, read again, holds the same with the same serials", zones)
	}
}

// unanswered are signed zones with records that no secondary answers.
func (f *findings) unanswered(names []zone.Name) {
	if len(names) == 0 {
		return
	}
	f.warn("sources.unanswered", "signed zones", fmt.Sprintf(
		"%d have ALIAS or LUA records, at which secondaries answer NODATA: %s", len(names), some(names)),
		"for ALIAS, set outgoing-axfr-expand-alias=ignore-errors (4.9 or later) and resolver in pdns.conf, and restart "+
			"PowerDNS; replace LUA records by plain ones, or do not sign the zone")
}

func (e *examination) listed(ctx context.Context, counts func(powerdns.ZoneInfo) bool) (serials, error) {
	cfg := e.cfg.PowerDNS
	cfg.Timeout, cfg.ListTimeout = min(cfg.Timeout, patience), min(cfg.ListTimeout, patience)
	api, err := powerdns.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	zones, err := api.Zones(ctx)
	listed := serials{}
	for _, z := range powerdns.WithoutBatches(zones) {
		if counts(z) {
			listed[z.Name] = z.Serial
		}
	}
	return listed, err
}

// asked is how many zones are asked for over DNS.
const asked = 20

// answered compares what a secondary's PowerDNS lists with what it answers, for some zones.
func (f *findings) answered(ctx context.Context, e *examination) {
	const name, object = "sources.answered", "PowerDNS and its DNS"
	var sample []zone.Name
	all, differ, err := standing(ctx, func(ctx context.Context) (listed, answers serials, err error) {
		listed, err = e.listed(ctx, func(z powerdns.ZoneInfo) bool { return z.Kind == powerdns.Slave })
		if sample == nil {
			sample = slices.Collect(maps.Keys(listed))
			rand.Shuffle(len(sample), func(i, j int) { sample[i], sample[j] = sample[j], sample[i] })
			sample = sample[:min(len(sample), asked)]
		}
		answers = serials{}
		for _, zone := range sample {
			got, err := transfer.Probe(ctx, e.cfg.PowerDNS.DNSAddress, zone, false)
			if errors.Is(err, transfer.ErrSilent) {
				return nil, nil, err
			}
			if err == nil {
				answers[zone] = got.Serial
			}
		}
		maps.DeleteFunc(listed, func(z zone.Name, _ uint32) bool { return !slices.Contains(sample, z) })
		return listed, answers, err
	})
	switch {
	case err != nil:
		f.warn(name, object, "not compared: "+err.Error(), notCompared)
	case len(differ) > 0:
		f.fail(name, object, fmt.Sprintf("%d of %d zones are listed and not answered so: %s", len(differ), all, some(differ)),
			"see that powerdns.dns_address and powerdns.api_url are the same server, and what its log says of these zones")
		f.run(health.Alarm{Kind: health.AlarmLate, Zone: differ[0]}.Commands()...)
	default:
		f.ok(name, object, "of what it lists, %d zones were asked for, and answered with the same serials", all)
	}
}

// compared tells when the health role that leads compared all places.
func (f *findings) compared(ctx context.Context, e *examination) {
	const name, object = "sources.compared", "all nodes"
	v, err := e.connect(ctx)
	if err != nil {
		f.warn(name, object, "not known: "+err.Error(), notCompared)
		return
	}
	defer v.Close(ctx)
	words, whole, err := status.LastCompared(ctx, v.Conn, e.cfg.Health)
	switch {
	case err != nil:
		f.warn(name, object, "not known: "+err.Error(), notCompared)
	case !whole:
		f.warn(name, object, words, "start a health role where none acts; have it compare now")
		f.run(anywhere("sync --check"))
	default:
		f.ok(name, object, "%s", words)
	}
}
