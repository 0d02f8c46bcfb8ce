package health

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Each kind of alarm has an entry in docs/alarms.md, whose heading is the kind, so that texts may link to it. No entry
// is about another one, and each says what to do.
func TestKindsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/alarms.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, entry := range strings.Split(string(text), "\n### ")[1:] {
		kind, about, _ := strings.Cut(entry, "\n")
		documented = append(documented, kind)
		about, _, _ = strings.Cut(about, "\n## ")
		if !strings.Contains(about, "**Do**") {
			t.Errorf("docs/alarms.md does not say what to do about %s", kind)
		}
	}
	declared := declaredKinds(t)
	slices.Sort(documented)
	slices.Sort(declared)
	if !slices.Equal(documented, declared) {
		t.Errorf("docs/alarms.md has %q\nkinds.go has       %q", documented, declared)
	}
}

func declaredKinds(t *testing.T) (kinds []string) {
	file, err := parser.ParseFile(token.NewFileSet(), "kinds.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if l, is := n.(*ast.BasicLit); is && l.Kind == token.STRING {
			kind, err := strconv.Unquote(l.Value)
			if err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, kind)
		}
		return true
	})
	return kinds
}
