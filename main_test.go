package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/settings"
)

// TestMain lets the test binary be the program, for tests that need a process of it.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

// result is what a run of the command line leaves behind.
type result struct {
	code           int
	stdout, stderr string
}

// runWith runs the command line with the real table of commands, each of which calls the given function instead.
func runWith(t *testing.T, run func(context.Context, command.Invocation) error, environ []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p := command.Program{
		Commands: stubbed(commands(), run), Settings: settings.Describe(new(config.Config)),
		File: filepath.Join(t.TempDir(), "none.toml"), Environ: environ, Stdout: &stdout, Stderr: &stderr,
	}
	code := p.Run(append([]string{"pdns-distribute"}, args...))
	return result{code, stdout.String(), stderr.String()}
}

// stubbed are the commands, each of which does what the function does.
func stubbed(table []command.Command, run func(context.Context, command.Invocation) error) []command.Command {
	for i := range table {
		if table[i].Run != nil {
			table[i].Run = run
		}
		table[i].Below = stubbed(table[i].Below, run)
	}
	return table
}

func mustNotRun(context.Context, command.Invocation) error { return errors.New("the command ran") }

func TestWrongUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"", "which command?\nsee pdns-distribute --help"},
		{"proxi", "unknown command \"proxi\", did you mean \"proxy\"?\nsee pdns-distribute --help"},
		{"quite-different", "unknown command \"quite-different\"\nsee pdns-distribute --help"},
		{"help proxi", "unknown command \"proxi\", did you mean \"proxy\"?\nsee pdns-distribute --help"},
		{"--verison", "unknown flag \"--verison\", did you mean \"--version\"?\nsee pdns-distribute --help"},
		{"proxy --cofnig x", "unknown flag \"--cofnig\", did you mean \"--config\"?\nsee pdns-distribute proxy --help"},
		{"proxy --xyz", "unknown flag \"--xyz\"\nsee pdns-distribute proxy --help"},
		{"proxy --config", "flag needs an argument: -config\nsee pdns-distribute proxy --help"},
		{"proxy now", "unexpected argument \"now\"\nsee pdns-distribute proxy --help"},
		{"proxy --set log.level", "--set log.level: there is no value: write --set SECTION.KEY=VALUE\nsee pdns-distribute proxy --help"},
		{"init", "DIR is missing\nsee pdns-distribute init --help"},
		{"init dir --brokre x", "unknown flag \"--brokre\", did you mean \"--broker\"?\nsee pdns-distribute init --help"},
		{"init add", "ROLE NODE... is missing\nsee pdns-distribute init add --help"},
		{"init add dir secondary ns1 --broker x", "unknown flag \"--broker\"\nsee pdns-distribute init add --help"},
		{"init ad", "unknown command \"init ad\", did you mean \"init add\"? A folder of this name is ./ad\nsee pdns-distribute init --help"},
		{"init help", "unknown command \"init help\"\nsee pdns-distribute init --help"},
		{"help init ad", "unknown command \"init ad\", did you mean \"init add\"?\nsee pdns-distribute init --help"},
		{"key", "which command: add, list, remove?\nsee pdns-distribute key --help"},
		{"key ad", "unknown command \"key ad\", did you mean \"key add\"?\nsee pdns-distribute key --help"},
		{"key LIST", "unknown command \"key LIST\", did you mean \"key list\"?\nsee pdns-distribute key --help"},
		{"key something", "unknown command \"key something\"\nsee pdns-distribute key --help"},
		{"version --jsn", "unknown flag \"--jsn\", did you mean \"--json\"?\nsee pdns-distribute version --help"},
		{"demo --once=perhaps", "invalid boolean value \"perhaps\" for -once: parse error\nsee pdns-distribute demo --help"},
		{"demo --config x", "unknown flag \"--config\"\nsee pdns-distribute demo --help"},
		{"completion csh", "completion is for bash, zsh or fish, not \"csh\"\nsee pdns-distribute completion --help"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			got := runWith(t, mustNotRun, nil, strings.Fields(tt.args)...)
			if want := (result{2, "", "pdns-distribute: " + tt.want + "\n"}); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// invocationOf is what a command is given by a command line.
func invocationOf(t *testing.T, environ []string, args ...string) command.Invocation {
	t.Helper()
	var in command.Invocation
	got := runWith(t, func(_ context.Context, given command.Invocation) error {
		in = given
		return nil
	}, environ, args...)
	if got.code != 0 || got.stderr != "" {
		t.Fatalf("%v: %+v", args, got)
	}
	return in
}

func TestCommandsOwnFlags(t *testing.T) {
	if in := invocationOf(t, nil, "demo", "--once"); !in.Options.Bool("once") || in.Version == "" {
		t.Errorf("got %+v", in)
	}
	in := invocationOf(t, nil, "init", "--secondary", "ns1", "--secondary", "ns2", "dir")
	if !slices.Equal(in.Options.StringSlice("secondary"), []string{"ns1", "ns2"}) || !slices.Equal(in.Args, []string{"dir"}) {
		t.Errorf("got %+v", in)
	}
	if in := invocationOf(t, nil, "demo"); in.Options.Bool("once") {
		t.Error("a flag of an earlier run is still set")
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	for _, tt := range []struct {
		args   string
		home   string
		finish bool
		want   []string
	}{
		{"init dir --home x", "x", false, []string{"dir"}},
		{"init --home=x dir", "x", false, []string{"dir"}},
		{"init dir --home x -- --home", "x", false, []string{"dir", "--home"}},
		{"init rotate dir --finish nkey ns1", "", true, []string{"dir", "nkey", "ns1"}},
		{"init rotate --finish dir nkey ns1", "", true, []string{"dir", "nkey", "ns1"}},
		{"init add dir secondary ns3", "", false, []string{"dir", "secondary", "ns3"}},
	} {
		in := invocationOf(t, nil, strings.Fields(tt.args)...)
		if !slices.Equal(in.Args, tt.want) || in.Options.String("home") != tt.home || in.Options.Bool("finish") != tt.finish {
			t.Errorf("%s: got %q, home %q, finish %v", tt.args, in.Args, in.Options.String("home"), in.Options.Bool("finish"))
		}
	}
}

func TestHelp(t *testing.T) {
	whole := runWith(t, mustNotRun, nil, "--help")
	if whole.code != 0 || whole.stderr != "" || !strings.Contains(whole.stdout, "Exit codes:") {
		t.Errorf("got %+v", whole)
	}
	if short := runWith(t, mustNotRun, nil, "help"); short != whole {
		t.Errorf("help is not --help: %+v", short)
	}
	for _, c := range commands() {
		if !strings.Contains(whole.stdout, c.Name+"  ") {
			t.Errorf("--help doesn't list %s", c.Name)
		}
		for _, b := range c.Below {
			if got := runWith(t, mustNotRun, nil, c.Name, b.Name, "--help"); got.code != 0 || !strings.Contains(got.stdout, b.Summary) || !strings.Contains(got.stdout, "   Example:") {
				t.Errorf("%s %s: got %+v", c.Name, b.Name, got)
			}
		}
		for _, args := range [][]string{{c.Name, "--help"}, {"help", c.Name}} {
			got := runWith(t, mustNotRun, nil, args...)
			if got.code != 0 || got.stderr != "" || !strings.Contains(got.stdout, c.Summary) || !strings.Contains(got.stdout, "   Example:") {
				t.Errorf("%v: got %+v", args, got)
			}
		}
	}
}

// A misspelled command is no name of a folder: init would write an installation there.
func TestInitRefusesMisspelledCommands(t *testing.T) {
	for _, typed := range []string{
		"ad", "addd", "ADD", "Add", "a", "dad", "add-", "remov", "romve", "rotat", "rotaet", "roate", "updat", "upadte", "upgrade", "UPDATE",
		"help", "--halp", "-generate",
	} {
		for _, args := range [][]string{{typed}, {typed, "./installation", "secondary", "ns3"}, {"--secondary", "ns1", typed}} {
			got := runWith(t, mustNotRun, nil, append([]string{"init"}, args...)...)
			if got.code != 2 || !strings.Contains(got.stderr, "unknown ") {
				t.Errorf("init %q: %+v", args, got)
			}
		}
	}
	for _, folder := range []string{"./ad", "ad/", "/srv/add", "installation", "./installation", "cluster", "pdns", "prod", "dns", ".", "test"} {
		if in := invocationOf(t, nil, "init", folder); !slices.Equal(in.Args, []string{folder}) {
			t.Errorf("init %s: got %q", folder, in.Args)
		}
	}
}

// TestManualIsNew compares the manual page, in both forms, with what the commands say now.
func TestManualIsNew(t *testing.T) {
	for file, line := range map[string][]string{
		"packaging/man/pdns-distribute.1": {"pdns-distribute", "man"},
		"docs/commands.md":                {"pdns-distribute", "man", "--markdown"},
	} {
		var stdout bytes.Buffer
		p := command.Program{Commands: commands(), Stdout: &stdout}
		if code := p.Run(line); code != 0 {
			t.Fatal(code)
		}
		page, err := os.ReadFile(file)
		if err != nil || string(page) != stdout.String() {
			t.Errorf("%s does not say what the commands say (%v): run make man", file, err)
		}
	}
}
