package main

import (
	"context"
	"fmt"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
)

const (
	largeRecords = 100_000
	largeRounds  = 7
	largePart    = 10_000 // records per request: PowerDNS takes 2 MB
)

// large: one record of a zone with 100,000 is changed.
func large(ctx context.Context, b *bench) error {
	fmt.Printf("One record of a zone with %d records changed: from the API's answer to the new answer, ms\n", largeRecords)
	name := zone.MustParseName("large.example")
	api, err := b.Client()
	if err != nil {
		return err
	}
	if err := fillLarge(ctx, api, name); err != nil {
		return err
	}
	for _, s := range b.Secondaries {
		if err := awaitText(ctx, s.DNSAddr, name, 0); err != nil {
			return err
		}
	}
	for _, s := range b.alone {
		if err := follow(ctx, s, b.Primary, name); err != nil {
			return err
		}
	}
	straight, err := b.Primary.Client()
	if err != nil {
		return err
	}
	ours := make([][]time.Duration, len(b.Secondaries))
	alone := make([][]time.Duration, len(b.alone))
	for round := 1; round <= 2*largeRounds; round += 2 { // in turn, so that a noisy machine is noisy to both
		took, err := b.oneChange(ctx, api, name, round)
		if err != nil {
			return err
		}
		for i, d := range took {
			ours[i] = append(ours[i], d)
		}
		if took, err = b.allRetrieve(ctx, straight, name, round+1); err != nil {
			return err
		}
		for i, d := range took {
			alone[i] = append(alone[i], d)
		}
	}
	header("", "p50", "p90", "p99", "max")
	for i, s := range b.Secondaries {
		row("pdns-distribute, "+string(s.Backend), quantiles(ours[i])...)
		row("reference: local AXFR, "+string(s.Backend), quantiles(alone[i])...)
		row("ratio", ratios(ours[i], alone[i])...)
	}
	fmt.Println()
	return nil
}

func fillLarge(ctx context.Context, api *powerdns.Client, name zone.Name) error {
	if err := create(ctx, api, name, smallZone(name)); err != nil {
		return err
	}
	for from := 0; from < largeRecords; from += largePart {
		sets := make([]powerdns.RRset, 0, largePart)
		for i := from; i < from+largePart; i++ {
			host := zone.MustParseName(fmt.Sprintf("h%06d.%s", i, name))
			sets = append(sets, powerdns.RRset{Name: host, Type: "A", TTL: 3600, Content: []string{fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)}})
		}
		if err := api.Patch(ctx, name, sets); err != nil {
			return err
		}
	}
	return nil
}
