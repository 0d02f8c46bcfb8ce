package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"pdns-distribute/private"
	"pdns-distribute/roles/settings"
)

// usageError is a command line that makes no sense.
type usageError struct {
	problem string
	command string // whose help explains it
}

func (e usageError) Error() string { return fmt.Sprintf("%s\nsee %s --help", e.problem, e.command) }

func wrongUsage(c *cli.Context, format string, args ...any) error {
	return usageError{fmt.Sprintf(format, args...), c.Command.HelpName}
}

// noCommand is the action of a command line that names no command of the program.
func (p *Program) noCommand(c *cli.Context) error {
	if !c.Args().Present() {
		return wrongUsage(c, "which command?")
	}
	return unknownCommand(programName, c.Args().First(), p.all())
}

// unknownCommand says that there is no command of this name below the one of that path.
func unknownCommand(path, name string, commands []Command) error {
	below := strings.TrimPrefix(strings.TrimPrefix(path, programName)+" ", " ") // "" or "init "
	var names []string
	for _, known := range commands {
		names = append(names, below+known.Name)
	}
	name = below + name
	return usageError{fmt.Sprintf("unknown command %q%s", name, settings.DidYouMean(strings.ToLower(name), names)), path}
}

// wrongFlag words what the flag package found wrong with the flags.
func wrongFlag(c *cli.Context, err error, _ bool) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return wrongUsage(c, "%v", err)
	}
	name = "--" + strings.TrimPrefix(name, "-")
	var names []string
	for _, flag := range c.Command.Flags {
		for _, known := range flag.Names() {
			names = append(names, "--"+known)
		}
	}
	return wrongUsage(c, "unknown flag %q%s", name, settings.DidYouMean(name, names))
}

// flags are the command's own, and those of every command that reads the configuration.
func (p *Program) flags(c Command) []Flag {
	if !c.Configured {
		return c.Flags
	}
	file := "the configuration FILE; else $" + settings.FileVariable + ", else " + DefaultFile + " if it exists"
	if len(c.Of) > 0 {
		file += ", else that of a node on this host"
	}
	return append(slices.Clip(c.Flags),
		Flag{Name: "config", Value: "FILE", Complete: Files, Help: file},
		Flag{
			Name: "set", Value: "SECTION.KEY=VALUE", Many: true, Complete: p.offerSettings,
			Help: "set a key, SECTION.KEY=VALUE, whatever file and environment say; may be repeated",
		},
		Flag{
			Name: "log-level", Value: "LEVEL", Complete: OneOf("debug", "info", "warn", "error"),
			Help: "short for --set log.level=LEVEL: debug, info, warn or error",
		})
}

// cliFlag is the flag for the library, which takes the quoted word of its help for that of its value.
func (f Flag) cliFlag() cli.Flag {
	usage := strings.Replace(f.Help, f.Value, "`"+f.Value+"`", 1)
	switch {
	case f.Value == "":
		return &cli.BoolFlag{Name: f.Name, Usage: f.Help}
	case f.Many:
		return &cli.StringSliceFlag{Name: f.Name, Usage: usage}
	default:
		return &cli.StringFlag{Name: f.Name, Usage: usage}
	}
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
	if of == nil {
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

// takesValue reports whether the argument behind this one belongs to it.
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

// runCommand is the action of a command line that names the command.
func (p *Program) runCommand(ctx *cli.Context, c Command) error {
	in, err := p.invocation(ctx, c)
	if err != nil {
		return err
	}
	switch {
	case c.Become != nil:
		err = c.Become(in)
	case c.Configured && c.Group != Role:
		err = private.ActAsOwner(in.Settings.File)
	}
	if err != nil {
		return err
	}
	return c.Run(ctx.Context, in)
}

// invocation gathers what the command is given.
func (p *Program) invocation(c *cli.Context, of Command) (Invocation, error) {
	if err := checkArguments(c, of); err != nil {
		return Invocation{}, err
	}
	in := Invocation{
		Args:    c.Args().Slice(),
		Options: c,
		Stdout:  p.Stdout,
		Stderr:  p.Stderr,
		Version: p.version().Version,
	}
	if of.Reloads {
		reload := make(chan os.Signal, 1)
		signal.Notify(reload, syscall.SIGHUP) // until the process ends
		in.Reload = reload
	}
	if !of.Configured {
		return in, nil
	}
	flags, err := settingFlags(c)
	if err != nil {
		return in, err
	}
	file, err := p.configFile(of, in.Args, c.String("config"), c.IsSet("config"))
	in.Settings = settings.Sources{File: file, Env: p.Environ, Flags: flags}
	return in, err
}

// checkArguments refuses arguments that nobody asked for, and their lack.
func checkArguments(c *cli.Context, of Command) error {
	given := c.Args().Slice()
	if err := checkBelow(c, of); err != nil {
		return err
	}
	optional := func(word string) bool { return strings.HasPrefix(word, "[") }
	needed := slices.DeleteFunc(strings.Fields(of.Arguments), optional)
	switch {
	case len(given) > 0 && of.Arguments == "":
		return wrongUsage(c, "unexpected argument %q", given[0])
	case len(given) == 0 && len(needed) > 0:
		return wrongUsage(c, "%s is missing", strings.Join(needed, " "))
	}
	return nil
}

// checkBelow refuses a first argument that is meant for the name of a command below this one: it must not become the
// name of a folder that is written.
func checkBelow(c *cli.Context, of Command) error {
	if len(of.Below) == 0 {
		return nil
	}
	var names []string
	for _, below := range of.Below {
		names = append(names, below.Name)
	}
	first, path := c.Args().First(), c.Command.HelpName
	meant, near := settings.Resembles(first, append(names, "help"))
	switch {
	case of.Run == nil && first == "":
		return wrongUsage(c, "which command: %s?", strings.Join(names, ", "))
	case of.Run == nil, meant == "help":
		return unknownCommand(path, first, of.Below)
	case near && !strings.Contains(first, "/"):
		called := strings.TrimPrefix(path, programName+" ")
		return wrongUsage(c, "unknown command %q, did you mean %q? A folder of this name is ./%s",
			called+" "+first, called+" "+meant, first)
	}
	return nil
}

// configFile is the configuration's path: flag before environment before default, before that of a node on this host.
// --config "" reads none.
func (p *Program) configFile(of Command, args []string, flag string, given bool) (string, error) {
	if given {
		return flag, nil
	}
	for _, entry := range p.Environ {
		if path, is := strings.CutPrefix(entry, settings.FileVariable+"="); is && path != "" {
			return path, nil
		}
	}
	if _, err := os.Stat(p.File); errors.Is(err, fs.ErrNotExist) {
		return p.found(of, args)
	}
	return p.File, nil
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
