package main

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// Logs, alarms, help and errors speak the words of the field, so that an operator who does not know this project
// understands them: CONTRIBUTING.md has the rules. This test keeps out what a machine can judge.

// forbidden are words of text literals, with what to say instead.
var forbidden = []struct {
	pattern *regexp.Regexp
	say     string
}{
	{words(`errands?`), "job"},
	{words(`shelf|shelves`), "zone source, staged version"},
	{words(`lanes?`), "keyed queue"},
	{words(`agendas?`), "schedule"},
	{words(`neighbou?rs?`), "PowerDNS monitor"},
	{words(`twins?`), "duplicate node id"},
	{words(`graves?|bury|buries|buried`), "tombstone"},
	{words(`mends?|mended|mending`), "repair"},
	{words(`brakes?`), "deletion limit"},
	{words(`obstacles?`), "connect error"},
	{words(`tells?|telling|told`), "report, publish, notice"},
	{words(`hears?|heard|unheard`), "receive, see"},
	{words(`(?:his|its|your|my|an|the|operator's) words?`), "report, notice, confirmation"},
	{words(`behind the proxy's back`), "bypassing the proxy"},
	{words(`in trouble`), "failing"},
	{words(`in vain`), "not published, without effect"},
	{words(`is not waited for`), "is excluded from sync waits"},
	{words(`leads no more`), "lost leadership"},
	{words(`stands? still`), "hangs, makes no progress"},
	{words(`somebody's own`), "not managed by this role"},
}

