// Command bench measures the whole installation, with real PowerDNS servers on loopback, beside what PowerDNS does
// alone on the same machine in the same run. It prints a table; see `make bench`.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/roles/fleet"
)

func main() {
	program := flag.String("program", "", "the program to measure, each role as a process of its own; without it all roles run in this process")
	only := flag.String("only", "", "measure one thing: latency, served, cpu, bulk, large, proxy, guards, renew, fill, faults or check")
	zones := flag.Int("zones", 2000, "renew, fill: how many zones have their signatures renewed, or are there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *program, *only, *zones); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, program, only string, zones int) error {
	dir, err := os.MkdirTemp("", "pdns-distribute-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("%s, %d cores, %s/%s, %s\n\n", cpuModel(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, time.Now().UTC().Format(time.DateOnly))
	for i, m := range []struct {
		name     string
		backends []local.Backend // of the secondaries; the reference servers have the same
		measure  func(context.Context, *bench) error
	}{
		{"latency", []local.Backend{local.SQLite}, latency}, // one secondary each, as the reference is one transfer
		{"latency", []local.Backend{local.LMDB}, latency},
		{"latency", both, latency},

		{"served", []local.Backend{local.SQLite}, served},
		{"served", []local.Backend{local.LMDB}, served},

		{"cpu", []local.Backend{local.SQLite}, cpu},
		{"cpu", []local.Backend{local.LMDB}, cpu},

		{"bulk", []local.Backend{local.SQLite}, bulk},
		{"bulk", []local.Backend{local.LMDB}, bulk},
		{"bulk", both, bulk},
		{"large", both, large},
		{"proxy", []local.Backend{local.SQLite}, proxied},
		{"guards", []local.Backend{local.SQLite}, guards},
		{"renew", []local.Backend{local.SQLite}, func(ctx context.Context, b *bench) error { return renew(ctx, b, zones) }},
		{"fill", []local.Backend{local.SQLite}, func(ctx context.Context, b *bench) error { return fill(ctx, b, zones) }},
		{"fill", []local.Backend{local.LMDB}, func(ctx context.Context, b *bench) error { return fill(ctx, b, zones) }},
		{"faults", []local.Backend{local.SQLite}, faults},
	} {
		if only != "" && only != m.name {
			continue
		}
		if err := measure(ctx, filepath.Join(dir, strconv.Itoa(i)), program, m.backends, m.measure); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if only != "" && only != "check" {
		return nil
	}
	if err := check(ctx, filepath.Join(dir, "check"), program); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	return nil
}

// bench is a fleet, and beside it secondary PowerDNS servers that take zones straight from the primary PowerDNS.
type bench struct {
	*fleet.Fleet
	alone   []*local.Server
	program string // "" for roles in this process
}

var both = []local.Backend{local.SQLite, local.LMDB}

func measure(ctx context.Context, dir, program string, backends []local.Backend, m func(context.Context, *bench) error) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "roles.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	f, err := fleet.Start(ctx, fleet.Options{
		Dir: filepath.Join(dir, "fleet"), Primary: local.SQLite, Secondaries: backends, Counts: fleet.Counts{Healths: 2}, Program: program, Log: log,
		Set: map[string]string{
			"log.level":             "warn",
			"dnssec.alarm_before":   "1s", // a role that shows an alarm is not ready, and never started
			"health.check_interval": checkInterval,
		},
		OfPrimary: map[string]string{"webserver-max-bodysize": "64"},
	})
	if err != nil {
		return err
	}
	defer f.Stop()
	b := &bench{Fleet: f, program: program}
	for _, backend := range backends {
		s, err := local.Start(ctx, local.Options{Dir: filepath.Join(dir, "alone-"+string(backend)), Backend: backend})
		if err != nil {
			return err
		}
		defer s.Stop()
		b.alone = append(b.alone, s)
	}
	if err := m(ctx, b); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// metric is the value of one of a role's metrics, 0 if it has none.
func (b *bench) metric(id, name string) (value float64, err error) {
	res, err := http.Get("http://" + b.Observe(id) + "/metrics")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if _, rest, is := strings.Cut(string(text), "\n"+name+" "); is {
		_, err = fmt.Sscan(rest, &value)
	}
	return value, err
}

func (b *bench) backends() string {
	var names []string
	for _, s := range b.Secondaries {
		names = append(names, string(s.Backend))
	}
	return strings.Join(names, " and ")
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, is := strings.CutPrefix(line, "model name"); is {
			return strings.Trim(name, "\t :\n")
		}
	}
	return "unknown processor"
}
