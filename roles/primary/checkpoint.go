package primary

import (
	"context"
	"time"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/work"
)

// How often a primary signs a checkpoint: at least, and at most where changes that somebody waits for come one after
// the other.
const (
	checkpointInterval = 5 * time.Second
	checkpointPause    = 500 * time.Millisecond
)

// signCheckpoints tells the secondaries, signed, what is published in all. No change waits for it.
func (p *Primary) signCheckpoints(ctx context.Context) error {
	signer := p.publisher.signer
	if signer == nil {
		return nil
	}
	for work.Wait(ctx, checkpointPause) {
		if p.replication.acts() && p.Conn.Connected() { // else old ones would wait for the connection
			signed := signer.key.SignCheckpoint(p.checkpoint(time.Now()))
			if err := p.Conn.PublishCheckpoint(signed); err != nil {
				p.Log.Debug().Err(err).Msg("failed to publish a checkpoint")
			}
		}
		select {
		case <-ctx.Done():
		case <-p.publisher.published:
		case <-time.After(checkpointInterval - checkpointPause):
		}
	}
	return nil
}

// checkpoint is what this primary can vouch for now: nothing before all zones were compared with PowerDNS, because
// what it knows until then is what the broker says.
func (p *Primary) checkpoint(now time.Time) zone.Checkpoint {
	if !p.index.Complete() || !p.publishesAll() {
		return zone.Checkpoint{At: now}
	}
	return p.index.Ledger.Checkpoint(now)
}
