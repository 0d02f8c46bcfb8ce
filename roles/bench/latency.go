package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// Rounds of each measurement. Native NOTIFY takes a second each.
const (
	latencyRounds = 200
	notifyRounds  = 20
)

// latency: one record of a small zone is changed; from the API's answer until a secondary answers with it.
func latency(ctx context.Context, b *bench) error {
	fmt.Printf("One record of a small zone (33 records) changed: from the API's answer to the new answer, ms; secondaries: %s\n", b.backends())
	name := zone.MustParseName("latency.example")
	api, err := b.Client()
	if err != nil {
		return err
	}
	if err := create(ctx, api, name, smallZone(name)); err != nil {
		return err
	}
	straight, err := b.Primary.Client()
	if err != nil {
		return err
	}
	for _, s := range b.alone {
		if err := follow(ctx, s, b.Primary, name); err != nil {
			return err
		}
	}
	ours := make([][]time.Duration, len(b.Secondaries))
	floor := make([][]time.Duration, len(b.alone))
	together := make([][]time.Duration, len(b.alone))
	round := 0
	for range latencyRounds { // in turn, so that a noisy machine is noisy to both
		round++
		took, err := b.oneChange(ctx, api, name, round)
		if err != nil {
			return err
		}
		for i, d := range took {
			ours[i] = append(ours[i], d)
		}
		for i, s := range b.alone {
			round++
			d, err := oneRetrieve(ctx, straight, s, name, round)
			if err != nil {
				return err
			}
			floor[i] = append(floor[i], d)
		}
		round++
		if took, err = b.allRetrieve(ctx, straight, name, round); err != nil {
			return err
		}
		for i, d := range took {
			together[i] = append(together[i], d)
		}
	}
	header("", "p50", "p90", "p99", "max")
	for i, s := range b.Secondaries {
		row("pdns-distribute, "+string(s.Backend), quantiles(ours[i])...)
		row("  floor: axfr-retrieve, this one alone", quantiles(floor[i])...)
		row("  ratio", ratios(ours[i], floor[i])...)
		if len(b.alone) > 1 {
			row("  floor: axfr-retrieve, all at once", quantiles(together[i])...)
			row("  ratio", ratios(ours[i], together[i])...)
		}
	}
	return b.native(ctx, straight, name, round)
}

// oneChange changes the zone through the proxy and returns when each secondary answered with it.
func (b *bench) oneChange(ctx context.Context, api *powerdns.Client, name zone.Name, round int) ([]time.Duration, error) {
	if err := change(ctx, api, name, round); err != nil {
		return nil, err
	}
	begin := time.Now()
	return atOnce(len(b.Secondaries), func(i int) (time.Duration, error) {
		err := awaitText(ctx, b.Secondaries[i].DNSAddr, name, round)
		return time.Since(begin), err
	})
}

// oneRetrieve changes the zone at the primary and orders one secondary to transfer it, from which on the time counts.
func oneRetrieve(ctx context.Context, primary *powerdns.Client, s *local.Server, name zone.Name, round int) (time.Duration, error) {
	if err := change(ctx, primary, name, round); err != nil {
		return 0, err
	}
	return retrieve(ctx, s, name, round)
}

// allRetrieve orders all servers at once, as one change reaches all secondaries at once.
func (b *bench) allRetrieve(ctx context.Context, primary *powerdns.Client, name zone.Name, round int) ([]time.Duration, error) {
	if err := change(ctx, primary, name, round); err != nil {
		return nil, err
	}
	return atOnce(len(b.alone), func(i int) (time.Duration, error) { return retrieve(ctx, b.alone[i], name, round) })
}

// dropped is when an order counts as dropped, which PowerDNS does now and then, with a 200. A transfer of 100,000
// records takes two seconds at most.
const dropped = 5 * time.Second

func retrieve(ctx context.Context, s *local.Server, name zone.Name, round int) (time.Duration, error) {
	api, err := s.Client()
	if err != nil {
		return 0, err
	}
	for range 5 {
		begin := time.Now()
		if err := api.Retrieve(ctx, name); err != nil {
			return 0, err
		}
		wait, cancel := context.WithTimeout(ctx, dropped)
		err = awaitText(wait, s.DNSAddr, name, round)
		cancel()
		if err == nil {
			return time.Since(begin), nil
		}
	}
	return 0, err
}

// atOnce runs n measurements at the same time.
func atOnce(n int, measure func(i int) (time.Duration, error)) ([]time.Duration, error) {
	took, errs := make([]time.Duration, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { took[i], errs[i] = measure(i) })
	}
	wg.Wait()
	return took, errors.Join(errs...)
}

// native: PowerDNS's own NOTIFY, asked for by the API so that it is sent at once.
func (b *bench) native(ctx context.Context, primary *powerdns.Client, name zone.Name, round int) error {
	var all []time.Duration
	s := b.alone[0]
	if err := notifyTo(ctx, primary, name, s.DNSAddr); err != nil {
		return err
	}
	for range notifyRounds {
		round++
		if err := change(ctx, primary, name, round); err != nil {
			return err
		}
		begin := time.Now()
		if err := primary.Notify(ctx, name); err != nil {
			return err
		}
		if err := awaitText(ctx, s.DNSAddr, name, round); err != nil {
			return err
		}
		all = append(all, time.Since(begin))
	}
	row("native NOTIFY + AXFR, "+string(s.Backend), quantiles(all)...)
	fmt.Println()
	return nil
}

// awaitText asks until the zone's TXT record says round.
func awaitText(ctx context.Context, address string, name zone.Name, round int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	want := fmt.Sprintf("round %d", round)
	for {
		answer, err := transfer.Ask(ctx, address, name, dns.TypeTXT, transfer.AskOptions{Unique: true})
		if err == nil && len(answer.Answer) == 1 && string(answer.Answer[0].Data()[1:]) == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer %q: %w", address, want, errors.Join(ctx.Err(), err))
		case <-time.After(300 * time.Microsecond):
		}
	}
}

func quantiles(all []time.Duration) []string {
	cells := make([]string, 0, 4)
	for _, q := range quantilesOf(all) {
		cells = append(cells, fmt.Sprintf("%.1f", float64(q)/float64(time.Millisecond)))
	}
	return cells
}

func ratios(a, b []time.Duration) []string {
	qa, qb := quantilesOf(a), quantilesOf(b)
	cells := make([]string, 0, 4)
	for i := range qa {
		cells = append(cells, fmt.Sprintf("%.2f", float64(qa[i])/float64(qb[i])))
	}
	return cells
}

// quantilesOf returns p50, p90, p99 and the maximum.
func quantilesOf(all []time.Duration) []time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	at := func(q float64) time.Duration { return sorted[int(q*float64(len(sorted)-1))] }
	return []time.Duration{at(.5), at(.9), at(.99), at(1)}
}

func header(cells ...string) { row(cells[0], cells[1:]...) }

func row(title string, cells ...string) {
	fmt.Printf("  %-40s", title)
	for _, c := range cells {
		fmt.Printf(" %10s", c)
	}
	fmt.Println()
}
