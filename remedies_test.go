package main

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/settings"
)

// The lines of all alarms and of all reasons why a role is not ready are taken by the program as they are, on a host
// with a node of each role: they name commands, flags and arguments that there are, and need no --config.
func TestLinesOfRemediesRun(t *testing.T) {
	checked := map[string]bool{}
	for _, a := range everyAlarm() {
		for _, c := range a.Commands() {
			if checked[c.Line] {
				continue
			}
			checked[c.Line] = true
			if err := takes(c.Line); err != "" {
				t.Errorf("%s: %s: %s", a.Kind, c.Line, err)
			}
		}
	}
	if len(checked) < 50 {
		t.Errorf("%d lines were found", len(checked))
	}
	for _, line := range []string{"pdns-distribute status --nonesuch", "pdns-distribute nonesuch", "pdns-distribute doctor ns9"} {
		if takes(line) == "" {
			t.Errorf("%s is taken", line)
		}
	}
}

// everyAlarm are alarms of all kinds at all roles, for all reasons.
func everyAlarm() (all []health.Alarm) {
	for _, name := range []string{"example.org", `$(touch\ x).example`} {
		for _, role := range config.Roles() {
			for _, kind := range health.Kinds() {
				causes := []string{"", "ca", "no leader"}
				if kind == health.AlarmNotReady {
					causes = health.Reasons()
				}
				for _, cause := range causes {
					a := health.NodeAlarm(role, role+"1", kind, "it is wrong", "do something")
					a.Cause, a.Zone = cause, zone.MustParseName(name)
					all = append(all, a)
				}
			}
		}
	}
	return all
}

// takes has the shell cut a line into words, and the program read them. It returns what the program has against it.
func takes(line string) string {
	words, err := exec.Command("sh", "-c", "printf '%s\\n' "+line).Output()
	if err != nil {
		return err.Error()
	}
	args := strings.Split(strings.TrimSuffix(string(words), "\n"), "\n")
	if args[0] != "pdns-distribute" {
		return hostTool(args)
	}
	var stderr bytes.Buffer
	p := command.Program{
		Commands: idle(commands()), Settings: settings.Describe(new(config.Config)), File: "/nonesuch", Stdout: &stderr, Stderr: &stderr,
		Nodes: func() (nodes []command.Node, err error) {
			for _, role := range config.Roles() {
				nodes = append(nodes, command.Node{ID: role + "1", Role: role, File: "/nodes/" + role + "1"})
			}
			return nodes, nil
		},
	}
	if p.Run(args) != 0 {
		return stderr.String()
	}
	return ""
}

// idle are the commands, which do nothing.
func idle(all []command.Command) (none []command.Command) {
	for _, c := range all {
		if c.Run != nil {
			c.Run = func(context.Context, command.Invocation) error { return nil }
		}
		c.Below = idle(c.Below)
		none = append(none, c)
	}
	return none
}

// units are those of the package.
var units = regexp.MustCompile(`^pdns-distribute-(` + strings.Join(config.Roles(), "|") + `)@[a-z0-9]+$`)

// hostTool knows the few tools of a host that remedies use.
func hostTool(args []string) string {
	unit := args[len(args)-1]
	switch args[0] {
	case "systemctl":
		if slices.Contains([]string{"start", "restart", "disable"}, args[1]) && units.MatchString(unit) {
			return ""
		}
	case "journalctl":
		if units.MatchString(unit) || slices.Equal(args[1:], []string{"-k", "-p", "err", "-n", "50"}) {
			return ""
		}
	case "timedatectl", "ps", "head":
		return ""
	}
	return "unknown line of a tool of the host"
}

// Texts that stand in the source, such as the findings of doctor, name commands and flags that there are. What is put
// in while the program runs counts as one word.
func TestCommandsInTextsExist(t *testing.T) {
	known := readNames(t)
	checked := 0
	for _, p := range listPackages(t) {
		for _, file := range p.GoFiles {
			for _, text := range texts(t, filepath.Join(p.Dir, file)) {
				for _, found := range inText.FindAllString(text, -1) {
					checked++
					if err := known.check(strings.TrimRight(found, " .,;:")); err != nil {
						t.Errorf("%s: %s: %v", file, found, err)
					}
					if placeholder.MatchString(found) && !strings.Contains(text, "Example") {
						t.Errorf("%s: %s: nobody can paste that", file, found)
					}
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("%d commands were found", checked)
	}
}

var (
	inText      = regexp.MustCompile(`pdns-distribute (?:init|key|sync|status|forget|doctor|leave|install|uninstall|healthcheck)\b(?: (?:--?)?[\w./%\[\]-]+)*`)
	placeholder = regexp.MustCompile(`\b(DIR|ZONE|BROKER|NODE|SECONDARY)\b`)
)

// texts are the literals of a file, those that are put together as one.
func texts(t *testing.T, path string) (all []string) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		e, is := n.(ast.Expr)
		if !is {
			return true
		}
		text, has := textOf(e)
		if has {
			all = append(all, text)
		}
		return !has
	})
	return all
}

// textOf is what an expression of literals and other things comes to.
func textOf(e ast.Expr) (text string, has bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		left, a := textOf(e.X)
		right, b := textOf(e.Y)
		if !a {
			left = "x"
		}
		if !b {
			right = "x"
		}
		return left + right, e.Op == token.ADD && (a || b)
	}
	return "", false
}
