// Command pdns-distribute distributes the zones of a primary PowerDNS to its secondaries, over NATS.
//
// This file is the command line and nothing else: it knows flags, signals and exit codes. What a command does is in package roles.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"pdns-distribute/roles"
	"pdns-distribute/roles/demo"
	"pdns-distribute/roles/doctor"
	"pdns-distribute/roles/settings"
)

const (
	programName = "pdns-distribute"
	defaultFile = "/etc/pdns-distribute/pdns-distribute.toml"
)

// What the process ends with, besides 128+n when signal n ended it before its work was done. Described to the operator in
// exitCodes.
const (
	exitClean      = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotInOrder = 3
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version string

func main() { os.Exit(run(os.Args, os.Environ(), os.Stdout, os.Stderr)) }

// run runs the program and returns its exit code.
func run(args, environ []string, stdout, stderr io.Writer) int {
	p := &program{commands: commands(), file: defaultFile, environ: environ, stdout: stdout, stderr: stderr}
	return p.run(args)
}

// program is one run of the command line.
type program struct {
	commands       []command
	file           string // the configuration if none is named, if it exists
	environ        []string
	stdout, stderr io.Writer
}

// command is one line of the program's table of commands.
type command struct {
	name, category string
	usage          string // in a line
	arguments      string // what stands behind the flags, such as "DIR", or "[ZONE]" if it may be left out; "" if nothing may
	description    string
	configured     bool // by --config and --set
	reloads        bool // on SIGHUP, which ends all others
	flags          []cli.Flag
	below          []command // that follow its name, such as "init add"
	run            func(context.Context, roles.Invocation) error
}

// run starts the command and waits for its end, or for the second signal.
//
// The first SIGINT or SIGTERM cancels the command's context: it ends in order, and returns nil. The second ends the process
// at once. A command that returns context.Canceled was interrupted before its work was done.
func (p *program) run(args []string) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	done := make(chan error, 1)
	go func() {
		app := p.app()
		done <- app.RunContext(ctx, flagsFirst(app, args))
	}()
	var caught os.Signal
	for {
		select {
		case err := <-done:
			if caught != nil && errors.Is(err, context.Canceled) {
				return endedBy(caught)
			}
			return p.report(err)
		case s := <-signals:
			if caught != nil {
				return endedBy(s)
			}
			caught = s
			cancel()
		}
	}
}

// endedBy is the shell's exit code for a signal.
func endedBy(s os.Signal) int { return 128 + int(s.(syscall.Signal)) }

// report prints the error that ended a command, once, and returns the exit code for it.
func (p *program) report(err error) int {
	if err == nil {
		return exitClean
	}
	fmt.Fprintf(p.stderr, "%s: %s\n", programName, roles.Printable(err.Error()))
	var (
		faults settings.Faults
		usage  usageError
	)
	switch {
	case errors.As(err, &faults), errors.As(err, &usage), errors.Is(err, roles.ErrUsage):
		return exitUsage
	case errors.Is(err, roles.ErrNotInOrder):
		return exitNotInOrder
	default:
		return exitFailed
	}
}

// usageError is a command line that makes no sense.
type usageError struct {
	problem string
	command string // whose help would have told
}

func (e usageError) Error() string { return fmt.Sprintf("%s\nsee %s --help", e.problem, e.command) }

func wrongUsage(c *cli.Context, format string, args ...any) error {
	return usageError{fmt.Sprintf(format, args...), c.Command.HelpName}
}

// app makes the command line of the table of commands.
func (p *program) app() *cli.App {
	app := &cli.App{
		Name:                      programName,
		Usage:                     "zone distribution for PowerDNS over NATS",
		UsageText:                 programName + " COMMAND [flags] [arguments]",
		Description:               appDescription,
		Version:                   longVersion(),
		EnableBashCompletion:      true,
		HideHelpCommand:           true,                     // the library's is a global variable that a run alters; see helpCommand
		DisableSliceFlagSeparator: true,                     // a comma in --set belongs to the value
		Flags:                     []cli.Flag{cli.HelpFlag}, // which the library leaves out beside another help command
		Writer:                    p.stdout,
		ErrWriter:                 p.stderr,
		Action:                    noCommand,
		OnUsageError:              wrongFlag,
		ExitErrHandler:            func(*cli.Context, error) {}, // else the library ends the process by itself
	}
	for _, c := range p.commands {
		app.Commands = append(app.Commands, p.cliCommand(c))
	}
	app.Commands = append(app.Commands, completionCommand(), helpCommand())
	return app
}

