package broker

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"pdns-distribute/powerdns/zone"
)

// PublishComing tells the secondaries that a new state of the zone is probably on its way, so that they can get ready
// for it while it is made. Nothing is stored and no one answers: a word that is lost costs some milliseconds, one too
// many a transfer.
func (c *Conn) PublishComing(name zone.Name) error {
	if err := c.nc.Publish(comingSubject, []byte(name)); err != nil {
		return fmt.Errorf("announce a state: %w", explain(err))
	}
	return nil
}

// SubscribeComing calls fn for each such word, one call after the other, through reconnections, until stop is called;
// stop waits for a running fn. CORE and SEC accounts.
func (c *Conn) SubscribeComing(ctx context.Context, fn func(zone.Name)) (stop func(), err error) {
	return c.listen(ctx, comingSubject, func(msg *nats.Msg) {
		if name, err := zone.NameFromWire(msg.Data); err == nil {
			fn(name)
		}
	})
}
