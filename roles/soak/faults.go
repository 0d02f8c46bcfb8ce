package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// fault is one that is planned.
type fault struct {
	At     time.Duration `json:"at"` // from the beginning
	Kind   string        `json:"kind"`
	Target string        `json:"target"`
	Lasts  time.Duration `json:"lasts"`
	Dice   uint64        `json:"dice"` // for what is drawn when it happens, such as which byte is altered
}

func (f fault) String() string {
	return fmt.Sprintf("%s of %s at %s for %s", f.Kind, f.Target, f.At.Round(time.Millisecond), f.Lasts.Round(time.Millisecond))
}

// kind is a kind of fault: to what it can happen, and how.
type kind struct {
	name    string
	targets func(targets) []string
	longest time.Duration
	inject  func(*faults, context.Context, fault) error // returns when it is over
}

// targets are the parts of an installation that faults happen to.
type targets struct {
	roles, brokers, proxies, secondaries []string
	servers                              []string // PowerDNS servers: primary, ns1 and so on
	sqlite                               []string // secondaries with that backend
	relays                               []string
	disks                                []string // roles whose disk can be filled
}

// allBrokers is the target of a fault that happens to all of them at once.
const allBrokers = "all brokers"

// kinds are all kinds of faults.
var kinds = []kind{
	{"kill", func(t targets) []string { return t.roles }, 3 * time.Second, (*faults).killRole},
	{"restart", func(t targets) []string { return t.roles }, 0, (*faults).restartRole},
	{"pause", func(t targets) []string { return t.roles }, 8 * time.Second, (*faults).pauseRole},
	{"pdns-kill", func(t targets) []string { return t.servers }, 3 * time.Second, (*faults).killServer},
	{"pdns-restart", func(t targets) []string { return t.servers }, 0, (*faults).restartServer},
	{"pdns-pause", func(t targets) []string { return t.servers }, 6 * time.Second, (*faults).pauseServer},
	{"cut", func(t targets) []string { return t.relays }, 4 * time.Second, flowing(cutting)},
	{"stall", func(t targets) []string { return t.relays }, 8 * time.Second, flowing(stalling)},
	{"delay", func(t targets) []string { return t.relays }, 8 * time.Second, flowing(delaying)},
	{"broker-wipe", func(t targets) []string { return t.brokers }, time.Second, (*faults).wipeBroker},
	{"brokers-wipe", func(targets) []string { return []string{allBrokers} }, time.Second, (*faults).wipeBrokers},
	{"broker-damage", func(t targets) []string { return t.brokers }, time.Second, (*faults).damageBroker},
	{"store-lose", func(t targets) []string { return t.secondaries }, time.Second, (*faults).loseStore},
	{"store-damage", func(t targets) []string { return t.secondaries }, time.Second, (*faults).damageStore},
	{"journal-damage", func(t targets) []string { return t.proxies }, time.Second, (*faults).damageJournal},
	{"pdns-wipe", func(t targets) []string { return t.secondaries }, 0, (*faults).wipeServer},
	{"pdns-edit", func(t targets) []string { return t.sqlite }, 0, (*faults).editServer},
	{"disk-full", func(t targets) []string { return t.disks }, 5 * time.Second, (*faults).fillDisk},
}

// groups are names for several kinds, for the flag.
var groups = map[string][]string{
	"processes":   {"kill", "restart", "pause", "pdns-kill", "pdns-restart", "pdns-pause"},
	"connections": {"cut", "stall", "delay"},
	"files":       {"broker-wipe", "brokers-wipe", "broker-damage", "store-lose", "store-damage", "journal-damage", "pdns-wipe", "pdns-edit", "disk-full"},
}

// selectKinds reads the flag.
func selectKinds(text string) (chosen []kind, err error) {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	wanted, err := selectNames(text, names, groups)
	return slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return !wanted[k.name] }), err
}

// selectNames reads names and groups of names, separated by commas, each added, or with - before it taken away; all and
// none.
func selectNames(text string, names []string, groups map[string][]string) (wanted map[string]bool, err error) {
	wanted = map[string]bool{}
	for name := range strings.SplitSeq(text, ",") {
		name, not := strings.CutPrefix(strings.TrimSpace(name), "-")
		these := groups[name]
		switch {
		case name == "none" || name == "":
		case name == "all":
			these = names
		case slices.Contains(names, name):
			these = []string{name}
		case these == nil:
			return nil, fmt.Errorf("%q is none of %s", name, strings.Join(names, ", "))
		}
		for _, each := range these {
			wanted[each] = !not
		}
	}
	return wanted, nil
}

