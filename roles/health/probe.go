package health

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"pdns-distribute/dnssec"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// prober asks secondaries at their public addresses, as the world does: what they report of themselves does not count
// here.
type prober struct {
	h *Health

	mu     sync.Mutex                    // guards all below
	recent map[zone.Name]bool            // zones that changed and have not been asked for since
	wrong  map[string]map[zone.Name]bool // by node: zones that it answered wrongly for when it was last asked
}

const (
	probeInterval = 5 * time.Second
	probeMost     = 500                    // zones in one round
	probeWrong    = 10                     // zones that are answered wrongly are enough to know
	probePause    = 10 * time.Millisecond  // between two zones, for each secondary
	probeRetry    = 200 * time.Millisecond // before an answer that is wrong is asked for again
)

func newProber(h *Health) *prober {
	return &prober{h: h, recent: map[zone.Name]bool{}, wrong: map[string]map[zone.Name]bool{}}
}

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
	for due := time.Now(); work.Wait(ctx, probeInterval); {
		names := p.take()
		if time.Now().After(due) && p.h.published.complete.Load() {
			due = time.Now().Add(p.h.cfg.CheckInterval)
			names = append(names, p.sample()...)
		}
		p.round(ctx, names)
	}
	return nil
}

// round asks all secondaries at the same time, each also for what it answered wrongly for before.
func (p *prober) round(ctx context.Context, names []zone.Name) {
	var asked sync.WaitGroup
	for _, r := range p.h.nodes.board().Nodes {
		switch {
		case r.Role != health.RoleSecondary:
		case !r.Active || len(r.Secondary.Addresses) == 0:
			p.h.findings.replace(r.Node, probeKinds, nil)
		default:
			asked.Go(func() { p.ask(ctx, r, append(p.wrongAt(r.Node), names...)) })
		}
	}
	asked.Wait()
}

func (p *prober) wrongAt(node string) []zone.Name {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.wrong[node]))
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
	names := slices.Collect(maps.Keys(p.h.published.index.Existing()))
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:min(len(names), p.h.cfg.ProbeSample)]
}

// probeKinds are the alarms that a probe can find.
var probeKinds = []health.Kind{
	health.AlarmUnreachableUDP, health.AlarmUnreachableTCP,
	health.AlarmServfail, health.AlarmLame, health.AlarmUnsigned, health.AlarmSerial,
}

// probeRemedies say what to do.
var probeRemedies = map[health.Kind]string{
	health.AlarmUnreachableUDP: "check that PowerDNS runs, that it listens at the address (local-address), " +
		"and that no firewall blocks UDP port 53",
	health.AlarmUnreachableTCP: "check that no firewall blocks TCP port 53: large and signed answers need it",
	health.AlarmServfail:       "read the log of PowerDNS: its database may be locked or gone",
	health.AlarmLame: "check that the address belongs to this node (secondary.public_addresses), " +
		"and that its PowerDNS has the zone",
	health.AlarmUnsigned: "find out why PowerDNS answers without valid signatures, " +
		"by pdnsutil check-zone on the primary as well",
	health.AlarmSerial: "check whether another server or a cache answers at the address: " +
		"the node itself reports that it serves the newest version",
}

// ask asks one secondary for zones, and notes what it did not answer for as it should.
func (p *prober) ask(ctx context.Context, r health.Row, names []zone.Name) {
	if len(names) == 0 {
		return
	}
	wrong, first := map[zone.Name]bool{}, map[health.Kind]health.Alarm{}
	for _, name := range names {
		for _, address := range r.Secondary.Addresses {
			kind, err := p.judge(ctx, r.Node, address, name)
			if kind == "" {
				continue
			}
			wrong[name] = true
			if _, known := first[kind]; !known {
				what := fmt.Sprintf("wrong answer at address %s for zone %s: %v", address, name, err)
				first[kind] = health.NodeAlarm(r.Role, r.Node, kind, what, probeRemedies[kind]).Of(name, "")
			}
		}
		if len(wrong) >= probeWrong || !work.Wait(ctx, probePause) {
			break
		}
	}
	if ctx.Err() != nil {
		return
	}
	looked := probeKinds
	if len(wrong) >= probeWrong { // not all zones were asked for, so nothing is known to be over
		looked = nil
	}
	p.h.findings.replace(r.Node, looked, slices.Collect(maps.Values(first)))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong[r.Node] = wrong
}

// judge asks for one zone by UDP and by TCP, and returns the alarm that this comes to, "" for none. What is wrong is
// asked for once more; a zone that changes meanwhile is left to the next time.
func (p *prober) judge(ctx context.Context, node, address string, name zone.Name) (kind health.Kind, err error) {
	for range 2 {
		if kind, err = p.judgeOnce(ctx, node, address, name); kind == "" {
			return "", nil
		}
		work.Wait(ctx, probeRetry)
	}
	return kind, err
}

func (p *prober) judgeOnce(ctx context.Context, node, address string, name zone.Name) (kind health.Kind, err error) {
	before := p.h.published.index.Get(name)
	if !before.Stands() || p.h.nodes.stage(node, before.Seq) == health.Queued {
		return "", nil
	}
	for _, way := range []struct {
		tcp    bool
		silent health.Kind
	}{{false, health.AlarmUnreachableUDP}, {true, health.AlarmUnreachableTCP}} {
		got, err := transfer.Probe(ctx, address, name, way.tcp)
		after := p.h.published.index.Get(name)
		switch {
		case after.Seq != before.Seq || !p.h.published.events.Settled(name) && !errors.Is(err, transfer.ErrSilent):
			return "", nil
		case errors.Is(err, transfer.ErrSilent):
			return way.silent, err
		case errors.Is(err, transfer.ErrServfail):
			return health.AlarmServfail, err
		case err != nil:
			return health.AlarmLame, err
		case got.Serial != after.Header.Serial:
			return health.AlarmSerial, fmt.Errorf("serial %d, published is %d", got.Serial, after.Header.Serial)
		case after.Header.Expires != 0 && got.Expires == 0:
			return health.AlarmUnsigned, errors.New("the answer is not signed, and the zone is")
		case after.Header.Expires != 0 && dnssec.EndsWithin(got.Expires, time.Now(), p.h.dnssec.AlarmBefore):
			end := dnssec.End(got.Expires, time.Now())
			return health.AlarmUnsigned, fmt.Errorf("signatures of the answer expire at %s", end.Format(time.RFC3339))
		}
	}
	return "", nil
}