func (p *program) cliCommand(c command) *cli.Command {
	flags := slices.Clone(c.flags)
	if c.configured {
		flags = append(flags, configFlags()...)
	}
	var below []*cli.Command
	for _, each := range c.below {
		below = append(below, p.cliCommand(each))
	}
	return &cli.Command{
		Name:            c.name,
		Category:        c.category,
		Usage:           c.usage,
		ArgsUsage:       c.arguments,
		Description:     c.description,
		Flags:           flags,
		Subcommands:     below,
		HideHelpCommand: true, // no "proxy help"; there is "help proxy" and "proxy --help"
		OnUsageError:    wrongFlag,
		Action: func(ctx *cli.Context) error {
			in, err := p.invocation(ctx, c)
			if err != nil {
				return err
			}
			return c.run(ctx.Context, in)
		},
	}
}

// noCommand is the action of a command line that names no command of the table.
func noCommand(c *cli.Context) error {
	if !c.Args().Present() {
		return wrongUsage(c, "which command?")
	}
	return unknownCommand(c, c.Args().First())
}

func unknownCommand(c *cli.Context, name string) error {
	var names []string
	for _, known := range c.App.Commands {
		names = append(names, known.Name)
	}
	return usageError{fmt.Sprintf("unknown command %q%s", name, settings.DidYouMean(name, names)), c.App.HelpName}
}

// wrongFlag words what the flag package found wrong with the flags.
func wrongFlag(c *cli.Context, err error, _ bool) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return wrongUsage(c, "%v", err)
	}
	name = "--" + strings.TrimPrefix(name, "-")
	return wrongUsage(c, "unknown flag %q%s", name, settings.DidYouMean(name, flagNames(c.Command)))
}

func flagNames(c *cli.Command) []string {
	var names []string
	for _, flag := range c.Flags {
		for _, name := range flag.Names() {
			names = append(names, "--"+name)
		}
	}
	return names
}

// configFlags are the flags of every command that reads the configuration. Flags keep their values, so each command gets its own.
func configFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name:      "config",
			TakesFile: true,
			Usage:     "the configuration `FILE`; else $" + settings.FileVariable + ", else " + defaultFile + " if it exists",
		},
		&cli.StringSliceFlag{
			Name:  "set",
			Usage: "set a key, `SECTION.KEY=VALUE`, whatever file and environment say; may be repeated",
		},
		&cli.StringFlag{
			Name:  "log-level",
			Usage: "short for --set log.level=`LEVEL`: debug, info, warn or error",
		},
	}
}

// checkArguments refuses arguments that nobody asked for, and their lack.
func checkArguments(c *cli.Context, wanted string) error {
	given := c.Args().Slice()
	needed := slices.DeleteFunc(strings.Fields(wanted), func(word string) bool { return strings.HasPrefix(word, "[") })
	switch {
	case len(given) > 0 && wanted == "":
		return wrongUsage(c, "unexpected argument %q", given[0])
	case len(given) == 0 && len(needed) > 0:
		return wrongUsage(c, "%s is missing", strings.Join(needed, " "))
	}
	return nil
}

// flagsFirst puts a command's flags before its arguments, the only place where the flag package looks for them. What
// stands behind "--" is no flag.
func flagsFirst(app *cli.App, args []string) []string {
	at, of := 1, (*cli.Command)(nil)
	for below := app.Commands; at < len(args); at++ {
		i := slices.IndexFunc(below, func(c *cli.Command) bool { return c.HasName(args[at]) })
		if i < 0 {
			break
		}
		of, below = below[i], below[i].Subcommands
	}
	if of == nil || slices.Contains(args, "--generate-bash-completion") { // which has to stay the last one
		return args
	}
	var flags, arguments []string
	for rest := args[at:]; len(rest) > 0; {
		n := 1
		switch {
		case rest[0] == "--":
			n = len(rest)
			flags, arguments = append(flags, "--"), append(arguments, rest[1:]...)
		case !strings.HasPrefix(rest[0], "-"):
			arguments = append(arguments, rest[0])
		default:
			if takesValue(of, rest[0]) && len(rest) > 1 {
				n = 2
			}
			flags = append(flags, rest[:n]...)
		}
		rest = rest[n:]
	}
	return slices.Concat(args[:at], flags, arguments)
}

