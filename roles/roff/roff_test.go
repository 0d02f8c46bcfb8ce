package roff

import (
	"os/exec"
	"strings"
	"testing"
)

// A page shows what it was given, whatever roff makes of such characters elsewhere.
func TestPageAsItIsShown(t *testing.T) {
	p := New("pdns-test", 1, `shows -- "all" \things`, "a test")
	p.Section("FIRST")
	p.Text("A paragraph\n.with a dot\n'and a quote.\n\n   verbatim  --text\n   .of \\two lines\n\nRuns   here\n       and there\nNeeds  nothing")
	p.Below("below it")
	p.Item("--flag", "VALUE", "one", "two")
	reader := exec.Command("man", "--warnings", "-l", "-Tascii", "-")
	reader.Env = append(reader.Environ(), "MANPAGER=cat", "MANWIDTH=100", "GROFF_NO_SGR=1", "MANROFFOPT=-c")
	reader.Stdin = strings.NewReader(p.String())
	var warnings strings.Builder
	reader.Stderr = &warnings
	out, err := reader.Output()
	if err != nil || warnings.Len() > 0 {
		t.Fatalf("man (make setup installs it): %v %s", err, &warnings)
	}
	var shown strings.Builder
	for _, r := range string(out) { // a letter in bold is struck twice
		if r == '\b' {
			before := shown.String()
			shown.Reset()
			shown.WriteString(before[:len(before)-1])
			continue
		}
		shown.WriteRune(r)
	}
	for _, want := range []string{
		`pdns-test - shows -- "all" \things`, "A paragraph .with a dot 'and a quote.", "verbatim  --text\n", ".of \\two lines\n",
		"Runs   here and there\n", "below it\n", "--flag VALUE\n", "one\n", "two\n",
	} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q is not shown:\n%s", want, &shown)
		}
	}
}