// words matches one of the alternatives as a whole word. An underscore ends a word, too: names of metrics and of JSON
// are read.
func words(alternatives string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:^|[^\pL'])(?:` + alternatives + `)(?:$|[^\pL'])`)
}

// notYet are packages whose texts still have to be cleaned, by their paths below the module, with the reason. The
// test also fails on one that is clean, so that the list only gets shorter.
var notYet = map[string]string{}

// relays are functions that log lines which others have written, by their files.
var relays = map[string]string{
	"broker/serverlog.go": "lines of nats-server",
	"proxy/log.go":        "lines of net/http",
}

func TestWords(t *testing.T) {
	for _, p := range listPackages(t) {
		below, _ := within(p.ImportPath)
		var faults []string
		for _, file := range p.GoFiles {
			faults = append(faults, faultsOf(t, filepath.Join(p.Dir, file), below)...)
		}
		reason, excused := notYet[below]
		switch {
		case excused && len(faults) == 0:
			t.Errorf("the texts of package %q are clean: take it out of notYet (%s)", below, reason)
		case !excused && len(faults) > 0:
			t.Error(strings.Join(faults, "\n"))
		case excused:
			t.Logf("package %q: %d texts, %s", below, len(faults), reason)
		}
	}
}

// The test would find what it is for.
func TestWordsAreFound(t *testing.T) {
	for text, bad := range map[string]bool{
		"2 zones were mended":                                       true,
		"pdns_distribute_secondary_mended_total":                    true,
		"nothing was told":                                          true,
		"Told again":                                                true,
		"changes that were made behind the proxy's back":            true,
		"password, amended, stellar, heartbeat, forthwith":          false,
		"secondaries did not confirm the zone, publishing it again": false,
	} {
		if got := faultOf(text) != ""; got != bad {
			t.Errorf("%q: %v", text, faultOf(text))
		}
	}
	for text, bad := range map[string]bool{
		"it has not what is published": true, "they have not told": true, "Published a zone": true, "zone published.": true,
		"PowerDNS is up": false, "SOA-EDIT is set": false, "zone published": false, "item found": false,
	} {
		event := &ast.BasicLit{Kind: token.STRING, Value: strconv.Quote(text)}
		if got := eventFault(event) != ""; got != bad {
			t.Errorf("%q: %v", text, eventFault(event))
		}
	}
}

// faultsOf reads one file.
func faultsOf(t *testing.T, path, pkg string) (faults []string) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	note := func(at token.Pos, fault string) {
		if fault != "" {
			faults = append(faults, filepath.Join(pkg, filepath.Base(path))+":"+strconv.Itoa(set.Position(at).Line)+": "+fault)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if text, is := literal(n); is {
				note(n.Pos(), faultOf(text))
			}
		case *ast.CallExpr:
			for _, text := range alarmTexts(n) {
				note(text.Pos(), pronounFault(beginning(text)))
			}
			if event, is := logged(n); is && relays[filepath.ToSlash(filepath.Join(pkg, filepath.Base(path)))] == "" {
				note(event.Pos(), eventFault(event))
			}
		case *ast.KeyValueExpr:
			if key, is := n.Key.(*ast.Ident); is && slices.Contains([]string{"What", "Remedy", "Help"}, key.Name) {
				note(n.Pos(), pronounFault(beginning(n.Value)))
			}
		}
		return true
	})
	return faults
}

// logged returns the text of a call that writes a log event.
func logged(call *ast.CallExpr) (text ast.Expr, is bool) {
	method, is := call.Fun.(*ast.SelectorExpr)
	if !is || method.Sel.Name != "Msg" && method.Sel.Name != "Msgf" || len(call.Args) == 0 {
		return nil, false
	}
	return call.Args[0], true
}

// alarmTexts returns the texts of a call that makes an alarm.
func alarmTexts(call *ast.CallExpr) []ast.Expr {
	name := ""
	switch f := call.Fun.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
	}
	if !slices.Contains([]string{"NodeAlarm", "alarm", "warning", "raise"}, name) {
		return nil
	}
	return call.Args
}

// beginning returns how a text begins that is written down or formatted, "" if that is not known.
func beginning(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := literal(e)
		return text
	case *ast.BinaryExpr:
		return beginning(e.X)
	case *ast.CallExpr:
		if f, is := e.Fun.(*ast.SelectorExpr); is && f.Sel.Name == "Sprintf" && len(e.Args) > 0 {
			return beginning(e.Args[0])
		}
	}
	return ""
}

// constant returns a text that is written down as such, be it in parts.
func constant(e ast.Expr) (text string, is bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return literal(e)
	case *ast.BinaryExpr:
		left, isLeft := constant(e.X)
		right, isRight := constant(e.Y)
		return left + right, isLeft && isRight
	}
	return "", false
}

func literal(l *ast.BasicLit) (text string, is bool) {
	if l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

// faultOf returns what is wrong with a text, "" if nothing.
func faultOf(text string) string {
	for _, f := range forbidden {
		if found := f.pattern.FindString(strings.ReplaceAll(text, "_", " ")); found != "" {
			return strconv.Quote(strings.TrimSpace(found)) + " in " + strconv.Quote(text) + ": say " + f.say
		}
	}
	return ""
}

// pronouns are no subjects: whoever reads one line of a log does not know what they stand for.
var pronouns = regexp.MustCompile(`^(?i:it|its|they|their|them|he|she|this|that|these|those)\b`)

func pronounFault(text string) string {
	if pronouns.MatchString(text) {
		return strconv.Quote(text) + ": begin with the subject, not with a pronoun"
	}
	return ""
}

// eventFault returns what is wrong with a log event, "" if nothing. A variable may hold one of several constant texts.
func eventFault(event ast.Expr) string {
	if _, is := event.(*ast.Ident); is {
		return ""
	}
	text, is := constant(event)
	if !is {
		return "a log event is a constant text; what differs each time belongs into fields"
	}
	return cmp.Or(pronounFault(text), formFault(text))
}

// formFault returns what is wrong with how a log event begins or ends.
func formFault(text string) string {
	first, _, _ := strings.Cut(text, " ")
	first = strings.TrimRight(first, ":,")
	switch {
	case text == "":
		return "a log event says what happened"
	case unicode.IsUpper([]rune(first)[0]) && first[1:] == strings.ToLower(first[1:]): // and not a name such as PowerDNS
		return strconv.Quote(text) + ": begin with a small letter"
	case strings.HasSuffix(text, "."):
		return strconv.Quote(text) + ": end without a full stop"
	}
	return ""
}
