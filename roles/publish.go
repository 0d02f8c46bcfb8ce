package roles

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/dnssec"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
)

var (
	// errNotHere says that PowerDNS positively has no such zone, or none that is to be distributed.
	errNotHere = errors.New("not a zone to be distributed")

	// errOtherKind is the errNotHere of a zone that PowerDNS has, as something else.
	errOtherKind = fmt.Errorf("%w: its kind", errNotHere)

	// errLagging says that PowerDNS gives something older than it should, and may not have caught up yet.
	errLagging = errors.New("PowerDNS seems to lag behind")
)

// read takes the zone's content and the serial that PowerDNS stores for it, which is never newer than the content: a
// sweep relies on it to find edits. Of a zone that is published, is known to be distributed and has no SOA-EDIT the content
// says it all; its settings are looked at a little later, see checkSettings, because the API takes as long as the transfer.
func (p *Primary) read(ctx context.Context, name zone.Name, before published, thorough bool) (*zone.Zone, uint32, error) {
	if thorough || !before.stands() || !before.ours || before.header.Stored != before.header.Serial {
		return p.readThoroughly(ctx, name)
	}
	z, err := p.transfer(ctx, name)
	switch {
	case errors.Is(err, transfer.ErrRefused):
		return p.readThoroughly(ctx, name) // which says why
	case err != nil:
		return nil, 0, err
	}
	p.checks.add(name, time.Now().Add(checkDelay))
	return z, z.Serial(), nil
}

// readAttempts bounds how often a zone may change while it is being read.
const readAttempts = 4

// readThoroughly takes the zone's settings and its content at the same time, and again when they do not belong together.
func (p *Primary) readThoroughly(ctx context.Context, name zone.Name) (*zone.Zone, uint32, error) {
	for range readAttempts {
		z, info, err := p.readOnce(ctx, name)
		if err != nil {
			return nil, 0, err
		}
		if z.Serial() != info.EditedSerial {
			continue // edited between the two
		}
		if info.Serial != info.EditedSerial { // SOA-EDIT can hide an edit between the two
			z, err = p.transfer(ctx, name)
		}
		return z, info.Serial, err
	}
	info, err := p.info(ctx, name) // edited all the time: what is transferred now is at least as new as this
	if err != nil {
		return nil, 0, err
	}
	z, err := p.transfer(ctx, name)
	return z, info.Serial, err
}

// checkDelay keeps the look at a zone's settings out of the way of the change, and makes one of many changes.
const checkDelay = time.Second

// checkSettings looks at the settings of zones that were published by their content alone. What does not fit, such as
// another kind or a SOA-EDIT that was just set, has the zone read thoroughly.
func (p *Primary) checkSettings(ctx context.Context) error {
	tick := time.NewTicker(checkDelay)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, name := range p.checks.takeAway(time.Now()) {
			info, err := p.info(ctx, name)
			if errors.Is(err, powerdns.ErrUnavailable) {
				p.checks.add(name, time.Now().Add(checkDelay))
			} else if err != nil || info.Serial != p.index.get(name).header.Stored {
				p.submit(ctx, name, errand{reason: reasonCheck, thorough: true})
			}
		}
	}
}

func (p *Primary) readOnce(ctx context.Context, name zone.Name) (z *zone.Zone, info powerdns.ZoneInfo, err error) {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		info, err = p.info(gctx, name)
		return err
	})
	var refused error
	g.Go(func() (err error) {
		z, err = p.transfer(gctx, name)
		if errors.Is(err, transfer.ErrRefused) { // the API knows better why
			refused, err = err, nil
		}
		return err
	})
	return z, info, errors.Join(g.Wait(), refused)
}

func (p *Primary) transfer(ctx context.Context, name zone.Name) (*zone.Zone, error) {
	return transfer.Fetch(ctx, transfer.FetchOptions{Address: p.dns, Limit: p.cfg.MaxZoneMB << 20}, name)
}

