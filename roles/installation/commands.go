package installation

import (
	"slices"

	"pdns-distribute/proxy"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/settings"
)

// Commands are those that write an installation and change it.
func Commands() []command.Command { return []command.Command{initCommand(), keyCommand()} }

func initCommand() command.Command {
	return command.Command{
		Name:      "init",
		Group:     command.Tool,
		Summary:   "write keys, certificates and configuration for a whole installation, and change it",
		Arguments: "DIR",
		Run:       Init,
		Below:     []command.Command{initAddCommand(), initRemoveCommand(), initRotateCommand(), initUpdateCommand()},
		Complete:  command.Folders,
		Flags: []command.Flag{
			{
				Name: "broker", Value: "HOST", Many: true,
				Help: "HOST, a name or an address, by which all nodes reach a broker; " +
					"HOST:PORT for another port than 4222 (default: 127.0.0.1)",
			},
			{Name: "secondary", Value: "ID", Many: true, Help: "ID of a secondary"},
			{Name: "primary", Value: "ID", Many: true, Help: "ID of a primary (default: primary)"},
			{Name: "proxy", Value: "ID", Many: true, Help: "ID of a proxy (default: proxy)"},
			{Name: "health", Value: "ID", Many: true, Help: "ID of a health role (default: health)"},
			{
				Name: "home", Value: "PATH", Complete: command.Folders,
				Help: "PATH of the nodes' folders on the hosts (default: /var/lib/pdns-distribute)",
			},
		},
		Description: `Writes a new folder DIR with what every host of an installation needs: keys and certificates, the
brokers' configuration, and a configuration for each role, in a folder and an archive for each
node. It says which line puts a node in its place on its host. Where DIR holds just this installation already nothing is changed; where it holds another
one it is refused, with what makes it this one. A DIR that is called like a command below, or
nearly so, is given as ./DIR.

Lists may be given by commas or by repeating the flag. Three brokers or five are a cluster.

Runs   once, on an operator's machine. The folder holds the key of the installation's CA: keep it to yourself.

Example:

   pdns-distribute init --broker broker.example.net --secondary ns1,ns2 ./installation
   pdns-distribute init --broker b1.example.net,b2.example.net,b3.example.net --secondary ns1,ns2 ./cluster`,
	}
}

func initAddCommand() command.Command {
	return command.Command{
		Name:      "add",
		Summary:   "add nodes to an installation",
		Arguments: "[DIR] ROLE NODE...",
		Run:       InitAdd,
		Complete: inFolder(func(_ string, args []string) []string {
			if len(args) == 0 {
				return addable
			}
			return nil // the nodes are new
		}),
		Description: `Writes the folders of new nodes into the installation's folder, and their users into the
accounts.conf of each broker, and says what to copy where. Brokers take it by a reload, and keep
all connections. A new primary or health role also goes into confirm_keys of the others, a new
primary into trusted_keys of secondaries. ROLE is secondary, proxy, health or primary.

Runs   where the installation's folder is. Within it, DIR may be left out.

Example:

   pdns-distribute init add ./installation secondary ns3 ns4`,
	}
}

func initRemoveCommand() command.Command {
	return command.Command{
		Name:      "remove",
		Summary:   "remove nodes from an installation",
		Arguments: "[DIR] NODE...",
		Run:       InitRemove,
		Complete: inFolder(func(dir string, args []string) []string {
			named := func(id string) bool { return slices.Contains(args, id) }
			return slices.DeleteFunc(config.InstalledIDs(dir, addable...), named)
		}),
		Description: `Takes the users of nodes out of the accounts.conf of each broker, renames their folders, and says
what to copy where. Once the brokers are reloaded the nodes are cut off, and their credentials
worth nothing.

Runs   where the installation's folder is. Within it, DIR may be left out.

Example:

   pdns-distribute init remove ./installation ns3`,
	}
}

