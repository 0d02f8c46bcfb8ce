package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pdns-distribute/powerdns/zone"
)

// How long something may last before it is an alarm: what is over by then is no reason to wake anybody.
const (
	patienceReady   = 15 * time.Second
	patienceFailing = 30 * time.Second
	patienceLoad    = time.Minute

	// repairedShown is how long a repair of files is a warning.
	repairedShown = 24 * time.Hour

	// maxSkew is how far a node's clock may be from those of the others.
	maxSkew = 10 * time.Second
)

// Alarms returns those that follow from the board alone. alarmBefore is what may be left of signatures.
func (b Board) Alarms(c Config, alarmBefore time.Duration) (wrong []Alarm) {
	primary := slices.ContainsFunc(b.Nodes, func(r Row) bool { return r.Role == RolePrimary && r.Active })
	if !primary {
		wrong = append(wrong, Alarm{
			Kind: AlarmNoPrimary, What: "no primary is active: nothing is distributed", At: b.firstPrimary(),
			Remedy: "start the primary role on the host of the primary PowerDNS; if the role runs, read its log",
		}.Lasting())
	}
	wrong = append(wrong, b.replicationAlarms()...)
	median := b.medianSkew()
	for _, r := range b.Nodes {
		switch {
		case !r.Active && r.Role == RoleBroker:
			wrong = append(wrong, b.brokerAway(r))
		case !r.Active:
			wrong = append(wrong, r.inactive(c.InactiveAfter))
		default:
			wrong = append(wrong, r.alarms(b.At, c, alarmBefore, median)...)
			for _, a := range r.CheckpointAlarms() {
				if primary || a.Kind != AlarmNoCheckpoint { // else that is why
					wrong = append(wrong, a)
				}
			}
		}
	}
	return wrong
}

// NodeAlarm returns an alarm about a node: what says what is wrong there, since the node is named before it.
func NodeAlarm(role, node string, kind Kind, what, remedy string) Alarm {
	return Alarm{Kind: kind, Role: role, Node: node, What: fmt.Sprintf("%s %s: %s", role, node, what), Remedy: remedy}
}

// Of returns the alarm as one about a zone, the first of those that it is about, for a reason. Nodes with the same
// reason have one cause, whatever addresses and numbers stand in it.
func (a Alarm) Of(name zone.Name, reason string) Alarm {
	a.Zone, a.Cause = name, plainReason(reason)
	return a
}

// firstPrimary is a primary that is known, active or not, the one that leads before others.
func (b Board) firstPrimary() (id string) {
	for _, r := range b.Nodes {
		if r.Role == RolePrimary && (id == "" || r.Leads) {
			id = r.Node
		}
	}
	return id
}

func (r Row) alarm(kind Kind, what, remedy string) Alarm {
	return NodeAlarm(r.Role, r.Node, kind, what, remedy)
}

func (r Row) warning(kind Kind, what, remedy string) Alarm {
	a := r.alarm(kind, what, remedy)
	a.Warning = true
	return a
}

func (r Row) inactive(after time.Duration) Alarm {
	what, patience := fmt.Sprintf("no heartbeat for %s", after), time.Duration(0)
	if r.Seen.IsZero() {
		what, patience = "no heartbeat was received yet", after
	}
	if r.Role == RoleSecondary {
		what += "; excluded from sync waits"
	}
	return r.alarm(AlarmInactive, what,
		"start the node; if the node runs, read its log and check that it reaches the broker; "+
			"if it is gone for good, deregister it").lasting(patience)
}

// alarms are those of an active node. median is how far most clocks are ahead.
func (r Row) alarms(now time.Time, c Config, alarmBefore, median time.Duration) (wrong []Alarm) {
	wrong = append(wrong, r.conditionAlarms()...)
	wrong = append(wrong, r.brokerAlarms(now)...)
	wrong = append(wrong, r.repairedAlarms(now)...)
	wrong = append(wrong, r.primaryAlarms()...)
	wrong = append(wrong, r.secondaryAlarms(now, alarmBefore)...)
	wrong = append(wrong, r.hostAlarms(c)...)
	return append(wrong, r.clockAlarms(median)...)
}

