package health

import (
	"maps"
	"slices"
	"strings"
)

// Command is a line for a shell that belongs to a remedy. Where several nodes are on one host it still says which one
// it is about.
type Command struct {
	On   string `json:"on"`           // where to run it: "the host of ns1", AnyHost or InitHost
	If   string `json:"if,omitempty"` // the case that it is for; "": in any
	Line string `json:"line"`
}

// Places where lines are run that are not for one host.
const (
	AnyHost  = "a host with a health role or a primary"
	InitHost = "the host with the installation's folder, in that folder" // which init wrote
)

// Entry is where the entry of a kind of alarm stands, in the folder of documents that the package installs.
func (k Kind) Entry() string { return "/usr/share/doc/pdns-distribute/docs/alarms.md#" + string(k) }

// subject is what a remedy is about: lines are made of it alone, and never taken from what another node reports.
type subject struct{ role, node, zone, cause string }

// remedy makes the lines for one kind of alarm, or one reason why a role is not ready.
type remedy func(s subject) []Command

// Commands returns the lines to run, the first one first.
func (a Alarm) Commands() []Command {
	s := subject{a.Role, a.Node, a.Zone.String(), a.Cause}
	if a.At != "" {
		s.role, s.node = RolePrimary, a.At
	}
	if a.Kind == AlarmNotReady {
		return CommandsFor(s.role, s.node, a.Cause)
	}
	if made := remedies[a.Kind]; made != nil {
		return made(s)
	}
	return journal(s) // a newer version has it
}

// CommandsFor returns the lines to run where a role is not ready for a reason, by the name of that.
func CommandsFor(role, node, reason string) []Command {
	s := subject{role: role, node: node}
	if made := reasons[reason]; made != nil {
		return made(s)
	}
	return journal(s) // a newer version has it
}

// Kinds are all kinds of alarms that there are.
func Kinds() []Kind { return append(slices.Sorted(maps.Keys(remedies)), AlarmNotReady) }

// Reasons are the names of all reasons why a role is not ready.
func Reasons() []string { return slices.Sorted(maps.Keys(reasons)) }

// remedies are those of all kinds but AlarmNotReady, which has reasons.
var remedies = map[Kind]remedy{
	AlarmNoBroker:    doctor,
	AlarmNoAnswer:    status,
	AlarmCertificate: rotate,

	AlarmTouchesWaiting:    both(restart, doctor),
	AlarmTouchesUnfinished: both(restart, doctor),
	AlarmQueueGrowing:      journal,
	AlarmFeedStalled:       both(restart, doctor),
	AlarmNotInStream:       inCase("the primary does not publish them again by itself", both(restart, syncCheck)),

	AlarmNoPrimary:    noPrimary,
	AlarmReplication:  inCase("the setting was changed", restart),
	AlarmSweepOverdue: both(journal, restart),
	AlarmUnanswered:   statusOfZone,
	AlarmUnresolved:   inCase("the zone is to be published without these addresses", syncZone),

	AlarmInactive: both(start, journal, forget),
	AlarmDuplicateNodeID: both(
		func(s subject) []Command {
			return []Command{{On: "the host where the node does not belong", Line: "systemctl disable --now " + s.unit()}}
		},
		inCase("the other process is stopped, and it is a secondary", func(s subject) []Command {
			return anywhere("sync --node " + Quoted(s.node))
		})),
	AlarmClock:    onHost("timedatectl status"),
	AlarmDisk:     doctor,
	AlarmLoad:     onHost("ps -eo pid,pcpu,comm --sort=-pcpu | head"),
	AlarmSettings: doctor,
	AlarmRepaired: onHost("journalctl -k -p err -n 50"),

	AlarmFailing:    syncZone,
	AlarmRefused:    both(statusOfZone, inCase("the broker was restored from an earlier copy", syncAll)),
	AlarmLate:       both(statusOfZone, journal),
	AlarmBehind:     journal,
	AlarmDiffers:    both(statusOfZone, journal),
	AlarmSignatures: statusOfZone,

	AlarmNotCompared: both(journal, inCase("the program was updated", update)),
	AlarmOrphans:     inCase("the zones are to be deleted there", confirm),
	AlarmExtra:       doctor,

	AlarmIncomplete:   both(status, inCase("all zones are to be published again", syncAll)),
	AlarmNoCheckpoint: doctor,

	AlarmUnreachableUDP: doctor,
	AlarmUnreachableTCP: doctor,
	AlarmServfail:       both(doctor, statusOfZone),
	AlarmLame:           statusOfZone,
	AlarmSerial:         statusOfZone,
	AlarmUnsigned:       statusOfZone,
}

