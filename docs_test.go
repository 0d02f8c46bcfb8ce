package main

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents are held against the code. CHANGELOG.md is not: it tells of what was.
func documents(t *testing.T) []string {
	t.Helper()
	below, err := filepath.Glob("docs/*.md")
	if err != nil || len(below) < 3 {
		t.Fatalf("docs has %d documents: %v", len(below), err)
	}
	return append([]string{"README.md", "SECURITY.md", "CONTRIBUTING.md"}, below...)
}

// TestDocumentsNameWhatExists holds all that stands between backquotes in a document and looks like a file, a test, a
// Go identifier, a metric, a setting, a flag or a command against the code.
func TestDocumentsNameWhatExists(t *testing.T) {
	known := readNames(t)
	for _, document := range documents(t) {
		for _, span := range spans(read(t, document)) {
			if err := known.check(span); err != nil {
				t.Errorf("%s: `%s`: %v", document, span, err)
			}
		}
	}
}

func TestNamesThatDoNotExist(t *testing.T) {
	known := readNames(t)
	for _, span := range []string{
		"TestThatIsNonesuch", "broker/nonesuch.go", "nonesuch.go", "nonesuch.tmpl", "docs/nonesuch.md", "roles/nonesuch", "make nonesuch", "Brake.Nonesuch",
		"health.Nonesuch", "nonesuchByNow", "primary.nonesuch", "primary.nonesuch = 3", "pdns_distribute_nonesuch", "pdns_distribute_failing_zones{nonesuch}",
		"pdns-distribute nonesuch", "pdns-distribute status --nonesuch", "status --nonesuch", "--nonesuch", "nonesuch-alarm", "nonesuch_key", "nonesuch.toml",
	} {
		if known.check(span) == nil {
			t.Errorf("`%s` is let through", span)
		}
	}
}

var span = regexp.MustCompile("`([^`\n]+)`")

// spans are what a document has between backquotes, blocks of code left out.
func spans(text string) (found []string) {
	fenced := false
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case !fenced && !strings.HasPrefix(line, "    "):
			for _, match := range span.FindAllStringSubmatch(line, -1) {
				found = append(found, match[1])
			}
		}
	}
	return found
}

// Patterns of tests match nothing once a test has another name, and then it is not run, or twice.
func TestTargetsNameTests(t *testing.T) {
	known := readNames(t)
	named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(read(t, "Makefile"), -1)
	for _, name := range named {
		begins := func(test string) bool { return strings.HasPrefix(test, name) } // TestMemory is a pattern
		if !known.tests[name] && !slices.ContainsFunc(slices.Collect(maps.Keys(known.tests)), begins) {
			t.Errorf("Makefile: there is no %s", name)
		}
	}
	if len(named) < 20 {
		t.Errorf("the Makefile names only %q", named)
	}
}

// TestImagesArePinned: no image from elsewhere is named without the digest of its content.
func TestImagesArePinned(t *testing.T) {
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:[0-9.]+@sha256:[0-9a-f]{64}$`)
	own := []string{"scratch", "${GO_IMAGE}", "pdns-distribute"}
	for file, naming := range map[string]string{
		"Dockerfile":             `(?m)^(?:FROM|ARG GO_IMAGE=)\s*(\S+)`,
		"packaging/compose.yaml": `(?m)^\s*image:\s*(\S+)`,
	} {
		found := 0
		for _, image := range regexp.MustCompile(naming).FindAllStringSubmatch(read(t, file), -1) {
			if slices.Contains(own, image[1]) {
				continue
			}
			found++
			if !pinned.MatchString(image[1]) {
				t.Errorf("%s: %s is not pinned by a tag and a digest", file, image[1])
			}
		}
		if found != 1 {
			t.Errorf("%s: %d images from elsewhere, want 1", file, found)
		}
	}
}

// TestCommandsExist looks at the commands that blocks of code show, with their flags, and at the targets of make.
func TestCommandsExist(t *testing.T) {
	known := readNames(t)
	checked := 0
	for _, document := range documents(t) {
		for _, line := range blockLines(read(t, document)) {
			for _, found := range shown(line) {
				checked++
				if err := known.check(found); err != nil {
					t.Errorf("%s: %s: %v", document, found, err)
				}
			}
		}
	}
	if checked < 80 {
		t.Errorf("%d commands were found", checked)
	}
}

func TestCommandsThatDoNotExist(t *testing.T) {
	known := readNames(t)
	for _, line := range []string{
		"    ssh root@ns1 pdns-distribute nonesuch - < ns1.tar.gz", "    pdns-distribute status --nonesuch", "    make nonesuch   # to try",
	} {
		found := shown(line)
		if len(found) != 1 || known.check(found[0]) == nil {
			t.Errorf("%s is let through: %q", line, found)
		}
	}
}

// shownCommand is a command of this program, or of make, in a line of a block.
var shownCommand = regexp.MustCompile("pdns-distribute [a-z][^#<>|;()'`]*|^ *make [a-z-]+")

