package command

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
)

// helpCommand shows the help of the program or of one command, as the flag --help does.
func (p *Program) helpCommand() Command {
	return Command{
		Name:      "help",
		Group:     Tool,
		Summary:   "show the help of a command",
		Arguments: "[COMMAND]...",
		Description: `Shows what --help shows: of the program, or of the command that is named.

Example:

   pdns-distribute help init add`,
		Complete: func(t Typed) Offer { return Offer{Words: wordsOf(find(p.all(), t.Args).Below)} },
		Run: func(ctx context.Context, in Invocation) error {
			path, below := programName, p.all()
			for _, name := range in.Args {
				i := slices.IndexFunc(below, func(c Command) bool { return c.Name == name })
				if i < 0 {
					return unknownCommand(path, name, below)
				}
				path, below = path+" "+name, below[i].Below
			}
			return p.app().RunContext(ctx, append(strings.Fields(path), "--help"))
		},
	}
}

// find returns the command that a path of names leads to, or one without a name where it leads nowhere.
func find(commands []Command, path []string) Command {
	found := Command{Below: commands}
	for _, name := range path {
		i := slices.IndexFunc(found.Below, func(c Command) bool { return c.Name == name })
		if i < 0 {
			return Command{}
		}
		found = found.Below[i]
	}
	return found
}

// build is what the program knows about itself.
type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified"` // since that commit
}

// version returns what the build was told, or else what Go knows of it.
func (p *Program) version() build {
	b := build{Version: p.Version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	b.Go = info.GoVersion
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Commit = s.Value
		case s.Key == "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	return b
}

func (b build) String() string {
	details := []string{b.Go}
	if b.Commit != "" {
		details = append(details, "commit "+b.Commit)
	}
	if b.Modified {
		details = append(details, "modified")
	}
	return fmt.Sprintf("%s (%s)", b.Version, strings.Join(details, ", "))
}

func (p *Program) versionCommand() Command {
	return Command{
		Name:    "version",
		Group:   Tool,
		Summary: "print the version",
		Flags:   []Flag{{Name: "json", Help: "print JSON, for programs"}},
		Description: `Prints what --version prints: the version, the Go that the program was built by, and the commit,
if the build knows it.

Example:

   pdns-distribute version --json`,
		Run: func(_ context.Context, in Invocation) error {
			if in.Options.Bool("json") {
				enc := json.NewEncoder(in.Stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(p.version())
			}
			_, err := fmt.Fprintf(in.Stdout, "%s version %s\n", programName, p.version())
			return err
		},
	}
}

// shells are those that have a completion script.
var shells = []string{"bash", "zsh", "fish"}

// scripts make shells ask the program, by completeWord.
//
//go:embed completion.bash completion.zsh completion.fish
var scripts embed.FS

// completionCommand prints what makes a shell complete this program's command line.
func completionCommand() Command {
	return Command{
		Name:      "completion",
		Group:     Tool,
		Summary:   "print the completion script of a shell",
		Arguments: strings.Join(shells, "|"),
		Complete:  OneOf(shells...),
		Description: `Makes the shell complete commands, flags, and what stands behind them: files, roles, the nodes of
an installation whose folder is at hand, the keys of a proxy. The shell asks the program, which
reads files at most and never runs the command line.

Example:

   bash   pdns-distribute completion bash > /etc/bash_completion.d/pdns-distribute
   zsh    pdns-distribute completion zsh > "${fpath[1]}/_pdns-distribute"
   fish   pdns-distribute completion fish > ~/.config/fish/completions/pdns-distribute.fish`,
		Run: func(_ context.Context, in Invocation) error {
			shell := in.Args[0]
			if !slices.Contains(shells, shell) || len(in.Args) > 1 {
				problem := fmt.Sprintf("completion is for bash, zsh or fish, not %q", strings.Join(in.Args, " "))
				return usageError{problem, programName + " completion"}
			}
			script, err := scripts.ReadFile("completion." + shell)
			if err != nil {
				return err
			}
			_, err = in.Stdout.Write(script)
			return err
		},
	}
}

// manualCommand prints the manual page.
func (p *Program) manualCommand() Command {
	return Command{
		Name:    "man",
		Group:   Tool,
		Summary: "print the manual page",
		Description: `Prints pdns-distribute(1), which has the help of all commands.

Example:

   pdns-distribute man > /usr/local/share/man/man1/pdns-distribute.1
   pdns-distribute man | man -l -`,
		Flags: []Flag{{Name: "markdown", Help: "print it as Markdown"}},
		Run: func(_ context.Context, in Invocation) error {
			page := p.manual()
			if in.Options.Bool("markdown") {
				page = p.reference()
			}
			_, err := io.WriteString(in.Stdout, page)
			return err
		},
	}
}
