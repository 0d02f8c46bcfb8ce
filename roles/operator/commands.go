package operator

import (
	"pdns-distribute/health"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"slices"
)

// Commands are those that a person or a script runs while roles are running.
func Commands() []command.Command {
	return []command.Command{healthcheckCommand(), statusCommand(), syncCommand(), forgetCommand(), leaveCommand()}
}

// nodes offers the nodes of an installation whose folder is at hand, without those that are named already.
func nodes(t command.Typed) command.Offer {
	named := func(id string) bool { return slices.Contains(t.Args, id) }
	return command.Words(slices.DeleteFunc(config.NodeIDs(t.Config), named)...)
}

// secondaries offers the secondaries alone.
func secondaries(t command.Typed) command.Offer {
	return command.Words(config.NodeIDs(t.Config, health.RoleSecondary)...)
}

func healthcheckCommand() command.Command {
	return command.Command{
		Name:       "healthcheck",
		Group:      command.Tool,
		Summary:    "ask the role on this host whether it is alive, for containers",
		Configured: true,
		Run:        Healthcheck,
		Description: `Asks for /healthz at the role's observe.listen, as its configuration says it. Ends with 0 if the
answer is 200 within three seconds, else with 1. A container's health check does not see the flags
of the role: name the configuration by PDNS_DISTRIBUTE_CONFIG, or put it at its default place.

Runs   on the host, or in the container, of a role.
Needs  [observe], which has defaults.

Example:

   pdns-distribute healthcheck --config /etc/pdns-distribute/pdns-distribute.toml`,
	}
}

func statusCommand() command.Command {
	return command.Command{
		Name:       "status",
		Group:      command.Tool,
		Summary:    "show what is where, and how far behind",
		Arguments:  "[ZONE]...",
		Configured: true,
		Of:         []string{health.RoleHealth, health.RolePrimary},
		AnyOf:      true,
		Run:        Status,
		Flags: []command.Flag{
			{Name: "json", Help: "print JSON, for programs"},
			{Name: "watch", Help: "go on showing it, every two seconds, until interrupted"},
		},
		Description: `Asks the broker which nodes there are, and shows each of them with what it lacks and why, and the
alarms that the health role raised. Ends with 3 if not everything is in order, so that a script
can wait for it or raise an alarm. For zones it shows what is published and what each secondary
serves, and ends with 3 if that is not the same.

Runs   anywhere.
Needs  [broker], with the credentials of health or primary.

Example:

   until pdns-distribute status; do sleep 1; done
   pdns-distribute status example.org`,
	}
}

func syncCommand() command.Command {
	return command.Command{
		Name:       "sync",
		Group:      command.Tool,
		Summary:    "distribute zones again, or confirm deletions that are held",
		Arguments:  "[ZONE]...",
		Configured: true,
		Of:         []string{health.RoleHealth, health.RolePrimary},
		AnyOf:      true,
		Run:        Sync,
		// Zones are not at hand without asking; with --confirm-deletes an id may stand there.
		Complete: func(t command.Typed) command.Offer {
			if t.Given("confirm-deletes") && len(t.Args) == 0 {
				return command.Words(config.NodeIDs(t.Config, health.RolePrimary, health.RoleSecondary)...)
			}
			return command.Offer{}
		},
		Flags: []command.Flag{
			{Name: "check", Help: "compare what secondaries have with what is published now, and repair drift; with --node one of them"},
			{Name: "all", Help: "all zones that are published"},
			{
				Name: "node", Value: "ID", Complete: secondaries,
				Help: "ID of the one secondary that takes them again; without zones it takes all",
			},
			{
				Name: "confirm-deletes",
				Help: "confirm deletions that a limit holds: at the primary whose ID stands behind it, or at the secondary",
			},
		},
		Description: `Has the primary read the zones and publish them, though nothing may have changed, and the
secondaries compare all of their content with what PowerDNS beside them has, and repair it. Shows
how far that is, and then what was wrong. Ends with 3 if a zone is not served everywhere after 30
seconds; it goes on being tried.

With --confirm-deletes: when more zones are missing in the primary PowerDNS than
primary.max_delete_percent allows, or a proxy orders more deletions within an hour than
primary.max_ordered_deletes, the primary holds them and says so in "status" and on /readyz. This
confirms them: for ten minutes that primary deletes as many zones as it holds now, where PowerDNS
does not have them. With the id of a secondary it confirms that zones which are there and not
published are deleted there, when they are more than health.max_delete_percent allows. The
confirmation is signed with the nkey of the configuration, which has to be one of
primary.confirm_keys and health.confirm_keys.

With --check the health role that leads compares at once what it else compares every
health.check_interval, and says what it found. Ends with 3 if a secondary does not answer or
deletions are held.

Runs   anywhere.
Needs  [broker], with the credentials of health or primary.

Example:

   pdns-distribute sync example.org
   pdns-distribute sync --node ns2
   pdns-distribute sync --check
   pdns-distribute sync --confirm-deletes primary`,
	}
}

func forgetCommand() command.Command {
	return command.Command{
		Name:       "forget",
		Group:      command.Tool,
		Summary:    "deregister nodes permanently",
		Arguments:  "NODE...",
		Configured: true,
		Of:         []string{health.RoleHealth, health.RolePrimary},
		AnyOf:      true,
		Run:        Forget,
		Complete:   nodes,
		Description: `Removes the feed of a secondary that is no more, and what is known of any node that is silent. One
that is started again comes back: take its user out of the broker's configuration as well.

Runs   anywhere.
Needs  [broker], with the credentials of health or primary.

Example:

   pdns-distribute forget ns3`,
	}
}

func leaveCommand() command.Command {
	return command.Command{
		Name:       "leave",
		Group:      command.Tool,
		Summary:    "make the zones of a secondary plain secondaries of another master",
		Configured: true,
		Of:         []string{health.RoleSecondary},
		Run:        Leave,
		Flags: []command.Flag{
			{
				Name: "master", Value: "ADDRESS", Many: true,
				Help: "ADDRESS, such as 192.0.2.1 or 192.0.2.1:5353, from which PowerDNS is to transfer the zones",
			},
			{
				Name: "tsig-key", Value: "NAME",
				Help: "NAME of the TSIG key that PowerDNS here has for these transfers (default: none)",
			},
			{Name: "confirm", Help: "do it; without this flag it only says what it would do"},
		},
		Description: `Has PowerDNS take the zones that it takes from the secondary role beside it from another master,
with NOTIFY and AXFR. Without --confirm it changes nothing: it says what it would do, and asks the
master for each zone. A zone that the master does not have, or has in an older version than is
served here, does not leave, and is named with the reason; then it ends with 3.

With --confirm the role has to be stopped. The first zones go alone: if PowerDNS cannot transfer
three of them, no other is changed. Zones are served all the time. Interrupted or killed, it is
run again. In the end the role's copy of the zones is removed. Whoever changes their mind starts
the role again, which takes the zones back.

docs/migrate.md says what the master needs.

Runs   on the host of a secondary.
Needs  [powerdns] and [secondary]; no broker.

Example:

   pdns-distribute leave --master 192.0.2.1 --tsig-key transfer
   pdns-distribute leave --master 192.0.2.1 --tsig-key transfer --confirm`,
	}
}