// shown are the commands of a line.
func shown(line string) (found []string) {
	for _, command := range shownCommand.FindAllString(line, -1) {
		found = append(found, strings.Trim(command, " ."))
	}
	return found
}

// blockLines are the lines of a document's blocks of code.
func blockLines(text string) (lines []string) {
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		} else if fenced || strings.HasPrefix(line, "    ") {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	return lines
}

// TestReadmeIsShort has README.md be what one reads to decide. Everything else is in docs.
func TestReadmeIsShort(t *testing.T) {
	if lines := strings.Count(read(t, "README.md"), "\n"); lines > 200 {
		t.Errorf("README.md has %d lines: keep it below 200, and write into docs what is more", lines)
	}
}

// longest is how many words a sentence of a document for operators may have: CONTRIBUTING.md wants fewer.
const longest = 32

// TestSentencesAreShort looks at the documents that are read at night. Some are for others, or made from the source.
func TestSentencesAreShort(t *testing.T) {
	others := []string{"SECURITY.md", "CONTRIBUTING.md", "docs/design.md", "docs/testing.md", "docs/settings.md", "docs/metrics.md", "docs/commands.md"}
	for _, document := range documents(t) {
		if slices.Contains(others, document) {
			continue
		}
		for _, sentence := range sentences(read(t, document)) {
			if words := len(strings.Fields(sentence)); words > longest {
				t.Errorf("%s: %d words, more than %d: %s", document, words, longest, sentence)
			}
		}
	}
}

var (
	itemBegins   = regexp.MustCompile(`^\s*(?:- |\d+\. )`)
	sentenceEnds = regexp.MustCompile(`[.:!?;]\**\s`)
)

// sentences are those of paragraphs, items and cells. Blocks of code and lists of links are none.
func sentences(text string) (found []string) {
	paragraph, isFenced := "", false
	end := func() {
		if strings.TrimSpace(paragraph) != "" && !strings.Contains(paragraph, "·") {
			plain := link.ReplaceAllString(paragraph, "]")
			found = append(found, sentenceEnds.Split(plain, -1)...)
		}
		paragraph = ""
	}
	for line := range strings.Lines(text) {
		isCell := strings.HasPrefix(line, "|")
		if isCell || strings.TrimSpace(line) == "" || itemBegins.MatchString(line) {
			end()
		}
		switch {
		case isCell:
			for cell := range strings.SplitSeq(line, "|") {
				paragraph = cell
				end()
			}
		case strings.HasPrefix(line, "```"):
			isFenced = !isFenced
		case isFenced || strings.TrimSpace(line) == "":
		case paragraph != "" || !strings.HasPrefix(line, "    "):
			paragraph += line
		}
	}
	end()
	return found
}