// takesValue tells whether the argument behind this one belongs to it.
func takesValue(c *cli.Command, flag string) bool {
	name := strings.TrimLeft(flag, "-")
	for _, f := range c.Flags {
		valued, is := f.(cli.DocGenerationFlag)
		if is && slices.Contains(f.Names(), name) {
			return valued.TakesValue()
		}
	}
	return false
}

// invocation gathers what the command is given.
func (p *program) invocation(c *cli.Context, of command) (roles.Invocation, error) {
	if err := checkArguments(c, of.arguments); err != nil {
		return roles.Invocation{}, err
	}
	in := roles.Invocation{
		Args:    c.Args().Slice(),
		Options: c,
		Stdout:  p.stdout,
		Stderr:  p.stderr,
		Version: shortVersion(),
	}
	if of.reloads {
		reload := make(chan os.Signal, 1)
		signal.Notify(reload, syscall.SIGHUP) // until the process ends
		in.Reload = reload
	}
	if !of.configured {
		return in, nil
	}
	flags, err := settingFlags(c)
	in.Settings = settings.Sources{File: p.configFile(c), Env: p.environ, Flags: flags}
	return in, err
}

// configFile is the configuration's path: flag before environment before default. --config "" reads none.
func (p *program) configFile(c *cli.Context) string {
	if c.IsSet("config") {
		return c.String("config")
	}
	for _, entry := range p.environ {
		if path, is := strings.CutPrefix(entry, settings.FileVariable+"="); is && path != "" {
			return path
		}
	}
	if _, err := os.Stat(p.file); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return p.file
}

// settingFlags are the keys that the flags set.
func settingFlags(c *cli.Context) (map[string]string, error) {
	flags := map[string]string{}
	for _, pair := range c.StringSlice("set") {
		key, value, is := strings.Cut(pair, "=")
		if !is {
			return nil, wrongUsage(c, "--set %s: there is no value: write --set SECTION.KEY=VALUE", key)
		}
		flags[key] = value
	}
	if c.IsSet("log-level") {
		flags["log.level"] = c.String("log-level")
	}
	return flags, nil
}

// shortVersion is what the build was told, or else what Go knows of it.
func shortVersion() string {
	if version != "" {
		return version
	}
	if build, ok := debug.ReadBuildInfo(); ok && build.Main.Version != "" {
		return build.Main.Version
	}
	return "(devel)"
}

// longVersion adds the commit, and the Go version that the program was built by.
func longVersion() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return shortVersion()
	}
	details := []string{build.GoVersion}
	for _, s := range build.Settings {
		switch {
		case s.Key == "vcs.revision":
			details = append(details, "commit "+s.Value)
		case s.Key == "vcs.modified" && s.Value == "true":
			details = append(details, "modified")
		}
	}
	return fmt.Sprintf("%s (%s)", shortVersion(), strings.Join(details, ", "))
}

// helpCommand shows the help of the program or of one command.
func helpCommand() *cli.Command {
	return &cli.Command{
		Name:            "help",
		Category:        asTool,
		Usage:           "show the help of a command",
		ArgsUsage:       "[COMMAND]",
		HideHelpCommand: true,
		OnUsageError:    wrongFlag,
		Action: func(c *cli.Context) error {
			name := c.Args().First()
			switch {
			case name == "":
				return cli.ShowAppHelp(c)
			case c.App.Command(name) == nil:
				return unknownCommand(c, name)
			}
			return cli.ShowCommandHelp(c, name)
		},
	}
}

// completionCommand prints what makes a shell complete this program's commands and flags.
func completionCommand() *cli.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cli.Command{
		Name:            "completion",
		Category:        asTool,
		Usage:           "print the completion script of a shell",
		ArgsUsage:       strings.Join(shells, "|"),
		Description:     completionDescription,
		HideHelpCommand: true,
		OnUsageError:    wrongFlag,
		BashComplete:    func(c *cli.Context) { fmt.Fprintln(c.App.Writer, strings.Join(shells, "\n")) },
		Action:          printCompletion,
	}
}

