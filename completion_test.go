package main

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/command"
)

// completions are what each shell makes of what is typed, as a set: words that are offered. They are asked in a
// folder that holds an installation.
var completions = map[string]string{
	"pr":                          "primary proxy",
	"init rot":                    "rotate",
	"secondary --con":             "--config",
	"secondary --":                "--config --set --log-level --help",
	"secondary --config inst":     "installation",
	"secondary --config=inst":     "--config=installation",
	"proxy --log-level ":          "debug info warn error",
	"proxy --set secondary.tr":    "secondary.transfer_listen= secondary.trusted_keys=",
	"completion ":                 "bash zsh fish",
	"help key ":                   "add list remove",
	"doctor --role ":              "broker health primary proxy secondary",
	"init --":                     "--broker --secondary --primary --proxy --health --home --help",
	"init rotate ./inst":          "./installation",
	"init rotate ./installation ": "nkey signing certificate ca",
	"init rotate --finish ./installation signing ":                      "primary",
	"init add ./installation ":                                          "health primary proxy secondary",
	"init remove ./installation ns1 n":                                  "ns2",
	"sync --config installation/health/config.toml --node ":             "ns1 ns2",
	"sync --config=installation/health/config.toml --confirm-deletes n": "ns1 ns2",
	"secondary ": "--config --set --log-level --help",
	"forget --config=installation/health/config.toml br":             "broker1",
	"key remove --config installation/proxy/config.toml ":            "acme-web1",
	"key add --config=installation/proxy/config.toml --acme --zone ": "example.org",
	"nonsense ":             "",
	"demo --once unexpect":  "",
	"status example.org --": "--json --watch --config --set --log-level --help",
}

// shells give what a shell makes of each line that is typed, in the folder that is current.
var shells = map[string]func(t *testing.T, typed []string) [][]string{"bash": inBash, "zsh": inZsh, "fish": inFish}

// TestCompletionInShells types into real shells, whose completion asks the real program.
func TestCompletionInShells(t *testing.T) {
	must.NotShort(t)
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "pdns-distribute")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("TEST_AS_PROGRAM", "1")
	t.Setenv("GORACE", "atexit_sleep_ms=0") // with the race detector each program that ends waits for a second
	t.Chdir(installed(t))
	before := tree(t)
	for name, complete := range shells {
		if _, err := exec.LookPath(name); err != nil {
			t.Errorf("there is no %s: run make setup", name)
			continue
		}
		var typed []string
		for line := range completions {
			typed = append(typed, "pdns-distribute "+line)
		}
		for i, got := range complete(t, typed) {
			wanted := completions[strings.TrimPrefix(typed[i], "pdns-distribute ")]
			if !slices.Equal(got, sorted(strings.Fields(wanted))) {
				t.Errorf("%s: %q: got %q, want %s", name, typed[i], got, wanted)
			}
		}
	}
	if after := tree(t); !slices.Equal(after, before) {
		t.Errorf("completing made of %q\n%q", before, after)
	}
}

// installed is a folder with an installation, whose proxy has a key.
func installed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range []string{
		"init --secondary ns1,ns2 DIR/installation",
		"key add --config DIR/installation/proxy/config.toml --acme --zone example.org --set powerdns.api_key_file=DIR/installation/primary/powerdns-api-key acme-web1",
	} {
		c := exec.Command("pdns-distribute", strings.Fields(strings.ReplaceAll(args, "DIR", dir))...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
	}
	return dir
}

