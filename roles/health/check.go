package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pdns-distribute/backoff"
	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/status"
	"pdns-distribute/roles/work"
)

// This file is the trunk of the role: what becomes of an observation. From top to bottom: when a node is checked
// (run), which nodes can be (ready), what a check is (check), and its steps: its sources are counted and compared
// (compareSource in sources.go), a difference is judged to be on its way or standing (standing), a repair is ordered
// (orderAtSecondary, orderAtPrimary), and what stands all the same becomes an alarm (oldest, conclude).

// checker compares what each source of each node has with what is published, and has repaired what differs.
type checker struct {
	h        *Health
	asker    *asker
	repairer *repairer
	limits   *limits
	outcomes *outcomes

	turn chan struct{} // full while a check runs; who holds it has the next two

	seen    map[string]*health.Standing // by node: the differences that its checks have seen
	paces   map[string]*pacing          // by node: when repairs of these are ordered again
	samples map[string]int              // by node: where the next sample of its DNS answers begins
}

func newChecker(h *Health, r *repairer) *checker {
	return &checker{
		h: h, asker: newAsker(h.Conn), repairer: r, limits: newLimits(h.cfg), outcomes: newOutcomes(),
		turn: make(chan struct{}, 1), seen: map[string]*health.Standing{}, paces: map[string]*pacing{}, samples: map[string]int{},
	}
}

// checked is a node that is compared with what is published.
type checked struct{ node, role string }

// freshness says which counts of a source will do.
type freshness int

const (
	countOfAnyAge freshness = iota
	countedSince            // the check began
)

// checkTick is how often it is looked whether a check is due.
const checkTick = time.Second

// run checks each node at the interval, as soon as it is there (again), and a while after something differed.
func (c *checker) run(ctx context.Context) error {
	stop, err := c.asker.subscribe(ctx)
	if err != nil {
		return err
	}
	defer stop()
	due := map[string]time.Time{}
	for work.Wait(ctx, checkTick) {
		nodes := c.ready()
		for node := range due {
			if !slices.ContainsFunc(nodes, func(n checked) bool { return n.node == node }) {
				delete(due, node) // when it is back it is checked, and till then nothing is known of it
				c.forget(node)
			}
		}
		for _, n := range nodes {
			if time.Now().Before(due[n.node]) {
				continue
			}
			report := c.one(ctx, n, countOfAnyAge)
			due[n.node] = time.Now().Add(c.pause(report))
		}
	}
	return nil
}

func (c *checker) forget(node string) {
	c.h.findings.forget(node)
	c.outcomes.forget(node)
	c.summarize()
}

// summarize renews what this role reports of all comparisons. What differs now, or no more, is announced at once.
func (c *checker) summarize() {
	now := c.outcomes.summary(c.h.published.index.Count())
	if before := c.h.compared.Swap(now); !before.SameFaults(now) {
		c.h.AnnounceSoon()
	}
}

// ready returns the nodes that can be compared, primaries first: what is published is known, a primary keeps it true,
// and they are there. A primary that stands by lists and reads nothing.
func (c *checker) ready() (nodes []checked) {
	if !c.h.published.complete.Load() || !c.h.Conn.Connected() {
		return nil
	}
	primary := false
	for _, r := range c.h.nodes.board().Nodes { // sorted by role
		primary = primary || r.Role == health.RolePrimary && r.Active && r.Primary.Complete
		if r.Active && !r.StandsBy() && (r.Role == health.RolePrimary || r.Role == health.RoleSecondary) {
			nodes = append(nodes, checked{r.Node, r.Role})
		}
	}
	if !primary {
		return nil
	}
	return nodes
}

// repairPause is within what time a difference mostly is repaired: a touch takes milliseconds, many take their turn.
const repairPause = 3 * time.Second

// pause returns how long until the next check: soon after something was found, to see whether the repair has helped,
// and less and less often if it has not.
func (c *checker) pause(r status.NodeReport) time.Duration {
	if r.Ordered == 0 && r.OnWay == 0 && len(r.Faults()) == 0 && !r.More {
		return c.h.cfg.CheckInterval
	}
	return backoff.Doubled(min(c.h.cfg.EventCheckWait, repairPause), c.outcomes.differed(r.Node), c.h.cfg.CheckInterval)
}

// one checks one node, after any other check.
func (c *checker) one(ctx context.Context, n checked, f freshness) status.NodeReport {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return status.NodeReport{Node: n.node, Role: n.role, Fault: ctx.Err().Error()}
	}
	report := c.check(ctx, n, f)
	if c.h.nodes.knows(n.node) { // an operator may have deregistered it meanwhile
		c.conclude(n, report)
	}
	return report
}

