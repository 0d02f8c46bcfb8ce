// Package demo is the command demo: a whole installation on loopback, a tour of what it does, and then the installation
// to play with.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/status"
)

// startPatience is how long everything may take to start; idle it takes three seconds.
const startPatience = 2 * time.Minute

// Run starts the installation in a temporary folder, gives the tour, and stays up until ctx ends, or ends at once with
// the option once. It leaves nothing behind. Something that did not arrive is an error.
func Run(ctx context.Context, in command.Invocation) error { return run(ctx, in, manyZones) }

func run(ctx context.Context, in command.Invocation, zones int) (err error) {
	dir, err := os.MkdirTemp("", "pdns-distribute-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logFile, err := os.OpenFile(filepath.Join(dir, "roles.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()

	fmt.Fprintln(in.Stdout, "Starting a broker, one primary and two secondary PowerDNS servers, and all roles, on loopback ...")
	begin := time.Now()
	f, err := start(ctx, dir, logFile, in.Version)
	if err != nil {
		return explain(ctx, err, logFile.Name())
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	introduce(in.Stdout, f, time.Since(begin))
	tour, err := newTour(f, in.Stdout, zones)
	if err != nil {
		return err
	}
	if err := tour.run(ctx); err != nil {
		return explain(ctx, err, logFile.Name())
	}
	if in.Options.Bool("once") {
		return nil
	}
	invite(in.Stdout, f)
	<-ctx.Done()
	fmt.Fprintln(in.Stdout, "\nStopping, and removing everything.")
	return nil
}

func start(ctx context.Context, dir string, log io.Writer, version string) (*fleet.Fleet, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return fleet.Start(ctx, fleet.Options{
		Dir: filepath.Join(dir, "fleet"), Primary: local.SQLite, Secondaries: []local.Backend{local.SQLite, local.LMDB}, Log: log, Version: version,
	})
}

// explain adds the end of the roles' log, which is about to be removed. A demo that was interrupted needs no
// explanation.
func explain(ctx context.Context, err error, logFile string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	const most = 2000
	log, _ := os.ReadFile(logFile)
	return fmt.Errorf("%w\nthe end of the roles' log:\n%s", err, log[max(0, len(log)-most):])
}

func introduce(out io.Writer, f *fleet.Fleet, took time.Duration) {
	fmt.Fprintf(out, "Ready after %s.\n\n  proxy (HTTPS)  %s\n  primary        %s, %s\n", took.Round(100*time.Millisecond), f.ProxyURL, f.Primary.DNSAddr, f.Primary.Backend)
	for _, s := range f.Secondaries {
		fmt.Fprintf(out, "  %-13s  %s, %s\n", s.ID, s.DNSAddr, s.Backend)
	}
}

// invite prints lines to paste.
func invite(out io.Writer, f *fleet.Fleet) {
	fmt.Fprintf(out, `
Everything stays up until Ctrl-C. In another terminal:

  export API=%s/api/v1/servers/localhost KEY=%s CERT=%s
  curl --cacert $CERT -H "X-API-Key: $KEY" -d '{"name":"my.example.","kind":"Native","nameservers":["ns1.my.example."],"dnssec":true}' $API/zones
  curl --cacert $CERT -H "X-API-Key: $KEY" -i -H 'Prefer: wait=10' -X PATCH -d '{"rrsets":[{"name":"www.my.example.","type":"A","ttl":60,"changetype":"REPLACE","records":[{"content":"192.0.2.1"}]}]}' $API/zones/my.example.
`, f.ProxyURL, f.Primary.APIKey.Reveal(), f.ProxyCert)
	for _, s := range f.Secondaries {
		fmt.Fprintf(out, "  %s\n", dig(s.DNSAddr, "www.my.example", "A"))
	}
	config, _ := f.Config(fleet.Health)
	fmt.Fprintf(out, `  curl --cacert $CERT -H "X-API-Key: $KEY" -X DELETE $API/zones/my.example.
  %s status --config %s
  curl -s http://%s%s
`, os.Args[0], config, f.Observe(fleet.Health), status.Path)
}
