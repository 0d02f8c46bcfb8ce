package primary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/heartbeat"
	"pdns-distribute/roles/index"
	"pdns-distribute/roles/work"
)

// What becomes of a touch, from top to bottom: it is taken, and made a job; PowerDNS's content and settings of the
// zone are read, and compared with what is published; what differs is published, or retracted; then the touch is
// settled, and acknowledged. The same goes for the jobs that no touch brings (job.go).

const (
	touchLimit      = 4096 // touches that may wait in memory; each is some 200 bytes
	publishAttempts = 5    // how often another primary may be quicker with the same zone
)

// takeTouches makes jobs of touches, once it is known what is published.
func (p *Primary) takeTouches(ctx context.Context) error {
	if !p.index.AwaitComplete(ctx) {
		return nil
	}
	return p.Conn.Touches(ctx, func(t broker.TouchMsg) { p.takeTouch(ctx, t) }, nil)
}

func (p *Primary) takeTouch(ctx context.Context, t broker.TouchMsg) {
	switch {
	case t.Sweep:
		p.sweeps.order(t)
	case t.Zone == heartbeat.Name: // written through a proxy, and never distributed
		p.settle(t.Zone, t.Seq)
		p.jobs.Acknowledge(t.Zone, job{msg: &t})
	default:
		j := jobOfTouch(t, p.leader.rank(ctx, t), p.replication.take(t, time.Now()))
		if j.priority == work.Live && !p.index.Get(t.Zone).Stands() {
			j.priority = work.Creation
		}
		p.jobs.Add(ctx, t.Zone, j)
	}
}

// newRunner returns what does the jobs.
func (p *Primary) newRunner(workers int) *work.Runner[job] {
	return work.NewRunner(workers, touchLimit, work.Hooks[job]{
		PowerDNS: p.powerdns, Failures: p.Failures, Log: p.Log, Each: p.Each,
		Message:  p.message,
		Priority: func(j job) work.Priority { return j.priority },
		Merge:    p.mergeJobs,
		Do:       p.do,
		Judge:    judge,
		Observe:  p.metrics.observe,
		Done:     p.done,
		Later:    p.schedules.retries.Add,
	})
}

// What came of a job.
const (
	resultPublished = "published"
	resultGone      = "gone"
	resultUnchanged = "unchanged"
	resultFailed    = "failed"
)

// do does a job, unless another primary acts by now.
func (p *Primary) do(ctx context.Context, name zone.Name, j job) (result string, err error) {
	if j.msg != nil {
		defer p.inHand.begin(j.msg)()
	}
	result, err = p.reconcile(ctx, name, j)
	if err == nil && p.toConvert(name, j) {
		result, err = p.convert(ctx, name, j, result)
	}
	if !p.replication.acts() {
		return "", errDeposed
	}
	return result, err
}

// reconcile brings what is published in line with what PowerDNS has. Where another primary was quicker it begins again.
func (p *Primary) reconcile(ctx context.Context, name zone.Name, j job) (result string, err error) {
	for range publishAttempts {
		result, err = p.attempt(ctx, name, j)
		if !errors.Is(err, broker.ErrConflict) {
			return result, err
		}
		if err := p.publisher.refresh(ctx, name); err != nil {
			return "", err
		}
	}
	return "", err
}

// attempt reads the zone once that what PowerDNS gives is as new as what is published, and as the touch, and compares.
func (p *Primary) attempt(ctx context.Context, name zone.Name, j job) (string, error) {
	patience := p.cfg.Primary.TransferTimeout
	over := fmt.Errorf("primary.transfer_timeout of %s is over", patience)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, over)
	defer cancel()
	before := p.index.Get(name)
	asOf, err := p.replication.awaitFresh(ctx, name, before.Learned, j.since) // before it is read
	if err != nil {
		return "", err
	}
	p.announceComing(name, j, before)
	result, err := p.compare(ctx, name, j, before)
	if err == nil && j.msg != nil {
		err = p.replication.settles(ctx, name, j.msg.From.Node, j.since, asOf)
	}
	return result, err
}

// compare reads the zone's content and settings, and publishes or retracts what differs from what was published before.
func (p *Primary) compare(ctx context.Context, name zone.Name, j job, before index.Published) (string, error) {
	read, err := p.source.read(ctx, name)
	if errors.Is(err, errNotHere) {
		p.source.expansion.found(name)
		return p.retract(ctx, name, j, before, err)
	}
	if err != nil {
		return "", err
	}
	p.index.Saw(name)
	p.scheduleAliases(name, read)
	if err := p.source.lag.check(time.Now(), name, read.zone.Serial(), before, j); err != nil {
		return "", err
	}
	if keep, err := p.keepsAddresses(name, read, before, j); keep || err != nil {
		return resultUnchanged, err
	}
	at, err := p.publisher.date(ctx, name, before)
	if err != nil {
		return "", err
	}
	v := newVersion(read, at)
	keep := before.Stands() && j.again == "" && !p.publisher.signer.lacks(before.Header)
	if keep && v.isPublished(before.Header, j.depth) {
		if !j.background() { // a sweep may have been quicker, for which nobody would hurry
			p.publisher.announce(name, before.Seq)
		}
		return resultUnchanged, nil
	}
	if err := p.publisher.publish(ctx, v, before, j); err != nil {
		return "", err
	}
	p.scheduleConversion(name)
	return resultPublished, nil
}

// retract publishes that the zone is gone, if secondaries may have it, and the deletion limit allows it. why says in
// what way it is not here.
//
// What the primary looks at of its own accord is left to the sweep, which sees how many zones are gone: one by one each
// of them would seem to be the only one.
func (p *Primary) retract(
	ctx context.Context, name zone.Name, j job, before index.Published, why error,
) (string, error) {
	if before.Remembered() && j.leavesGone() {
		if j.cause != causeScrub { // which comes by all zones again and again
			p.sweeps.ask()
		}
		return resultUnchanged, nil
	}
	if before.Unheard() && j.says() { // perhaps another primary has published it a moment ago
		if err := p.publisher.refresh(ctx, name); err != nil {
			return "", err
		}
		before = p.index.Get(name)
	}
	if !p.deletions.mayBeServed(name, before, j) {
		return resultUnchanged, p.source.lag.checkGone(time.Now(), name, j, why)
	}
	if before.Remembered() && j.cause != causeGone { // the sweep has asked
		if err := p.deletions.allowOne(time.Now(), name, j, before); err != nil {
			return "", err
		}
	}
	return resultGone, p.publisher.retract(ctx, name, before, j)
}

// judge says what becomes of a job that failed.
func judge(err error) work.Verdict {
	switch {
	case errors.Is(err, errDeposed):
		return work.HandBack
	case errors.Is(err, errLagging), errors.Is(err, broker.ErrDisconnected):
		return work.Recheck
	}
	return work.Retry
}

// done settles the job's touch, before the runner acknowledges it.
func (p *Primary) done(name zone.Name, j job) {
	if j.msg != nil {
		p.settle(name, j.msg.Seq)
	}
}
