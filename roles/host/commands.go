package host

import (
	"os"

	"pdns-distribute/roles/command"
)

// Commands are those that put nodes in their places on their hosts.
func Commands() []command.Command { return []command.Command{installCommand(), uninstallCommand()} }

var dryRun = command.Flag{Name: "dry-run", Help: "say what would be done, and do nothing"}

func installCommand() command.Command {
	return command.Command{
		Name:      "install",
		Group:     command.Tool,
		Summary:   "put what init wrote for a node in its place on this host",
		Arguments: "ARCHIVE|FOLDER|-...",
		Run:       Install,
		Flags: []command.Flag{
			dryRun,
			{Name: "limit-addresses", Help: "have systemd keep a primary or secondary from all addresses that its configuration does not name"},
		},
		Complete: command.Files,
		Description: `Takes the archive or the folder that "init" wrote for a node, "-" for an archive on standard
input. Says what is to be done, and does it: the user of the role, the node's folder below
/var/lib/pdns-distribute, which is that user's alone, PowerDNS's lines where PowerDNS includes
them, and what systemd has to know besides the role's unit. Then it says which services to start.

What is in place already is left alone. So it may be called again, also with newer files of the
same node: keys, certificates and accounts.conf are replaced. A config.toml, nats.conf or
powerdns-api-key that is another one on this host is kept, and so are PowerDNS's lines. Where
PowerDNS has an API key already, the node is given that one.

With --limit-addresses the role talks to this host, to its resolvers, and to the addresses that
the hosts in its configuration have now (brokers, and PowerDNS where it is elsewhere). When one
of them moves, the role cannot reach it until "install" is called for the node's folder again.

Runs   on the node's host, as root; with --dry-run as anybody who can read the files.
Needs  the unit of the role, which the package brings.

Example:

   pdns-distribute install --dry-run ns1.tar.gz
   pdns-distribute install broker1.tar.gz primary.tar.gz proxy.tar.gz health.tar.gz`,
	}
}

func uninstallCommand() command.Command {
	return command.Command{
		Name:      "uninstall",
		Group:     command.Tool,
		Summary:   "undo what install did for a node",
		Arguments: "NODE...",
		Run:       Uninstall,
		Flags: []command.Flag{
			dryRun,
			{Name: "purge", Help: "remove the node's folder as well, with its keys and its copy of all zones"},
		},
		Complete: installed,
		Description: `Stops the node's service, and takes away what "install" put on this host, as far as nobody has
changed it since. The node's folder stays unless --purge is given. PowerDNS goes on serving what
it has: where another master is to follow, "leave" comes first. "init remove" then takes the node
out of the installation.

Runs   on the node's host, as root; with --dry-run as anybody who can read the node's folder.

Example:

   pdns-distribute uninstall --dry-run ns1
   pdns-distribute uninstall --purge ns1`,
	}
}

// installed offers the nodes of this host.
func installed(command.Typed) command.Offer {
	entries, err := os.ReadDir(Home)
	if err != nil {
		return command.Offer{}
	}
	var ids []string
	for _, entry := range entries {
		if entry.IsDir() {
			ids = append(ids, entry.Name())
		}
	}
	return command.Words(ids...)
}
