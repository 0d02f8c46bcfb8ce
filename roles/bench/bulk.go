package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

const (
	bulkZones   = 2000
	bulkClients = 8
)

// bulk: many small zones are created by several clients; how many a second, until the last is served everywhere.
func bulk(ctx context.Context, b *bench) error {
	fmt.Printf("%d small zones created by %d clients, zones/s; secondaries: %s\n", bulkZones, bulkClients, b.backends())
	names := make([]zone.Name, bulkZones)
	for i := range names {
		names[i] = zone.MustParseName(fmt.Sprintf("bulk%04d.example", i))
	}
	api, err := b.Client()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := each(ctx, names, func(ctx context.Context, name zone.Name) error {
		return create(ctx, api, name, smallZone(name))
	}); err != nil {
		return err
	}
	created := rate(begin)
	missing, err := b.awaitAll(ctx, names)
	if err != nil {
		return err
	}
	row("pdns-distribute, until all are served", rate(begin))
	row("  of it: created at the API", created)
	row("  missing at the end", fmt.Sprint(missing))
	return b.bulkAlone(ctx, names)
}

// bulkAlone measures what PowerDNS does alone: creating at a primary, then create and transfer at each secondary.
func (b *bench) bulkAlone(ctx context.Context, names []zone.Name) error {
	straight, err := b.Primary.Client()
	if err != nil {
		return err
	}
	begin := time.Now()
	other := make([]zone.Name, len(names))
	for i := range other {
		other[i] = zone.MustParseName(fmt.Sprintf("alone%04d.example", i))
	}
	if err := b.StopRole(fleet.Primary); err != nil { // its sweeps must not see these zones
		return err
	}
	if err := each(ctx, other, func(ctx context.Context, name zone.Name) error {
		return create(ctx, straight, name, smallZone(name))
	}); err != nil {
		return err
	}
	creating := time.Since(begin)
	row("reference: PowerDNS primary alone", rate(begin))
	for _, s := range b.alone {
		if len(b.alone) == 1 {
			break // is measured below
		}
		begin := time.Now()
		if err := takeIn(ctx, s, b.Primary, other); err != nil {
			return err
		}
		row("reference: create + AXFR alone, "+string(s.Backend), rate(begin))
	}
	begin = time.Now()
	g, gctx := errgroup.WithContext(ctx)
	for _, s := range b.alone { // the zones that the primary has already
		g.Go(func() error { return takeIn(gctx, s, b.Primary, names) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	row("reference: create + AXFR, all secondaries at once", rate(begin))
	row("  this and the primary, on these cores", rate(begin.Add(-creating)))
	fmt.Println()
	return nil
}

func takeIn(ctx context.Context, s, primary *local.Server, names []zone.Name) error {
	return each(ctx, names, func(ctx context.Context, name zone.Name) error { return follow(ctx, s, primary, name) })
}

// each runs do for all names, by several clients.
func each(ctx context.Context, names []zone.Name, do func(context.Context, zone.Name) error) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range bulkClients {
		g.Go(func() error {
			for i := next.Add(1) - 1; int(i) < len(names); i = next.Add(1) - 1 {
				if err := do(ctx, names[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// awaitAll waits until every secondary has as many zones as there are names, and counts those that it does not serve.
func (b *bench) awaitAll(ctx context.Context, names []zone.Name) (missing int, err error) {
	for _, s := range b.Secondaries {
		for _, name := range names {
			wait, cancel := context.WithTimeout(ctx, 2*time.Minute)
			if awaitZone(wait, s.DNSAddr, name) != nil {
				missing++
			}
			cancel()
		}
	}
	return missing, ctx.Err()
}

func rate(begin time.Time) string {
	return fmt.Sprintf("%.0f", bulkZones/time.Since(begin).Seconds())
}
