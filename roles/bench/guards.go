package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// guardRounds is how many changes each of the two installations is measured with.
const guardRounds = 300

// guards: what signatures and signed checkpoints add to a change, beside the same installation without them, and what
// an API key that the proxy does not know yet adds to a request.
func guards(ctx context.Context, b *bench) error {
	fmt.Println("What the guards cost: one record of a small zone changed, from the request to the new answer, ms")
	dir, err := os.MkdirTemp("", "pdns-distribute-unguarded-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log, err := os.Create(filepath.Join(dir, "roles.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	bare, err := fleet.Start(ctx, fleet.Options{
		Dir: filepath.Join(dir, "fleet"), Primary: local.SQLite, Secondaries: []local.Backend{b.Secondaries[0].Backend}, Counts: fleet.Counts{Healths: 2},
		Program: b.program, Log: log,
		Set: map[string]string{
			"log.level": "warn", "health.check_interval": checkInterval, "primary.sign_key_file": "", "secondary.trusted_keys": "",
		},
	})
	if err != nil {
		return err
	}
	defer bare.Stop()
	name := zone.MustParseName("guarded.example")
	took := make([][]time.Duration, 2)
	fleets := []*bench{b, {Fleet: bare}}
	apis := make([]*powerdns.Client, 2)
	for i, f := range fleets {
		if apis[i], err = f.Client(); err != nil {
			return err
		}
		if err := create(ctx, apis[i], name, smallZone(name)); err != nil {
			return err
		}
	}
	for round := range guardRounds { // in turn, so that a noisy machine is noisy to both
		for i, f := range fleets {
			begin := time.Now()
			if _, err := f.oneChange(ctx, apis[i], name, round+1); err != nil {
				return err
			}
			took[i] = append(took[i], time.Since(begin))
		}
	}
	header("", "p50", "p90", "p99", "max")
	row("signed, with checkpoints", quantiles(took[0])...)
	row("  without both", quantiles(took[1])...)
	row("  difference", differences(took[0], took[1])...)
	return b.unknownKeys(ctx, name)
}

func differences(a, b []time.Duration) []string {
	qa, qb := quantilesOf(a), quantilesOf(b)
	cells := make([]string, 0, 4)
	for i := range qa {
		cells = append(cells, fmt.Sprintf("%.2f", float64(qa[i]-qb[i])/float64(time.Millisecond)))
	}
	return cells
}

// unknownKeys measures reads with the key that the proxy knows, beside wrong ones, about each of which it asks
// PowerDNS.
func (b *bench) unknownKeys(ctx context.Context, name zone.Name) error {
	w, err := b.newWeb()
	if err != nil {
		return err
	}
	good, path := w.key, "/api/v1/servers/localhost/zones/"+name.ID()+"?rrsets=false"
	took := make([][]time.Duration, 3)
	for round := range guardRounds {
		for i, c := range []struct{ key, at string }{{good, w.straight}, {good, w.ProxyURL}, {fmt.Sprint("wrong", round), w.ProxyURL}} {
			w.key = c.key
			begin := time.Now()
			if _, err := w.send(ctx, "GET", c.at+path, "", nil); err != nil && i < 2 {
				return err
			}
			took[i] = append(took[i], time.Since(begin))
		}
	}
	row("a read, straight from PowerDNS", quantiles(took[0])...)
	row("  through the proxy, a key that it knows", quantiles(took[1])...)
	row("  a wrong key: PowerDNS is asked about it", quantiles(took[2])...)
	w.key = good
	return w.besideStrangers(ctx, path)
}

const (
	stalledStrangers = 256 // hold a DELETE each that never ends
	wrongStrangers   = 4   // try keys, one after the other
)

// besideStrangers measures reads with a good key while strangers hold connections and try keys.
func (w *web) besideStrangers(ctx context.Context, path string) error {
	idle, err := w.timed(ctx, path)
	if err != nil {
		return err
	}
	attacking, stop := context.WithCancel(ctx)
	var strangers sync.WaitGroup
	defer strangers.Wait()
	defer stop()
	for range stalledStrangers {
		strangers.Go(func() { w.stall(attacking, path) })
	}
	for range wrongStrangers {
		strangers.Go(func() {
			stranger := *w
			for n := 0; attacking.Err() == nil; n++ {
				stranger.key = fmt.Sprint("wrong", n)
				_, _ = stranger.send(attacking, "GET", w.ProxyURL+path, "", nil) // refused
			}
		})
	}
	attacked, err := w.timed(ctx, path)
	if err != nil {
		return err
	}
	row("a read through the proxy", quantiles(idle)...)
	row(fmt.Sprintf("  beside %d strangers", stalledStrangers+wrongStrangers), quantiles(attacked)...)
	row("  ratio", ratios(attacked, idle)...)
	fmt.Println()
	return nil
}

func (w *web) timed(ctx context.Context, path string) (took []time.Duration, err error) {
	for range guardRounds {
		begin := time.Now()
		if status, err := w.send(ctx, "GET", w.ProxyURL+path, "", nil); err != nil || status != http.StatusOK {
			return nil, errors.Join(err, fmt.Errorf("GET is answered %d", status))
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}

// stall holds a request without a key whose body never comes, and begins another one when it is ended.
func (w *web) stall(ctx context.Context, path string) {
	for ctx.Err() == nil {
		body, never := io.Pipe()
		req, err := http.NewRequestWithContext(ctx, "DELETE", w.ProxyURL+path, body)
		if err != nil {
			return
		}
		req.ContentLength = 5
		// Where the server hangs up, Do waits for whoever writes the body, and that one for the body, even past ctx.
		detach := context.AfterFunc(ctx, func() { never.Close() })
		if res, err := w.client.Do(req); err == nil {
			res.Body.Close()
		}
		detach()
		never.Close()
		select { // a refusal is quick
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
