// Command pdns-distribute distributes the zones of a primary PowerDNS to its secondaries, over NATS.
//
// It is a list of commands, each of which is declared in the package that does its work. What the command line means
// is in package roles/command.
package main

import (
	"os"
	"slices"

	"pdns-distribute/roles"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/demo"
	"pdns-distribute/roles/doctor"
	"pdns-distribute/roles/host"
	"pdns-distribute/roles/installation"
	"pdns-distribute/roles/operator"
	"pdns-distribute/roles/settings"
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version string

func main() {
	p := command.Program{
		Commands: commands(), Settings: settings.Describe(new(config.Config)), Version: version,
		File: command.DefaultFile, Environ: os.Environ(), Nodes: host.Nodes(host.Home), Stdout: os.Stdout, Stderr: os.Stderr,
	}
	os.Exit(p.Run(os.Args))
}

// commands are those of the program, in the order of its help.
func commands() []command.Command {
	return slices.Concat(
		roles.Commands(),
		installation.Commands(),
		[]command.Command{doctor.Command()},
		host.Commands(),
		operator.Commands(),
		[]command.Command{demo.Command()},
	)
}