func printCompletion(c *cli.Context) (err error) {
	var script string
	switch shell := c.Args().First(); shell {
	case "bash":
		script = bashCompletion
	case "zsh":
		script = zshCompletion
	case "fish":
		script, err = c.App.ToFishCompletion()
	default:
		return wrongUsage(c, "completion is for bash, zsh or fish, not %q", shell)
	}
	if err != nil {
		return fmt.Errorf("make the completion script: %w", err)
	}
	_, err = io.WriteString(c.App.Writer, script)
	return err
}

// The scripts ask the program itself, by the flag that the cli package answers, and complete file names where it has no answer.
const (
	bashCompletion = `# bash completion of pdns-distribute
_pdns_distribute() {
	local current=${COMP_WORDS[COMP_CWORD]}
	local words=("${COMP_WORDS[@]:0:COMP_CWORD}")
	if [[ $current == -* ]]; then
		words+=("$current")
	fi
	COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$current"))
}
complete -o bashdefault -o default -F _pdns_distribute pdns-distribute
`
	zshCompletion = `#compdef pdns-distribute
_pdns_distribute() {
	local -a asked found
	asked=("${(@)words[1,CURRENT-1]}")
	if [[ $words[CURRENT] == -* ]]; then
		asked+=("$words[CURRENT]")
	fi
	found=("${(@f)$("${asked[@]}" --generate-bash-completion 2>/dev/null)}")
	if [[ -n $found[1] ]]; then
		compadd -a found
	else
		_files
	fi
}
if [[ $funcstack[1] == _pdns_distribute ]]; then
	_pdns_distribute "$@"
else
	compdef _pdns_distribute pdns-distribute
fi
`
)

const (
	asRole = "Roles" // run on a host until they are stopped
	asTool = "Tools" // run by an operator
)

const appDescription = `Every write to the API of the primary PowerDNS is answered by all secondaries within milliseconds, and stays so
whatever fails in between. Beside the primary run proxy and primary, beside each secondary runs secondary, and
health runs anywhere; all meet at a NATS, for which broker is one that needs nothing else.

Begin with a demo on loopback, and then write the files of your own installation:

   pdns-distribute demo
   pdns-distribute init --help

Settings come from a TOML file, from the environment and from flags. A flag beats the environment, the
environment beats the file. The key workers of the section [secondary] is

   PDNS_DISTRIBUTE_SECONDARY_WORKERS=8        in the environment
   --set secondary.workers=8                  as a flag

and unknown keys and bad values are refused at the start, all at once.

Exit codes:

   0      ended cleanly, also when a signal asked for it
   1      failed while running; demo --once: something did not arrive; healthcheck: the role does not answer
   2      wrong usage or configuration
   3      status, sync, doctor: not everything is in order
   128+n  signal n ended it before its work was done, such as 130 for Ctrl-C; a second signal always does`

const completionDescription = `Makes the shell complete commands and flags:

   bash   pdns-distribute completion bash > /etc/bash_completion.d/pdns-distribute
   zsh    pdns-distribute completion zsh > "${fpath[1]}/_pdns-distribute"
   fish   pdns-distribute completion fish > ~/.config/fish/completions/pdns-distribute.fish`

