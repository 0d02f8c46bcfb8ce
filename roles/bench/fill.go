package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"pdns-distribute/powerdns/zone"
)

// fill: one record of a small zone is changed, and the answer held, while a secondary that lost all it had is filled with
// the other zones. Beside it the same while nothing happens, and while a PowerDNS is filled by itself on the same cores.
func fill(ctx context.Context, b *bench, zones int) error {
	fmt.Printf("One record of a small zone changed while a secondary is filled with %d zones: to the held answer, ms; secondary: %s\n", zones, b.backends())
	api, err := b.Client()
	if err != nil {
		return err
	}
	live := zone.MustParseName("live.example")
	names := make([]zone.Name, zones)
	for i := range names {
		names[i] = zone.MustParseName(fmt.Sprintf("fill%d.example", i))
	}
	if err := errors.Join(create(ctx, api, live, smallZone(live)), create(ctx, api, names[0], smallZone(names[0]))); err != nil {
		return err
	}
	if err := b.copies(ctx, "fill", names); err != nil {
		return err
	}
	client, err := b.holding()
	if err != nil {
		return err
	}
	quiet, _, err := b.heldBeside(ctx, client, live, func(context.Context) error { return nil })
	if err != nil {
		return err
	}
	alone, aloneTook, err := b.heldBeside(ctx, client, live, func(ctx context.Context) error {
		return takeIn(ctx, b.alone[0], b.Primary, names)
	})
	if err != nil {
		return err
	}
	if err := b.empty(ctx); err != nil {
		return err
	}
	beside, took, err := b.heldBeside(ctx, client, live, func(ctx context.Context) error {
		missing, err := b.awaitAll(ctx, names)
		if err == nil && missing > 0 {
			err = fmt.Errorf("%d zones are missing", missing)
		}
		return err
	})
	if err != nil {
		return err
	}
	header("", "p50", "p90", "p99", "max")
	row("nothing else happens", quantiles(quiet)...)
	row("reference: beside a PowerDNS that is filled by itself", quantiles(alone)...)
	row("beside the fill", quantiles(beside)...)
	row("  ratio", ratios(beside, alone)...)
	row("zones filled, 1/s", fmt.Sprintf("%.0f", float64(zones)/took.Seconds()))
	row("reference: create + AXFR alone, 1/s", fmt.Sprintf("%.0f", float64(zones)/aloneTook.Seconds()))
	fmt.Println()
	return nil
}

// empty takes all that the secondary and its PowerDNS have, and starts them.
func (b *bench) empty(ctx context.Context) error {
	s := b.Secondaries[0]
	return errors.Join(b.StopRole(s.ID), b.WipeStore(s.ID), s.Wipe(ctx), b.StartRole(ctx, s.ID))
}

// heldBeside changes the zone, held, with pauses in between, until what goes on beside is over, and for fillRounds at
// least. took is how long that was.
func (b *bench) heldBeside(
	ctx context.Context, client *http.Client, name zone.Name, beside func(context.Context) error,
) (all []time.Duration, took time.Duration, err error) {
	begin := time.Now()
	var over atomic.Bool
	done := make(chan error, 1)
	go func() {
		err := beside(ctx)
		took = time.Since(begin)
		over.Store(true)
		done <- err
	}()
	for round := 0; round < fillRounds || !over.Load(); round++ {
		changed := time.Now()
		if err = b.heldChange(ctx, client, name, round); err != nil {
			break
		}
		if !over.Load() || round < fillRounds {
			all = append(all, time.Since(changed))
		}
		time.Sleep(fillPause)
	}
	return all, took, errors.Join(err, <-done)
}

const (
	fillRounds = 100
	fillPause  = 30 * time.Millisecond
)
