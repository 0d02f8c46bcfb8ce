package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pdns-distribute/roles/command"
	"pdns-distribute/roles/settings"
)

// result is what a run of the command line leaves behind.
type result struct {
	code           int
	stdout, stderr string
}

// runProgram runs a program of two commands that do what the function does, without a default configuration.
func runProgram(t *testing.T, run func(context.Context, command.Invocation) error, environ []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p := command.Program{
		Commands: []command.Command{
			{Name: "proxy", Group: command.Role, Configured: true, Run: run},
			{Name: "status", Group: command.Tool, Configured: true, Run: run},
		},
		Version: "1.2.3", File: filepath.Join(t.TempDir(), "none.toml"), Environ: environ, Stdout: &stdout, Stderr: &stderr,
	}
	code := p.Run(append([]string{"pdns-distribute"}, args...))
	return result{code, stdout.String(), stderr.String()}
}

func mustNotRun(context.Context, command.Invocation) error { return errors.New("the command ran") }

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
		{fmt.Errorf("2 of 3 nodes: %w", command.ErrNotInOrder), 3, "pdns-distribute: 2 of 3 nodes: not everything is in order\n"},
	} {
		got := runProgram(t, func(context.Context, command.Invocation) error { return tt.err }, nil, "status")
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
		got := runProgram(t, func(ctx context.Context, _ command.Invocation) error {
			kill(t, syscall.SIGTERM)
			<-ctx.Done()
			return nil
		}, nil, "proxy")
		if want := (result{}); got != want {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		got := runProgram(t, func(ctx context.Context, _ command.Invocation) error {
			kill(t, syscall.SIGTERM)
			<-ctx.Done()
			return fmt.Errorf("ask the nodes: %w", ctx.Err())
		}, nil, "status")
		if want := (result{code: 143}); got != want {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("failed while stopping", func(t *testing.T) {
		got := runProgram(t, func(ctx context.Context, _ command.Invocation) error {
			kill(t, syscall.SIGINT)
			<-ctx.Done()
			return errors.New("disk full")
		}, nil, "proxy")
		if want := (result{1, "", "pdns-distribute: disk full\n"}); got != want {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("second signal", func(t *testing.T) {
		got := runProgram(t, func(ctx context.Context, _ command.Invocation) error {
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
func invocationOf(t *testing.T, environ []string, args ...string) command.Invocation {
	t.Helper()
	var in command.Invocation
	got := runProgram(t, func(_ context.Context, given command.Invocation) error {
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
	var in command.Invocation
	run := func(_ context.Context, given command.Invocation) error {
		in = given
		return nil
	}
	p := command.Program{File: path, Commands: []command.Command{{Name: "proxy", Configured: true, Run: run}}}
	if code := p.Run([]string{"pdns-distribute", "proxy"}); code != 0 || in.Settings.File != path {
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

func TestAllFaultsOfConfigurationAreShown(t *testing.T) {
	type config struct {
		Log struct {
			Level string `toml:"level" env:"LEVEL"`
			Lines int    `toml:"lines" env:"LINES"`
		} `toml:"log" envPrefix:"LOG_"`
	}
	got := runProgram(t, func(_ context.Context, in command.Invocation) error {
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

func TestVersion(t *testing.T) {
	flag := runProgram(t, mustNotRun, nil, "--version")
	want := "pdns-distribute version 1.2.3 (go1."
	if flag.code != 0 || flag.stderr != "" || !strings.HasPrefix(flag.stdout, want) {
		t.Errorf("got %+v, want %s", flag, want)
	}
	if got := runProgram(t, mustNotRun, nil, "version"); got != flag {
		t.Errorf("version is not --version: %+v", got)
	}
	got := runProgram(t, mustNotRun, nil, "version", "--json")
	var document struct{ Version, Go string }
	if err := json.Unmarshal([]byte(got.stdout), &document); err != nil || got.code != 0 || document.Version != "1.2.3" || !strings.HasPrefix(document.Go, "go1.") {
		t.Errorf("got %+v (%v)", got, err)
	}
	if got := runProgram(t, mustNotRun, nil, "version", "now"); got.code != 2 {
		t.Errorf("got %+v", got)
	}
}