// commands is the table of commands, in the order of the help. Each run of the program makes its own, for flags keep their values.
func commands() []command {
	return []command{
		{
			name:       "proxy",
			category:   asRole,
			usage:      "stand in front of the primary's API and mark the zones that are written to",
			configured: true,
			run:        roles.RunProxy,
			description: `Serves HTTPS in front of the API of the primary PowerDNS. Requests and answers pass unchanged; when one changed a
zone, the zone is marked in the broker before the client gets its answer, so that nothing acknowledged is lost.
With the broker away it answers all the same and keeps the marks until they are stored.

Runs   beside the primary PowerDNS; point API clients at it instead of at PowerDNS.
Needs  [broker], [powerdns] with api_url and an API key, and [proxy] with listen. Without tls_cert and tls_key it
       makes a self-signed pair and keeps it in proxy.state_dir.

Example:

   pdns-distribute proxy --config /etc/pdns-distribute/pdns-distribute.toml --set proxy.listen=:8443`,
		},
		{
			name:       "primary",
			category:   asRole,
			usage:      "transfer marked zones from the primary PowerDNS and publish them",
			configured: true,
			run:        roles.RunPrimary,
			description: `Takes each marked zone from PowerDNS by one AXFR, signed and without keys, however many secondaries there are, and
publishes it. Finds changes that were made behind the proxy's back by sweeping over all zones, and by NOTIFY.

Runs   beside the primary PowerDNS; more than one may run.
Needs  [broker], and [powerdns] with api_url, an API key, and a dns_address that allows AXFR from here.

Example:

   pdns-distribute primary --config /etc/pdns-distribute/pdns-distribute.toml`,
		},
		{
			name:       "secondary",
			category:   asRole,
			usage:      "make a secondary PowerDNS serve what was published, and prove it",
			configured: true,
			run:        roles.RunSecondary,
			description: `Follows the published zones, keeps a copy of each, and offers them to its PowerDNS by AXFR on loopback. A zone counts
as applied when PowerDNS answers for it with the new content. Goes on alone when broker and primary are gone.

Runs   beside each secondary PowerDNS.
Needs  [broker], [powerdns] with api_url, an API key and dns_address, and [secondary] with a state_dir that lasts.

Example:

   pdns-distribute secondary --config /etc/pdns-distribute/pdns-distribute.toml --set node.id=ns1`,
		},
		{
			name:       "health",
			category:   asRole,
			usage:      "watch all nodes, compare what they have with what is published, and mend what differs",
			configured: true,
			run:        roles.RunHealth,
			description: `Sees that each change is served by all secondaries, compares from time to time all that each of them has with what is
published, asks them at their public addresses as the world does, and has mended what differs. Shows how things are, and
what is wrong, in "status", as JSON at /distribute/v1/status, as metrics, and by a webhook.

Runs   anywhere, any number of them: one acts, and another takes over within 20 seconds when it is gone.
Needs  [broker]. JSON and metrics are served at observe.listen.

Example:

   pdns-distribute health --config /etc/pdns-distribute/pdns-distribute.toml`,
		},
		{
			name:       "broker",
			reloads:    true,
			category:   asRole,
			usage:      "run a NATS server, where there is none yet",
			configured: true,
			run:        roles.RunBroker,
			description: `The real nats-server, built in, with its own configuration file: one node, or one of a cluster. "init" writes that
file together with its keys and certificates. An existing NATS with JetStream does as well, and then this
command is not needed. SIGHUP has it read that file again, for new users and certificates; a file with faults
changes nothing.

Runs   on one host, or on three for a cluster.
Needs  the file that "init" wrote, and a directory that lasts.

Example:

   pdns-distribute broker --config /etc/pdns-distribute/pdns-distribute.toml`,
		},
		initCommand(),
		{
			name:       "doctor",
			category:   asTool,
			usage:      "check an installation on one host before it is trusted",
			configured: true,
			flags: []cli.Flag{
				&cli.BoolFlag{Name: "json", Usage: "print JSON, for programs"},
				&cli.StringFlag{Name: "role", Usage: "`ROLE` to check, where the configuration does not tell: broker, primary, proxy, health or secondary"},
			},
			run: doctor.Run,
			description: `Looks at all that a role needs on this host, whether it is running or not: its configuration, secrets and certificates,
disk and ports, each broker with name, TLS, credentials and rights, the streams, the clock, and the PowerDNS beside it.
Shows what is fine, and for what is not what to do next. Changes nothing. Ends with 3 if something has failed, with 0 if
there are only warnings.

Runs   on the host of a role, as the user that runs the role.
Needs  the role's configuration.

Example:

   pdns-distribute doctor --config /etc/pdns-distribute/pdns-distribute.toml`,
		},
		{
			name:       "healthcheck",
			category:   asTool,
			usage:      "ask the role on this host whether it is alive, for containers",
			configured: true,
			run:        roles.Healthcheck,
			description: `Asks for /healthz at the role's observe.listen, as its configuration says it. Ends with 0 if the answer is 200 within
three seconds, else with 1. A container's health check does not see the flags of the role: name the configuration by
PDNS_DISTRIBUTE_CONFIG, or put it at its default place.

Runs   on the host, or in the container, of a role.
Needs  [observe], which has defaults.

Example:

   pdns-distribute healthcheck --config /etc/pdns-distribute/pdns-distribute.toml`,
		},
		{
			name:     "demo",
			category: asTool,
			usage:    "run everything on loopback, with real PowerDNS servers, to see and to play with",
			flags:    []cli.Flag{&cli.BoolFlag{Name: "once", Usage: "make changes, wait until all secondaries serve them, and end: with 1 if something did not arrive"}},
			run:      demo.Run,
			description: `Starts a primary and secondaries of PowerDNS, a broker and all roles in a temporary directory, says how to reach
them, and cleans up when it is stopped.

Runs   on a laptop.
Needs  pdns_server, pdnsutil and a backend for them; nothing is changed outside of the temporary directory.

Example:

   pdns-distribute demo`,
		},
		{
			name:       "status",
			category:   asTool,
			usage:      "show what is where, and how far behind",
			arguments:  "[ZONE]...",
			configured: true,
			flags: []cli.Flag{
				&cli.BoolFlag{Name: "json", Usage: "print JSON, for programs"},
				&cli.BoolFlag{Name: "watch", Usage: "go on showing it, every two seconds, until interrupted"},
			},
			run: roles.Status,
			description: `Asks the broker who is there, and shows each node with what it lacks and why, and the alarms that the health role
raised. Ends with 3 if not everything is in order, so that a script can wait for it or raise an alarm. For zones it shows what is published and what each secondary
serves, and ends with 3 if that is not the same.

Runs   anywhere.
Needs  [broker].

Example:

   until pdns-distribute status; do sleep 1; done
   pdns-distribute status example.org`,
		},
		{
			name:       "sync",
			category:   asTool,
			usage:      "have zones distributed again, or let deletions pass that are held",
			arguments:  "[ZONE]...",
			configured: true,
			flags: []cli.Flag{
				&cli.BoolFlag{Name: "check", Usage: "compare what secondaries have with what is published now, and mend what differs; with --node one of them"},
				&cli.BoolFlag{Name: "all", Usage: "all zones that are published"},
				&cli.StringFlag{Name: "node", Usage: "`ID` of the one secondary that takes them again; without zones it takes all"},
				&cli.BoolFlag{Name: "confirm-deletes", Usage: "yes, zones that are gone from PowerDNS shall be deleted everywhere; with the ID of a secondary behind it: those there that are not published"},
			},
			run: roles.Sync,
			description: `Has the primary read the zones and publish them, though nothing may have changed, and the secondaries compare all of
their content with what PowerDNS beside them has, and mend it. Shows how far that is, and then what was wrong. Ends with
3 if a zone is not served everywhere after 30 seconds; it goes on being tried.

With --confirm-deletes: when more zones are found missing in the primary PowerDNS than primary.max_delete_percent allows, or all of them,
the primary deletes none and says so in "status" and on /readyz. This is your word that they shall be deleted: the
primary compares all zones at once, and for ten minutes it believes every deletion that PowerDNS confirms. With the id of
a secondary behind it, it is your word that the zones there that are not published shall be deleted there, when they are
more than health.max_delete_percent allows.

With --check the health role that leads compares at once what it else compares every health.check_interval, and says what it
found. Ends with 3 if a secondary does not answer or deletions are held.

Runs   anywhere.
Needs  [broker], with the credentials of health or primary.

Example:

   pdns-distribute sync example.org
   pdns-distribute sync --node ns2
   pdns-distribute sync --check
   pdns-distribute sync --confirm-deletes`,
		},
		{
			name:       "forget",
			category:   asTool,
			usage:      "remove nodes for good, so that nobody expects them",
			arguments:  "NODE...",
			configured: true,
			run:        roles.Forget,
			description: `Removes the feed of a secondary that is no more, and what is known of any node that is silent. One that is started
again comes back: take its user out of the broker's configuration as well.

Runs   anywhere.
Needs  [broker], with the credentials of health or primary.

Example:

   pdns-distribute forget ns3`,
		},
	}
}
