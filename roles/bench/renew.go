package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

const (
	renewRounds = 400

	// renewPause is between two edits: those of people and their programs come one by one.
	renewPause = 20 * time.Millisecond

	week = 7 * 24 * time.Hour
)

// renew: one record of a small zone is changed, as in latency, while nothing else happens and while the signatures of
// many zones are renewed: they were made a week ago, and PowerDNS makes them anew now.
func renew(ctx context.Context, b *bench, zones int) error {
	fmt.Printf("One record of a small zone changed while the signatures of %d zones are renewed: from the API's answer to the new answer, ms; secondaries: %s\n", zones, b.backends())
	b.Primary.SetClock(-week)
	if err := b.Primary.Restart(ctx); err != nil {
		return err
	}
	api, err := b.Client()
	if err != nil {
		return err
	}
	live := zone.MustParseName("live.example")
	if err := create(ctx, api, live, smallZone(live)); err != nil {
		return err
	}
	if err := b.sign(ctx, api, zones); err != nil {
		return err
	}
	quiet, err := b.changes(ctx, api, live, 0)
	if err != nil {
		return err
	}
	b.Primary.SetClock(0)
	if err := b.restartBoth(ctx); err != nil { // the role looks at all signatures when it starts
		return err
	}
	before, begin, err := b.published(time.Now())
	if err != nil {
		return err
	}
	beside, err := b.changes(ctx, api, live, renewRounds)
	if err != nil {
		return err
	}
	after, end, err := b.published(time.Now())
	if err != nil {
		return err
	}
	if int(after)-renewRounds >= zones {
		return errors.New("all signatures were renewed before the measurement was over: it takes more zones")
	}
	header("", "p50", "p90", "p99", "max")
	row("nothing else happens", quantiles(quiet)...)
	row("beside the renewals", quantiles(beside)...)
	row("  ratio", ratios(beside, quiet)...)
	row("zones renewed meanwhile, 1/s", fmt.Sprintf("%.0f", (after-before-renewRounds)/end.Sub(begin).Seconds()))
	fmt.Println()
	return nil
}

// changes changes the zone time and again.
func (b *bench) changes(ctx context.Context, api *powerdns.Client, name zone.Name, round int) (all []time.Duration, err error) {
	for range renewRounds {
		round++
		took, err := b.oneChange(ctx, api, name, round)
		if err != nil {
			return nil, err
		}
		all = append(all, took...)
		time.Sleep(renewPause)
	}
	return all, nil
}

// published is how many states the primary role has published since it was started, and when that was asked.
func (b *bench) published(now time.Time) (float64, time.Time, error) {
	n, err := b.metric(fleet.Primary, `pdns_distribute_primary_jobs_total{result="published"}`)
	return n, now, err
}

// sign makes signed zones in the primary's database, copies of one, and returns when all are served.
func (b *bench) sign(ctx context.Context, api *powerdns.Client, zones int) error {
	names := make([]zone.Name, zones)
	for i := range names {
		names[i] = zone.MustParseName(fmt.Sprintf("renew%d.example", i))
	}
	if err := api.CreateZoneWith(ctx, powerdns.ZoneSpec{Name: names[0], Kind: powerdns.Native, RRsets: smallZone(names[0]), DNSSEC: true, APIRectify: true}); err != nil {
		return err
	}
	return b.copies(ctx, "renew", names)
}

// copies copies the first of the zones in the primary's database, and returns when all are served. Nobody waits for
// these.
func (b *bench) copies(ctx context.Context, prefix string, names []zone.Name) error {
	_, err := b.Primary.SQL(ctx, fmt.Sprintf(`BEGIN;
		CREATE TEMP TABLE copy AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %[2]d) SELECT '%[1]s' || i || '.example' AS name FROM n;
		INSERT INTO domains (name, type) SELECT name, 'NATIVE' FROM copy;
		INSERT INTO records (domain_id, name, type, content, ttl, prio, disabled, ordername, auth)
			SELECT d.id, replace(r.name, o.name, d.name), r.type, r.content, r.ttl, r.prio, r.disabled, r.ordername, r.auth
			FROM copy JOIN domains d USING (name), domains o JOIN records r ON r.domain_id = o.id WHERE o.name = '%[1]s0.example';
		INSERT INTO cryptokeys (domain_id, flags, active, published, content)
			SELECT d.id, k.flags, k.active, k.published, k.content
			FROM copy JOIN domains d USING (name), domains o JOIN cryptokeys k ON k.domain_id = o.id WHERE o.name = '%[1]s0.example';
		COMMIT;`, prefix, len(names)-1))
	if err != nil {
		return err
	}
	if err := b.restartBoth(ctx); err != nil { // PowerDNS looks for new zones, and the role sweeps
		return err
	}
	if missing, err := b.awaitAll(ctx, names); err != nil || missing > 0 {
		return errors.Join(err, fmt.Errorf("%d of %d copied zones are not served", missing, len(names)))
	}
	return nil
}

// restartBoth restarts the primary PowerDNS and the role beside it.
func (b *bench) restartBoth(ctx context.Context) error {
	if err := b.StopRole(fleet.Primary); err != nil {
		return err
	}
	if err := b.Primary.Restart(ctx); err != nil {
		return err
	}
	return b.StartRole(ctx, fleet.Primary)
}