// tree lists all files below the current folder.
func tree(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func sorted(words []string) []string {
	slices.Sort(words)
	return words
}

// inTerminal types lines into an interactive shell, each with keys that put all that is offered in place of its last
// word. By Ctrl-G the shell writes what became of the line to the file OUT, and by Ctrl-G behind "quit" it ends. It
// returns the words that were offered for each line.
func inTerminal(t *testing.T, shell, startFile, start, insertAll string, typed []string) (offered [][]string) {
	t.Helper()
	home := t.TempDir()
	out := filepath.Join(home, "lines")
	if err := os.WriteFile(filepath.Join(home, startFile), []byte(strings.ReplaceAll(start, "OUT", out)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), must.Patience)
	defer cancel()
	terminal := exec.CommandContext(ctx, "script", "-qec", strings.ReplaceAll(shell, "HOME", home), "/dev/null")
	terminal.Env = append(os.Environ(), "ZDOTDIR="+home, "TERM=dumb")
	terminal.Stdin = strings.NewReader(strings.Join(typed, insertAll+"\a") + insertAll + "\aquit\a")
	screen, _ := terminal.CombinedOutput()
	text, err := os.ReadFile(out)
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if err != nil || len(lines) != len(typed) {
		t.Fatalf("%s wrote %q: %v\n%s", shell, lines, err, screen)
	}
	for i, line := range lines {
		offered = append(offered, newWords(t, typed[i], line))
	}
	return offered
}

// newWords are those that stand in a line in place of the last one that was typed.
func newWords(t *testing.T, typed, line string) (words []string) {
	t.Helper()
	begin := typed[:strings.LastIndex(typed, " ")+1]
	if !strings.HasPrefix(line, begin) {
		t.Fatalf("%q became %q", typed, line)
	}
	for _, word := range strings.Fields(line[len(begin):]) {
		words = append(words, strings.TrimRight(word, "/"))
	}
	if slices.Equal(words, []string{typed[len(begin):]}) { // nothing was found
		return nil
	}
	return sorted(words)
}

func inBash(t *testing.T, typed []string) [][]string {
	const start = `source <(pdns-distribute completion bash)
report() {
	[[ $READLINE_LINE != quit ]] || exit
	printf '%s\n' "$READLINE_LINE" >>OUT
	READLINE_LINE=
}
bind -x '"\C-g": report'
`
	return inTerminal(t, "bash --noprofile --rcfile HOME/rc -i", "rc", start, "\x1b*", typed)
}

func inZsh(t *testing.T, typed []string) [][]string {
	const start = `autoload -Uz compinit && compinit -u -D
source <(pdns-distribute completion zsh)
zstyle ':completion:all-matches::::' completer _all_matches _complete
zstyle ':completion:all-matches:*' insert true
zle -C all-matches complete-word _generic
report() {
	[[ $BUFFER != quit ]] || exit
	print -r -- "$BUFFER" >>OUT
	BUFFER=
}
zle -N report
bindkey '^Xa' all-matches
bindkey '^G' report
`
	return inTerminal(t, "zsh -d -i", ".zshrc", start, "\x18a", typed)
}

func inFish(t *testing.T, typed []string) (offered [][]string) {
	t.Helper()
	script := "pdns-distribute completion fish | source\n"
	for _, line := range typed {
		script += "complete -C '" + line + "'; echo :end\n"
	}
	out, err := exec.Command("fish", "--no-config", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("fish: %v\n%s", err, out)
	}
	var words []string
	for line := range strings.Lines(string(out)) {
		if line == ":end\n" {
			offered, words = append(offered, sorted(words)), nil
			continue
		}
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		words = append(words, strings.TrimRight(word, "/"))
	}
	return offered
}

// TestCompletionRunsNothing completes behind each command and each flag of the program, none of which may run.
func TestCompletionRunsNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, words := range lines(commands(), nil) {
		got := runWith(t, mustNotRun, nil, append([]string{"__complete"}, words...)...)
		if last := got.stdout[strings.LastIndex(strings.TrimSuffix(got.stdout, "\n"), "\n")+1:]; got.code != 0 || got.stderr != "" ||
			!slices.Contains([]string{":nothing\n", ":files\n", ":folders\n"}, last) {
			t.Errorf("%q: got %+v", words, got)
		}
	}
	if made := tree(t); len(made) != 1 {
		t.Errorf("completing made %q", made)
	}
	if got := runWith(t, mustNotRun, nil, "init", "--generate-bash-completion"); got.code != 2 {
		t.Errorf("got %+v", got)
	}
}

// lines are the command lines with each command, each of its flags, and a few words behind it.
func lines(table []command.Command, path []string) (all [][]string) {
	for _, c := range table {
		path := append(slices.Clip(path), c.Name)
		for _, typed := range [][]string{{""}, {"x"}, {"-"}, {"--"}, {"--", ""}, {"x", ""}, {"x", "y", "z", ""}, {"--generate-bash-completion"}, {"../"}} {
			all = append(all, slices.Concat(path, typed))
		}
		for _, f := range c.Flags {
			all = append(all, slices.Concat(path, []string{"--" + f.Name, ""}), slices.Concat(path, []string{"--" + f.Name + "=", "x"}))
		}
		all = append(all, lines(c.Below, path)...)
	}
	return all
}

// TestFlagsNameTheirValues holds the declarations to what the help makes of them.
func TestFlagsNameTheirValues(t *testing.T) {
	var check func(path string, table []command.Command)
	check = func(path string, table []command.Command) {
		for _, c := range table {
			for _, f := range c.Flags {
				if !strings.Contains(f.Help, f.Value) {
					t.Errorf("%s%s --%s: its help does not name %s", path, c.Name, f.Name, f.Value)
				}
			}
			if c.Summary == "" || c.Description == "" || c.Run == nil && c.Below == nil {
				t.Errorf("%s%s: it lacks something: %+v", path, c.Name, c)
			}
			check(path+c.Name+" ", c.Below)
		}
	}
	check("", commands())
}
