package broker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
)

// led is one time of leading: over is closed when the lease's context has ended.
type led struct {
	lease *broker.Lease
	over  chan struct{}
}

// campaign has the node campaign; each time that it leads comes through the channel.
func campaign(t *testing.T, c *broker.Conn) (<-chan led, func()) {
	t.Helper()
	terms := make(chan led, 100)
	stop := background(t, func(ctx context.Context) error {
		return c.Campaign(ctx, "health", nil, func(ctx context.Context, l *broker.Lease) {
			now := led{l, make(chan struct{})}
			terms <- now
			<-ctx.Done()
			close(now.over)
		})
	})
	return terms, stop
}

func startLeases(t *testing.T) (b *brokertest.Broker, primary, one, two *broker.Conn) {
	b = brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}, Health: []string{"health1", "health2"}})
	primary = b.Connect("primary1")
	ensure(t, primary)
	return b, primary, b.Connect("health1"), b.Connect("health2")
}

// One leads; the other one does at once when that one ends in order.
func TestLeaseIsGivenBack(t *testing.T) {
	t.Parallel()
	_, _, one, two := startLeases(t)
	first, stop := campaign(t, one)
	leader := receive(t, first)
	if !leader.lease.Held() {
		t.Error("it was given a lease that it does not hold")
	}
	second, _ := campaign(t, two)
	select {
	case <-second:
		t.Fatal("two lead")
	case <-leader.over:
		t.Fatal("it leads no more")
	case <-time.After(3 * time.Second): // the other one has tried
	}
	stop()
	next := receive(t, second)
	select {
	case <-leader.over:
	default:
		t.Error("the next one leads before the one before has ended")
	}
	if !leader.lease.Term.Before(next.lease.Term) || next.lease.Term.Before(leader.lease.Term) {
		t.Errorf("term %s follows %s", next.lease.Term, leader.lease.Term)
	}
}

// A leader that cannot renew its lease stops before another one begins, though nobody tells it.
func TestLeaseEndsInTime(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	_, _, one, two := startLeases(t)
	first, _ := campaign(t, one)
	leader := receive(t, first)
	second, _ := campaign(t, two)
	one.NATS().Opts.ReconnectedCB, one.NATS().Opts.CustomDialer = nil, refusing{}
	must.OK(t, one.NATS().ForceReconnect()) // it finds nobody any more
	next := receive(t, second)
	select {
	case <-leader.over:
	default:
		t.Error("two lead")
	}
	if leader.lease.Held() || !next.lease.Held() || !leader.lease.Term.Before(next.lease.Term) {
		t.Errorf("held: before %v, now %v; terms %s, %s", leader.lease.Held(), next.lease.Held(), leader.lease.Term, next.lease.Term)
	}

	// somebody else writes: the lease is lost at once
	bucket, err := two.JetStream().KeyValue(t.Context(), "pdns_lease")
	must.OK(t, err)
	_, err = bucket.Put(t.Context(), "health", []byte("by hand"))
	must.OK(t, err)
	receive(t, next.over)
}

// A process that was killed leaves a lease behind, which the next one of the same node need not wait for. It takes it
// once: two that run for long do not take it from each other in turns.
func TestLeaseOfAKilledProcess(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	b, _, one, two := startLeases(t)
	first, _ := campaign(t, one)
	killed := receive(t, first) // still runs, as if it were stopped
	begin := time.Now()
	second, _ := campaign(t, b.Connect("health1"))
	next := receive(t, second)
	if took := time.Since(begin); took >= broker.LeaseTTL {
		t.Errorf("it waited %s for a lease of its own", took)
	}
	if !killed.lease.Term.Before(next.lease.Term) {
		t.Errorf("term %s follows %s", next.lease.Term, killed.lease.Term)
	}
	receive(t, killed.over) // it finds that out when it renews
	other, _ := campaign(t, two)
	select {
	case <-first:
		t.Error("the former process took the lease back")
	case <-other:
		t.Error("another node took it")
	case <-next.over:
		t.Error("it was lost")
	case <-time.After(3 * time.Second): // all have tried
	}
}

// Who leads can be asked for at any time, and is the same, with the same term, after the lease was renewed.
func TestLeaseHolder(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	_, primary, one, _ := startLeases(t)
	holder, err := primary.LeaseHolder(t.Context(), "health")
	if err != nil || holder != (broker.Holder{}) {
		t.Errorf("nobody leads: %+v, %v", holder, err)
	}
	bucket, err := primary.JetStream().KeyValue(t.Context(), "pdns_lease")
	must.OK(t, err)
	stored, err := bucket.Watch(t.Context(), "health", jetstream.UpdatesOnly())
	must.OK(t, err)
	terms, stop := campaign(t, one)
	leader := receive(t, terms)
	for when, term := range []broker.Term{{}, leader.lease.Term, leader.lease.Term} { // it is told from the first renewal on
		receive(t, stored.Updates())
		if holder, err := primary.LeaseHolder(t.Context(), "health"); err != nil || holder != (broker.Holder{Node: "health1", Term: term}) {
			t.Errorf("renewed %d times: %+v, %v; its term is %s", when, holder, err, leader.lease.Term)
		}
	}
	stop()
	if holder, err := primary.LeaseHolder(t.Context(), "health"); err != nil || holder != (broker.Holder{}) {
		t.Errorf("it was given back: %+v, %v", holder, err)
	}
}

