package main

import (
	"github.com/urfave/cli/v2"

	"pdns-distribute/roles"
)

// initCommand is the command init with those below it.
func initCommand() command {
	return command{
		name:      "init",
		category:  asTool,
		usage:     "write keys, certificates and configuration for a whole installation, and change it",
		arguments: "DIR",
		flags:     initFlags(),
		run:       roles.Init,
		below:     []command{initAdd(), initRemove(), initRotate(), initUpdate()},
		description: `Writes a new folder DIR with what every host of an installation needs: keys and certificates, the brokers'
configuration, and a configuration for each role. It says which part belongs on which host. Where DIR holds just this
installation already nothing is changed; where it holds another one it is refused, with what makes it this one.

Lists may be given by commas or by repeating the flag. Three brokers or five are a cluster.

Runs   once, on an operator's machine. The folder holds the key of the installation's CA: keep it to yourself.

Example:

   pdns-distribute init --broker broker.example.net --secondary ns1,ns2 ./installation
   pdns-distribute init --broker b1.example.net,b2.example.net,b3.example.net --secondary ns1,ns2 ./cluster`,
	}
}

func initFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "broker", Usage: "`HOST`, a name or an address, by which all nodes reach a broker; HOST:PORT for another port than 4222 (default: 127.0.0.1)"},
		&cli.StringSliceFlag{Name: "secondary", Usage: "`ID` of a secondary"},
		&cli.StringSliceFlag{Name: "primary", Usage: "`ID` of a primary (default: primary)"},
		&cli.StringSliceFlag{Name: "proxy", Usage: "`ID` of a proxy (default: proxy)"},
		&cli.StringSliceFlag{Name: "health", Usage: "`ID` of a health role (default: health)"},
		&cli.StringFlag{Name: "home", Usage: "`PATH` of the folder on the hosts (default: where it is written)"},
	}
}

func initAdd() command {
	return command{
		name:      "add",
		usage:     "add nodes to an installation",
		arguments: "[DIR] ROLE NODE...",
		run:       roles.InitAdd,
		description: `Writes the folders of new nodes into the installation's folder, and their users into the accounts.conf of each broker, and
says what to copy where. Brokers take it by a reload, and keep all connections. ROLE is secondary, proxy, health or primary.

Runs   where the installation's folder is. Within it, DIR may be left out.

Example:

   pdns-distribute init add ./installation secondary ns3 ns4`,
	}
}

func initRemove() command {
	return command{
		name:      "remove",
		usage:     "remove nodes from an installation",
		arguments: "[DIR] NODE...",
		run:       roles.InitRemove,
		description: `Takes the users of nodes out of the accounts.conf of each broker, renames their folders, and says what to copy where. Once
the brokers are reloaded the nodes are cut off, and their credentials worth nothing.

Runs   where the installation's folder is. Within it, DIR may be left out.

Example:

   pdns-distribute init remove ./installation ns3`,
	}
}

func initRotate() command {
	return command{
		name:      "rotate",
		usage:     "replace a key or a certificate by a new one",
		arguments: "[DIR] nkey|signing|certificate|ca [NODE]",
		flags:     []cli.Flag{&cli.BoolFlag{Name: "finish", Usage: "the new one is in use everywhere: let the old one go"}},
		run:       roles.InitRotate,
		description: `Makes a new key beside the old one, and says what to copy where. Both are good until it is called again with --finish, so
that nothing stops meanwhile.

   nkey NODE            by which a node proves to the brokers who it is
   signing PRIMARY      by which a primary signs zone states
   certificate BROKER   of a broker, by the installation's CA; there is nothing to finish
   ca                   the CA itself, and then the brokers' certificates

Runs   where the installation's folder is, with its ca.key for certificates. Within it, DIR may be left out.

Example:

   pdns-distribute init rotate ./installation nkey ns1
   pdns-distribute init rotate --finish ./installation nkey ns1`,
	}
}

func initUpdate() command {
	return command{
		name:      "update",
		usage:     "write what a newer version of the program needs",
		arguments: "[DIR]",
		run:       roles.InitUpdate,
		description: `Writes the accounts.conf of each broker anew, as this version of the program has it: a newer one may need rights that an older
one did not. Keys and nodes stay as they are.

Runs   where the installation's folder is. Within it, DIR may be left out.

Example:

   pdns-distribute init update ./installation`,
	}
}
