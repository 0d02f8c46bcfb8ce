package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// soak is one run.
type soak struct {
	options options
	dir     string
	ctx     context.Context // of the run; writing and faults end before it
	record  *record

	fleet *fleet.Fleet
	// Set before writing begins.
	entrances
	writes   map[string]bool
	replaces bool // PUT may replace all content: PowerDNS 4.9 and later
	targets  targets
	disks    []string // ids of roles with small disks
	zones    []*kept
	hot      *hotZones
	askers   *askers
	faults   *faults
	logs     map[string]*os.File
}

// run starts everything, lets it soak, and looks in the end.
func (s *soak) run(out io.Writer) (err error) {
	chosen, err := selectKinds(s.options.faults)
	if err != nil {
		return err
	}
	if s.writes, err = selectWrites(s.options.writes); err != nil {
		return err
	}
	r := &relays{byName: map[string]*relay{}}
	defer r.close()
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.start(r); err != nil {
		return err
	}
	s.faults = newFaults(s, r)
	s.makeZones()
	s.askers = &askers{
		nodes: nodesOf(s.fleet), zones: s.zones, hot: s.hot, record: s.record, calm: s.faults.calm, active: s.faults.told, pause: s.options.askPause,
	}
	plan := planFaults(s.options.dice("faults", 0), chosen, s.targets, s.options.length, s.options.gap)
	s.record.note("plan", map[string]any{"seed": s.options.seed, "faults": plan})
	fmt.Fprintf(out, "%d faults are planned for %s\n", len(plan), s.options.length)
	before := s.measureAll()
	asking := s.ask()
	s.soak(plan)
	if s.ctx.Err() == nil {
		s.settle(before)
	}
	asking()
	return nil
}

