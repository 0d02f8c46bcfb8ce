package health

import (
	"context"
	"crypto/rand"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/status"
)

// lookAt asks all sources of all nodes about one zone, after any check.
func (c *checker) lookAt(ctx context.Context, name zone.Name) (found []status.ZoneSource, err error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for _, n := range c.ready() {
		found = append(found, c.lookAtNode(ctx, n, name)...)
	}
	return found, nil
}

// zoneAnswers is how long a node may take to answer what it has of a zone, at all of its sources.
const zoneAnswers = 5 * time.Second

// lookAtNode gives up on a node that does not answer.
func (c *checker) lookAtNode(ctx context.Context, n checked, name zone.Name) (found []status.ZoneSource) {
	ctx, cancel := context.WithTimeoutCause(ctx, zoneAnswers, errNoAnswer)
	defer cancel()
	for _, source := range health.SourcesOf(n.role) {
		s := c.lookAtOne(ctx, n, source, name)
		if found = append(found, s); ctx.Err() != nil {
			break
		}
	}
	return found
}

func (c *checker) lookAtOne(ctx context.Context, n checked, source health.Source, name zone.Name) status.ZoneSource {
	s := status.ZoneSource{Node: n.node, Source: source}
	answer, err := c.asker.ask(ctx, n.node, health.QuestionOf(rand.Text(), source, name))
	switch {
	case err != nil:
		s.Fault = err.Error()
		return s
	case answer.Fault != "":
		s.Fault = answer.Fault
		return s
	case len(answer.Zones) > 1 || len(answer.Zones) == 1 && answer.Zones[0].Zone != name:
		s.Fault = "the answer is about other zones"
		return s
	}
	published := c.h.published.index.Get(name)
	if s.There = len(answer.Zones) == 1; !s.There {
		s.Equal = !published.Stands()
		return s
	}
	has := answer.Zones[0]
	s.Serial = has.Serial
	s.Equal = published.Stands() && versionsAt(n.role, source).Entry(published, name).Version == has.Version
	return s
}
