package node

import (
	"context"
	"sync"

	"pdns-distribute/powerdns/zone"
)

// The primary says which state a touch has led to, and each secondary when PowerDNS answers with it, for whoever
// waits for the change. Both say so unasked when it happens, and again when they are asked.

// askLimit is how many questions may wait; more are dropped, and asked again by whoever waits.
const (
	askLimit   = 1024
	askWorkers = 4
)

// AnswerAsks calls answer for each zone that is asked about, until ctx ends.
func (n *Node) AnswerAsks(ctx context.Context, answer func(context.Context, zone.Name) error) error {
	asked := make(chan zone.Name, askLimit)
	stop, err := n.Conn.SubscribeAsk(ctx, func(name zone.Name) {
		select {
		case asked <- name:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range askWorkers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case name := <-asked:
					if err := answer(ctx, name); err != nil && ctx.Err() == nil {
						n.Log.Debug().Err(err).Stringer("zone", name).Msg("failed to answer a question about the zone")
					}
				}
			}
		})
	}
	return nil
}
