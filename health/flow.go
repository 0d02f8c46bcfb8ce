package health

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Queue is the state of the queue of touches, as the broker reports it.
type Queue struct {
	Touches uint64        // that wait or are delivered to a primary
	Waiting uint64        // of those, that were not delivered yet
	Oldest  time.Duration // how long the oldest has been there
	Gone    uint64        // that were ever there and are not any more
	Given   uint64        // how often one was delivered to a primary
}

// FeedMarks is the state of a secondary's feed, as the broker reports it.
type FeedMarks struct {
	Node    string
	Waiting uint64    // states that it has not asked for yet
	Marks   [3]uint64 // that move when it takes states, or is done with some
}

// Flow follows whether the queue of touches and the feeds of secondaries move, whatever the nodes say of themselves.
// It is safe for concurrent use.
type Flow struct {
	mu     sync.Mutex
	seen   time.Time // when the broker was last asked
	queue  Queue
	given  since[uint64]
	gone   since[uint64]
	feeds  map[string]feedFlow // by node
	minute time.Time           // when the present minute began
	minima []uint64            // the fewest touches within each of the last minutes; the present one is the last
}

type feedFlow struct {
	waiting uint64
	marks   since[[3]uint64]
}

// since is a value and how long it has been the same.
type since[T comparable] struct {
	value T
	at    time.Time
}

// begin has the value be the same from now on, whatever it was.
func (s *since[T]) begin(now time.Time, value T) { s.value, s.at = value, now }

// note takes the value as it is now.
func (s *since[T]) note(now time.Time, value T) {
	if s.at.IsZero() || s.value != value {
		s.begin(now, value)
	}
}

// How long something may stand still, and for how many minutes the queue may grow.
const (
	patienceWaiting    = 30 * time.Second
	patienceUnfinished = 2 * time.Minute
	patienceStalled    = time.Minute
	growing            = 5
	growingLeast       = 100 // touches: fewer are no queue

	// unseen is after how long without a look at the broker nothing is known of what stood still meanwhile.
	unseen = 20 * time.Second
)

// NewFlow begins with nothing known.
func NewFlow() *Flow { return &Flow{feeds: map[string]feedFlow{}} }

// Observe takes how queue and feeds stand now.
func (f *Flow) Observe(now time.Time, q Queue, feeds []FeedMarks) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.seen) > unseen {
		f.given, f.gone, f.feeds, f.minima = since[uint64]{}, since[uint64]{}, nil, nil
	}
	f.seen, f.queue = now, q
	if f.given.note(now, q.Given); q.Waiting == 0 {
		f.given.begin(now, q.Given)
	}
	if f.gone.note(now, q.Gone); q.Touches == 0 {
		f.gone.begin(now, q.Gone)
	}
	f.count(now, q.Touches)
	next := make(map[string]feedFlow, len(feeds))
	for _, feed := range feeds {
		flow := f.feeds[feed.Node]
		flow.waiting = feed.Waiting
		if flow.marks.note(now, feed.Marks); feed.Waiting == 0 {
			flow.marks.begin(now, feed.Marks)
		}
		next[feed.Node] = flow
	}
	f.feeds = next
}

// count keeps the fewest touches of each minute: a queue that is worked off in between does not grow.
func (f *Flow) count(now time.Time, touches uint64) {
	switch {
	case len(f.minima) == 0:
		f.minute, f.minima = now, []uint64{touches}
	case now.Sub(f.minute) >= time.Minute:
		f.minute = now
		f.minima = append(f.minima[max(0, len(f.minima)-growing):], touches)
	default:
		last := &f.minima[len(f.minima)-1]
		*last = min(*last, touches)
	}
}

// grows reports whether the queue has had more touches each minute than the minute before.
func (f *Flow) grows() bool {
	if len(f.minima) <= growing || f.minima[growing] < growingLeast {
		return false
	}
	for i := 1; i < len(f.minima); i++ {
		if f.minima[i] <= f.minima[i-1] {
			return false
		}
	}
	return true
}

