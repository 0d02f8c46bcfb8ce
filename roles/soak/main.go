// Command soak runs a whole installation, each role a process of its own beside real PowerDNS servers on loopback,
// under a random workload and random faults, and holds all that is answered against a model of what every zone is: see
// `make soak`.
//
// A model (model.go, version.go) keeps the versions of each zone in the order of its writes, which carry the version in
// their content. Writers (writer.go, operations.go) write through proxies and note each INSYNC; askers (askers.go) ask
// the secondaries all the time; faults (faults.go, inject.go, relay.go) are planned by the seed. In the end, with all
// faults over, everything must be equal and in order (settle.go, resources.go).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/roles/fleet"
)

// options are the flags.
type options struct {
	program string
	length  time.Duration
	settle  time.Duration
	seed    uint64
	servers
	workload
	faults   string
	gap      time.Duration
	most     int
	keep     bool
	within   string // where the folder of the run is made
	logLevel string
}

// servers are what the installation is made of.
type servers struct {
	counts      fleet.Counts
	secondaries int
	backend     string
	disk        bool
}

// workload is what is written and asked.
type workload struct {
	zones    int
	large    int
	writers  int
	askers   int
	pause    time.Duration
	askPause time.Duration
	writes   string
}

func (o *options) register(f *flag.FlagSet) {
	f.StringVar(&o.program, "program", "", "the program to test, each role as a process of its own")
	f.DurationVar(&o.length, "duration", 2*time.Minute, "how long it is written and faults come")
	f.DurationVar(&o.settle, "settle", 2*time.Minute, "how long it may take afterwards until everything is in order")
	f.Uint64Var(&o.seed, "seed", 1, "makes the plan: operations and faults")
	f.IntVar(&o.secondaries, "secondaries", 2, "how many secondaries")
	f.IntVar(&o.counts.Primaries, "primaries", 1, "how many primary roles, beside one PowerDNS")
	f.IntVar(&o.counts.Proxies, "proxies", 2, "how many proxies")
	f.IntVar(&o.counts.Brokers, "brokers", 3, "how many brokers: 1, 3 or 5")
	f.IntVar(&o.counts.Healths, "healths", 2, "how many health roles")
	f.StringVar(&o.backend, "backend", "mixed", "of the secondary PowerDNS servers: gsqlite3, lmdb, or mixed")
	f.IntVar(&o.zones, "zones", 24, "how many zones are written to")
	f.IntVar(&o.large, "large", 2, "how many of them are large: 1500 names more")
	f.IntVar(&o.writers, "writers", 4, "how many zones are written to at once")
	f.IntVar(&o.askers, "askers", 4, "how many ask at once, all the time")
	f.DurationVar(&o.pause, "pause", 100*time.Millisecond, "the longest pause of a writer between two writes")
	f.DurationVar(&o.askPause, "ask-pause", 3*time.Millisecond, "the pause of an asker between two questions")
	f.StringVar(&o.writes, "writes", "all", "which kinds of writes, by name; -NAME takes one away")
	f.StringVar(&o.faults, "faults", "processes,connections", "which faults: all, none, processes, connections, files, and kinds by name; -NAME takes one away")
	f.DurationVar(&o.gap, "gap", 3*time.Second, "time between two faults on average; they overlap")
	f.IntVar(&o.most, "violations", 1, "end with so many violations")
	f.BoolVar(&o.keep, "keep", false, "keep the folder of a clean run, too")
	f.StringVar(&o.within, "within", "", "where the folder of the run is made; the system's for temporary ones")
	f.BoolVar(&o.disk, "disk", os.Getuid() == 0, "give one secondary and one broker small disks of their own, for disk-full; needs root")
	f.StringVar(&o.logLevel, "log-level", "info", "of the roles")
}

func (o *options) backends() (list []local.Backend, err error) {
	for n := range o.secondaries {
		switch {
		case o.backend == "mixed":
			list = append(list, []local.Backend{local.SQLite, local.LMDB}[n%2])
		case o.backend == string(local.SQLite) || o.backend == string(local.LMDB):
			list = append(list, local.Backend(o.backend))
		default:
			return nil, fmt.Errorf("-backend %q is none of gsqlite3, lmdb and mixed", o.backend)
		}
	}
	return list, nil
}

func main() {
	var o options
	o.register(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// errViolated: a promise was seen to be broken, and is printed.
var errViolated = errors.New("there were violations")

// run makes one run in a folder that it removes when all was well.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	dir, err := os.MkdirTemp(o.within, "pdns-distribute-soak-")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "seed %d, folder %s\n", o.seed, dir)
	log, err := os.Create(filepath.Join(dir, "soak.jsonl"))
	if err != nil {
		return err
	}
	defer log.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &soak{options: o, dir: dir, ctx: ctx, record: newRecord(log, out, o.most, cancel), hot: &hotZones{zones: map[*kept]time.Time{}}}
	err = s.run(out)
	s.record.summary(out)
	if s.record.failed() > 0 {
		err = errors.Join(err, errViolated)
	}
	if err != nil || o.keep {
		fmt.Fprintf(out, "The folder is kept: %s (soak.jsonl, roles/*.log, powerdns-*/pdns.log)\n", dir)
		return err
	}
	return os.RemoveAll(dir)
}

// dice are for one part of a run: others drawing more or less changes nothing in it.
func (o options) dice(part string, n int) *rand.Rand {
	h := uint64(n) * 0x9e3779b97f4a7c15
	for _, c := range part {
		h = h*31 + uint64(c)
	}
	return rand.New(rand.NewPCG(o.seed, h))
}
