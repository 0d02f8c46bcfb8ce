package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/urfave/cli/v2"

	"pdns-distribute/health"
	"pdns-distribute/roles/settings"
)

const programName = "pdns-distribute"

// DefaultFile is the configuration file of a command line that names none, if it exists.
const DefaultFile = "/etc/pdns-distribute/pdns-distribute.toml"

// What the process ends with, besides 128+n when signal n ended it before its work was done. exitCodes describes them.
const (
	exitClean      = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotInOrder = 3
)

// Program is what the process is asked for. Its methods may be called one after the other.
type Program struct {
	Commands []Command      // in the order of the help
	Settings []settings.Key // that --set takes, for completion
	Version  string         // "" if the build was not told
	File     string         // the configuration if none is named, if it exists; see DefaultFile
	Environ  []string
	Nodes    func() ([]Node, error) // those on this host; nil knows none

	Stdout, Stderr io.Writer
}

// Run runs the command that args name, whose first one is the program's own name. It returns the exit code when the
// command has ended, or at the second signal.
//
// The first SIGINT or SIGTERM cancels the command's context: it ends in order, and returns nil. The second ends the
// process at once. A command that returns context.Canceled was interrupted before its work was done.
func (p *Program) Run(args []string) int {
	if len(args) > 1 && args[1] == completeWord {
		p.complete(args[2:])
		return exitClean
	}
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
func (p *Program) report(err error) int {
	if err == nil {
		return exitClean
	}
	fmt.Fprintf(p.Stderr, "%s: %s\n", programName, health.Printable(err.Error()))
	var (
		faults settings.Faults
		usage  usageError
	)
	switch {
	case errors.As(err, &faults), errors.As(err, &usage), errors.Is(err, ErrUsage):
		return exitUsage
	case errors.Is(err, ErrNotInOrder):
		return exitNotInOrder
	default:
		return exitFailed
	}
}

// all are the commands with those that each program has.
func (p *Program) all() []Command {
	own := []Command{completionCommand(), p.manualCommand(), p.versionCommand(), p.helpCommand()}
	return slices.Concat(p.Commands, own)
}

// app makes the command line of the commands. Flags keep their values, so each run has its own.
func (p *Program) app() *cli.App {
	app := &cli.App{
		Name:                      programName,
		Usage:                     summary,
		UsageText:                 programName + " COMMAND [flags] [arguments]",
		Description:               description + "\n\n" + exitCodes,
		Version:                   p.version().String(),
		HideHelpCommand:           true,                     // the library's is a global variable; see helpCommand
		DisableSliceFlagSeparator: true,                     // a comma in --set belongs to the value
		Flags:                     []cli.Flag{cli.HelpFlag}, // which the library leaves out beside another help command
		Writer:                    p.Stdout,
		ErrWriter:                 p.Stderr,
		Action:                    p.noCommand,
		OnUsageError:              wrongFlag,
		ExitErrHandler:            func(*cli.Context, error) {}, // else the library ends the process by itself
	}
	for _, c := range p.all() {
		app.Commands = append(app.Commands, p.cliCommand(c))
	}
	return app
}

func (p *Program) cliCommand(c Command) *cli.Command {
	var flags []cli.Flag
	for _, f := range p.flags(c) {
		flags = append(flags, f.cliFlag())
	}
	var below []*cli.Command
	for _, each := range c.Below {
		below = append(below, p.cliCommand(each))
	}
	return &cli.Command{
		Name:            c.Name,
		Category:        string(c.Group),
		Usage:           c.Summary,
		ArgsUsage:       c.Arguments,
		Description:     c.Description,
		Flags:           flags,
		Subcommands:     below,
		HideHelpCommand: true, // no "proxy help"; there is "help proxy" and "proxy --help"
		OnUsageError:    wrongFlag,
		Action:          func(ctx *cli.Context) error { return p.runCommand(ctx, c) },
	}
}
