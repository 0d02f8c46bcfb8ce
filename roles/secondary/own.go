package secondary

import (
	"sync"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
)

// ownership knows which zones of PowerDNS are this role's: secondaries of the loopback server and of nothing else. It
// may be used for many zones at a time, but for one zone by one goroutine. What else a zone of this role must be is
// looked at apart, see adopt.go: the list of zones does not tell.
type ownership struct {
	api      *powerdns.Client
	master   string // where PowerDNS finds the loopback server
	takeOver bool   // zones of other kinds are made ours, too
	clean    bool   // zones that nobody published are deleted though they are not ours

	mu sync.Mutex

	// Under mu.
	ours   map[zone.Name]time.Time          // since when
	others map[zone.Name]bool               // what the last listing had besides, and what was ours and is looked at again
	owes   map[zone.Name]powerdns.ZoneState // what zones had that were deleted to be made anew, until they have it again
}

func newOwnership(api *powerdns.Client, master string, cfg config.SecondaryConfig) *ownership {
	return &ownership{
		api: api, master: master, takeOver: cfg.TakeOver, clean: cfg.ExtraZones == config.ExtraDelete,
		ours: map[zone.Name]time.Time{}, others: map[zone.Name]bool{}, owes: map[zone.Name]powerdns.ZoneState{},
	}
}

// owns reports whether the zone is a secondary of the loopback server and of nothing else.
func (o *ownership) owns(info powerdns.ZoneInfo) bool {
	return info.TransferredOnlyFrom(o.master)
}

// mayDelete reports whether the zone is deleted if nobody publishes it.
func (o *ownership) mayDelete(info powerdns.ZoneInfo) bool { return o.clean || o.owns(info) }

// adopt takes what PowerDNS listed, from begin on, as the truth about which zones are ours, and returns those with
// their serials.
func (o *ownership) adopt(zones []powerdns.ZoneInfo, begin time.Time) map[zone.Name]uint32 {
	serials := make(map[zone.Name]uint32, len(zones))
	ours := make(map[zone.Name]time.Time, len(zones))
	others := map[zone.Name]bool{}
	for _, info := range zones {
		if !o.owns(info) {
			others[info.Name] = true
			continue
		}
		ours[info.Name] = begin
		serials[info.Name] = info.Serial
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, since := range o.ours {
		if since.After(begin) {
			ours[name] = since
		}
	}
	o.ours, o.others = ours, others
	return serials
}

// isNew reports whether PowerDNS is not known to have such a zone, whosever it is, and never had it from here.
func (o *ownership) isNew(name zone.Name) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ours := o.ours[name]
	_, owed := o.owes[name]
	return !ours && !owed && !o.others[name]
}

func (o *ownership) isOurs(name zone.Name) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, is := o.ours[name]
	return is
}

func (o *ownership) remember(name zone.Name) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ours[name] = time.Now()
}

// forget has ensure look again at all that PowerDNS obeys of the zone.
func (o *ownership) forget(name zone.Name) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.ours, name)
	o.others[name] = true
}

// forgetRemoved is forget for a zone that PowerDNS has no more.
func (o *ownership) forgetRemoved(name zone.Name) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.ours, name)
	delete(o.others, name)
}

func (o *ownership) owe(state powerdns.ZoneState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owes[state.Name] = state
}

func (o *ownership) owed(name zone.Name) (state powerdns.ZoneState, is bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	state, is = o.owes[name]
	return state, is
}

// settle notes that nothing is owed to the zone.
func (o *ownership) settle(name zone.Name) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.owes, name)
}
