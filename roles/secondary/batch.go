package secondary

import (
	"context"
	"errors"
	"sync"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// Where many zones wait that PowerDNS does not have, they are made together, by a catalog zone (package powerdns,
// batch.go) instead of two calls to the API for each. The list of a batch never changes, no member is given to PowerDNS
// before the batch is deleted there, and no job of a member goes on before: so PowerDNS has no reason to delete one. A
// member that the batch does not bring is made by itself.

const (
	// batchFrom is how many zones must wait for one to join a batch, and how many a batch has at least: a batch costs
	// PowerDNS about as much as four zones that are made one by one.
	batchFrom = 16
	batchMost = 250

	// batchSize bounds what waits in memory, and what is gained: of larger zones the transfer costs more than the
	// calls.
	batchSize = 64 << 10

	// gatherPause is how long after the last zone another one is waited for.
	gatherPause = 50 * time.Millisecond
)

// How long a batch waits for PowerDNS before it breaks off.
const (
	makePatience   = 5 * time.Second // for the first member to be asked for, once the list was taken
	memberPatience = 2 * time.Second // for one more member to be taken
	heldPatience   = 5 * time.Second // PowerDNS for members, from the first on: half of axfr-fetch-timeout

	// batchesOff is how long zones are made one by one where a batch brought none.
	batchesOff = 10 * time.Minute
)

var (
	errNoMember = errors.New("PowerDNS asks for no zone of the catalog")
	errHeld     = errors.New("the catalog zone that made the zone is still there")
)

// batches are zones that are made together. It is safe for concurrent use.
type batches struct {
	queue   resting
	joining chan *member // full when the next batch is

	mu sync.Mutex

	// Under mu.
	open       bool        // PowerDNS was reviewed, and takes them
	off        time.Time   // until when none is made
	current    zone.Name   // that PowerDNS may have
	incomplete []zone.Name // members that lack settings which do not matter now
}

// resting is the queue of the jobs that make zones.
type resting interface {
	Waiting() int
	Idle() bool
	Busy(zone.Name) bool
	Rest(context.Context, zone.Name) (raised <-chan struct{}, resume func())
}

func newBatches() *batches { return &batches{joining: make(chan *member, batchMost)} }

// member is a zone of a batch, on its way.
type member struct {
	version *stagedVersion
	batch   *batch        // set before release is closed; nil: it is made by itself
	release chan struct{} // closed when its job may go on

	// Under the batches' mu.
	listed, left bool
}

// batch is one catalog zone.
type batch struct {
	name    zone.Name
	members []*member
	late    func() <-chan struct{} // from the first call on it counts; closed when PowerDNS is to wait no more
	asked   chan struct{}          // gets a value when PowerDNS asks for a member
	gone    chan struct{}          // closed when PowerDNS has the catalog zone no more
	taken   chan struct{}          // gets a value for each member that PowerDNS took, or did not
	broken  chan struct{}          // closed when nothing more comes
}

// accepts reports whether the version may be made in a batch, and there are enough for one.
func (b *batches) accepts(v *stagedVersion) bool {
	if !v.bulk || v.ahead || v.zone.Size() > batchSize || b.queue == nil {
		return false
	}
	b.mu.Lock()
	open := b.open && time.Now().After(b.off)
	b.mu.Unlock()
	return open && (len(b.joining) > 0 || b.queue.Waiting() >= batchFrom)
}

// makeInBatch has PowerDNS make the zone and take the version together with others, where many wait, and reports
// whether it did. It returns when there is no batch any more that has the zone.
func (a *applier) makeInBatch(ctx context.Context, v *stagedVersion) (taken bool, err error) {
	name := v.zone.Name()
	if !a.batches.accepts(v) || !a.isNew(name) {
		return false, nil
	}
	m := &member{version: v, release: make(chan struct{})}
	raised, resume := a.batches.queue.Rest(ctx, name)
	defer resume()
	select {
	case a.batches.joining <- m:
	case <-raised:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
	select {
	case <-m.release:
	case <-raised:
		if a.batches.leave(m) {
			return false, nil
		}
		select {
		case <-m.release: // soon
		case <-ctx.Done():
			return false, ctx.Err()
		}
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if m.batch == nil || !a.await(ctx, m, raised) {
		return false, ctx.Err()
	}
	v.taken = true
	a.remember(name)
	a.batches.noteIncomplete(name)
	return true, nil
}

// await reports whether PowerDNS has taken the member. One that somebody waits for is ordered, which goes first.
func (a *applier) await(ctx context.Context, m *member, raised <-chan struct{}) bool {
	for {
		select {
		case err := <-m.version.sent:
			m.batch.taken <- struct{}{}
			return err == nil
		case <-raised:
			raised = nil
			_ = a.order(ctx, m.version.zone.Name()) // else it comes in its turn
		case <-m.batch.broken:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// leave takes a member back whose batch PowerDNS has not been told of.
func (b *batches) leave(m *member) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.left = !m.listed
	return m.left
}

// list returns the members that have not left, and may not leave any more.
func (b *batches) list(members []*member) (listed []*member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range members {
		if !m.left {
			m.listed = true
			listed = append(listed, m)
		}
	}
	return listed
}

// makeBatches makes one batch after the other until ctx ends.
func (a *applier) makeBatches(ctx context.Context) error {
	for {
		members := a.batches.list(a.batches.gather(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if len(members) < batchFrom {
			release(members, nil)
			continue
		}
		a.makeBatch(ctx, members)
	}
}

// gather returns members as soon as there are enough, or no more come.
func (b *batches) gather(ctx context.Context) (members []*member) {
	var quiet <-chan time.Time
	for len(members) < batchMost {
		select {
		case m := <-b.joining:
			members = append(members, m)
			quiet = time.After(gatherPause)
		case <-quiet:
			return members
		case <-ctx.Done():
			return nil
		}
	}
	return members
}

func newBatch(members []*member) *batch {
	return &batch{
		name: powerdns.NewBatchName(), members: members, late: sync.OnceValue(afterHeldPatience),
		asked: make(chan struct{}, 1), gone: make(chan struct{}), broken: make(chan struct{}),
		taken: make(chan struct{}, len(members)),
	}
}

func afterHeldPatience() <-chan struct{} {
	late := make(chan struct{})
	time.AfterFunc(heldPatience, func() { close(late) })
	return late
}

func release(members []*member, b *batch) {
	for _, m := range members {
		m.batch = b
		close(m.release)
	}
}

// makeBatch makes the members, and returns when they are taken, or no more comes.
func (a *applier) makeBatch(ctx context.Context, members []*member) {
	b := newBatch(members)
	err := a.runCatalog(ctx, b)
	if ctx.Err() != nil {
		return // the jobs end, too
	}
	if err != nil {
		a.log.Warn().Err(err).Int("zones", len(members)).
			Msg("PowerDNS does not make zones by a catalog zone, making them one by one")
		a.batches.pause()
		release(members, nil)
		return
	}
	release(members, b)
	if left := b.follow(ctx); left == len(members) {
		a.batches.pause()
	}
}

// follow waits for the members to be taken, and returns how many are not.
func (b *batch) follow(ctx context.Context) (left int) {
	defer close(b.broken)
	for left = len(b.members); left > 0; left-- {
		select {
		case <-b.taken:
		case <-time.After(memberPatience):
			return left
		case <-ctx.Done():
			return left
		}
	}
	return 0
}

// completeMembers gives members the settings that they lack when no other work is to be done. What PowerDNS refuses here
// is left to the scrub, which says why.
func (s *Secondary) completeMembers(ctx context.Context) error {
	b := s.applier.batches
	for work.Wait(ctx, time.Second) {
		for s.jobs.Idle() && s.powerdns.Wait(ctx) {
			name, ok := b.nextIncomplete()
			if !ok {
				break
			}
			if !s.applier.isOurs(name) || s.jobs.Busy(name) {
				continue // deleted, or found by the scrub
			}
			err := s.applier.api.CompleteMember(ctx, name)
			if errors.Is(err, powerdns.ErrUnavailable) {
				b.noteIncomplete(name)
				break
			}
		}
	}
	return nil
}

func (b *batches) setOpen(open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = open
}

func (b *batches) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.off = time.Now().Add(batchesOff)
}

func (b *batches) setCurrent(name zone.Name) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = name
}

func (b *batches) isCurrent(name zone.Name) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current == name
}

func (b *batches) noteIncomplete(name zone.Name) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.incomplete = append(b.incomplete, name)
}

func (b *batches) nextIncomplete() (name zone.Name, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.incomplete) == 0 {
		return "", false
	}
	name = b.incomplete[0]
	b.incomplete = b.incomplete[1:]
	return name, true
}
