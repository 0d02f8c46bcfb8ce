package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

const (
	cpuRounds = 300
	cpuPause  = 30 * time.Millisecond // between changes: nothing of one is left when the next one comes
)

// cpu: what one change of a small zone costs each process, beside what it costs PowerDNS servers alone. Nobody asks
// for the new answer meanwhile.
func cpu(ctx context.Context, b *bench) error {
	fmt.Printf("CPU of one change of a small zone (33 records), one every %s and each held until it is served; secondaries: %s\n",
		cpuPause, b.backends())
	name, alone := zone.MustParseName("cpu.example"), zone.MustParseName("alone.example")
	client, err := b.makeCPUZones(ctx, name, alone)
	if err != nil {
		return err
	}
	servers := b.processes()
	begin := time.Now()
	used, err := spent(servers, func() error {
		return paced(cpuRounds, func(round int) error { return b.heldChange(ctx, client, name, round) })
	})
	if err != nil {
		return err
	}
	took := time.Since(begin)
	idle, err := spent(servers, func() error { time.Sleep(took); return nil })
	if err != nil {
		return err
	}
	header("", "CPU, ms", "idle, ms", "wake-ups")
	rows(servers, used, idle)
	return b.cpuAlone(ctx, alone)
}

// makeCPUZones makes a zone that the fleet serves, and one that the reference servers take from the primary PowerDNS.
func (b *bench) makeCPUZones(ctx context.Context, name, alone zone.Name) (*http.Client, error) {
	api, err := b.Client()
	if err != nil {
		return nil, err
	}
	if err := create(ctx, api, name, smallZone(name)); err != nil {
		return nil, err
	}
	straight, err := b.Primary.Client()
	if err != nil {
		return nil, err
	}
	if err := create(ctx, straight, alone, smallZone(alone)); err != nil {
		return nil, err
	}
	for _, s := range b.alone {
		if err := follow(ctx, s, b.Primary, alone); err != nil {
			return nil, err
		}
	}
	client, err := b.holding()
	if err != nil {
		return nil, err
	}
	return client, b.heldChange(ctx, client, name, cpuRounds) // a proxy that has just begun first learns who is there
}

// cpuAlone is what the same changes cost where each server is ordered to transfer, and nobody else does anything.
func (b *bench) cpuAlone(ctx context.Context, name zone.Name) error {
	straight, err := b.Primary.Client()
	if err != nil {
		return err
	}
	servers := []process{{"PowerDNS, primary", b.Primary.PID()}}
	var orders []*powerdns.Client
	for _, s := range b.alone {
		api, err := s.Client()
		if err != nil {
			return err
		}
		orders, servers = append(orders, api), append(servers, process{"PowerDNS, " + string(s.Backend), s.PID()})
	}
	used, err := spent(servers, func() error {
		return paced(cpuRounds, func(round int) error {
			if err := change(ctx, straight, name, round); err != nil {
				return err
			}
			for _, api := range orders {
				if err := api.Retrieve(ctx, name); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	fmt.Println("  reference: changed straight at the primary, axfr-retrieve at each secondary")
	rows(servers, used, nil)
	fmt.Println()
	return nil
}

// paced calls do again and again, with pauses.
func paced(times int, do func(round int) error) error {
	for round := range times {
		if err := do(round); err != nil {
			return err
		}
		time.Sleep(cpuPause)
	}
	return nil
}

// process is one whose cost is measured.
type process struct {
	title string
	pid   int
}

// processes are the roles, as far as they are processes of their own, and the PowerDNS servers beside them.
func (b *bench) processes() (list []process) {
	for _, id := range b.Roles() {
		if pid := b.PID(id); pid != 0 {
			list = append(list, process{"role " + id, pid})
		}
	}
	list = append(list, process{"PowerDNS, " + fleet.Primary, b.Primary.PID()})
	for _, s := range b.Secondaries {
		list = append(list, process{"PowerDNS, " + string(s.Backend), s.PID()})
	}
	return list
}

// usage is what a process has used: CPU, and how often one of its threads slept until it was woken.
type usage struct {
	cpu     time.Duration
	wakeUps int
}

// spent is what each process uses while do runs.
func spent(list []process, do func() error) ([]usage, error) {
	before, err := usages(list)
	if err != nil {
		return nil, err
	}
	if err := do(); err != nil {
		return nil, err
	}
	after, err := usages(list)
	for i := range after {
		after[i].cpu -= before[i].cpu
		after[i].wakeUps -= before[i].wakeUps
	}
	return after, err
}

func usages(list []process) ([]usage, error) {
	all := make([]usage, len(list))
	for i, p := range list {
		var err error
		if all[i], err = usageOf(p.pid); err != nil {
			return nil, fmt.Errorf("%s: %w", p.title, err)
		}
	}
	return all, nil
}

// tick is the unit of times in /proc/PID/stat.
const tick = 10 * time.Millisecond

// usageOf reads what the kernel has counted. Threads that have ended are missing in the wake-ups.
func usageOf(pid int) (u usage, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u, err
	}
	_, behind, _ := strings.Cut(string(stat), ") ") // the name of the program
	fields := strings.Fields(behind)
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(n) * tick
	}
	threads, err := filepath.Glob(filepath.Join(dir, "task", "*", "status"))
	for _, file := range threads {
		status, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		if _, n, is := strings.Cut(string(status), "\nvoluntary_ctxt_switches:"); is {
			var woken int
			if _, err := fmt.Sscan(n, &woken); err != nil {
				return u, err
			}
			u.wakeUps += woken
		}
	}
	return u, err
}

// rows prints what each process used for one change, and what the roles used together. idle is what each used in as
// long without changes, nil where that is not known.
func rows(list []process, used, idle []usage) {
	var roles, still time.Duration
	for i, p := range list {
		cells := []string{perRound(used[i].cpu), "", fmt.Sprintf("%.1f", float64(used[i].wakeUps)/cpuRounds)}
		if idle != nil {
			cells[1] = perRound(idle[i].cpu)
		}
		row(p.title, cells...)
		if strings.HasPrefix(p.title, "role ") {
			roles += used[i].cpu
			still += idle[i].cpu
		}
	}
	if roles > 0 {
		row("all roles", perRound(roles), perRound(still))
	}
}

func perRound(d time.Duration) string {
	return fmt.Sprintf("%.2f", float64(d)/cpuRounds/float64(time.Millisecond))
}
