package primary

import (
	"context"
	"time"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// maxHints bounds what anybody on the host may have the role remember. What is dropped the sweep finds.
const maxHints = 100_000

// schedules are zones that no touch tells of and that are to be looked at. A crash forgets them; the sweep at the
// next start finds them.
type schedules struct {
	hints      *work.Schedule   // zones that a NOTIFY came for
	retries    *work.Schedule   // zones for which a job without touch failed
	moved      *work.Schedule   // zones that are served otherwise than published, at the same stored serial
	converting *work.Schedule   // zones that were published with NSEC and are to have NSEC3
	aliases    *work.Schedule   // zones whose ALIAS records PowerDNS expands
	pace       <-chan time.Time // of renewals, and of what has moved and what is converted
}

// newSchedules returns empty ones, for so many renewals a second.
func newSchedules(renewRate int) *schedules {
	return &schedules{
		hints: work.NewBoundedSchedule(maxHints), retries: work.NewSchedule(),
		moved: work.NewSchedule(), converting: work.NewSchedule(), aliases: work.NewSchedule(),
		pace: time.Tick(time.Second / time.Duration(renewRate)),
	}
}

func (s *schedules) clear() {
	for _, zones := range []*work.Schedule{s.hints, s.retries, s.moved, s.converting, s.aliases} {
		zones.Clear()
	}
}

// atPace calls do for zones that are due, at the pace of renewals.
func (s *schedules) atPace(ctx context.Context, zones *work.Schedule, do func(zone.Name)) error {
	for s.awaitTick(ctx) {
		name, ok := zones.TakeOne(time.Now())
		if ok {
			do(name)
			continue
		}
		select {
		case <-ctx.Done():
		case <-zones.Added:
		}
	}
	return nil
}

// awaitTick keeps the pace; false when ctx ended first.
func (s *schedules) awaitTick(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-s.pace:
		return true
	}
}

// notified gets the zone of each NOTIFY.
func (s *schedules) notified(name zone.Name) { s.hints.Suggest(name, time.Now()) }

// followHints does jobs for NOTIFY messages.
func (p *Primary) followHints(ctx context.Context) error {
	return p.addWhenDue(ctx, p.schedules.hints, notifyJob())
}

// retry does jobs again that failed, and that no touch brought.
func (p *Primary) retry(ctx context.Context) error {
	return p.addWhenDue(ctx, p.schedules.retries, retryJob())
}

func (p *Primary) addWhenDue(ctx context.Context, zones *work.Schedule, j job) error {
	zones.WhenDue(ctx, zones.TakeAway, func(name zone.Name) { p.jobs.Add(ctx, name, j) })
	return nil
}
