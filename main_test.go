package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pdns-distribute/roles"
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
func runWith(t *testing.T, command func(context.Context, roles.Invocation) error, environ []string, args ...string) result {
	t.Helper()
	table := commands()
	for i := range table {
		table[i].run = command
		for j := range table[i].below {
			table[i].below[j].run = command
		}
	}
	var stdout, stderr bytes.Buffer
	p := &program{commands: table, file: filepath.Join(t.TempDir(), "none.toml"), environ: environ, stdout: &stdout, stderr: &stderr}
	code := p.run(append([]string{programName}, args...))
	return result{code, stdout.String(), stderr.String()}
}

func mustNotRun(context.Context, roles.Invocation) error { return errors.New("the command ran") }

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

func TestExitCodeOfError(t *testing.T) {
	for _, tt := range []struct {
		err    error
		code   int
		stderr string
	}{
		{nil, 0, ""},
		{errors.New("disk full"), 1, "pdns-distribute: disk full\n"},
		{context.Canceled, 1, "pdns-distribute: context canceled\n"}, // nobody sent a signal
		{settings.Load(new(struct{}), settings.Sources{File: "/none"}), 2, "pdns-distribute: /none: there is no such file\n"},
		{fmt.Errorf("2 of 3 nodes: %w", roles.ErrNotInOrder), 3, "pdns-distribute: 2 of 3 nodes: not everything is in order\n"},
	} {
		got := runWith(t, func(context.Context, roles.Invocation) error { return tt.err }, nil, "status")
		if want := (result{tt.code, "", tt.stderr}); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

// kill sends a signal to the test's own process, where run has asked for it.
func kill(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func TestSignals(t *testing.T) {
	t.Run("ended in order", func(t *testing.T) {
		got := runWith(t, func(ctx context.Context, _ roles.Invocation) error {
			kill(t, syscall.SIGTERM)
			<-ctx.Done()
			return nil
		}, nil, "proxy")
		if want := (result{}); got != want {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		got := runWith(t, func(ctx context.Context, _ roles.Invocation) error {
			kill(t, syscall.SIGTERM)
			<-ctx.Done()
			return fmt.Errorf("ask the nodes: %w", ctx.Err())
		}, nil, "status")
		if want := (result{code: 143}); got != want {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("failed while stopping", func(t *testing.T) {
		got := runWith(t, func(ctx context.Context, _ roles.Invocation) error {
			kill(t, syscall.SIGINT)
			<-ctx.Done()
			return errors.New("disk full")
		}, nil, "proxy")
		if want := (result{1, "", "pdns-distribute: disk full\n"}); got != want {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("second signal", func(t *testing.T) {
		got := runWith(t, func(ctx context.Context, _ roles.Invocation) error {
			kill(t, syscall.SIGTERM)
			<-ctx.Done()
			kill(t, syscall.SIGINT)
			<-t.Context().Done() // hangs, for as long as the process lives
			return nil
		}, nil, "proxy")
		if want := (result{code: 130}); got != want {
			t.Errorf("got %+v", got)
		}
	})
}

// invocationOf is what a command is given by a command line.
func invocationOf(t *testing.T, environ []string, args ...string) roles.Invocation {
	t.Helper()
	var in roles.Invocation
	got := runWith(t, func(_ context.Context, given roles.Invocation) error {
		in = given
		return nil
	}, environ, args...)
	if got.code != 0 || got.stderr != "" {
		t.Fatalf("%v: %+v", args, got)
	}
	return in
}

func TestConfigFile(t *testing.T) {
	fromEnvironment := []string{"PDNS_DISTRIBUTE_CONFIG=env.toml"}
	for _, tt := range []struct {
		environ []string
		args    []string
		want    string
	}{
		{nil, []string{"proxy"}, ""}, // the default doesn't exist
		{[]string{"PDNS_DISTRIBUTE_CONFIG="}, []string{"proxy"}, ""},
		{fromEnvironment, []string{"proxy"}, "env.toml"},
		{fromEnvironment, []string{"proxy", "--config", "flag.toml"}, "flag.toml"},
		{fromEnvironment, []string{"proxy", "--config", ""}, ""},
	} {
		in := invocationOf(t, tt.environ, tt.args...)
		if in.Settings.File != tt.want || !slices.Equal(in.Settings.Env, tt.environ) {
			t.Errorf("%v %v: got %+v, want file %q", tt.environ, tt.args, in.Settings, tt.want)
		}
	}
}

func TestDefaultConfigFileIsReadIfItExists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pdns-distribute.toml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var in roles.Invocation
	p := &program{file: path, commands: []command{{name: "proxy", configured: true, run: func(_ context.Context, given roles.Invocation) error {
		in = given
		return nil
	}}}}
	if code := p.run([]string{programName, "proxy"}); code != 0 || in.Settings.File != path {
		t.Errorf("exit %d, got %+v", code, in.Settings)
	}
}

func TestSettingFlags(t *testing.T) {
	in := invocationOf(t, nil, "proxy", "--set", "broker.urls=tls://a:4222,tls://b:4222", "--set", "proxy.listen=", "--set",
		"node.id=a=b", "--log-level", "debug", "--set", "node.id=c")
	want := map[string]string{"broker.urls": "tls://a:4222,tls://b:4222", "proxy.listen": "", "node.id": "c", "log.level": "debug"}
	if !reflect.DeepEqual(in.Settings.Flags, want) {
		t.Errorf("got %v", in.Settings.Flags)
	}
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

func TestAllFaultsOfConfigurationAreShown(t *testing.T) {
	type config struct {
		Log struct {
			Level string `toml:"level" env:"LEVEL"`
			Lines int    `toml:"lines" env:"LINES"`
		} `toml:"log" envPrefix:"LOG_"`
	}
	got := runWith(t, func(_ context.Context, in roles.Invocation) error {
		return settings.Load(new(config), in.Settings, "log")
	}, []string{"PDNS_DISTRIBUTE_LOG_LEVLE=info"}, "proxy", "--set", "log.lines=many")
	want := result{code: 2, stderr: `pdns-distribute: 2 faults in the configuration:
  PDNS_DISTRIBUTE_LOG_LEVLE: unknown environment variable, did you mean "PDNS_DISTRIBUTE_LOG_LEVEL"?
  --set: log.lines: "many" is not a whole number (for example 8)
`}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
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
		if !strings.Contains(whole.stdout, c.name+"  ") {
			t.Errorf("--help doesn't list %s", c.name)
		}
		for _, b := range c.below {
			if got := runWith(t, mustNotRun, nil, c.name, b.name, "--help"); got.code != 0 || !strings.Contains(got.stdout, b.usage) || !strings.Contains(got.stdout, "   Example:") {
				t.Errorf("%s %s: got %+v", c.name, b.name, got)
			}
		}
		for _, args := range [][]string{{c.name, "--help"}, {"help", c.name}} {
			got := runWith(t, mustNotRun, nil, args...)
			if got.code != 0 || got.stderr != "" || !strings.Contains(got.stdout, c.usage) || !strings.Contains(got.stdout, "   Example:") {
				t.Errorf("%v: got %+v", args, got)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	got := runWith(t, mustNotRun, nil, "--version")
	if want := "pdns-distribute version " + shortVersion() + " (go1."; got.code != 0 || !strings.HasPrefix(got.stdout, want) {
		t.Errorf("got %+v, want %s", got, want)
	}
}

func TestCompletionScripts(t *testing.T) {
	for shell, want := range map[string]string{
		"bash": "complete -o bashdefault -o default -F _pdns_distribute pdns-distribute\n",
		"zsh":  "#compdef pdns-distribute\n",
		"fish": "complete -c pdns-distribute -n '__fish_seen_subcommand_from proxy' -l config -r",
	} {
		got := runWith(t, mustNotRun, nil, "completion", shell)
		if got.code != 0 || got.stderr != "" || !strings.Contains(got.stdout, want) {
			t.Errorf("%s: got %+v", shell, got)
		}
	}
}

// A real bash asks the real program.
func TestBashCompletion(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, programName)); err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]string{
		"pr":               "proxy primary",
		"secondary --con":  "--config",
		"secondary -":      "--config --set --log-level --help -h",
		"completion ":      "bash zsh fish",
		"proxy --config x": "", // left to bash, which completes files
	} {
		words := strings.Split(typed, " ")
		script := fmt.Sprintf(`source <(pdns-distribute completion bash); COMP_WORDS=(pdns-distribute "$@"); COMP_CWORD=%d; _pdns_distribute; echo "${COMPREPLY[*]}"`, len(words))
		shell := exec.Command("bash", append([]string{"-c", script, "bash"}, words...)...)
		shell.Env = append(os.Environ(), "TEST_AS_PROGRAM=1", "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := shell.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q: got %q (%v), want %q", typed, got, err, want)
		}
	}
}
