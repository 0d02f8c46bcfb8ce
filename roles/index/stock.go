package index

import (
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// VersionKind is by what the versions of a zone are told apart.
type VersionKind int

const (
	ByContent      VersionKind = iota
	ByServedSerial             // as DNS and the listing of a secondary's PowerDNS have it
	ByStoredSerial             // as the primary PowerDNS has it, before SOA-EDIT
	allVersions
)

// Entry returns that of a zone that is published. Where its digests cannot be read it has no version, and so none
// that anybody serves: that shows.
func (v VersionKind) Entry(p Published, name zone.Name) health.Entry {
	switch v {
	case ByServedSerial:
		return health.BySerial(name, p.Header.Serial)
	case ByStoredSerial:
		return health.BySerial(name, p.Header.Stored)
	}
	return health.Entry{Zone: name, Version: p.Version(name), Serial: p.Header.Serial}
}

// indexStock is what is published, as of so many changes of the index.
type indexStock struct {
	zones *health.Inventory
	at    uint64
}

// Desired returns what all secondaries should have.
func (x *Index) Desired() *health.Inventory { return x.StockOf(ByContent) }

// StockOf returns what is published. It is made anew only when something has changed.
func (x *Index) StockOf(v VersionKind) *health.Inventory {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.stocks[v]; s.zones != nil && s.at == x.changes {
		return s.zones
	}
	stock := &health.Inventory{}
	for name, p := range x.zones {
		if p.Stands() {
			stock.Add(v.Entry(p, name))
		}
	}
	x.stocks[v] = indexStock{stock, x.changes}
	return stock
}