// Alarms returns what does not move. Nodes that are inactive, or report themselves why they cannot work, have other
// alarms.
func (f *Flow) Alarms(now time.Time, b Board) (wrong []Alarm) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.seen) > unseen {
		return nil
	}
	primaries := slices.DeleteFunc(slices.Clone(b.Nodes), func(r Row) bool { return r.Role != RolePrimary || !r.Active })
	if len(primaries) > 0 {
		wrong = append(wrong, f.queueAlarms(now, primaries)...)
		wrong = append(wrong, sweepAlarms(primaries)...)
	}
	for _, r := range b.Nodes {
		feed := f.feeds[r.Node]
		if r.Role == RoleSecondary && r.Active && len(r.Problems) == 0 && feed.waiting > 0 &&
			now.Sub(feed.marks.at) >= patienceStalled {
			wrong = append(wrong, r.alarm(AlarmFeedStalled,
				fmt.Sprintf("%d states wait at the broker, and the secondary has taken none since %s",
					feed.waiting, clock(feed.marks.at)),
				"restart the secondary role; if that does not help, examine its host "+
					"and read the logs of the secondary and the broker"))
		}
	}
	return wrong
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// queueAlarms are those about touches that active primaries should take.
func (f *Flow) queueAlarms(now time.Time, primaries []Row) (wrong []Alarm) {
	q := f.queue
	failing, ready := 0, false
	for _, r := range primaries {
		failing += r.Failures
		ready = ready || len(r.Problems) == 0
	}
	switch {
	case q.Waiting > 0 && now.Sub(f.given.at) >= patienceWaiting:
		wrong = append(wrong, Alarm{
			Kind: AlarmTouchesWaiting, At: Board{Nodes: primaries}.firstPrimary(),
			What: fmt.Sprintf("broker: %d touches wait, the oldest for %s, and no primary has taken one since %s: "+
				"changes are not distributed", q.Waiting, q.Oldest.Round(time.Second), clock(f.given.at)),
			Remedy: "restart the primary role; if that does not help, examine its host " +
				"and read the logs of the primary and the broker",
		})
	case ready && q.Touches > uint64(failing) && now.Sub(f.gone.at) >= patienceUnfinished:
		wrong = append(wrong, Alarm{
			Kind: AlarmTouchesUnfinished, At: Board{Nodes: primaries}.firstPrimary(),
			What: fmt.Sprintf("broker: primaries have taken %d touches and finished none since %s: "+
				"changes are not distributed", q.Touches, clock(f.gone.at)),
			Remedy: "read the log of the primary; restart the primary role: the broker delivers the touches again",
		})
	}
	if f.grows() {
		wrong = append(wrong, Alarm{
			Kind: AlarmQueueGrowing, At: Board{Nodes: primaries}.firstPrimary(), Warning: true,
			What: fmt.Sprintf("broker: the queue of touches has grown for %d minutes, from %d to %d: "+
				"changes come faster than primaries publish them", growing, f.minima[0], q.Touches),
			Remedy: "check the load of the primary and of its PowerDNS; a higher primary.workers may help",
		})
	}
	return wrong
}

// sweepSlack is what the pause between two sweeps may be exceeded by, three times over, before none counts as done.
const sweepSlack = time.Minute

// sweepAlarms are about no primary having compared all zones for long: changes that bypass the proxy are not found
// then.
func sweepAlarms(primaries []Row) []Alarm {
	var last Row
	var age, allowed time.Duration
	for _, r := range primaries {
		p := r.Primary
		if p.Swept.IsZero() {
			return nil // no sweep was begun yet
		}
		if since := r.Clock.Sub(p.Swept); last.Node == "" || since < age {
			last, age, allowed = r, since, 3*(p.SweepPause+sweepSlack)
		}
	}
	if age <= allowed || last.Primary.SweepPause == 0 {
		return nil
	}
	return []Alarm{last.alarm(AlarmSweepOverdue,
		fmt.Sprintf("no sweep was finished since %s: changes that bypassed the proxy are not found",
			clock(last.Primary.Swept)),
		"read what the log says of the sweep, and check how long PowerDNS takes to list its zones; restart the primary role")}
}