func initRotateCommand() command.Command {
	return command.Command{
		Name:      "rotate",
		Summary:   "replace a key or a certificate by a new one",
		Arguments: "[DIR] nkey|signing|certificate|ca [NODE]",
		Run:       InitRotate,
		Flags:     []command.Flag{{Name: "finish", Help: "the new one is in use everywhere: let the old one go"}},
		Complete: inFolder(func(dir string, args []string) []string {
			if len(args) == 0 {
				return kinds
			}
			switch r, known := rotations()[args[0]]; {
			case !known || len(args) > 1 || r.of == "":
				return nil
			case r.of == "node":
				return config.InstalledIDs(dir, addable...)
			default:
				return config.InstalledIDs(dir, r.of)
			}
		}),
		Description: `Makes a new key beside the old one, and says what to copy where. Both are good until it is called
again with --finish, so that nothing stops meanwhile.

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

func initUpdateCommand() command.Command {
	return command.Command{
		Name:      "update",
		Summary:   "write what a newer version of the program needs",
		Arguments: "[DIR]",
		Run:       InitUpdate,
		Complete:  command.Folders,
		Description: `Writes the accounts.conf of each broker anew, as this version of the program has it, and adds
lines to configurations that an older one did not write: a newer version may need rights and
settings that an older one did not. Says what to copy where. Keys and nodes stay as they are.
Without it roles of the newer version are not ready, with the reason rights.

Runs   where the installation's folder is. Within it, DIR may be left out.

Example:

   pdns-distribute init update ./installation`,
	}
}

// inFolder offers what stands behind the installation's folder, which may be left out where it is the current one.
func inFolder(behind func(dir string, args []string) []string) command.Completer {
	return func(t command.Typed) command.Offer {
		args := fromFolder(t.Args)
		if len(args) == 0 {
			return command.Offer{}.OrFolders()
		}
		offer := command.Words(behind(args[0], args[1:])...)
		if len(t.Args) == 0 {
			return offer.OrFolders()
		}
		return offer
	}
}

// keysAt are the keys at a proxy that can be read.
func keysAt(t command.Typed) proxy.Keys {
	cfg, err := keysConfig(command.Invocation{Settings: settings.Sources{File: t.Config}})
	if err != nil {
		return nil
	}
	written, err := proxy.ReadKeysFile(cfg.KeysFile)
	if err != nil {
		return nil
	}
	return written
}

func keyIDs(t command.Typed) command.Offer {
	var ids []string
	for _, k := range keysAt(t) {
		ids = append(ids, k.ID)
	}
	return command.Words(ids...)
}

// keyZones offers the zones that other keys are for.
func keyZones(t command.Typed) command.Offer {
	var zones []string
	for _, k := range keysAt(t) {
		zones = append(zones, k.Zones...)
	}
	slices.Sort(zones)
	return command.Words(slices.Compact(zones)...)
}

func keyCommand() command.Command {
	return command.Command{
		Name:       "key",
		Group:      command.Tool,
		Summary:    "add, list and remove scoped API keys at a proxy",
		Configured: true,
		Below:      []command.Command{keyAddCommand(), keyListCommand(), keyRemoveCommand()},
		Description: `A scoped API key lets a client do less than PowerDNS's own key: in some zones, with some verbs,
names and record types, until some day. The keys stand in keys.toml beside the proxy's
configuration, their secrets only as hashes; the proxy follows within 5 seconds, without a
restart. docs/keys.md says what each verb covers.

Runs   on the host of a proxy, as root or as the user that runs it. Each proxy has its own keys.toml; copy it to others.
Needs  the proxy's configuration.

Example:

   pdns-distribute key add --config /etc/pdns-distribute/pdns-distribute.toml --acme --zone example.org acme-web1
   pdns-distribute key list --config /etc/pdns-distribute/pdns-distribute.toml`,
	}
}

func keyAddCommand() command.Command {
	return command.Command{
		Name:       "add",
		Summary:    "make a key and print its secret, once",
		Arguments:  "ID",
		Configured: true,
		Run:        KeyAdd,
		Flags: []command.Flag{
			{
				Name: "acme",
				Help: "all that an ACME client needs (read, change and notify; TXT records of _acme-challenge), and no more",
			},
			{
				Name: "zone", Value: "ZONE", Many: true, Complete: keyZones,
				Help: "ZONE, *.ZONE for all zones below it, or * for all",
			},
			{
				Name: "verb", Value: "VERB", Many: true,
				Complete: command.OneOf("read", "change", "create", "delete", "dnssec", "metadata", "notify"),
				Help:     "VERB: read, change, create, delete, dnssec, metadata or notify",
			},
			{
				Name: "type", Value: "TYPE", Many: true,
				Complete: command.OneOf("A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "SSHFP", "TLSA", "TXT"),
				Help:     "record TYPE that may be changed (default: all)",
			},
			{
				Name: "name", Value: "NAME", Many: true,
				Help: "NAME that may be changed, relative to the zone: www, @, *.dyn or _acme-challenge.* (default: all)",
			},
			{
				Name: "deletes-per-hour", Value: "N",
				Help: "N zones that may be deleted within an hour; needed with the verb delete",
			},
			{Name: "expires", Value: "DATE", Help: "DATE from which on it is refused, such as 2027-01-31 (default: never)"},
			{Name: "rate", Value: "N", Help: "N requests a second (default: 50)"},
		},
		Description: `Writes a new key into keys.toml beside the proxy's configuration, and prints its secret on
standard output, and nothing else. It is shown only once. The proxy needs PowerDNS's own key for
it: powerdns.api_key_file. Lists may be given by commas or by repeating the flag.

Runs   on the host of a proxy, as root or as the user that runs it.
Needs  the proxy's configuration.

Example:

   pdns-distribute key add --acme --zone example.org acme-web1
   pdns-distribute key add --zone '*.customer.example' --verb read,change --expires 2027-01-31 customer`,
	}
}

func keyListCommand() command.Command {
	return command.Command{
		Name:       "list",
		Summary:    "show all keys, without their secrets",
		Configured: true,
		Run:        KeyList,
		Flags:      []command.Flag{{Name: "json", Help: "print JSON, for programs"}},
		Description: `Shows the keys of keys.toml and of the configuration itself, and what each may do.

Runs   on the host of a proxy, as root or as the user that runs it.
Needs  the proxy's configuration.

Example:

   pdns-distribute key list --config /etc/pdns-distribute/pdns-distribute.toml`,
	}
}

func keyRemoveCommand() command.Command {
	return command.Command{
		Name:       "remove",
		Summary:    "remove a key",
		Arguments:  "ID",
		Configured: true,
		Run:        KeyRemove,
		Complete:   keyIDs,
		Description: `Takes a key out of keys.toml. The proxy refuses it from then on.

Runs   on the host of a proxy, as root or as the user that runs it.
Needs  the proxy's configuration.

Example:

   pdns-distribute key remove acme-web1`,
	}
}