// conditionAlarms are about what the node itself finds wrong.
func (r Row) conditionAlarms() (wrong []Alarm) {
	if len(r.Problems) > 0 {
		a := r.alarm(AlarmNotReady, "not ready: "+joined(r.Problems),
			"remove the cause that the reason names; the role continues by itself").lasting(patienceReady)
		a.Cause, _, _ = strings.Cut(r.Problems[0], ": ") // as docs/monitoring.md names it
		wrong = append(wrong, a)
	}
	if i := slices.IndexFunc(r.Failing, func(f Failure) bool { return f.Refused }); i >= 0 {
		f := r.Failing[i]
		wrong = append(wrong, r.alarm(AlarmRefused,
			fmt.Sprintf("the published state of zone %s cannot be verified and is not applied: %s", f.Zone, f.Reason),
			"if a primary has a new key, add the key to secondary.trusted_keys; if the broker was restored from an "+
				"earlier copy, publish all zones again; else find out who publishes at the broker").Of(f.Zone, f.Reason))
	}
	if len(r.Failing) > 0 {
		f := r.Failing[0]
		wrong = append(wrong, r.alarm(AlarmFailing,
			fmt.Sprintf("zones are failing (%d), the first is %s: %s", r.Failures, f.Zone, f.Reason),
			"remove the cause that the reason names; the role retries by itself, and at once after a sync of the zone",
		).Of(f.Zone, f.Reason).lasting(patienceFailing))
	}
	if len(r.Warnings) > 0 {
		a := r.warning(AlarmSettings, joined(r.Warnings),
			"change these settings in pdns.conf and restart PowerDNS; docs/powerdns.md explains each")
		a.Cause = plainReason(strings.Join(r.Warnings, "; "))
		wrong = append(wrong, a)
	}
	return wrong
}

// repairedAlarms are about files that were damaged lately: what was repaired once may be damaged again.
func (r Row) repairedAlarms(now time.Time) []Alarm {
	if r.Repaired == "" || now.Sub(r.RepairedAt) > repairedShown {
		return nil
	}
	return []Alarm{r.warning(AlarmRepaired, r.Repaired,
		"check the disk and the memory of the host: files do not change by themselves")}
}

// primaryAlarms are about records that PowerDNS computes answers from.
func (r Row) primaryAlarms() (wrong []Alarm) {
	if s := r.Primary.Unanswered; s.Zones > 0 {
		wrong = append(wrong, r.warning(AlarmUnanswered,
			fmt.Sprintf("signed zones have ALIAS or LUA records (%d), the first is %s: secondaries answer NODATA at these "+
				"names, since PowerDNS computes no answers in a zone that it was given signed", s.Zones, s.First),
			"for ALIAS, set outgoing-axfr-expand-alias=ignore-errors (PowerDNS 4.9 or later) and resolver "+
				"in pdns.conf of the primary and restart PowerDNS; replace LUA records by plain ones, or do not sign the zone",
		).Of(s.First, ""))
	}
	if s := r.Primary.Unresolved; s.Zones > 0 {
		wrong = append(wrong, r.warning(AlarmUnresolved,
			fmt.Sprintf("the resolver of PowerDNS fails to find targets of ALIAS records (%d zones), the first zone is %s; "+
				"the addresses of before stay published for a day", s.Zones, s.First),
			"see that the resolver of pdns.conf works, and that the targets exist; a sync publishes the zone without these "+
				"addresses now").Of(s.First, "").Lasting())
	}
	return wrong
}

