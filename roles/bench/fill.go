package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// fill: one record of a small zone is changed, and the answer held, while a secondary that lost all it had is filled
// with the other zones. Beside it the same while nothing happens, and while a PowerDNS is filled by itself on the same
// cores, zone by zone and by a catalog zone.
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
	return b.fillBeside(ctx, client, live, names)
}

// fillBeside changes the live zone while nothing happens, and beside each way of making the others.
func (b *bench) fillBeside(ctx context.Context, client *http.Client, live zone.Name, names []zone.Name) error {
	source, err := b.contents(ctx, names)
	if err != nil {
		return err
	}
	header("", "p50", "p90", "p99", "max")
	var reference []time.Duration
	for _, way := range []wayToFill{
		{title: "nothing else happens"},
		{"reference: create + AXFR alone", b.alone[0].Wipe, func(ctx context.Context) error {
			return takeIn(ctx, b.alone[0], b.Primary, names)
		}},
		{"reference: a catalog zone alone", b.alone[0].Wipe, func(ctx context.Context) error {
			return takeCatalog(ctx, b.alone[0], source, names)
		}},
		{"the secondary", b.empty, func(ctx context.Context) error { return b.filled(ctx, names) }},
	} {
		if way.fill == nil {
			held, _, err := b.heldBeside(ctx, client, live, func(context.Context) error { return nil })
			if err != nil {
				return err
			}
			row(way.title, quantiles(held)...)
			continue
		}
		if reference, err = b.fillBy(ctx, client, live, len(names), way, reference); err != nil {
			return err
		}
	}
	fmt.Println()
	return nil
}

// wayToFill is one way to make all zones at a server that has none.
type wayToFill struct {
	title string
	begin func(context.Context) error
	fill  func(context.Context) error
}

// fillBy changes the live zone beside one way. reference is what that took beside the first.
func (b *bench) fillBy(
	ctx context.Context, client *http.Client, live zone.Name, zones int, way wayToFill, reference []time.Duration,
) ([]time.Duration, error) {
	if err := way.begin(ctx); err != nil {
		return nil, err
	}
	var used []usage
	held, took, err := b.heldBeside(ctx, client, live, func(ctx context.Context) (err error) {
		used, err = spent(b.filling(), func() error { return way.fill(ctx) })
		return err
	})
	if err != nil {
		return nil, err
	}
	if reference == nil {
		reference = held
	}
	row(way.title, quantiles(held)...)
	row("  ratio to the first reference", ratios(held, reference)...)
	row("  zones filled, 1/s", fmt.Sprintf("%.0f", float64(zones)/took.Seconds()))
	for i, p := range b.filling() {
		row("  CPU a zone, ms, "+p.title, fmt.Sprintf("%.2f", used[i].cpu.Seconds()*1000/float64(zones)))
	}
	return reference, nil
}

// filling are the processes that make zones at a secondary.
func (b *bench) filling() []process {
	s := b.Secondaries[0]
	list := []process{{"PowerDNS alone", b.alone[0].PID()}, {"PowerDNS", s.PID()}}
	if pid := b.PID(s.ID); pid != 0 {
		list = append(list, process{"its role", pid})
	}
	return list
}

// filled waits until the secondary serves all zones.
func (b *bench) filled(ctx context.Context, names []zone.Name) error {
	missing, err := b.awaitAll(ctx, names)
	if err == nil && missing > 0 {
		err = fmt.Errorf("%d zones are missing", missing)
	}
	return err
}

// held gives zones out of memory: a catalog zone and its members.
type held map[zone.Name]*zone.Zone

// Zone implements transfer.Source.
func (h held) Zone(name zone.Name) (*zone.Zone, error) {
	if z := h[name]; z != nil {
		return z, nil
	}
	return nil, transfer.ErrNotHeld
}

// SOA implements transfer.Source.
func (h held) SOA(name zone.Name) (soa zone.Record, signatures []zone.Record, err error) {
	z, err := h.Zone(name)
	if err == nil {
		soa, signatures = z.Apex().SOA()
	}
	return soa, signatures, err
}

var fillCatalog = zone.MustParseName("catalog.invalid")

// contents are the zones as the primary PowerDNS has them, and a catalog zone of them.
func (b *bench) contents(ctx context.Context, names []zone.Name) (zones held, err error) {
	zones = held{}
	for _, name := range names {
		zones[name], err = transfer.Fetch(ctx, transfer.FetchOptions{Address: b.Primary.DNSAddr}, name)
		if err != nil {
			return nil, err
		}
	}
	zones[fillCatalog], err = zone.NewCatalog(fillCatalog, names)
	return zones, err
}

// takeCatalog has the server make and transfer all zones by a catalog zone, without pdns-distribute.
func takeCatalog(ctx context.Context, s *local.Server, source held, names []zone.Name) error {
	master, err := transfer.NewServer(transfer.Config{Listen: "127.0.0.1:0"}, source)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- master.Run(ctx) }()
	defer func() { stop(); <-ended }()
	api, err := s.Client()
	if err != nil {
		return err
	}
	if err := api.CreateZone(ctx, fillCatalog, powerdns.Consumer, []string{master.Addr().String()}); err != nil {
		return err
	}
	if err := api.Retrieve(ctx, fillCatalog); err != nil {
		return err
	}
	for _, name := range names {
		if err := awaitZone(ctx, s.DNSAddr, name); err != nil {
			return err
		}
	}
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