func TestSentencesAreFound(t *testing.T) {
	got := sentences("One [two](x.md). Three\nfour:\n\n    code is none\n\n- item one\n- item two\n\n| a cell | another one |\n")
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	want := []string{"One [two]", "Three\nfour", "", "- item one", "- item two", "a cell", "another one"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestIndex has docs/README.md lead to each document.
func TestIndex(t *testing.T) {
	index := read(t, "docs/README.md")
	for _, document := range documents(t) {
		name, is := strings.CutPrefix(document, "docs/")
		if is && name != "README.md" && !strings.Contains(index, "\n| ["+name+"]("+name+") |") {
			t.Errorf("docs/README.md, All pages, lacks %s", name)
		}
	}
}

// TestReasonsAreDocumented holds the table of reasons for not being ready against the conditions that roles set.
func TestReasonsAreDocumented(t *testing.T) {
	condition := regexp.MustCompile(`(?m)^\s*(?:const )?(?:[cC]ond|Fault)[A-Z]\w* *= "([a-z-]+)"`)
	var declared []string
	for path, text := range sources(t) {
		if strings.HasPrefix(path, "roles/") || strings.HasPrefix(path, "broker/") {
			for _, found := range condition.FindAllStringSubmatch(text, -1) {
				declared = append(declared, found[1])
			}
		}
	}
	_, table, _ := strings.Cut(read(t, "docs/monitoring.md"), "| reason | at | means | do |\n|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var documented []string
	for row := range strings.Lines(table) {
		for _, found := range span.FindAllStringSubmatch(strings.SplitN(row, "|", 3)[1], -1) {
			documented = append(documented, found[1])
		}
	}
	slices.Sort(declared)
	slices.Sort(documented)
	if declared, documented = slices.Compact(declared), slices.Compact(documented); !slices.Equal(declared, documented) {
		t.Errorf("docs/monitoring.md has %q\nthe roles have         %q", documented, declared)
	}
}

// TestExitCodes holds the table of exit codes against what the program says of them, which docs/commands.md is made of.
func TestExitCodes(t *testing.T) {
	codes := func(document, heading, form string) (found []string) {
		_, section, _ := strings.Cut(read(t, document), heading)
		section, _, _ = strings.Cut(section, "\n## ")
		for _, match := range regexp.MustCompile(form).FindAllStringSubmatch(section, -1) {
			found = append(found, match[1])
		}
		return found
	}
	declared := codes("docs/commands.md", "## Exit status", `(?m)^- \*\*(\S+)\*\*:`)
	documented := codes("docs/operate.md", "## Exit codes", `(?m)^\| (\d\S*) \|`)
	if len(declared) < 5 || !slices.Equal(declared, documented) {
		t.Errorf("docs/operate.md has the exit codes %q, the program %q", documented, declared)
	}
}

// TestSourcesNameDocuments looks for the documents that help, alarms and comments send their readers to.
func TestSourcesNameDocuments(t *testing.T) {
	named := regexp.MustCompile(`\bdocs/[a-z]+\.md`)
	found := 0
	for path, text := range sources(t) {
		for _, document := range named.FindAllString(text, -1) {
			found++
			if _, err := os.Stat(document); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if found < 10 {
		t.Errorf("%d documents were found", found)
	}
}

// sources are the program's, by their paths.
func sources(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".go" && !strings.HasSuffix(path, "_test.go") {
			all[filepath.ToSlash(path)] = read(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// TestLinksLeadSomewhere looks for each file that a document links to, and for the heading there.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, document := range append(documents(t), "CHANGELOG.md") {
		for _, found := range link.FindAllStringSubmatch(read(t, document), -1) {
			to, anchor, _ := strings.Cut(found[1], "#")
			switch {
			case strings.Contains(to, "://"):
				continue
			case to == "":
				to = document
			default:
				to = filepath.Join(filepath.Dir(document), to)
			}
			if text := read(t, to); anchor != "" && !slices.Contains(anchors(text), anchor) {
				t.Errorf("%s: there is no heading #%s in %s", document, anchor, to)
			}
		}
	}
}

// anchors are what GitHub calls the headings of a document.
func anchors(text string) (found []string) {
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		found = append(found, strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-"))
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// undrawn are packages that the diagram in docs/design.md leaves out.
var undrawn = []string{
	"roles/fleet", "roles/demo", "roles/bench", "roles/soak", "roles/roletest", "broker/brokertest", "powerdns/local",
	"powerdns/local/localtest", "powerdns/must", "private", "backoff", "timing",
}

// TestPackageDiagram holds the diagram against the list of imports, less what the text below it says that it leaves
// out.
func TestPackageDiagram(t *testing.T) {
	_, diagram, _ := strings.Cut(read(t, "docs/design.md"), "```mermaid\nflowchart")
	diagram, _, _ = strings.Cut(diagram, "```")
	drawn := regexp.MustCompile(`(\S+) --> (\S+)`).FindAllString(diagram, -1)
	var want []string
	for from, list := range drawable() {
		for _, to := range list {
			isImplied := func(between string) bool { return between != to && reaches(drawable(), between, to) }
			if !slices.ContainsFunc(list, isImplied) {
				want = append(want, from+" --> "+to)
			}
		}
	}
	slices.Sort(drawn)
	slices.Sort(want)
	if !slices.Equal(drawn, want) {
		t.Errorf("the diagram in docs/design.md is to have these arrows:\n%s\nand has\n%s",
			strings.Join(want, "\n"), strings.Join(drawn, "\n"))
	}
}

// drawable are the imports among packages above, and among those below.
func drawable() map[string][]string {
	isAbove := func(p string) bool { return p == "" || p == "roles" || strings.HasPrefix(p, "roles/") }
	graph := maps.Clone(imports)
	maps.DeleteFunc(graph, func(from string, _ []string) bool { return slices.Contains(undrawn, from) })
	for from, list := range graph {
		graph[from] = slices.DeleteFunc(slices.Clone(list), func(to string) bool {
			return slices.Contains(undrawn, to) || isAbove(from) != isAbove(to)
		})
	}
	graph["main"] = graph[""]
	delete(graph, "")
	return graph
}

func reaches(graph map[string][]string, from, to string) bool {
	return slices.ContainsFunc(graph[from], func(next string) bool { return next == to || reaches(graph, next, to) })
}
