package primary

import (
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/index"
)

// To order a transfer takes PowerDNS about as long as the transfer itself, so the order goes ahead: as soon as the
// primary begins to read a zone, idle secondaries order it, and the loopback server lets PowerDNS wait for the
// version to arrive. Nothing depends on it: where the announcement is lost or comes to nothing, the order follows the
// state as usual, and PowerDNS takes the version that it has again.

// announceComing tells secondaries that a state of the zone is about to come. Large zones are fetched and edited
// otherwise.
func (p *Primary) announceComing(name zone.Name, j job, before index.Published) {
	if j.background() || j.cause == causeDeleted || !before.Stands() || before.Header.Chunks > 0 {
		return
	}
	if err := p.Conn.PublishComing(name); err != nil {
		p.Log.Debug().Err(err).Stringer("zone", name).Msg("failed to announce upcoming state")
	}
}
