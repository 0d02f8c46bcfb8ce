package doctor

import (
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
)

// Command is the command doctor.
func Command() command.Command {
	return command.Command{
		Name:       "doctor",
		Group:      command.Tool,
		Summary:    "check an installation on one host before it is trusted",
		Arguments:  "[NODE]",
		Configured: true,
		Of:         config.Roles(),
		OfNode:     true,
		Become:     become,
		Run:        Run,
		Flags: []command.Flag{
			{Name: "json", Help: "print JSON, for programs"},
			{
				Name: "role", Value: "ROLE", Complete: command.OneOf(config.Roles()...),
				Help: "ROLE to check, where the configuration does not say it: broker, primary, proxy, health or secondary",
			},
		},
		Description: `Looks at all that a role needs on this host, whether it is running or not: its configuration,
secrets and certificates, disk and ports, each broker with name, TLS, credentials and rights, the
streams, the clock, and the PowerDNS beside it. Shows what is fine, and for what is not what to do
next, with the lines to paste. Of several nodes on this host NODE is the one to check. Changes
nothing. Ends with 3 if something has failed, with 0 if there are only warnings.

Runs   on the host of a role, as root or as the user that runs the role.
Needs  the role's configuration.

Example:

   pdns-distribute doctor`,
	}
}
