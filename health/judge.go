package health

import (
	"fmt"
	"slices"
	"time"

	"pdns-distribute/powerdns/zone"
)

// The kinds of alarms that follow from the board. Others come from the checks, see package roles.
const (
	alarmNoPrimary  = "no-primary"
	alarmInactive   = "inactive"
	AlarmNotReady   = "not-ready"
	alarmFailing    = "failing"
	alarmRefused    = "refused"
	alarmBehind     = "behind"
	alarmLoad       = "load"
	alarmDisk       = "disk"
	alarmClock      = "clock"
	AlarmSettings   = "settings"
	alarmSignatures = "signatures"
	alarmExtra      = "extra"
)

// How long something may last before it is an alarm: what is over by then is no reason to wake anybody.
const (
	patienceReady   = 15 * time.Second
	patienceFailing = 30 * time.Second
	patienceLoad    = time.Minute

	// maxSkew is how far a node's clock may be from those of the others.
	maxSkew = 10 * time.Second
)

// Alarms are those that follow from the board alone. alarmBefore is what may be left of signatures.
func (b Board) Alarms(c Config, alarmBefore time.Duration) (wrong []Alarm) {
	if !slices.ContainsFunc(b.Nodes, func(r Row) bool { return r.Role == rolePrimary && r.Active }) {
		wrong = append(wrong, Alarm{
			Kind: alarmNoPrimary, What: "no primary is active: nothing is distributed", after: patienceReady,
			Remedy: "start the primary role beside the primary PowerDNS, or see what its log says",
		})
	}
	median := b.medianSkew()
	for _, r := range b.Nodes {
		if !r.Active {
			wrong = append(wrong, r.inactive(c.InactiveAfter))
			continue
		}
		wrong = append(wrong, r.alarms(b.At, c, alarmBefore)...)
		if off := r.skew() - median; off.Abs() > maxSkew {
			wrong = append(wrong, r.alarm(alarmClock, 0, fmt.Sprintf("its clock is %s %s", off.Abs().Round(time.Second), aheadOf(off)),
				"set the clock of its host, and see why it is not kept right (systemctl status systemd-timesyncd, or chrony)"))
		}
	}
	return wrong
}

func aheadOf(off time.Duration) string {
	if off > 0 {
		return "ahead of the others"
	}
	return "behind the others"
}

func (r Row) alarm(kind string, after time.Duration, what, remedy string) Alarm {
	return Alarm{Kind: kind, Node: r.Node, What: fmt.Sprintf("%s %s: %s", r.Role, r.Node, what), Remedy: remedy, after: after}
}

func (r Row) warning(kind string, after time.Duration, what, remedy string) Alarm {
	a := r.alarm(kind, after, what, remedy)
	a.Warning = true
	return a
}

func (r Row) inactive(after time.Duration) Alarm {
	what, patience := fmt.Sprintf("silent for more than %s; it is not waited for", after), time.Duration(0)
	if r.Seen.IsZero() {
		what, patience = "it was not heard of", after
	}
	return r.alarm(alarmInactive, patience, what,
		fmt.Sprintf("start it, or see what its log says and whether it reaches the broker; if it is gone for good: pdns-distribute forget %s", r.Node))
}

// alarms are those of an active node.
func (r Row) alarms(now time.Time, c Config, alarmBefore time.Duration) (wrong []Alarm) {
	if len(r.Problems) > 0 {
		wrong = append(wrong, r.alarm(AlarmNotReady, patienceReady, "not ready: "+joined(r.Problems), "see the reason; the role goes on by itself as soon as it can"))
	}
	if i := slices.IndexFunc(r.Failing, func(f Failure) bool { return f.Refused }); i >= 0 {
		f := r.Failing[i]
		wrong = append(wrong, r.alarm(alarmRefused, 0, fmt.Sprintf("what was published of %s cannot be verified and is not applied: %s", f.Zone, f.Reason),
			"if a primary has a new key, add it to secondary.trusted_keys; if the broker was set back to an earlier copy: pdns-distribute sync --all; else find out who publishes at the broker"))
	}
	if len(r.Failing) > 0 {
		f := r.Failing[0]
		wrong = append(wrong, r.alarm(alarmFailing, patienceFailing, fmt.Sprintf("zones in trouble, %d in all, the first of them %s: %s", r.Failures, f.Zone, f.Reason),
			"mend what the reason names; they are tried again by themselves, and at once by: pdns-distribute sync ZONE"))
	}
	if r.Stalled {
		wrong = append(wrong, r.alarm(alarmBehind, 0, fmt.Sprintf("%d states behind, and no nearer for minutes", r.Behind),
			"see its load and that of PowerDNS beside it; more secondary.workers may help"))
	}
	if limit := c.MaxLoad * float64(r.Cores); limit > 0 && r.Load > limit {
		wrong = append(wrong, r.warning(alarmLoad, patienceLoad, fmt.Sprintf("load %.1f with %d cores", r.Load, r.Cores), "see what keeps its host busy (health.max_load sets the limit)"))
	}
	if r.DiskTotal > 0 && r.DiskFree*100 < r.DiskTotal*uint64(c.MinDiskPercent) {
		wrong = append(wrong, r.alarm(alarmDisk, 0, fmt.Sprintf("%d MB of %d MB free on its disk", r.DiskFree>>20, r.DiskTotal>>20), "make room: without it no change is kept (health.min_disk_percent sets the limit)"))
	}
	if len(r.Warnings) > 0 {
		wrong = append(wrong, r.warning(AlarmSettings, 0, joined(r.Warnings), "change them in pdns.conf and restart PowerDNS; the README says why"))
	}
	if r.Extra > 0 {
		wrong = append(wrong, r.warning(alarmExtra, 0, fmt.Sprintf("PowerDNS there has zones that nobody published, %d in all, the first of them %s; they are left alone", r.Extra, r.ExtraFirst),
			`delete them there if they should not be; or set secondary.extra_zones there: "keep" says nothing, "delete" deletes them where PowerDNS serves nothing else`))
	}
	if r.SignedUntil != nil && r.SignedUntil.At.Sub(now) < alarmBefore {
		wrong = append(wrong, r.alarm(alarmSignatures, 0, fmt.Sprintf("what it serves of %s is signed until %s only", r.SignedUntil.Zone, r.SignedUntil.At.Format(time.RFC3339)),
			"see why newer signatures do not reach it: pdns-distribute status "+r.SignedUntil.Zone.String()))
	}
	return wrong
}

// skew is how far a node's clock is ahead of the one that At was read from.
func (r Row) skew() time.Duration {
	if r.Clock.IsZero() {
		return 0
	}
	return r.Clock.Sub(r.Seen)
}

// medianSkew is the one of most: a clock that is wrong is known by the others.
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

// SignedUntil is the first end of signatures among all zones of a node.
type SignedUntil struct {
	Zone zone.Name `json:"zone"`
	At   time.Time `json:"at"`
}

// joined is the first of some texts, and how many more there are.
func joined(texts []string) string {
	if len(texts) == 1 {
		return texts[0]
	}
	return fmt.Sprintf("%s (and %d more)", texts[0], len(texts)-1)
}