func (p *Primary) info(ctx context.Context, name zone.Name) (powerdns.ZoneInfo, error) {
	info, err := p.api.Zone(ctx, name)
	if errors.Is(err, powerdns.ErrNotFound) {
		return info, fmt.Errorf("%w: %w", errNotHere, err)
	}
	if err == nil && !p.distributes(info.Kind) {
		return info, fmt.Errorf("%w is %s", errOtherKind, info.Kind)
	}
	return info, err
}

func (p *Primary) distributes(k powerdns.Kind) bool {
	return k == powerdns.Native || k == powerdns.Master || k == powerdns.Slave && p.cfg.IncludeSlaves
}

// publish stores the content and then the state that refers to it.
func (p *Primary) publish(ctx context.Context, z *zone.Zone, s *zone.State, contents [][]byte, before published, e errand) error {
	if err := p.putChunks(ctx, s, contents, before); err != nil {
		return err
	}
	data, err := s.MarshalBinary()
	if err != nil {
		return err
	}
	header := broker.StateHeader{
		Kind: broker.KindZone, Serial: s.Serial, Stored: s.Stored, Published: s.Published, Chunks: len(s.Chunks()), Expires: s.Expires,
		Digest: fmt.Sprintf("%x", s.Digest), Stable: fmt.Sprintf("%x", s.Stable), NSEC: dnssec.Turnable(z), Again: e.again, Background: !e.live,
	}
	if err := p.store(ctx, s.Name, data, header, before); err != nil {
		return err
	}
	p.index.own(s.Name, true)
	if p.turnable(s.Name) {
		p.turning.suggest(s.Name, time.Now())
	}
	return nil
}

func (p *Primary) store(ctx context.Context, name zone.Name, data []byte, header broker.StateHeader, before published) error {
	data = p.signer.sign(data, &header)
	seq, err := p.conn.PublishState(ctx, name, data, header, before.seq)
	if err != nil {
		return err
	}
	p.index.set(name, seq, header)
	p.log.Debug().Stringer("zone", name).Str("kind", header.Kind).Uint32("serial", header.Serial).Uint64("seq", seq).Msg("published")
	return nil
}

// putChunks stores the chunks of a large zone that the state before does not refer to. Those it does are safe from
// being collected until this state has replaced it.
func (p *Primary) putChunks(ctx context.Context, s *zone.State, contents [][]byte, before published) error {
	if len(s.Chunks()) == 0 {
		return nil
	}
	stored, err := p.storedChunks(ctx, s.Name, before)
	if err != nil {
		return err
	}
	var missing [][]byte
	for i, c := range s.Chunks() {
		if !stored[c] {
			missing = append(missing, contents[i])
		}
	}
	_, err = p.conn.PutBlobs(ctx, missing)
	return err
}

func (p *Primary) storedChunks(ctx context.Context, name zone.Name, before published) (map[zone.Chunk]bool, error) {
	stored := map[zone.Chunk]bool{}
	if !before.stands() || before.header.Chunks == 0 {
		return stored, nil
	}
	last, err := p.conn.LastState(ctx, name)
	if err != nil {
		return nil, err
	}
	if last.Seq != before.seq {
		return nil, fmt.Errorf("zone %s: %w", name, broker.ErrConflict)
	}
	state, err := decodePublished(last.Data)
	if err != nil {
		return stored, nil // unreadable: store all
	}
	for _, c := range state.Chunks() {
		stored[c] = true
	}
	return stored, nil
}

// retract publishes that the zone is gone, if secondaries may have it.
//
// What only a scrub looks at is left to the sweep, which sees how many zones are gone: one by one each of them would seem
// to be the only one.
func (p *Primary) retract(ctx context.Context, name zone.Name, e errand, before published, why error) (string, error) {
	reason := e.reason
	if before.remembered() && reason == reasonScrub {
		return resultUnchanged, nil
	}
	if before.unheard() && e.tells() { // perhaps another primary has published it a moment ago
		if err := p.refresh(ctx, name); err != nil {
			return "", err
		}
		before = p.index.get(name)
	}
	if !p.mayBeServed(name, before, e) {
		if reason == proxy.ReasonCreate && !errors.Is(why, errOtherKind) {
			if err := p.lag.suspect(time.Now(), name, "it was created, and is not there"); err != nil {
				return "", err
			}
		}
		p.lag.clear(name)
		return resultUnchanged, nil
	}
	if before.remembered() && reason != proxy.ReasonDelete && reason != reasonGone { // nobody told of its deletion
		if err := p.allow(time.Now(), []zone.Name{name}); err != nil {
			return "", err
		}
	}
	at, err := p.dated(ctx, name, before)
	if err != nil {
		return "", err
	}
	tombstone := zone.NewTombstone(name, at)
	data, err := tombstone.MarshalBinary()
	if err != nil {
		return "", err
	}
	header := broker.StateHeader{Kind: broker.KindGone, Published: tombstone.Published, TTL: tombstoneTTL, Again: e.again, Background: !e.live}
	return resultGone, p.store(ctx, name, data, header, before)
}

