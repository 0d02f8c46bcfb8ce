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
		return c.Campaign(ctx, "health", func(ctx context.Context, l *broker.Lease) {
			now := led{l, make(chan struct{})}
			terms <- now
			<-ctx.Done()
			close(now.over)
		})
	})
	return terms, stop
}

func startLeases(t *testing.T) (b *brokertest.Broker, primary, one, two *broker.Conn) {
	b = brokertest.Start(t, brokertest.Options{Core: []string{"primary1"}, Health: []string{"health1", "health2"}})
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
	t.Parallel()
	_, _, one, two := startLeases(t)
	first, _ := campaign(t, one)
	leader := receive(t, first)
	second, _ := campaign(t, two)
	one.NATS().Opts.ReconnectedCB, one.NATS().Opts.CustomDialer = nil, refusing{}
	must(t, one.NATS().ForceReconnect()) // it finds nobody any more
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
	must(t, err)
	_, err = bucket.Put(t.Context(), "health", []byte("by hand"))
	must(t, err)
	receive(t, next.over)
}

// Who leads can be asked for at any time, and is the same, with the same term, after the lease was renewed.
func TestLeaseHolder(t *testing.T) {
	t.Parallel()
	_, primary, one, _ := startLeases(t)
	holder, err := primary.LeaseHolder(t.Context(), "health")
	if err != nil || holder != (broker.Holder{}) {
		t.Errorf("nobody leads: %+v, %v", holder, err)
	}
	bucket, err := primary.JetStream().KeyValue(t.Context(), "pdns_lease")
	must(t, err)
	stored, err := bucket.Watch(t.Context(), "health", jetstream.UpdatesOnly())
	must(t, err)
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
	must(t, err)
	if answer, err := primary.AskLeader(t.Context(), []byte("hello")); err != nil || string(answer) != "hello!" {
		t.Errorf("%q, %v", answer, err)
	}
	stop()
	must(t, one.NATS().Flush()) // the broker has read that
	if _, err := primary.AskLeader(t.Context(), nil); err != broker.ErrNoLeader {
		t.Errorf("when it leads no more: %v", err)
	}
}

// Who puts more requests than are answered at a time does not make the leader begin more, and it goes on when they are done.
func TestLeaderRequestsAreBounded(t *testing.T) {
	_, primary, one, _ := startLeases(t)
	began, end := make(chan struct{}, 1000), make(chan struct{})
	stop, err := one.ServeLeader(t.Context(), func(_ context.Context, request []byte) []byte {
		began <- struct{}{}
		<-end
		return request
	})
	must(t, err)
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
	must(t, waiting.Wait())
	_, err = primary.AskLeader(t.Context(), nil)
	must(t, err)
}

// Each secondary hears the questions to itself, and answers in its own name.
func TestChecks(t *testing.T) {
	b, primary := start(t)
	heard := make(chan string, 10)
	for _, id := range []string{"sec1", "sec2"} {
		c := b.Connect(id)
		stop, err := c.SubscribeCheck(t.Context(), func(question []byte) {
			heard <- id + " " + string(question)
			must(t, c.PublishChecked(append([]byte("answer to "), question...)))
		})
		must(t, err)
		defer stop()
	}
	answered := make(chan string, 10)
	stop, err := primary.SubscribeChecked(t.Context(), func(node string, answer []byte) { answered <- node + ": " + string(answer) })
	must(t, err)
	defer stop()
	must(t, primary.PublishCheck("sec2", []byte("q1")))
	if got := receive(t, heard); got != "sec2 q1" {
		t.Errorf("heard: %s", got)
	}
	if got := receive(t, answered); got != "sec2: answer to q1" {
		t.Errorf("answered: %s", got)
	}
	if err := primary.PublishCheck("sec.2", nil); err == nil {
		t.Error("a question to no node was put")
	}
}
