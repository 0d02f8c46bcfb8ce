package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// MaxAsked is how many zones one question has asked for over DNS: they take some 0.2 ms each.
const MaxAsked = 1000

// LookAtAnswers asks a DNS server as anybody would, through its packet cache. A zone that it cannot answer for is there
// without a serial.
func LookAtAnswers(ctx context.Context, address string, name zone.Name) (*health.Entry, error) {
	got, err := transfer.Probe(ctx, address, name, false)
	switch {
	case errors.Is(err, transfer.ErrLame):
		return nil, nil
	case errors.Is(err, transfer.ErrServfail):
		return &health.Entry{Zone: name}, nil
	case err != nil:
		return nil, err
	}
	e := health.BySerial(name, got.Serial)
	return &e, nil
}

// Source is one of those that a node answers checks from.
type Source struct {
	// Count returns all zones, as of a moment that was so long ago; fresh asks for one that is no older, 0 for any.
	// nil where zones are looked at one by one only.
	Count func(ctx context.Context, fresh time.Duration) (*health.Inventory, time.Duration, error)

	// Look looks at one zone now; nil is that it is not there.
	Look func(ctx context.Context, name zone.Name) (*health.Entry, error)

	// Names returns the zones of a bucket that are to be looked at, where there is no Count.
	Names func(bucket int) []zone.Name

	// Leaves reports whether an entry is left out after all, when it comes to its name; nil leaves out none.
	Leaves func(ctx context.Context, e health.Entry) bool
}

// Answers are what a node says to checks: of each source and check from one count. One goroutine uses them.
type Answers struct {
	sources map[health.Source]Source
	counts  map[health.Source]count
	looks   *rate.Limiter // at single zones: each is a question to PowerDNS, and a health role may be stolen
}

// How many single zones are looked at each second, and at once.
const (
	looksEach = 50
	looksOnce = 2 * MaxAsked
)

// count is what a source had when a check began.
type count struct {
	check string
	zones *health.Inventory
	at    time.Time
}

// NewAnswers returns answers from these sources.
func NewAnswers(sources map[health.Source]Source) *Answers {
	return &Answers{sources: sources, counts: map[health.Source]count{}, looks: rate.NewLimiter(looksEach, looksOnce)}
}

// AnswerChecks answers, until ctx ends, the questions of the health role about what this node has.
func (n *Node) AnswerChecks(ctx context.Context, a *Answers) error {
	asked := make(chan health.Question, 64) // more are dropped, and asked again
	stop, err := n.Conn.SubscribeCheck(ctx, func(question []byte) {
		q, ok := readQuestion(question)
		if !ok {
			return
		}
		select {
		case asked <- q:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case q := <-asked:
			if text, err := json.Marshal(a.answer(ctx, q)); err == nil {
				_ = n.Conn.PublishChecked(text) // lost: it is asked again
			}
		}
	}
}

// readQuestion refuses what belongs to no check: a stolen secondary can have the broker send some of its own answers
// here, and a question of another check ends the one that is under way.
func readQuestion(text []byte) (q health.Question, ok bool) {
	err := json.Unmarshal(text, &q)
	return q, err == nil && q.Check != ""
}

func (a *Answers) answer(ctx context.Context, q health.Question) health.Answer {
	s, is := a.sources[q.Source]
	bucket, named := q.Bucket()
	var answer health.Answer
	var err error
	switch {
	case !is:
		err = fmt.Errorf("this node does not count zones by %q", q.Source)
	case q.OfZone():
		answer.Zones, err = a.lookAt(ctx, s, q.Zone)
	case s.Count == nil && named:
		answer.Zones, err = a.lookAt(ctx, s, s.Names(bucket)...)
	case s.Count == nil:
		err = fmt.Errorf("this node does not count zones by %q, only looks at single ones", q.Source)
	default:
		answer, err = a.fromCount(ctx, s, q)
	}
	answer.Question = q
	if err != nil {
		answer = health.Answer{Question: q, Fault: health.Cut(err.Error())}
	}
	return answer
}

// lookAt asks about zones one by one.
func (a *Answers) lookAt(ctx context.Context, s Source, names ...zone.Name) (found []health.Entry, err error) {
	if !a.looks.AllowN(time.Now(), len(names)) {
		return nil, errTooMany
	}
	for _, name := range names {
		e, err := s.Look(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("zone %s: %w", name, err)
		}
		if e != nil {
			found = append(found, *e)
		}
	}
	return found, nil
}

var errTooMany = errors.New("this node is asked to look at too many zones: ask again later")

// fromCount answers all questions of one check from the count that was taken for its first one.
func (a *Answers) fromCount(ctx context.Context, s Source, q health.Question) (answer health.Answer, err error) {
	c := a.counts[q.Source]
	if q.First() && q.Check != c.check {
		zones, age, err := s.Count(ctx, q.Fresh)
		if err != nil {
			return answer, err
		}
		c = count{check: q.Check, zones: zones, at: time.Now().Add(-age)}
		a.counts[q.Source] = c
	}
	if q.Check != c.check {
		return answer, errors.New("another check has begun")
	}
	answer = c.zones.Answer(q)
	answer.Age = time.Since(c.at)
	if s.Leaves == nil {
		return answer, nil
	}
	var kept []health.Entry
	for _, e := range answer.Zones {
		if !s.Leaves(ctx, e) {
			kept = append(kept, e)
		}
	}
	answer.Zones = kept
	return answer, nil
}
