package command

import (
	"fmt"
	"regexp"
	"strings"

	"pdns-distribute/roles/roff"
)

// page is the manual while it is written, in one of its forms: roff.Page or markdown.
type page interface {
	Section(title string)
	Below(title string)
	Synopsis(words, others string)
	Text(text string)
	Item(term, value string, texts ...string)
	String() string
}

// markdown is docs/commands.md. Its texts are plain: no character of them means anything to Markdown.
type markdown struct{ strings.Builder }

func newMarkdown(made string) *markdown {
	m := &markdown{}
	fmt.Fprintf(m, "# Commands\n\n<!-- Made from %s: change those, and run make man. -->\n", made)
	return m
}

var blankLines = regexp.MustCompile(`\n{3,}`)

// String returns the page, with one blank line between blocks.
func (m *markdown) String() string {
	return strings.TrimRight(blankLines.ReplaceAllString(m.Builder.String(), "\n\n"), "\n") + "\n"
}

func (m *markdown) Section(title string) {
	fmt.Fprintf(m, "\n## %s\n\n", title[:1]+strings.ToLower(title[1:]))
}

func (m *markdown) Below(title string) { fmt.Fprintf(m, "\n### %s\n\n", title) }

func (m *markdown) Synopsis(words, others string) {
	fmt.Fprintf(m, "    %s\n\n", strings.TrimSpace(words+" "+others))
}

// Text writes paragraphs as roff.Page does.
func (m *markdown) Text(text string) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		lines := strings.Split(paragraph, "\n")
		switch {
		case strings.HasPrefix(paragraph, "   "):
			for _, line := range lines {
				fmt.Fprintln(m, " "+line)
			}
		case roff.Listed.MatchString(lines[0]):
			for _, line := range lines {
				if found := roff.Listed.FindStringSubmatch(line); found != nil {
					m.Item(found[1], "", found[2])
				} else {
					fmt.Fprintln(m, "  "+plain(strings.TrimSpace(line)))
				}
			}
		default:
			fmt.Fprintln(m, plain(paragraph))
		}
		m.WriteString("\n")
	}
}

func (m *markdown) Item(term, value string, texts ...string) {
	fmt.Fprintf(m, "- **%s**: %s\n", plain(strings.TrimSpace(term+" "+value)), plain(strings.Join(texts, " ")))
}

// plain has each character stand for itself.
func plain(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "<", `\<`, "`", "\\`").Replace(text)
}
