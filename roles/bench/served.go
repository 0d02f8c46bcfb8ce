package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
)

// servedRounds is how many changes are held.
const servedRounds = 300

// served: one record of a small zone is changed, and the answer held until it is served everywhere. What lies between
// the new answer, past PowerDNS's cache, and the held one is the proof: the questions, the cache that is purged, and
// the way back.
func served(ctx context.Context, b *bench) error {
	fmt.Printf("One record of a small zone (33 records) changed, the answer held until it is served, ms; secondaries: %s\n", b.backends())
	name := zone.MustParseName("served.example")
	api, err := b.Client()
	if err != nil {
		return err
	}
	if err := create(ctx, api, name, smallZone(name)); err != nil {
		return err
	}
	client, err := b.holding()
	if err != nil {
		return err
	}
	if err := b.heldChange(ctx, client, name, servedRounds); err != nil { // a proxy that has just begun first learns who is there
		return err
	}
	var seen, held, proof []time.Duration
	for round := range servedRounds {
		begin := time.Now()
		done := make(chan error, 1)
		var answered time.Duration
		go func() {
			err := b.heldChange(ctx, client, name, round)
			answered = time.Since(begin)
			done <- err
		}()
		at, err := atOnce(len(b.Secondaries), func(i int) (time.Duration, error) {
			err := awaitText(ctx, b.Secondaries[i].DNSAddr, name, round)
			return time.Since(begin), err
		})
		if err := errors.Join(err, <-done); err != nil {
			return err
		}
		last := time.Duration(0)
		for _, d := range at {
			last = max(last, d)
		}
		seen, held, proof = append(seen, last), append(held, answered), append(proof, max(answered-last, 0))
	}
	header("", "p50", "p90", "p99", "max")
	row("from the request to the new answer", quantiles(seen)...)
	row("to the held answer: served everywhere", quantiles(held)...)
	row("  in between", quantiles(proof)...)
	fmt.Println()
	return nil
}

// holding is a client of the proxy that trusts its certificate.
func (b *bench) holding() (*http.Client, error) {
	text, err := os.ReadFile(b.ProxyCert)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}, nil
}

func (b *bench) heldChange(ctx context.Context, client *http.Client, name zone.Name, round int) error {
	body := fmt.Sprintf(`{"rrsets":[{"name":%q,"type":"TXT","ttl":60,"changetype":"REPLACE","records":[{"content":"\"round %d\""}]}]}`, name, round)
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, b.ProxyURL+"/api/v1/servers/localhost/zones/"+name.ID(), strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", b.Primary.APIKey.Reveal())
	req.Header.Set("Prefer", "wait=30")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if how := res.Header.Get(proxy.HeaderStatus); how != proxy.StatusInSync {
		return fmt.Errorf("a change was answered %d %s", res.StatusCode, how)
	}
	return nil
}