// secondaryAlarms are about what a secondary serves.
func (r Row) secondaryAlarms(now time.Time, alarmBefore time.Duration) (wrong []Alarm) {
	if r.Stalled {
		wrong = append(wrong, r.alarm(AlarmBehind,
			fmt.Sprintf("%d states are not confirmed, some of them for minutes", r.Behind),
			"check the load of the host and of its PowerDNS; a higher secondary.workers may help"))
	}
	if s := r.Secondary; s.Extra > 0 {
		wrong = append(wrong, r.warning(AlarmExtra,
			fmt.Sprintf("PowerDNS has zones that nobody published (%d), the first is %s; the role leaves these zones alone",
				s.Extra, s.ExtraFirst),
			"if the zones are to be distributed, create them at the primary PowerDNS: a secondary zone there is then taken over; "+
				`delete the zones if they should not exist; or set secondary.extra_zones: "keep" stops this warning, `+
				`"delete" deletes the zones, where PowerDNS serves nothing else`).Of(s.ExtraFirst, ""))
	}
	if s := r.Secondary.SignedUntil; s != nil && s.At.Sub(now) < alarmBefore {
		wrong = append(wrong, r.alarm(AlarmSignatures,
			fmt.Sprintf("signatures of zone %s as served expire at %s", s.Zone, s.At.Format(time.RFC3339)),
			"find out why newer signatures do not reach the secondary").Of(s.Zone, ""))
	}
	return wrong
}

// CheckpointAlarms are those that a secondary knows by signed checkpoints. The secondary has waited before it reports
// them.
func (r Row) CheckpointAlarms() (wrong []Alarm) {
	c := r.Secondary.Checkpoint
	if c == nil {
		return nil
	}
	if c.Incomplete != "" {
		a := r.alarm(AlarmIncomplete, c.Incomplete,
			"find out who has access to the broker hosts, and whether a broker was restored from an earlier copy; "+
				"to publish all zones again, restart the primary role, then sync all zones; "+
				"failing zones of this node may be what is missing, too")
		a.Since = c.Since
		wrong = append(wrong, a)
	}
	if c.Silent != "" {
		a := r.alarm(AlarmNoCheckpoint, c.Silent,
			"check that a primary runs with primary.sign_key_file and that its key is in secondary.trusted_keys; "+
				"that the brokers have the accounts file that this version writes; and that clocks are right")
		a.Since = c.At
		wrong = append(wrong, a)
	}
	return wrong
}

// hostAlarms are about the host of a node.
func (r Row) hostAlarms(c Config) (wrong []Alarm) {
	h := r.Host
	if limit := c.MaxLoad * float64(h.Cores); limit > 0 && h.Load > limit {
		wrong = append(wrong, r.warning(AlarmLoad, fmt.Sprintf("system load %.1f on %d cores", h.Load, h.Cores),
			"find out what keeps the host busy (health.max_load sets the limit)").lasting(patienceLoad))
	}
	if h.DiskTotal > 0 && h.DiskFree*100 < h.DiskTotal*uint64(c.MinDiskPercent) {
		wrong = append(wrong, r.alarm(AlarmDisk,
			fmt.Sprintf("%d MB of %d MB are free on the disk of the node's state", h.DiskFree>>20, h.DiskTotal>>20),
			"free space: without it no change is stored (health.min_disk_percent sets the limit)"))
	}
	return wrong
}

func (r Row) clockAlarms(median time.Duration) []Alarm {
	off, direction := r.skew()-median, "ahead of"
	if off.Abs() <= maxSkew {
		return nil
	}
	if off < 0 {
		direction = "behind"
	}
	return []Alarm{r.alarm(AlarmClock,
		fmt.Sprintf("the clock is %s %s the clocks of the other nodes", off.Abs().Round(time.Second), direction),
		"set the clock of the host, and find out why it is not synchronised (systemctl status systemd-timesyncd, or chrony)")}
}

// skew returns how far a node's clock is ahead of the one that At was read from.
func (r Row) skew() time.Duration {
	if r.Clock.IsZero() {
		return 0
	}
	return r.Clock.Sub(r.Seen)
}

// medianSkew returns the one of most: a clock that is wrong is known by the others.
func (b Board) medianSkew() time.Duration {
	var skews []time.Duration
	for _, r := range b.Nodes {
		if r.Active {
			skews = append(skews, r.skew())
		}
	}
	if len(skews) == 0 {
		return 0
	}
	slices.Sort(skews)
	return skews[len(skews)/2]
}

// joined returns the first of some texts, and how many more there are.
func joined(texts []string) string {
	if len(texts) == 1 {
		return texts[0]
	}
	return fmt.Sprintf("%s (and %d more)", texts[0], len(texts)-1)
}
