package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Difference is one zone that a secondary does not have as it should.
type Difference struct {
	Zone zone.Name
	Want *Entry // nil: it should not be there
	Has  *Entry // nil: it is not there
}

// Kind returns what is wrong: Missing, Stale, Altered or Orphan.
func (d Difference) Kind() string {
	switch {
	case d.Want == nil:
		return Orphan
	case d.Has == nil:
		return Missing
	case d.Has.Serial != d.Want.Serial:
		return Stale
	}
	return Altered
}

// The kinds of differences.
const (
	Missing = "missing" // not there
	Stale   = "stale"   // there with another serial
	Altered = "altered" // there with the same serial and other content
	Orphan  = "orphan"  // there, and should not be
)

// Comparison is what came of comparing a secondary with what is published.
type Comparison struct {
	Sum         Sum // of what the secondary has
	Differences []Difference
	More        bool          // there are more than these
	Questions   int           // how many it took
	Age         time.Duration // of what was compared, when it was asked for
}

// MaxDifferences bounds what one comparison finds. When those are repaired the next one finds the others.
const MaxDifferences = 1000

// errAnswer is an answer that makes no sense.
var errAnswer = errors.New("the answer makes no sense")

// Compare finds what differs between the inventory that a secondary should have and the one that it has, which ask puts
// questions about. It asks one question if nothing differs.
func Compare(ctx context.Context, q Question, want *Inventory,
	ask func(context.Context, Question) (Answer, error)) (Comparison, error) {
	c := comparing{ctx: ctx, question: q, want: want, ask: ask}
	all, err := c.sums(depthAll, 0, 1)
	if err != nil {
		return c.found, err
	}
	c.found.Sum = all[0]
	if all[0] == want.Sum() {
		return c.found, nil
	}
	err = c.descend(depthGroups, 0, func(group int, _ Sum) error {
		return c.descend(depthBuckets, group, func(bucket int, claimed Sum) error {
			return c.list(group*fan+bucket, claimed)
		})
	})
	return c.found, err
}

// comparing is one comparison on its way.
type comparing struct {
	ctx      context.Context
	question Question // what all questions of this comparison have in common
	want     *Inventory
	ask      func(context.Context, Question) (Answer, error)
	found    Comparison
}

func (c *comparing) put(depth, part int) (Answer, error) {
	c.found.Questions++
	q := c.question
	q.Depth, q.Part = depth, part
	a, err := c.ask(c.ctx, q)
	c.found.Age = max(c.found.Age, a.Age)
	if err == nil && a.Fault != "" {
		err = errors.New(a.Fault)
	}
	return a, err
}

func (c *comparing) sums(depth, part, n int) ([]Sum, error) {
	a, err := c.put(depth, part)
	if err == nil && len(a.Sums) != n {
		err = fmt.Errorf("%w: %d sums instead of %d", errAnswer, len(a.Sums), n)
	}
	return a.Sums, err
}

// descend looks into the parts whose sums differ, until enough differences are found.
func (c *comparing) descend(depth, part int, into func(part int, claimed Sum) error) error {
	has, err := c.sums(depth, part, fan)
	if err != nil {
		return err
	}
	for i, want := range c.want.Answer(Question{Depth: depth, Part: part}).Sums {
		if has[i] == want {
			continue
		}
		if len(c.found.Differences) >= MaxDifferences {
			c.found.More = true
			return nil
		}
		if err := into(i, has[i]); err != nil {
			return err
		}
	}
	return nil
}

// list compares the zones of one bucket. The secondary may name fewer than it claimed: it looks again at what nobody
// published.
func (c *comparing) list(bucket int, claimed Sum) error {
	a, err := c.put(depthZones, bucket)
	if err != nil {
		return err
	}
	if len(a.Zones) > claimed.Zones {
		return fmt.Errorf("%w: %d zones instead of %d", errAnswer, len(a.Zones), claimed.Zones)
	}
	has := map[zone.Name]*Entry{}
	for i, e := range a.Zones {
		if bucketOf(e.Zone) != bucket {
			return fmt.Errorf("%w: zone %s is in the wrong part", errAnswer, e.Zone)
		}
		has[e.Zone] = &a.Zones[i]
	}
	for i, e := range c.want.buckets[bucket] {
		if h := has[e.Zone]; h == nil || h.Version != e.Version {
			c.found.Differences = append(c.found.Differences, Difference{e.Zone, &c.want.buckets[bucket][i], h})
		}
		delete(has, e.Zone)
	}
	for _, e := range a.Zones {
		if h := has[e.Zone]; h != nil {
			c.found.Differences = append(c.found.Differences, Difference{e.Zone, nil, h})
			delete(has, e.Zone)
		}
	}
	return nil
}

// Count returns how many differences there are of each kind, such as "1 stale" and "2 missing".
func (c Comparison) Count() (counts []string) {
	n := map[string]int{}
	for _, d := range c.Differences {
		n[d.Kind()]++
	}
	for kind, n := range n {
		counts = append(counts, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(counts)
	return counts
}
