package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

const (
	writeRounds   = 300
	readClients   = 64
	readRequests  = 4000
	bodyMB        = 50
	bodies        = 4
	waiters       = 1000
	waiterSeconds = 20
)

// proxied measures what the proxy adds: to a write, to many clients at once, and in its own memory.
func proxied(ctx context.Context, b *bench) error {
	fmt.Println("The proxy beside PowerDNS's API itself")
	w, err := b.newWeb()
	if err != nil {
		return err
	}
	name := zone.MustParseName("proxied.example")
	api, err := b.Client()
	if err != nil {
		return err
	}
	if err := create(ctx, api, name, smallZone(name)); err != nil {
		return err
	}
	for _, measure := range []func(context.Context, zone.Name) error{w.writes, w.reads, w.bodies, w.waiters} {
		if err := measure(ctx, name); err != nil {
			return err
		}
	}
	fmt.Println()
	return nil
}

// web sends requests to the proxy and to PowerDNS, as clients with kept connections do.
type web struct {
	*bench
	client   *http.Client
	key      string
	straight string
}

func (b *bench) newWeb() (*web, error) {
	pem, err := os.ReadFile(b.ProxyCert)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &web{
		bench: b, key: b.Primary.APIKey.Reveal(), straight: b.Primary.Config().APIURL,
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: waiters}},
	}, nil
}

func (w *web) send(ctx context.Context, method, url, prefer string, body io.Reader) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-API-Key", w.key)
	if prefer != "" {
		req.Header.Set("Prefer", prefer)
	}
	res, err := w.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

func (w *web) writes(ctx context.Context, name zone.Name) error {
	path := "/api/v1/servers/localhost/zones/" + name.ID()
	patch := func(base string, round int) (time.Duration, error) {
		body := fmt.Sprintf(`{"rrsets":[{"name":%q,"type":"TXT","ttl":60,"changetype":"REPLACE","records":[{"content":"\"%d\""}]}]}`, name, round)
		begin := time.Now()
		status, err := w.send(ctx, "PATCH", base+path, "", strings.NewReader(body))
		if err == nil && status != http.StatusNoContent {
			err = fmt.Errorf("PATCH is answered %d", status)
		}
		took := time.Since(begin)
		time.Sleep(20 * time.Millisecond) // the change before is on its way on the same cores
		return took, err
	}
	var direct, through []time.Duration
	for n := range writeRounds {
		d, err := patch(w.straight, 2*n)
		if err != nil {
			return err
		}
		p, err := patch(w.ProxyURL, 2*n+1)
		if err != nil {
			return err
		}
		direct, through = append(direct, d), append(through, p)
	}
	header("one PATCH of a record, ms", "p50", "p90", "p99", "max")
	row("  PowerDNS itself", quantiles(direct)...)
	row("  through the proxy", quantiles(through)...)
	added := make([]string, 0, 4)
	d, p := quantilesOf(direct), quantilesOf(through)
	for i := range d {
		added = append(added, fmt.Sprintf("%.1f", float64(p[i]-d[i])/float64(time.Millisecond)))
	}
	row("  added", added...)
	return nil
}

func (w *web) reads(ctx context.Context, name zone.Name) error {
	path := "/api/v1/servers/localhost/zones/" + name.ID()
	rate := func(base string) (string, error) {
		g, gctx := errgroup.WithContext(ctx)
		begin := time.Now()
		for range readClients {
			g.Go(func() error {
				for range readRequests / readClients {
					if status, err := w.send(gctx, "GET", base+path, "", nil); err != nil || status != http.StatusOK {
						return errors.Join(err, fmt.Errorf("GET is answered %d", status))
					}
				}
				return nil
			})
		}
		err := g.Wait()
		return fmt.Sprintf("%.0f", readRequests/time.Since(begin).Seconds()), err
	}
	direct, err := rate(w.straight)
	if err != nil {
		return err
	}
	through, err := rate(w.ProxyURL)
	row(fmt.Sprintf("GET of a zone by %d clients: PowerDNS itself, 1/s", readClients), direct)
	row("  through the proxy, 1/s", through)
	return err
}

// memory is the proxy's resident memory in MB.
func (w *web) memory() (float64, error) {
	size, err := w.metric(fleet.Proxy, "process_resident_memory_bytes")
	return size / (1 << 20), err
}

// peak is the most memory that the proxy has while do runs.
func (w *web) peak(do func() error) (before, most float64, err error) {
	if before, err = w.memory(); err != nil {
		return 0, 0, err
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	for most = before; ; {
		now, err := w.memory()
		if err != nil {
			return 0, 0, errors.Join(err, <-done)
		}
		most = max(most, now)
		select {
		case err := <-done:
			return before, most, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *web) bodies(ctx context.Context, name zone.Name) error {
	body := bytes.Repeat([]byte(" "), bodyMB<<20)
	before, most, err := w.peak(func() error {
		g, gctx := errgroup.WithContext(ctx)
		for range bodies {
			g.Go(func() error {
				_, err := w.send(gctx, "PATCH", w.ProxyURL+"/api/v1/servers/localhost/zones/"+name.ID(), "", bytes.NewReader(body))
				return err
			})
		}
		return g.Wait()
	})
	row(fmt.Sprintf("proxy's memory, MB: before, with %d bodies of %d MB", bodies, bodyMB), fmt.Sprintf("%.0f", before), fmt.Sprintf("%.0f", most))
	return err
}

// waiters wait for a secondary that is away.
func (w *web) waiters(ctx context.Context, name zone.Name) error {
	if err := w.StopRole(w.Secondaries[0].ID); err != nil {
		return err
	}
	before, most, err := w.peak(func() error {
		g, gctx := errgroup.WithContext(ctx)
		for range waiters {
			g.Go(func() error {
				status, err := w.send(gctx, "PUT", w.ProxyURL+"/api/v1/servers/localhost/zones/"+name.ID()+"/notify", fmt.Sprintf("wait=%d", waiterSeconds), nil)
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("notify is answered %d", status)
				}
				return err
			})
		}
		return g.Wait()
	})
	row(fmt.Sprintf("the same, with %d clients that wait", waiters), fmt.Sprintf("%.0f", before), fmt.Sprintf("%.0f", most))
	return err
}
