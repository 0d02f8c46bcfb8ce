package roles

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/dnssec"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// prober asks secondaries at their public addresses, as the world does: what they say of themselves does not count here.
type prober struct {
	h *Health

	mu     sync.Mutex
	recent map[zone.Name]bool // zones that changed and have not been asked for since
}

const (
	probeInterval = 5 * time.Second
	probeMost     = 500                    // zones in one round
	probeWrong    = 10                     // zones that are answered wrongly are enough to know
	probePause    = 10 * time.Millisecond  // between two zones, for each secondary
	probeRetry    = 200 * time.Millisecond // before an answer that is wrong is asked for again
)

func newProber(h *Health) *prober { return &prober{h: h, recent: map[zone.Name]bool{}} }

// changed has zones asked for that have changed.
func (p *prober) changed(names []zone.Name) {
	if p.h.cfg.ProbeSample == 0 {
		return // nobody asks
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		p.recent[name] = true
	}
}

// run asks for what has changed, for what was wrong, and at each check interval for a sample.
func (p *prober) run(ctx context.Context) error {
	if p.h.cfg.ProbeSample == 0 {
		return nil
	}
	wrong := map[string]map[zone.Name]bool{} // by node, to be asked for again
	for due := time.Now(); wait(ctx, probeInterval); {
		names := p.take()
		if time.Now().After(due) && p.h.complete.Load() {
			due = time.Now().Add(p.h.cfg.CheckInterval)
			names = append(names, p.sample()...)
		}
		g, gctx := errgroup.WithContext(ctx)
		var mu sync.Mutex
		for _, r := range p.h.board().Nodes {
			if r.Role != roleSecondary {
				continue
			}
			if !r.Active || len(r.Addresses) == 0 {
				p.conclude(r.Node, nil, true)
				continue
			}
			mu.Lock()
			again := slices.Collect(maps.Keys(wrong[r.Node]))
			mu.Unlock()
			g.Go(func() error {
				found := p.ask(gctx, r, append(again, names...))
				mu.Lock()
				defer mu.Unlock()
				wrong[r.Node] = found
				return nil
			})
		}
		_ = g.Wait() // they return none
	}
	return nil
}

func (p *prober) take() (names []zone.Name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.recent {
		if len(names) == probeMost {
			break
		}
		names = append(names, name)
		delete(p.recent, name)
	}
	return names
}

func (p *prober) sample() []zone.Name {
	names := slices.Collect(maps.Keys(p.h.index.existing()))
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:min(len(names), p.h.cfg.ProbeSample)]
}

// verdicts are what can be wrong, as it is shown, with what to do.
var verdicts = map[string]string{
	"unreachable-udp": "see whether its PowerDNS runs, listens there (local-address), and whether a firewall lets UDP port 53 in",
	"unreachable-tcp": "see whether a firewall lets TCP port 53 in: large answers and signed ones need it",
	"servfail":        "see what its PowerDNS logs: its database may be locked or gone",
	"lame":            "see whether the address belongs to this node (secondary.public_addresses), and whether its PowerDNS has the zone: pdns-distribute status ZONE",
	"unsigned":        "see why its PowerDNS answers without valid signatures: pdns-distribute status ZONE, and pdnsutil check-zone ZONE on the primary",
	"serial":          "see whether another server or a cache answers at that address: the node itself says that it serves the newest version",
}

// ask asks one secondary for zones, and returns those that it did not answer for as it should.
func (p *prober) ask(ctx context.Context, r health.Row, names []zone.Name) map[zone.Name]bool {
	if len(names) == 0 {
		return nil
	}
	wrong, first := map[zone.Name]bool{}, map[string]string{}
	for _, name := range names {
		for _, address := range r.Addresses {
			verdict, err := p.judge(ctx, r.Node, address, name)
			if verdict == "" {
				continue
			}
			wrong[name] = true
			if _, known := first[verdict]; !known {
				first[verdict] = fmt.Sprintf("asked at %s for %s: %v", address, name, err)
			}
		}
		if len(wrong) >= probeWrong || !wait(ctx, probePause) {
			break
		}
	}
	if ctx.Err() == nil {
		p.conclude(r.Node, first, len(wrong) < probeWrong)
	}
	return wrong
}

// conclude notes what was found at a secondary, and if all was looked at, also what was not.
func (p *prober) conclude(node string, found map[string]string, all bool) {
	for verdict, remedy := range verdicts {
		if what, is := found[verdict]; is || all {
			p.h.findings.set(verdict, node, is, what, remedy)
		}
	}
}

// judge asks for one zone by UDP and by TCP. What is wrong is asked for once more; a zone that changes meanwhile is left
// to the next time.
func (p *prober) judge(ctx context.Context, node, address string, name zone.Name) (verdict string, err error) {
	for range 2 {
		if verdict, err = p.judgeOnce(ctx, node, address, name); verdict == "" {
			return "", nil
		}
		wait(ctx, probeRetry)
	}
	return verdict, err
}

func (p *prober) judgeOnce(ctx context.Context, node, address string, name zone.Name) (verdict string, err error) {
	before := p.h.index.get(name)
	if !before.stands() || p.h.stage(node, before.seq) == health.Queued {
		return "", nil
	}
	for _, way := range []struct {
		tcp    bool
		silent string
	}{{false, "unreachable-udp"}, {true, "unreachable-tcp"}} {
		got, err := transfer.Probe(ctx, address, name, way.tcp)
		after := p.h.index.get(name)
		switch {
		case after.seq != before.seq || !p.h.events.Settled(name) && !errors.Is(err, transfer.ErrSilent):
			return "", nil
		case errors.Is(err, transfer.ErrSilent):
			return way.silent, err
		case errors.Is(err, transfer.ErrServfail):
			return "servfail", err
		case err != nil:
			return "lame", err
		case got.Serial != after.header.Serial:
			return "serial", fmt.Errorf("serial %d, published is %d", got.Serial, after.header.Serial)
		case after.header.Expires != 0 && got.Expires == 0:
			return "unsigned", errors.New("its answer is not signed, and the zone is")
		case after.header.Expires != 0 && dnssec.EndsWithin(got.Expires, time.Now(), p.h.dnssec.AlarmBefore):
			return "unsigned", fmt.Errorf("its answer is signed until %s only", dnssec.End(got.Expires, time.Now()).Format(time.RFC3339))
		}
	}
	return "", nil
}
