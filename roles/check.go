package roles

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// checker compares what each secondary has with what is published, and has mended what differs.
type checker struct {
	h       *Health
	mender  *mender
	turn    chan struct{} // full while a check runs
	answers chan health.Answer

	mu     sync.Mutex
	asked  string          // the secondary that an answer is waited for from ...
	about  health.Question // ... and the question
	brakes map[string]*health.Brake
	rounds map[string]int // checks in a row after which something still differed
}

func newChecker(h *Health, m *mender) *checker {
	return &checker{
		h: h, mender: m, turn: make(chan struct{}, 1), answers: make(chan health.Answer, 1),
		brakes: map[string]*health.Brake{}, rounds: map[string]int{},
	}
}

// brake is the one of a secondary.
func (c *checker) brake(node string) *health.Brake {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.brakes[node]
	if b == nil {
		b = health.NewBrake(c.h.cfg.MaxDeletePercent, deleteWindow)
		c.brakes[node] = b
	}
	return b
}

// checkTick is how often it is looked whether a check is due.
const checkTick = time.Second

// run checks each secondary at the interval, as soon as it is there (again), and a while after something differed.
func (c *checker) run(ctx context.Context) error {
	stop, err := c.h.conn.SubscribeChecked(ctx, func(node string, answer []byte) {
		var a health.Answer
		if json.Unmarshal(answer, &a) == nil && c.awaits(node, a.Question) {
			notify(c.answers, a)
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	due := map[string]time.Time{}
	for wait(ctx, checkTick) {
		nodes := c.ready()
		for node := range due {
			if !slices.Contains(nodes, node) { // when it is back it is checked, and till then nothing is known of it
				delete(due, node)
				c.h.findings.forget(node)
			}
		}
		for _, node := range nodes {
			if time.Now().Before(due[node]) {
				continue
			}
			report := c.one(ctx, node)
			due[node] = time.Now().Add(c.pause(report))
		}
	}
	return nil
}

// ready are the secondaries that can be checked: what is published is known, a primary keeps it true, and they are there.
func (c *checker) ready() (nodes []string) {
	if !c.h.complete.Load() || !c.h.conn.Connected() {
		return nil
	}
	primary := false
	for _, r := range c.h.board().Nodes {
		primary = primary || r.Role == rolePrimary && r.Active && r.Complete
		if r.Role == roleSecondary && r.Active {
			nodes = append(nodes, r.Node)
		}
	}
	if !primary {
		return nil
	}
	return nodes
}

// checkable are the secondaries that somebody means who names one, or none for all of them; fault is why there is none.
func (c *checker) checkable(node string) (nodes []string, fault string) {
	nodes = c.ready()
	switch {
	case len(nodes) == 0:
		return nil, "no secondary can be checked: none is active, or no primary is"
	case node == "":
		return nodes, ""
	case !slices.Contains(nodes, node):
		return nil, fmt.Sprintf("no active secondary is called %q", node)
	}
	return []string{node}, ""
}

// now checks secondaries because somebody asked for it.
func (c *checker) now(ctx context.Context, nodes []string) (answer leaderAnswer) {
	for _, node := range nodes {
		answer.Nodes = append(answer.Nodes, c.one(ctx, node))
	}
	return answer
}

// nodeReport is what came of checking one secondary.
type nodeReport struct {
	Node    string   `json:"node"`
	Zones   int      `json:"zones"`
	Found   []string `json:"found,omitempty"` // such as "2 missing"
	Ordered int      `json:"ordered"`         // zones that it was told to take again, or to delete
	OnWay   int      `json:"on_way"`          // differences of changes that are on their way
	Held    string   `json:"held,omitempty"`  // why it deletes nothing
	Fault   string   `json:"fault,omitempty"` // why it was not compared
	more    bool
}

// pause is how long until the next check: soon after something was found, to see whether that has helped, and less and
// less often if it has not.
func (c *checker) pause(r nodeReport) time.Duration {
	if r.Ordered == 0 && r.OnWay == 0 && r.Fault == "" && !r.more {
		return c.h.cfg.CheckInterval
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(c.h.cfg.EventCheckWait<<min(c.rounds[r.Node], 10), c.h.cfg.CheckInterval)
}

// one checks one secondary, after any other check.
func (c *checker) one(ctx context.Context, node string) nodeReport {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nodeReport{Node: node, Fault: ctx.Err().Error()}
	}
	report := c.compare(ctx, node)
	c.conclude(node, report)
	return report
}

func (c *checker) compare(ctx context.Context, node string) nodeReport {
	ctx, cancel := context.WithTimeoutCause(ctx, comparePatience, fmt.Errorf("it took longer than %s", comparePatience))
	defer cancel()
	report := nodeReport{Node: node}
	want := c.h.index.desired()
	found, err := health.Compare(ctx, rand.Text(), want, func(ctx context.Context, q health.Question) (health.Answer, error) { return c.ask(ctx, node, q) })
	if err != nil {
		report.Fault = err.Error()
		return report
	}
	report.Zones, report.more = found.Sum.Zones, found.More
	c.mend(node, found, want.Sum().Zones, &report)
	return report
}

// A question that gets no answer is put again.
const (
	questionPatience = 5 * time.Second
	questionTries    = 3

	comparePatience = 2 * time.Minute // for all of one comparison
)

var errNoAnswer = errors.New("it does not answer")

// ask puts one question to a secondary.
func (c *checker) ask(ctx context.Context, node string, q health.Question) (health.Answer, error) {
	c.expect(node, q)
	defer c.expect("", health.Question{})
	for range questionTries {
		if err := c.put(node, q); err != nil {
			return health.Answer{}, err
		}
		select {
		case <-ctx.Done():
			return health.Answer{}, context.Cause(ctx)
		case <-time.After(questionPatience):
		case a := <-c.answers:
			return a, nil
		}
	}
	return health.Answer{}, errNoAnswer
}

// expect notes whose answer is waited for; any other one is dropped.
func (c *checker) expect(node string, q health.Question) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked, c.about = node, q
	drain(c.answers)
}

func (c *checker) awaits(node string, q health.Question) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked == node && c.about == q
}

func (c *checker) put(node string, q health.Question) error {
	question, err := json.Marshal(q)
	if err != nil {
		return err
	}
	return c.h.conn.PublishCheck(node, question)
}

// mend orders what differs, but for what is on its way. published is how many zones there should be: how many of what is
// there in vain may go is counted by that, and all that is there beyond it counts, also what was not looked at yet.
func (c *checker) mend(node string, found health.Comparison, published int, report *nodeReport) {
	var real health.Comparison
	var orphans []zone.Name
	for _, d := range found.Differences {
		if c.onWay(node, d) {
			report.OnWay++
			continue
		}
		real.Differences = append(real.Differences, d)
		if d.Kind() == health.Orphan {
			orphans = append(orphans, d.Zone)
		}
	}
	report.Found = real.Count()
	if len(report.Found) > 0 {
		c.h.each.Warn().Str("secondary", node).Strs("found", report.Found).Msg("it has not what is published: having it mended")
	}
	more := 0
	if found.More {
		more = max(0, found.Sum.Zones-published-len(orphans))
	}
	if held, is := errors.AsType[health.HeldError](c.brake(node).Allow(time.Now(), orphans, more, published)); is {
		report.Held = fmt.Sprintf("%d zones are there that are not published, and %d should be there; without a word at most %d are deleted within %s, never as many as there should be, and %d were",
			held.Zones, published, held.Limit, held.Window, held.Before)
	}
	for _, d := range real.Differences {
		if report.Held != "" && d.Kind() == health.Orphan {
			continue
		}
		report.Ordered++
		c.h.metrics.orders.WithLabelValues(d.Kind()).Inc()
		c.mender.add(d.Zone, node)
	}
}

// onWay tells of a difference that is over by itself: the zone has changed since, or just before, or waits for the
// secondary at the broker.
func (c *checker) onWay(node string, d health.Difference) bool {
	now := c.h.index.get(d.Zone)
	switch {
	case !c.h.events.Settled(d.Zone), now.seq > 0 && c.h.stage(node, now.seq) == health.Queued:
		return true
	case !now.stands(): // or it is published anew, after the broker lost its store
		return d.Want != nil || now.remembered()
	}
	return d.Want == nil || d.Want.Version != now.version(d.Zone)
}

// conclude notes what is to be shown.
func (c *checker) conclude(node string, r nodeReport) {
	c.mu.Lock()
	switch {
	case r.Fault != "":
	case len(r.Found) == 0:
		c.rounds[node] = 0
	case r.Held != "":
		c.rounds[node] = 1 // what is held is not told again
	default:
		c.rounds[node]++
	}
	rounds := c.rounds[node]
	c.mu.Unlock()
	result := "same"
	switch {
	case r.Fault != "":
		result = "unanswered"
	case len(r.Found) > 0:
		result = "different"
	}
	c.h.metrics.checks.WithLabelValues(result).Inc()
	c.h.findings.set("unchecked", node, r.Fault != "", "cannot be compared with what is published: "+r.Fault, "see what its log says; after an update, whether the brokers' accounts.conf has what this version needs (pdns.check): pdns-distribute init update DIR writes it")
	c.h.findings.set("orphans", node, r.Held != "", r.Held, "if they shall be deleted there, run: pdns-distribute sync --confirm-deletes "+node)
	c.h.findings.set("differs", node, rounds > 2, fmt.Sprintf("differs from what is published, though it was told again: %s", strings.Join(r.Found, ", ")), "see what its log says; pdns-distribute status ZONE shows a zone")
}
