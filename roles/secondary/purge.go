package secondary

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// What PowerDNS answers past its packet cache others need not get: it purges that cache some time after a commit, map
// by map, and a thread that looked an answer up before the commit may put it there after the purge. So the role has
// it purged itself, once no lookup of before is under way any more. REFUSED and the NXDOMAIN of a zone above are kept
// under the name that was asked for, and go with the names of the zone.

// purge returns when nobody gets from a cache any more what the zone, and any name in it, was answered with until
// now. f may be nil.
func (a *applier) purge(ctx context.Context, name zone.Name, f *preparedFlush) error {
	return a.purges.pass(ctx, a.purgedBelow(name), a.gathering(), f)
}

// purgedBelow is the name below which all caches are purged for a zone.
func (a *applier) purgedBelow(name zone.Name) zone.Name {
	if a.aliases.leadInto(name) {
		return zone.Root
	}
	return name
}

// prepareFlush begins to purge for a zone that PowerDNS has still to take. nil: PowerDNS takes others, and one call
// purges for all.
func (a *applier) prepareFlush(ctx context.Context, name zone.Name) *preparedFlush {
	if a.crowd() > 0 {
		return nil
	}
	return a.purges.prepare(ctx, a.purgedBelow(name))
}

// preparedFlush is a call to PowerDNS's API that is prepared while there is nothing to flush yet.
type preparedFlush struct {
	name  zone.Name
	flush chan *powerdns.Flush // nil comes if it could not be prepared
	end   func()
}

// prepare returns nil while another flush is prepared.
func (p *purges) prepare(ctx context.Context, name zone.Name) *preparedFlush {
	select {
	case p.preparing <- struct{}{}:
	default:
		return nil
	}
	ctx, end := context.WithCancel(ctx)
	f := &preparedFlush{name: name, flush: make(chan *powerdns.Flush, 1), end: func() {
		end()
		<-p.preparing
	}}
	go func() {
		flush, _ := p.api.PrepareFlush(ctx, name) // else it is prepared again when it is due, and fails there
		f.flush <- flush
	}()
	return f
}

// do reports whether the caches are flushed. False: the call is to be prepared again, because PowerDNS does not wait
// for long.
func (f *preparedFlush) do() bool {
	flush := <-f.flush
	f.flush <- flush
	return flush != nil && flush.Do() == nil
}

// close waits until nothing of it is left; nil is nothing.
func (f *preparedFlush) close() {
	if f == nil {
		return
	}
	f.end()
	if flush := <-f.flush; flush != nil {
		flush.Close()
	}
}

// gathering is how long zones that PowerDNS is still taking are waited for: not at all where there is none. Each
// round costs PowerDNS as much as a third of a transfer.
func (a *applier) gathering() time.Duration { return min(a.crowd(), gatherMost) * time.Millisecond }

const (
	gatherMost = 5

	// purgedApart is how many zones are purged one by one: each takes a call to the API. For more, one call purges
	// all, but no more often than after purgeAllPause: what everybody asks for is in the packet cache most of the
	// time even then.
	purgedApart   = 2
	purgeAllPause = 25 * time.Millisecond
)

// purges has PowerDNS's caches purged in rounds, one after the other. A round is for all zones that came before it
// began: they pass one barrier ([transfer.Line.PassBarrier]).
type purges struct {
	api       *powerdns.Client
	turn      chan struct{} // full while a round is under way
	preparing chan struct{} // full while a flush is prepared before its time

	// Owned by the round under way.
	line *transfer.Line
	all  time.Time // when all was purged last, for more than a few zones

	mu sync.Mutex

	// Under mu.
	threads transfer.Threads
	caching bool   // what was purged from the packet cache may come back once, out of the query cache
	next    *round // has not begun; nil: nobody waits
}

// round is one purge.
type round struct {
	names    []zone.Name    // whose caches it purges, with all below
	prepared *preparedFlush // of its first name; nil: none
	done     chan struct{}  // closed when err is set
	err      error
}

// defaultThreads are PowerDNS's own defaults.
var defaultThreads = transfer.Threads{Receivers: 1, Distributors: 3}

func newPurges(api *powerdns.Client, dns string) *purges {
	return &purges{
		api: api, turn: make(chan struct{}, 1), preparing: make(chan struct{}, 1),
		line: transfer.NewLine(dns), threads: defaultThreads,
	}
}

// pass returns when a round that began later has purged the name and all below it. Others are waited for as long as
// gathering.
func (p *purges) pass(ctx context.Context, name zone.Name, gathering time.Duration, f *preparedFlush) error {
	r, first := p.join(name)
	if first {
		r.prepared = f
		if gathering > 0 {
			work.Wait(ctx, gathering)
		}
		p.lead(ctx, r)
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// join takes part in the next round. Whoever is the first leads it.
func (p *purges) join(name zone.Name) (r *round, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		p.next, first = &round{done: make(chan struct{})}, true
	}
	if !slices.Contains(p.next.names, name) {
		p.next.names = append(p.next.names, name)
	}
	return p.next, first
}

// lead waits for the round before, and goes.
func (p *purges) lead(ctx context.Context, r *round) {
	defer close(r.done)
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		p.begin()
		r.err = context.Cause(ctx)
		return
	}
	if pause := time.Until(p.all.Add(purgeAllPause)); pause > 0 && p.waiting() > purgedApart {
		work.Wait(ctx, pause)
	}
	threads, times := p.begin()
	names := r.names
	if len(names) > purgedApart {
		names, p.all = []zone.Name{zone.Root}, time.Now()
	}
	for range times {
		if r.err = p.purge(ctx, names, threads, r.prepared); r.err != nil {
			return
		}
		r.prepared = nil
	}
}

// purge has the names purged when every lookup of before is over.
func (p *purges) purge(ctx context.Context, names []zone.Name, threads transfer.Threads, f *preparedFlush) error {
	if f != nil && len(names) == 1 && names[0] == f.name {
		if err := p.line.PassBarrier(ctx, threads); err != nil {
			return err
		}
		if f.do() {
			return nil
		}
	}
	passed := sync.OnceValue(func() error { return p.line.PassBarrier(ctx, threads) })
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range names {
		g.Go(func() error {
			flush, err := p.api.PrepareFlush(ctx, name)
			if err != nil {
				return err
			}
			defer flush.Close()
			if err := passed(); err != nil {
				return err
			}
			return flush.Do()
		})
	}
	return g.Wait()
}

func (p *purges) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.next.names)
}

// begin closes the round to those who come from now on. times is how often it has to purge.
func (p *purges) begin() (threads transfer.Threads, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, times = nil, 1
	if p.caching {
		times = 2
	}
	return p.threads, times
}

// configure notes with how many threads PowerDNS looks up, and whether it keeps what it looked up.
func (p *purges) configure(threads transfer.Threads, caching bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.threads, p.caching = threads, caching
}

// threadsOf reads with how many threads PowerDNS looks up, its defaults where it does not say.
func threadsOf(settings map[string]string) transfer.Threads {
	threads := defaultThreads
	if n, err := strconv.Atoi(settings["receiver-threads"]); err == nil && n > 0 {
		threads.Receivers = n
	}
	if n, err := strconv.Atoi(settings["distributor-threads"]); err == nil && n > 0 {
		threads.Distributors = n
	}
	return threads
}
