package index

import (
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// Published is the newest state of one zone. After the broker was wiped, Seq is 0 until the zone is published anew; the
// rest is kept, because secondaries still have it: how new it was, and that it must be published if it is gone.
type Published struct {
	Seq    uint64
	Header broker.StateHeader

	// Seen: PowerDNS had this zone while this process ran, as it has seen itself, or another primary that published
	// it then. Of what was gone before, only an operator and the deletion limit know whether it was to be deleted.
	Seen bool

	// Learned is when this process came to know the state, or when what it published itself was learned that this
	// replaced. PowerDNS has to give all that was committed before that for what it gives to be compared with the
	// state.
	Learned time.Time
}

// Stands reports whether the broker has content of the zone.
func (p Published) Stands() bool { return p.Seq > 0 && p.Remembered() }

// Remembered reports whether secondaries may have content of the zone.
func (p Published) Remembered() bool { return p.Header.Kind == broker.KindZone }

// TombstoneLost reports whether the zone is gone, and the broker does not know.
func (p Published) TombstoneLost() bool { return p.Seq == 0 && p.Header.Kind == broker.KindGone }

// Unheard reports whether neither the broker nor this process knows anything of the zone.
func (p Published) Unheard() bool { return p.Seq == 0 && p.Header.Kind == "" }

// After returns a time later than that of the state, which is now unless the clock went back.
func (p Published) After(now time.Time) time.Time {
	if next := p.Header.Published.Add(time.Millisecond); next.After(now) {
		return next
	}
	return now
}

// Version returns what tells the state from others of the zone, the zero value if its digests cannot be read.
func (p Published) Version(name zone.Name) health.Version {
	digest, err1 := zone.ParseDigest(p.Header.Digest)
	stable, err2 := zone.ParseStableDigest(p.Header.Stable)
	if err1 != nil || err2 != nil {
		return health.Version{}
	}
	return health.VersionOf(name, digest, stable)
}

// Entry returns the entry of a zone that is published, nil of any other.
func (p Published) Entry(name zone.Name) *health.Entry {
	if !p.Stands() {
		return nil
	}
	e := ByContent.Entry(p, name)
	return &e
}

// NewSettled says which state a zone is at.
func NewSettled(name zone.Name, now Published) health.Settled {
	h := now.Header
	return health.Settled{
		Zone: name, Gone: !now.Remembered(), Again: h.Again != "",
		Serial: h.Serial, Digest: h.Digest, Stable: h.Stable, Expires: h.Expires, Published: h.Published,
		Computed: h.Computed,
	}
}