// ask has all askers ask until the returned function is called.
func (s *soak) ask() (stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	for n := range s.options.askers {
		wg.Go(func() { s.askers.run(ctx, s.options.dice("asker", n)) })
	}
	wg.Go(func() { s.supervise(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// soak writes, with faults, and returns when all faults are over and all outcomes known.
func (s *soak) soak(plan []fault) {
	ctx, cancel := context.WithTimeout(s.ctx, s.options.length)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.faults.run(ctx, time.Now(), plan) })
	for n := range s.options.writers {
		var own []*kept
		for at := n; at < len(s.zones); at += s.options.writers {
			own = append(own, s.zones[at])
		}
		wg.Go(func() { newWriter(s, own, s.options.dice("writer", n)).run(ctx) })
	}
}

// startPatience is how long everything may take to start, on a busy machine.
const startPatience = 2 * time.Minute

// start makes the installation, with a relay between each role and whatever it connects to.
func (s *soak) start(r *relays) error {
	backends, err := s.options.backends()
	if err != nil {
		return err
	}
	if s.options.program == "" {
		return errors.New("name the program to test by -program")
	}
	s.logs = map[string]*os.File{}
	logs := filepath.Join(s.dir, "roles")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return err
	}
	caches := map[string]string{}
	for _, ttl := range []string{"query-cache-ttl", "negquery-cache-ttl", "cache-ttl", "zone-metadata-cache-ttl", "dnssec-key-cache-ttl"} {
		caches[ttl] = "0" // what the primary PowerDNS answers is compared with
	}
	starting, cancel := context.WithTimeout(s.ctx, startPatience)
	defer cancel()
	s.fleet, err = fleet.Start(starting, fleet.Options{
		Dir: filepath.Join(s.dir, "f"), Primary: local.SQLite, Secondaries: backends, OfPrimary: caches, Program: s.options.program,
		Counts:  s.options.counts,
		Between: r.between, LogOf: s.logOf(logs), Set: s.set(),
	})
	if err != nil {
		return err
	}
	if s.entrances, err = entrancesOf(s.fleet); err != nil {
		return err
	}
	if err := s.readVersion(); err != nil {
		return err
	}
	if err := s.mountDisks(); err != nil {
		return err
	}
	s.findTargets(r)
	return nil
}

// set are the settings of all roles: what is found in hours otherwise is found in seconds.
func (s *soak) set() map[string]string {
	return map[string]string{
		"log.level":                   s.options.logLevel,
		"health.max_load":             "0",
		"health.check_interval":       "20s",
		"health.min_disk_percent":     "0",
		"health.max_delete_percent":   "100",
		"primary.sweep_interval":      "15s",
		"primary.scrub_period":        "20s",
		"primary.max_delete_percent":  "100",
		"primary.max_ordered_deletes": "100000",
		"secondary.scrub_period":      "20s",
		"proxy.max_deletes_per_hour":  "1000000",
	}
}

func (s *soak) logOf(dir string) func(id string) io.Writer {
	return func(id string) io.Writer {
		file, err := os.OpenFile(filepath.Join(dir, id+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return io.Discard
		}
		s.logs[id] = file
		return file
	}
}

func (s *soak) readVersion() error {
	var is struct{ Version string }
	status, err := s.direct.get(s.ctx, server, &is)
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("PowerDNS's version: status %d, %w", status, err)
	}
	s.replaces = !strings.HasPrefix(is.Version, "4.7") && !strings.HasPrefix(is.Version, "4.8")
	s.record.note("begin", map[string]any{"powerdns": is.Version, "options": fmt.Sprintf("%+v", s.options)})
	return nil
}

func (s *soak) findTargets(r *relays) {
	t := &s.targets
	t.servers = append(t.servers, primaryServer)
	for _, id := range s.fleet.Roles() {
		t.roles = append(t.roles, id)
		switch {
		case strings.HasPrefix(id, "broker"):
			t.brokers = append(t.brokers, id)
		case strings.HasPrefix(id, "proxy"):
			t.proxies = append(t.proxies, id)
		}
	}
	for _, each := range s.fleet.Secondaries {
		t.secondaries = append(t.secondaries, each.ID)
		t.servers = append(t.servers, serverOf(each.ID))
		if each.Backend == local.SQLite {
			t.sqlite = append(t.sqlite, each.ID)
		}
	}
	for name := range r.byName {
		t.relays = append(t.relays, name)
	}
	slices.Sort(t.relays)
	t.disks = s.disks
}

// largeZone is how many names more a large zone has.
const largeZone = 1500

// parentZone is served all the time; half of the other zones lie below it.
const parentZone = "soak.example"

func (s *soak) makeZones() {
	add := func(name string, hasParent bool, n int) *kept {
		z := &kept{history: newHistory(zone.MustParseName(name), hasParent), rnd: s.options.dice("zone", n), changes: map[int]string{}}
		s.zones = append(s.zones, z)
		return z
	}
	add(parentZone, false, 0).still = true
	for n := 1; n < s.options.zones; n++ {
		name, hasParent := fmt.Sprintf("z%02d.%s", n, parentZone), true
		if n%2 == 0 {
			name, hasParent = fmt.Sprintf("z%02d.example", n), false
		}
		z := add(name, hasParent, n)
		if n <= s.options.large {
			z.large = largeZone
		}
	}
}

// supervise does what systemd would: it starts roles again that ended by themselves.
func (s *soak) supervise(ctx context.Context) {
	for rest(ctx, 300*time.Millisecond) {
		for _, id := range s.targets.roles {
			if !s.faults.lock(id) {
				continue
			}
			if ended, err := s.fleet.Ended(id); ended {
				s.record.count("roles that ended by themselves: " + id)
				s.record.note("ended", map[string]any{"role": id, "error": fmt.Sprint(err)})
				if err := s.fleet.Launch(id); err != nil {
					s.record.note("start failed", map[string]any{"role": id, "error": err.Error()})
				}
			}
			s.faults.unlock(id)
		}
		s.scanLogs()
	}
}

// alarming are words that no log of ours holds in good order.
var alarming = []string{"panic:", "fatal error:", "DATA RACE", `"level":"panic"`, `"level":"fatal"`, "runtime error"}

// scanLogs reports what a role should never say.
func (s *soak) scanLogs() {
	for id, file := range s.logs {
		text, err := s.newLines(file.Name())
		if err != nil {
			continue
		}
		for _, word := range alarming {
			if _, found, is := strings.Cut(string(text), word); is {
				s.record.violated(violation{
					Kind: "a role says what it never should", Node: id, Answer: word + found[:min(len(found), 600)], Faults: s.faults.told(),
				})
			}
		}
	}
}

// newLines is what a log has got since the last look.
func (s *soak) newLines(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	from := s.record.read(path, end)
	return io.ReadAll(io.NewSectionReader(file, from, end-from))
}

// chosen tells whether a kind of fault may come.
func (s *soak) chosen(name string) bool {
	kinds, err := selectKinds(s.options.faults)
	return err == nil && slices.ContainsFunc(kinds, func(k kind) bool { return k.name == name })
}

// mountDisks gives one secondary and one broker a small disk each.
func (s *soak) mountDisks() error {
	if !s.options.disk || !s.chosen("disk-full") {
		return nil
	}
	for _, id := range []string{s.fleet.Secondaries[0].ID, fleet.Broker} {
		if err := s.mountDisk(id); err != nil {
			return fmt.Errorf("a disk for %s: %w", id, err)
		}
	}
	return nil
}

func (s *soak) mountDisk(id string) error {
	if err := s.fleet.StopRole(id); err != nil {
		return err
	}
	if err := mount(s.diskOf(id)); err != nil {
		return err
	}
	s.disks = append(s.disks, id)
	return s.fleet.StartRole(s.ctx, id)
}

// diskOf is the folder that a small disk is mounted at.
func (s *soak) diskOf(id string) string {
	if strings.HasPrefix(id, "broker") {
		return filepath.Join(s.fleet.Install(), id, "store")
	}
	return filepath.Join(s.fleet.Install(), id, "state")
}

func (s *soak) stop() error {
	if s.fleet == nil {
		return nil
	}
	err := s.fleet.Stop()
	for _, id := range s.disks {
		err = errors.Join(err, unmount(s.diskOf(id)))
	}
	for _, file := range s.logs {
		file.Close()
	}
	return err
}