// mayBeServed tells whether secondaries may have a zone that PowerDNS has not. One that was deleted through the proxy, or is
// to be taken again, existed, whatever this primary and the broker remember: but each tombstone is kept for long, and a proxy
// may name as many zones as it likes.
func (p *Primary) mayBeServed(name zone.Name, before published, e errand) bool {
	switch {
	case before.remembered(), before.buried():
		return true
	case before.seq > 0: // its tombstone is there
		return e.again != ""
	}
	if !e.tells() {
		return false
	}
	price := unheardPrice
	if e.led {
		price = 1
	}
	may := p.unheard.AllowN(time.Now(), price)
	if !may {
		p.each.Warn().Stringer("zone", name).Str("reason", e.reason).Msg("a zone that nobody has heard of is not told to be gone: there were too many of these; if secondaries have it, the comparison by the health role finds it")
	}
	return may
}

// tells tells whether the errand itself says that secondaries may have the zone.
func (e errand) tells() bool { return e.again != "" || e.reason == proxy.ReasonDelete }

// allow asks the brake for deletions that nobody ordered.
func (p *Primary) allow(now time.Time, gone []zone.Name) error {
	err := p.brake.Allow(now, gone, 0, len(p.index.existing()))
	if err != nil {
		err = fmt.Errorf("zones are gone from PowerDNS without having been deleted through the proxy: %w; if that is right, run: pdns-distribute sync --confirm-deletes", err)
		p.ready.Set(condDeletes, err.Error())
	}
	return err
}

// lagging remembers since when PowerDNS gives something older than it should: behind a replica that lags it is soon
// over, and a zone that was deleted and made again keeps its low serial.
type lagging struct {
	mu      sync.Mutex
	zones   map[zone.Name]lag
	expired time.Time // when it was last looked for what is over
}

type lag struct{ since, last time.Time }

// lagPatience is how long what looks old is not believed, and after twice that without a look it counts anew.
const lagPatience = 5 * time.Second

// suspect returns errLagging while what looks old is not to be believed.
func (l *lagging) suspect(now time.Time, name zone.Name, why string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	seen, known := l.zones[name]
	if !known || now.Sub(seen.last) > 2*lagPatience {
		seen.since = now
	}
	seen.last = now
	l.zones[name] = seen
	if now.Sub(seen.since) < lagPatience {
		return fmt.Errorf("%w: zone %s: %s", errLagging, name, why)
	}
	delete(l.zones, name)
	return nil
}

// expire forgets zones that are looked at no more: another primary may have been done with them.
func (l *lagging) expire(now time.Time) {
	if now.Sub(l.expired) < lagPatience {
		return
	}
	l.expired = now
	maps.DeleteFunc(l.zones, func(_ zone.Name, seen lag) bool { return now.Sub(seen.last) > 2*lagPatience })
}

func (l *lagging) clear(name zone.Name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.zones, name)
}

// check compares what was read with what is published and with what the proxy saw.
func (l *lagging) check(now time.Time, name zone.Name, serial uint32, before published, reason string) error {
	lower := before.remembered() && zone.SerialNewer(before.header.Serial, serial)
	switch {
	case reason == proxy.ReasonDelete:
		return l.suspect(now, name, "it was deleted, and is there")
	case lower && reason != proxy.ReasonCreate:
		return l.suspect(now, name, fmt.Sprintf("serial %d, published is %d", serial, before.header.Serial))
	}
	l.clear(name)
	return nil
}