// A term of before a broker lost its disk is over, though counting begins anew.
func TestTermsAfterWipe(t *testing.T) {
	must.NotShort(t)
	t.Parallel()
	b, primary, one, _ := startLeases(t)
	terms, _ := campaign(t, one)
	before := receive(t, terms)
	restart(t, b.Wipe, primary, one)
	ensure(t, primary)
	after := receive(t, terms)
	if !before.lease.Term.Before(after.lease.Term) {
		t.Errorf("term %s follows %s", after.lease.Term, before.lease.Term)
	}
}

func TestTerms(t *testing.T) {
	for text, good := range map[string]bool{"": true, "17-3": true, "17": false, "17-3 ": false, "x-y": false, "017-3": false, "-": false} {
		term, err := broker.ParseTerm(text)
		if (err == nil) != good || good && text != "" && term.String() != text || term.IsZero() != (text == "" || !good) {
			t.Errorf("%q: %v, %v", text, term, err)
		}
	}
}

// Requests reach who leads, and nobody else.
func TestAskLeader(t *testing.T) {
	_, primary, one, _ := startLeases(t)
	if _, err := primary.AskLeader(t.Context(), nil); err != broker.ErrNoLeader {
		t.Errorf("without a leader: %v", err)
	}
	stop, err := one.ServeLeader(t.Context(), func(_ context.Context, request []byte) []byte { return append(request, '!') })
	must.OK(t, err)
	if answer, err := primary.AskLeader(t.Context(), []byte("hello")); err != nil || string(answer) != "hello!" {
		t.Errorf("%q, %v", answer, err)
	}
	stop()
	must.OK(t, one.NATS().Flush()) // the broker has read that
	if _, err := primary.AskLeader(t.Context(), nil); err != broker.ErrNoLeader {
		t.Errorf("when it leads no more: %v", err)
	}
}

// Who puts more requests than are answered at a time does not make the leader begin more, and it goes on when they are
// done.
func TestLeaderRequestsAreBounded(t *testing.T) {
	_, primary, one, _ := startLeases(t)
	began, end := make(chan struct{}, 1000), make(chan struct{})
	stop, err := one.ServeLeader(t.Context(), func(_ context.Context, request []byte) []byte {
		began <- struct{}{}
		<-end
		return request
	})
	must.OK(t, err)
	defer stop()
	const most = 64
	var waiting errgroup.Group
	for range most {
		waiting.Go(func() error {
			_, err := primary.AskLeader(t.Context(), []byte("hello"))
			return err
		})
	}
	for range most {
		receive(t, began)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := primary.AskLeader(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || len(began) > 0 {
		t.Errorf("one more: %v, %d began", err, len(began))
	}
	close(end)
	must.OK(t, waiting.Wait())
	_, err = primary.AskLeader(t.Context(), nil)
	must.OK(t, err)
}

// Each secondary and each primary hears the questions to itself, and answers in its own name.
func TestChecks(t *testing.T) {
	t.Parallel()
	b, _ := start(t)
	health := b.Connect("health1")
	heard := make(chan string, 10)
	for _, id := range []string{"sec1", "sec2", "primary1"} {
		c := b.Connect(id)
		stop, err := c.SubscribeCheck(t.Context(), func(question []byte) {
			heard <- id + " " + string(question)
			must.OK(t, c.PublishChecked(append([]byte("answer to "), question...)))
		})
		must.OK(t, err)
		defer stop()
	}
	answered := make(chan string, 10)
	stop, err := health.SubscribeChecked(t.Context(), func(node string, answer []byte) { answered <- node + ": " + string(answer) })
	must.OK(t, err)
	defer stop()
	for _, id := range []string{"sec2", "primary1"} {
		must.OK(t, health.PublishCheck(id, []byte("q1")))
		if got := receive(t, heard); got != id+" q1" {
			t.Errorf("heard: %s", got)
		}
		if got := receive(t, answered); got != id+": answer to q1" {
			t.Errorf("answered: %s", got)
		}
	}
	if err := health.PublishCheck("sec.2", nil); err == nil {
		t.Error("a question to no node was put")
	}
}
