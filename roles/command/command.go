// Package command is the command line: commands are declared with the types of this package, each in the package that
// does its work, and a [Program] is the list of them.
//
// A Program reads the command line by urfave/cli, refuses what makes no sense (parse.go), runs one command with
// signals as its context (program.go), and ends with an exit code. It completes words for shells without running a
// command (complete.go), and writes the manual page out of the declarations (manual.go).
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"pdns-distribute/roles/settings"
)

// Command is one command, or one below another, such as "init add".
type Command struct {
	Name        string
	Group       Group  // in the help; of commands that stand below no other
	Summary     string // in a line
	Arguments   string // behind the flags, such as "DIR", or "[ZONE]..." if it may be left out; "" if nothing may stand there
	Description string // paragraphs, and lines that are indented by three spaces as they are

	Configured bool     // by --config, --set and --log-level
	Of         []string // the roles whose configuration on this host it takes if none is named, the best first
	AnyOf      bool     // of several such nodes any will do
	OfNode     bool     // its argument, which may be left out, is the id of the one
	Reloads    bool     // on SIGHUP, which ends all others

	Flags    []Flag
	Below    []Command // that follow its name, such as "add"
	Complete Completer // its arguments; nil knows none

	// Become makes a process of root that of the user as whom the command works; nil: of the configuration's owner.
	Become func(in Invocation) error

	// Run does the work until it is done or ctx ends. Without it one of the commands below has to be named.
	Run func(ctx context.Context, in Invocation) error
}

// Group is a heading of the help.
type Group string

const (
	Role Group = "Roles" // run on a host until they are stopped
	Tool Group = "Tools" // run by an operator
)

// Flag is a flag of a command.
type Flag struct {
	Name     string
	Value    string // what stands for its value in the help, such as "HOST"; "" makes it a switch
	Help     string // in a line, in which Value stands
	Many     bool   // it may be repeated
	Complete Completer
}

// Invocation is what a command is given.
type Invocation struct {
	Settings settings.Sources // for settings.Load
	Args     []string         // what stood behind the flags
	Options  Options          // the command's own flags
	Stdout   io.Writer        // for what the command was asked for
	Stderr   io.Writer        // for the log
	Version  string           // of this program, such as "1.2.3"
	Reload   <-chan os.Signal // asks for the configuration to be read again; nil if it can't be
}

// Options gives the values of a command's own flags, by their names.
type Options interface {
	Bool(name string) bool
	String(name string) string
	StringSlice(name string) []string
}

// ErrNotInOrder is what a command returns, wrapped, when it worked but did not like what it saw.
var ErrNotInOrder = errors.New("not everything is in order")

// ErrUsage is what a command returns, wrapped, when it was called in a way that makes no sense.
var ErrUsage = errors.New("wrong usage")

// Misuse returns an [ErrUsage] that says what is wrong.
func Misuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUsage}, args...)...)
}