// The first fault comes after warmUp; before the end of the run comes none any more for coolDown.
const (
	warmUp   = 4 * time.Second
	coolDown = 5 * time.Second
)

// planFaults draws faults for the length of a run, gap apart on average. The same seed gives the same plan.
func planFaults(rnd *rand.Rand, chosen []kind, t targets, length, gap time.Duration) (plan []fault) {
	for at := warmUp; len(chosen) > 0; {
		at += time.Duration(rnd.ExpFloat64() * float64(gap))
		if at > length-coolDown {
			return plan
		}
		k := chosen[rnd.IntN(len(chosen))]
		f := fault{At: at, Kind: k.name, Dice: rnd.Uint64()}
		if k.longest > 0 {
			f.Lasts = 100*time.Millisecond + time.Duration(rnd.Int64N(int64(k.longest)))
		}
		if could := k.targets(t); len(could) > 0 {
			f.Target = could[rnd.IntN(len(could))]
			plan = append(plan, f)
		}
	}
	return plan
}

// faults makes what is planned happen. It is safe for concurrent use.
type faults struct {
	*soak
	relays *relays

	mu     sync.Mutex
	locked map[string]bool // targets that something happens to
	active map[string]time.Time
	recent []string
	over   map[string]time.Time // when the last fault at a target ended
}

func newFaults(s *soak, r *relays) *faults {
	return &faults{soak: s, relays: r, locked: map[string]bool{}, active: map[string]time.Time{}, over: map[string]time.Time{}}
}

// run carries out a plan and returns when all is over.
func (f *faults) run(ctx context.Context, begin time.Time, plan []fault) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, each := range plan {
		if !rest(ctx, time.Until(begin.Add(each.At))) {
			return
		}
		if !f.lock(each.Target) {
			f.record.count("faults left out: something else happens there")
			continue
		}
		wg.Go(func() { f.carryOut(each) })
	}
}

func (f *faults) carryOut(each fault) {
	defer f.unlock(each.Target)
	f.begin(each)
	defer f.end(each)
	k := kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == each.Kind })]
	if err := k.inject(f, f.ctx, each); err != nil && f.ctx.Err() == nil {
		f.record.note("fault failed", map[string]any{"fault": each.String(), "error": err.Error()})
		f.record.count("faults that failed: " + each.Kind)
	}
}

// scope are the targets that a fault at one of them touches.
func (f *faults) scope(target string) []string {
	if target == allBrokers {
		return f.targets.brokers
	}
	return []string{target}
}

func (f *faults) lock(target string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(f.scope(target), func(t string) bool { return f.locked[t] }) {
		return false
	}
	for _, t := range f.scope(target) {
		f.locked[t] = true
	}
	return true
}

func (f *faults) unlock(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.scope(target) {
		delete(f.locked, t)
	}
}

func (f *faults) begin(each fault) {
	f.record.note("fault", map[string]any{"fault": each})
	f.record.count("faults: " + each.Kind)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active[each.String()] = time.Now()
	f.over[each.Target] = time.Now().Add(time.Hour)
}

const fewFaults = 6

func (f *faults) end(each fault) {
	f.record.note("fault over", map[string]any{"fault": each})
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.active, each.String())
	f.over[each.Target] = time.Now()
	f.recent = append(f.recent, fmt.Sprintf("%s, over at %s", each, time.Now().UTC().Format(clock)))
	f.recent = f.recent[max(0, len(f.recent)-fewFaults):]
}

// told are the faults that are active, and the last ones.
func (f *faults) told() (lines []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for text, since := range f.active {
		lines = append(lines, fmt.Sprintf("%s, active since %s", text, since.UTC().Format(clock)))
	}
	return append(lines, f.recent...)
}

// calmAfter is how long after a fault a server may still fail.
const calmAfter = 5 * time.Second

// calm tells whether no fault is or was lately at a secondary.
func (f *faults) calm(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for target, over := range f.over {
		if (target == id || target == serverOf(id) || strings.HasPrefix(target, id+">")) && time.Since(over) < calmAfter {
			return false
		}
	}
	return true
}

// isOpen tells whether nothing holds up a request on its way to the primary PowerDNS.
func (f *faults) isOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for text := range f.active {
		if strings.Contains(text, " of "+primaryServer+" ") || strings.Contains(text, " of proxy") {
			return false
		}
	}
	return true
}

func (f *faults) awaitOpen(ctx context.Context) {
	for !f.isOpen() && rest(ctx, 50*time.Millisecond) {
	}
}
