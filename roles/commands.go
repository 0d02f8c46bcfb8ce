package roles

import "pdns-distribute/roles/command"

// Commands are those that run a role until they are stopped.
func Commands() []command.Command {
	return []command.Command{proxyCommand(), primaryCommand(), secondaryCommand(), healthCommand(), brokerCommand()}
}

func proxyCommand() command.Command {
	return command.Command{
		Name:       "proxy",
		Group:      command.Role,
		Summary:    "serve the primary's API, and touch each zone that is written to",
		Configured: true,
		Run:        RunProxy,
		Description: `Serves HTTPS in front of the API of the primary PowerDNS. Requests and answers pass unchanged;
when one changed a zone, a touch of the zone is stored in the broker before the client gets its
answer, so that nothing acknowledged is lost. With the broker away it answers all the same, and
keeps touches until they are stored.

Runs   beside the primary PowerDNS; point API clients at it instead of at PowerDNS.
Needs  [broker], [powerdns] with api_url, and [proxy] with listen. Without tls_cert and tls_key it
       makes a self-signed pair and keeps it in proxy.state_dir.

Example:

   pdns-distribute proxy --config /etc/pdns-distribute/pdns-distribute.toml --set proxy.listen=:8443`,
	}
}

func primaryCommand() command.Command {
	return command.Command{
		Name:       "primary",
		Group:      command.Role,
		Summary:    "transfer touched zones from the primary PowerDNS, and publish them",
		Configured: true,
		Run:        RunPrimary,
		Description: `Takes each touched zone from PowerDNS by one AXFR, signed and without keys, however many
secondaries there are, and publishes it. Finds changes that bypassed the proxy by sweeping over
all zones, and by NOTIFY.

Runs   beside the primary PowerDNS; more than one may run.
Needs  [broker], and [powerdns] with api_url, an API key, and a dns_address that allows AXFR from here.

Example:

   pdns-distribute primary --config /etc/pdns-distribute/pdns-distribute.toml`,
	}
}

func secondaryCommand() command.Command {
	return command.Command{
		Name:       "secondary",
		Group:      command.Role,
		Summary:    "make a secondary PowerDNS serve what was published, and prove it",
		Configured: true,
		Run:        RunSecondary,
		Description: `Follows the published zones, keeps a copy of each, and offers them to its PowerDNS by AXFR on
loopback. A zone counts as applied when PowerDNS answers for it with the new content. Goes on
alone when broker and primary are gone.

Runs   beside each secondary PowerDNS.
Needs  [broker], [powerdns] with api_url, an API key and dns_address, and [secondary] with a state_dir that lasts.

Example:

   pdns-distribute secondary --config /etc/pdns-distribute/pdns-distribute.toml --set node.id=ns1`,
	}
}

func healthCommand() command.Command {
	return command.Command{
		Name:       "health",
		Group:      command.Role,
		Summary:    "watch all nodes, and detect and repair drift",
		Configured: true,
		Run:        RunHealth,
		Description: `Sees that each change is served by all secondaries, compares from time to time all that each of
them has with what is published, asks them at their public addresses as the world does, and has
drift repaired. Shows the state of all nodes and the alarms in "status", as JSON at
/distribute/v1/status, as metrics, and by a webhook.

Runs   anywhere, any number of them: one acts, and another takes over within 20 seconds when it is gone.
Needs  [broker]. JSON and metrics are served at observe.listen.

Example:

   pdns-distribute health --config /etc/pdns-distribute/pdns-distribute.toml`,
	}
}

func brokerCommand() command.Command {
	return command.Command{
		Name:       "broker",
		Group:      command.Role,
		Summary:    "run a NATS server, where there is none yet",
		Configured: true,
		Reloads:    true,
		Run:        RunBroker,
		Description: `The real nats-server, built in, with its own configuration file: one node, or one of a cluster.
"init" writes that file together with its keys and certificates. An existing NATS with JetStream
does as well, and then this command is not needed. SIGHUP has it read that file again, for new
users and certificates; a file with faults changes nothing.

Runs   on one host, or on three for a cluster.
Needs  the file that "init" wrote, and a directory that lasts.

Example:

   pdns-distribute broker --config /etc/pdns-distribute/pdns-distribute.toml`,
	}
}