// checkPatience is how long the check of one node may take.
const checkPatience = 2 * time.Minute

// difference is one that a source shows and that is not on its way.
type difference struct {
	health.Difference
	source health.Source
	since  time.Time // when it was seen first; zero if this is the first time
}

// check compares all sources of a node with what is published, and orders repairs.
func (c *checker) check(ctx context.Context, n checked, f freshness) status.NodeReport {
	ctx, cancel := context.WithTimeoutCause(ctx, checkPatience,
		fmt.Errorf("the comparison took longer than %s", checkPatience))
	defer cancel()
	report := status.NodeReport{Node: n.node, Role: n.role}
	if f == countedSince { // somebody asks for it
		delete(c.paces, n.node)
	}
	seen, begin := c.beginRound(n.node), time.Now()
	if c.outcomes.differed(n.node) > 0 {
		f = countedSince
	}
	var real []difference
	var served health.Comparison
	for _, source := range health.SourcesOf(n.role) {
		found, s := c.compareSource(ctx, n, source, maxAge(begin, f))
		report.Sources = append(report.Sources, s)
		if s.Fault == errNoAnswer.Error() || s.Fault != "" && ctx.Err() != nil {
			break
		}
		if source == health.Served || source == health.Index {
			report.Zones, served = found.Sum.Zones, found
		}
		real = append(real, c.standing(n, seen, source, found, &report)...)
	}
	report.More = served.More
	if n.role == health.RolePrimary {
		c.orderAtPrimary(real, &report)
	} else {
		c.orderAtSecondary(union(served, real), c.h.published.index.Desired().Sum().Zones, &report)
	}
	c.oldest(real, &report)
	return report
}

// maxAge returns how old a count may be, 0 for any age.
func maxAge(begin time.Time, f freshness) time.Duration {
	if f == countOfAnyAge {
		return 0
	}
	return max(time.Since(begin), time.Millisecond)
}

// beginRound begins a round of noting which differences stand at a node, and which of these are ordered to be repaired.
func (c *checker) beginRound(node string) *health.Standing {
	seen := c.seen[node]
	if seen == nil {
		seen = &health.Standing{}
		c.seen[node] = seen
	}
	seen.Begin()
	c.pacesOf(node).begin()
	return seen
}

func (c *checker) pacesOf(node string) *pacing {
	paces := c.paces[node]
	if paces == nil {
		paces = newPacing()
		c.paces[node] = paces
	}
	return paces
}

// standing leaves out the differences that are on their way, and those that may be because they were not seen before.
// What is proven to be served is believed at once: the node itself waits with that.
func (c *checker) standing(n checked, seen *health.Standing, source health.Source, found health.Comparison,
	report *status.NodeReport) (real []difference) {
	now := time.Now()
	counted := now.Add(-found.Age)
	by := versionsAt(n.role, source)
	for _, d := range found.Differences {
		since := seen.See(now, counted, source, d)
		if c.onWay(n, by, d, counted) || since.IsZero() && source != health.Served {
			report.OnWay++
			if !since.IsZero() && (report.Waiting.IsZero() || since.Before(report.Waiting)) {
				report.Waiting = since
			}
			continue
		}
		real = append(real, difference{d, source, since})
	}
	return real
}

// union returns what the sources of a node show together, each zone once: how it is served counts before how it is
// stored.
func union(served health.Comparison, real []difference) health.Comparison {
	all, known := served, map[zone.Name]bool{}
	all.Differences = nil
	for _, d := range real {
		if !known[d.Zone] {
			all.Differences = append(all.Differences, d.Difference)
		}
		known[d.Zone] = true
	}
	return all
}

// orderAtSecondary orders repairs of what differs at a secondary. published is how many zones there should be: the
// deletion limit counts by that which of the others may go, and counts all that are there beyond it, also those not
// looked at yet.
func (c *checker) orderAtSecondary(real health.Comparison, published int, report *status.NodeReport) {
	var orphans []zone.Name
	for _, d := range real.Differences {
		if d.Kind() == health.Orphan {
			orphans = append(orphans, d.Zone)
		}
	}
	report.Found = real.Count()
	if len(report.Found) > 0 {
		c.h.Each.Warn().Str("secondary", report.Node).Strs("found", report.Found).
			Msg("secondary differs from published state, repairing")
	}
	more := 0
	if real.More {
		more = max(0, real.Sum.Zones-published-len(orphans))
	}
	limit := c.limits.of(report.Node)
	limit.Only(orphans)
	if held, is := errors.AsType[health.HeldError](limit.Allow(time.Now(), orphans, more, published)); is {
		report.Held = fmt.Sprintf("deletions held: %d zones that are not published, with %d published "+
			"(limit %d within %s and never all, %d used)",
			held.Zones, published, held.Limit, held.Window, held.Before)
	}
	for _, d := range real.Differences {
		if report.Held != "" && d.Kind() == health.Orphan {
			continue
		}
		c.order(d, report.Node, report)
	}
}

