package health

import (
	"slices"
	"strings"
)

// What an operator is to see to first: nothing works without brokers, nothing comes without a primary, and what is
// wrong with zones mostly follows from what is wrong with nodes.
const (
	rankBrokers = iota
	rankPrimary
	rankNodes
	rankZones
	rankCompleteness
	rankOutside
)

// ranks are those of kinds, as docs/alarms.md has them. Kinds that any node may have are missing: they rank by role.
var ranks = map[Kind]int{
	AlarmNoBroker: rankBrokers, AlarmNoAnswer: rankBrokers, AlarmCertificate: rankBrokers,
	AlarmTouchesWaiting: rankBrokers, AlarmTouchesUnfinished: rankBrokers, AlarmQueueGrowing: rankBrokers,
	AlarmFeedStalled: rankBrokers, AlarmNotInStream: rankBrokers,

	AlarmNoPrimary: rankPrimary, AlarmReplication: rankPrimary, AlarmSweepOverdue: rankPrimary,
	AlarmUnanswered: rankPrimary, AlarmUnresolved: rankPrimary,

	AlarmFailing: rankZones, AlarmRefused: rankZones, AlarmLate: rankZones, AlarmBehind: rankZones,
	AlarmDiffers: rankZones, AlarmNotCompared: rankZones, AlarmOrphans: rankZones, AlarmExtra: rankZones,
	AlarmSignatures: rankZones,

	AlarmIncomplete: rankCompleteness, AlarmNoCheckpoint: rankCompleteness,

	AlarmUnreachableUDP: rankOutside, AlarmUnreachableTCP: rankOutside, AlarmServfail: rankOutside,
	AlarmLame: rankOutside, AlarmSerial: rankOutside, AlarmUnsigned: rankOutside,
}

func (a groupID) rank() int {
	if rank, is := ranks[a.kind]; is {
		return rank
	}
	switch a.role {
	case RoleBroker:
		return rankBrokers
	case RolePrimary:
		return rankPrimary
	}
	return rankNodes
}

// consequence is what certainly follows from an alarm: as long as that is raised, nothing has to be done about it.
type consequence struct {
	of       Kind     // the kind of the cause
	role     string   // and its role; "": any
	causes   []string // with one of these for Alarm.Cause; none: with any
	kinds    []Kind   // what follows
	reasons  []string // for which roles are not ready then
	anywhere bool     // at whichever node; else at the same one
}

// powerDNSAway is in the reason why a zone fails where PowerDNS is away.
const powerDNSAway = "PowerDNS is unavailable"

// consequences are looked at in this order, the causes that explain most first.
var consequences = []consequence{
	{
		of: AlarmInactive, role: RoleBroker, causes: []string{causeNoQuorum}, anywhere: true,
		kinds:   []Kind{AlarmNoAnswer, AlarmTouchesWaiting, AlarmTouchesUnfinished, AlarmFeedStalled},
		reasons: []string{"quorum", "jetstream", "proof", "streams", "index", "feed", "feeds"},
	},
	{
		of: AlarmDisk, role: RoleBroker, reasons: []string{"disk"},
	},
	{
		of: AlarmInactive, role: RolePrimary, anywhere: true, kinds: []Kind{AlarmNoPrimary},
	},
	{
		of:    AlarmInactive,
		kinds: []Kind{AlarmLate, AlarmBehind, AlarmFeedStalled, AlarmDiffers, AlarmNotCompared},
	},
	{
		of: AlarmNotReady, role: RolePrimary, anywhere: true,
		causes: []string{"powerdns", "settings", "streams", "proof", "index", "rights"},
		kinds:  []Kind{AlarmTouchesWaiting, AlarmTouchesUnfinished, AlarmSweepOverdue},
	},
	{of: AlarmNotReady, causes: []string{"powerdns"}, kinds: []Kind{AlarmFailing}},
	{
		of: AlarmNotReady, role: RoleSecondary, causes: []string{"powerdns", "settings", "rights", "feed"},
		kinds: []Kind{AlarmLate, AlarmBehind, AlarmFeedStalled, AlarmDiffers, AlarmNotCompared},
	},
	{of: AlarmRefused, kinds: []Kind{AlarmFailing, AlarmLate}},
	{of: AlarmFailing, kinds: []Kind{AlarmLate}},
}

// causeOf is the alarm that this one follows from, the topmost one.
func causeOf(a Alarm, all []Alarm) (cause Alarm, is bool) {
	for _, c := range consequences {
		if !c.follows(a) {
			continue
		}
		i := slices.IndexFunc(all, func(b Alarm) bool { return c.explains(b, a) })
		if i >= 0 {
			if above, is := causeOf(all[i], all); is {
				return above, true
			}
			return all[i], true
		}
	}
	return Alarm{}, false
}

// follows reports whether the alarm is one of those that follow.
func (c consequence) follows(a Alarm) bool {
	if c.of == AlarmNotReady && a.Kind == AlarmFailing && !strings.Contains(a.Cause, powerDNSAway) {
		return false // zones may fail for other reasons as well
	}
	return slices.Contains(c.kinds, a.Kind) && a.Cause != causeNoLeader || a.Kind == AlarmNotReady && slices.Contains(c.reasons, a.Cause)
}

// explains reports whether an alarm is the cause, and that of this one.
func (c consequence) explains(b, a Alarm) bool {
	return b.Kind == c.of && (c.role == "" || b.Role == c.role) && !b.Warning &&
		(len(c.causes) == 0 || slices.Contains(c.causes, b.Cause)) &&
		(c.anywhere || b.Node == a.Node) &&
		(a.Zone == "" || b.Zone == "" || a.Zone == b.Zone)
}
