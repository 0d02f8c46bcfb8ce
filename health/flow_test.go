package health

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// flowing is a fleet whose broker is looked at every five seconds.
type flowing struct {
	t     *testing.T
	flow  *Flow
	now   time.Time
	board Board
	queue Queue
	feeds []FeedMarks
}

func newFlowing(t *testing.T) *flowing {
	return &flowing{t: t, flow: NewFlow(), now: time.Now(), board: Board{Nodes: []Row{
		{Presence: Presence{Node: "primary1", Role: RolePrimary}, Active: true},
		{Presence: Presence{Node: "ns1", Role: RoleSecondary}, Active: true},
	}}}
}

// pass lets time pass; change is called before each look at the broker.
func (f *flowing) pass(d time.Duration, change func()) {
	for end := f.now.Add(d); f.now.Before(end); f.now = f.now.Add(5 * time.Second) {
		if change != nil {
			change()
		}
		f.flow.Observe(f.now, f.queue, f.feeds)
	}
}

func (f *flowing) want(kinds ...Kind) []Alarm {
	f.t.Helper()
	var got []Kind
	alarms := f.flow.Alarms(f.now, f.board)
	for _, a := range alarms {
		got = append(got, a.Kind)
		if a.What == "" || a.Remedy == "" {
			f.t.Errorf("it does not say enough: %+v", a)
		}
	}
	if !slices.Equal(got, kinds) {
		f.t.Errorf("alarms %q, want %q", got, kinds)
	}
	return alarms
}

func TestTouchesThatNobodyTakes(t *testing.T) {
	f := newFlowing(t)
	f.pass(time.Hour, nil)
	f.want()
	f.queue.Touches, f.queue.Waiting, f.queue.Oldest = 3, 3, time.Minute
	f.pass(patienceWaiting-10*time.Second, nil)
	f.want()
	f.pass(10*time.Second, nil)
	if what := f.want(AlarmTouchesWaiting)[0].What; !strings.Contains(what, "3 touches wait, the oldest for 1m0s") {
		t.Error(what)
	}
	f.board.Nodes[0].Active = false // which is another alarm
	f.want()
	f.board.Nodes[0].Active = true
	f.pass(time.Minute, func() { f.queue.Given++ }) // it takes them, and more come
	f.want()
	f.now = f.now.Add(time.Hour) // the broker could not be asked
	f.want()
	f.pass(10*time.Second, nil)
	f.want()
}

func TestTouchesThatAreNotDoneWith(t *testing.T) {
	f := newFlowing(t)
	f.queue = Queue{Touches: 2, Given: 2, Gone: 10}
	f.pass(patienceUnfinished+time.Minute, func() { f.queue.Given++ }) // they are given again and again
	f.want(AlarmTouchesUnfinished)
	f.board.Nodes[0].Failures = 2 // that is why, and another alarm
	f.want()
	f.board.Nodes[0].Failures = 1
	f.want(AlarmTouchesUnfinished)
	f.pass(10*time.Second, func() { f.queue.Gone++ })
	f.want()
}

func TestQueueThatGrows(t *testing.T) {
	f := newFlowing(t)
	moving := func(grows int) func() {
		return func() {
			f.queue.Touches = uint64(max(0, int(f.queue.Touches)+grows))
			f.queue.Gone, f.queue.Given = f.queue.Gone+1, f.queue.Given+1
		}
	}
	f.pass(20*time.Minute, moving(0))
	f.want()
	f.pass(4*time.Minute, moving(20))
	f.want()
	f.pass(4*time.Minute, moving(20))
	f.want(AlarmQueueGrowing)
	f.pass(2*time.Minute, moving(-20))
	f.want()
	f.queue.Touches = 0
	n := 0
	f.pass(time.Hour, func() { // bulk that is worked off each time
		moving(0)()
		n = (n + 1) % 100
		f.queue.Touches = uint64(n * 100)
	})
	f.want()
}

func TestFeedThatStandsStill(t *testing.T) {
	f := newFlowing(t)
	f.feeds = []FeedMarks{{Node: "ns1", Waiting: 7, Marks: [3]uint64{1, 1, 0}}}
	f.pass(patienceStalled-10*time.Second, nil)
	f.want()
	f.pass(20*time.Second, nil)
	if a := f.want(AlarmFeedStalled)[0]; a.Node != "ns1" || !strings.Contains(a.What, "7 states wait") {
		t.Errorf("%+v", a)
	}
	f.board.Nodes[1].Problems = []string{"PowerDNS is away"}
	f.want()
	f.board.Nodes[1].Problems, f.board.Nodes[1].Active = nil, false
	f.want()
	f.board.Nodes[1].Active = true
	f.pass(10*time.Second, func() { f.feeds[0].Marks[1]++ })
	f.want()
	f.feeds[0].Waiting = 0
	f.pass(time.Hour, nil)
	f.want()
}

func TestPrimaryThatSweepsNotAnyMore(t *testing.T) {
	f := newFlowing(t)
	f.pass(10*time.Second, nil)
	p := &f.board.Nodes[0]
	p.Clock, p.Primary.SweepPause = f.now, 15*time.Minute
	p.Primary.Swept = f.now.Add(-47 * time.Minute)
	f.want()
	p.Primary.Swept = f.now.Add(-50 * time.Minute)
	f.want(AlarmSweepOverdue)
	second := *p
	second.Node, second.Primary.Swept = "primary2", f.now // one is enough
	f.board.Nodes = append(f.board.Nodes, second)
	f.want()
}
