package demo

import "pdns-distribute/roles/command"

// Command is the command demo.
func Command() command.Command {
	return command.Command{
		Name:    "demo",
		Group:   command.Tool,
		Summary: "run everything on loopback, with real PowerDNS servers, to see and to play with",
		Run:     Run,
		Flags: []command.Flag{
			{Name: "once", Help: "make changes, wait until all secondaries serve them, and end: with 1 if something did not arrive"},
		},
		Description: `Starts a primary and secondaries of PowerDNS, a broker and all roles in a temporary directory,
says how to reach them, and cleans up when it is stopped.

Runs   on a laptop.
Needs  pdns_server, pdnsutil and a backend for them; nothing is changed outside of the temporary directory.

Example:

   pdns-distribute demo`,
	}
}