// orderAtPrimary has the primaries look at zones of which the stream, a primary's index or its PowerDNS differ from
// what this role knows to be published. What PowerDNS does not have any more is left to the sweep, which sees how
// many these are. Where the stream has something that this role does not know, it reads all states again.
func (c *checker) orderAtPrimary(real []difference, report *status.NodeReport) {
	for _, d := range real {
		switch {
		case d.source == health.PowerDNS && d.Has == nil:
			continue
		case d.source == health.Stream && d.Has != nil:
			c.h.published.readAgain()
		}
		c.order(d.Difference, broker.ToAll, report)
	}
	report.Found = union(health.Comparison{}, real).Count()
	if len(report.Found) > 0 {
		c.h.Each.Warn().Str("primary", report.Node).Strs("found", report.Found).
			Msg("primary differs from published state, repairing")
	}
}

// order has the zone taken again, unless that was ordered a moment ago and does not help.
func (c *checker) order(d health.Difference, to string, report *status.NodeReport) {
	report.Ordered++
	if !c.pacesOf(report.Node).due(time.Now(), d.Zone) {
		return
	}
	c.h.metrics.repairs.WithLabelValues(d.Kind()).Inc()
	c.repairer.add(d.Zone, to)
}

// oldest notes which difference stands longest, but for those of zones that the node itself reports to fail, or to
// hold: that is another alarm, with the reason.
func (c *checker) oldest(real []difference, report *status.NodeReport) {
	failing, holds := c.reportedBy(report.Node)
	for _, d := range real {
		if d.since.IsZero() || failing[d.Zone] || holds && d.source == health.PowerDNS && d.Has == nil {
			continue
		}
		if report.Oldest.Since.IsZero() || d.since.Before(report.Oldest.Since) {
			report.Oldest = status.Standing{
				Since: d.since, Zone: d.Zone,
				What: fmt.Sprintf("the first is zone %s, %s in source %q", d.Zone, d.Kind(), d.source),
			}
		}
	}
}

// reportedBy returns the zones that a node reports to fail, and whether it holds deletions.
func (c *checker) reportedBy(node string) (failing map[zone.Name]bool, holds bool) {
	failing = map[zone.Name]bool{}
	for _, r := range c.h.nodes.board().Nodes {
		if r.Node != node {
			continue
		}
		for _, f := range r.Failing {
			failing[f.Zone] = true
		}
		holds = r.Primary.Held > 0
	}
	return failing, holds
}

// standsFor is for how many waits a difference must stand to be an alarm: it is repaired within one.
const standsFor = 3

// conclude notes what the check came to: for metrics, for the next check, and the alarms that follow.
func (c *checker) conclude(n checked, r status.NodeReport) {
	c.h.metrics.checked(r)
	c.outcomes.note(time.Now(), r)
	c.summarize()

	var found []health.Alarm
	raise := func(kind health.Kind, what, remedy string, of zone.Name, cause string) {
		found = append(found, health.NodeAlarm(n.role, n.node, kind, what, remedy).Of(of, cause))
	}
	if faults := strings.Join(r.Faults(), "; "); faults != "" {
		raise(health.AlarmNotCompared, "cannot be compared with published state: "+faults,
			"read the log of the node; after an update, "+
				"check that the node and the brokers' accounts.conf are of this version (pdns.check)", "", faults)
	}
	if r.Held != "" {
		raise(health.AlarmOrphans, r.Held, "see why these zones are not published; "+
			"confirm the deletion if they are to be deleted there", "", "")
	}
	if o := r.Oldest; !o.Since.IsZero() && r.Held == "" && time.Since(o.Since) > standsFor*c.h.cfg.EventCheckWait {
		raise(health.AlarmDiffers, fmt.Sprintf("differs from published state since %s though repairs were ordered: %s; %s",
			o.Since.UTC().Format(time.RFC3339), strings.Join(r.Found, ", "), o.What),
			"see where the zone differs, and read the log of the node", o.Zone, "")
	}
	c.h.findings.replace(n.node, []health.Kind{health.AlarmNotCompared, health.AlarmOrphans, health.AlarmDiffers}, found)
}