// reasons are those for which a role is not ready, by the names that docs/monitoring.md explains.
var reasons = map[string]remedy{
	"broker":      doctor,
	"nats-server": journal,
	"disk":        doctor,
	"jetstream":   journal,
	"quorum":      status,
	"proof":       journal,
	"powerdns":    doctor,
	"settings":    doctor,
	"replication": journal,
	"sweep":       journal,
	"streams":     both(doctor, journal),
	"index":       journal,
	"deletes":     inCase("the zones are to be deleted", confirm),
	"feeds":       journal,
	"rights":      update,
	"signatures":  status,
	"feed":        status,
}

func (s subject) unit() string { return Quoted(Unit(s.role, s.node)) }

func onHost(line string) remedy {
	return func(s subject) []Command { return []Command{{On: "the host of " + s.node, Line: line}} }
}

// anywhere is a line of this program that needs the rights of a health role or a primary.
func anywhere(args string) []Command {
	return []Command{{On: AnyHost, Line: "pdns-distribute " + args}}
}

// ofRole is a line about the unit of the node. Without a node there is none.
func ofRole(line func(s subject) string) remedy {
	return func(s subject) []Command {
		if s.node == "" || s.role == "" {
			return nil
		}
		return onHost(line(s))(s)
	}
}

var (
	start   = ofRole(func(s subject) string { return "systemctl start " + s.unit() })
	restart = ofRole(func(s subject) string { return "systemctl restart " + s.unit() })
	journal = ofRole(func(s subject) string { return "journalctl -n 50 -u " + s.unit() })
	doctor  = ofRole(func(s subject) string { return "pdns-distribute doctor " + Quoted(s.node) })
)

func status(subject) []Command         { return anywhere("status") }
func syncAll(subject) []Command        { return anywhere("sync --all") }
func syncCheck(subject) []Command      { return anywhere("sync --check") }
func syncZone(s subject) []Command     { return ofZone(s, "sync") }
func statusOfZone(s subject) []Command { return ofZone(s, "status") }

// ofZone is a line about the zone, without its last dot as an operator would write it.
func ofZone(s subject, command string) []Command {
	if s.zone == "" {
		return anywhere("status")
	}
	name := s.zone
	if short := strings.TrimSuffix(name, "."); short != "" && !strings.HasSuffix(short, `\`) {
		name = short
	}
	if strings.HasPrefix(name, "-") { // or it would be a flag
		command += " --"
	}
	return anywhere(command + " " + Quoted(name))
}

func confirm(s subject) []Command { return anywhere("sync --confirm-deletes " + Quoted(s.node)) }

func forget(s subject) []Command {
	if s.role == RoleBroker {
		return nil // nobody may be left out of a quorum by that
	}
	return inCase("the node is gone for good", func(s subject) []Command { return anywhere("forget " + Quoted(s.node)) })(s)
}

// noPrimary has one started where none is active.
func noPrimary(s subject) []Command {
	if s.cause == causeNoLeader {
		return both(journal, status)(s)
	}
	return both(start, status)(s)
}

func rotate(s subject) []Command {
	what := "certificate " + Quoted(s.node)
	if s.cause == causeCA {
		what = "ca"
	}
	return []Command{{On: InitHost, Line: "pdns-distribute init rotate " + what}}
}

func update(subject) []Command {
	return []Command{{On: InitHost, Line: "pdns-distribute init update"}}
}

// both puts the lines of several remedies one below the other.
func both(all ...remedy) remedy {
	return func(s subject) (lines []Command) {
		for _, each := range all {
			lines = append(lines, each(s)...)
		}
		return lines
	}
}

// inCase has the lines be for one case only.
func inCase(condition string, of remedy) remedy {
	return func(s subject) []Command {
		lines := of(s)
		for i := range lines {
			lines[i].If = condition
		}
		return lines
	}
}

// Quoted returns a word as a shell takes it: names of zones are chosen by whoever may create zones, and those of nodes
// come from other hosts.
func Quoted(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/@:"
	odd := func(r rune) bool { return !strings.ContainsRune(plain, r) }
	if word != "" && !slices.ContainsFunc([]rune(word), odd) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
