package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

const (
	faultZones   = 20
	faultTimeout = 3 * time.Minute
)

// checkInterval is what differs from the defaults: checks else are every 15 minutes.
const checkInterval = "30s"

// faults: what is wrong at a secondary, put there by hand, and how long it takes until it is found and repaired without
// anybody.
func faults(ctx context.Context, b *bench) error {
	fmt.Printf("Faults put in by hand at %s: until they are repaired, s; %d zones, checks every %s\n", b.backends(), faultZones, checkInterval)
	names := make([]zone.Name, faultZones)
	for i := range names {
		names[i] = zone.MustParseName(fmt.Sprintf("fault%d.example", i))
	}
	api, err := b.Client()
	if err != nil {
		return err
	}
	if err := each(ctx, names, func(ctx context.Context, name zone.Name) error { return create(ctx, api, name, smallZone(name)) }); err != nil {
		return err
	}
	if _, err := b.awaitAll(ctx, names); err != nil {
		return err
	}
	s := b.Secondaries[0]
	edge, err := s.Client()
	if err != nil {
		return err
	}
	known, err := edge.Zone(ctx, names[0])
	if err != nil {
		return err
	}
	extra := zone.MustParseName("extra.example")
	for _, f := range []struct {
		what string
		do   func() error
	}{
		{"a record deleted by SQL", func() error {
			_, err := s.SQL(ctx, "DELETE FROM records WHERE id = (SELECT max(id) FROM records WHERE type = 'A' AND name LIKE '%fault7.example')")
			return err
		}},
		{"other content at the same serial", func() error { return change(ctx, edge, names[3], 99) }},
		{"a zone deleted", func() error { return edge.DeleteZone(ctx, names[5]) }},
		{"a zone of the role's too many", func() error { return edge.CreateZone(ctx, extra, powerdns.Slave, known.Masters) }},
		{"the role's own copy deleted, and a zone in PowerDNS", func() error {
			return errors.Join(b.StopRole(s.ID), b.WipeStore(s.ID), edge.DeleteZone(ctx, names[9]), b.StartRole(ctx, s.ID))
		}},
		{"PowerDNS emptied", func() error { return s.Wipe(ctx) }},
	} {
		if err := f.do(); err != nil {
			return fmt.Errorf("%s: %w", f.what, err)
		}
		took, err := b.repaired(ctx, edge, names, extra)
		if err != nil {
			return fmt.Errorf("%s: %w", f.what, err)
		}
		row(f.what, fmt.Sprintf("%.1f", took.Seconds()))
	}
	took, err := b.takeover(ctx)
	if err != nil {
		return err
	}
	row("the health role that acts killed, until another one does", fmt.Sprintf("%.1f", took.Seconds()))
	fmt.Println()
	return nil
}

// repaired waits until the first secondary has the zones as the primary has them, and not the extra one.
func (b *bench) repaired(ctx context.Context, edge *powerdns.Client, names []zone.Name, extra zone.Name) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	begin := time.Now()
	for {
		err := b.differs(ctx, edge, names, extra)
		if err == nil {
			return time.Since(begin), nil
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (b *bench) differs(ctx context.Context, edge *powerdns.Client, names []zone.Name, extra zone.Name) error {
	if _, err := edge.Zone(ctx, extra); !errors.Is(err, powerdns.ErrNotFound) {
		return fmt.Errorf("zone %s is there: %w", extra, err)
	}
	for _, name := range names {
		var digests []string
		for _, address := range []string{b.Primary.DNSAddr, b.Secondaries[0].DNSAddr} {
			z, err := transfer.Fetch(ctx, transfer.FetchOptions{Address: address}, name)
			if err != nil {
				return err
			}
			digests = append(digests, fmt.Sprintf("%x", z.Stable()))
		}
		if digests[0] != digests[1] {
			return fmt.Errorf("zone %s differs: %s", name, strings.Join(digests, ", "))
		}
	}
	return nil
}

// takeover: how long it takes until another health role acts when the one that did is killed.
func (b *bench) takeover(ctx context.Context) (time.Duration, error) {
	ids := []string{"health1", "health2"}
	leads := func(id string) bool {
		n, err := b.metric(id, "pdns_distribute_health_leads")
		return err == nil && n == 1
	}
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	var killed time.Time
	for {
		for n, id := range ids {
			switch {
			case !leads(id):
			case killed.IsZero():
				if err := b.KillRole(id); err != nil {
					return 0, err
				}
				ids, killed = []string{ids[1-n]}, time.Now()
			default:
				return time.Since(killed), nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, errors.New("no health role leads")
		case <-time.After(100 * time.Millisecond):
		}
	}
}
