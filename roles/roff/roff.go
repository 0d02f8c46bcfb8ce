// Package roff writes manual pages, in the macros man(7).
package roff

import (
	"fmt"
	"regexp"
	"strings"
)

// Page is a manual page that is being written. Its texts are plain: no character of them means anything to roff.
type Page struct{ text strings.Builder }

// New begins the page of a name, in a section of the manual. made says from what it is made, for who wants to change
// it.
func New(name string, section int, summary, made string) *Page {
	p := &Page{}
	fmt.Fprintf(&p.text, ".\\\" Made from %s: change that, and run make man.\n", made)
	fmt.Fprintf(&p.text, ".TH %s %d \"\" \"pdns\\-distribute\"\n", escape(strings.ToUpper(name)), section)
	p.Section("NAME")
	fmt.Fprintf(&p.text, "%s \\- %s\n", escape(name), escape(summary))
	return p
}

// String returns the page.
func (p *Page) String() string { return p.text.String() }

// Section begins a section.
func (p *Page) Section(title string) { fmt.Fprintf(&p.text, ".SH \"%s\"\n", escape(title)) }

// Below begins a part of a section.
func (p *Page) Below(title string) { fmt.Fprintf(&p.text, ".SS \"%s\"\n", escape(title)) }

// Item writes a term in bold, and below it, indented, what it is about: each text in lines of its own.
func (p *Page) Item(term, value string, texts ...string) {
	p.text.WriteString(".TP\n\\fB" + escape(term) + "\\fR")
	if value != "" {
		p.text.WriteString(" \\fI" + escape(value) + "\\fR")
	}
	p.text.WriteString("\n")
	for i, text := range texts {
		if i > 0 {
			p.text.WriteString(".br\n")
		}
		p.lines(text)
	}
}

// Synopsis writes a line with words in bold, and behind them what stands for others.
func (p *Page) Synopsis(words, others string) {
	p.text.WriteString(".PP\n\\fB" + escape(words) + "\\fR")
	if others != "" {
		p.text.WriteString(" " + escape(others))
	}
	p.text.WriteString("\n")
}

// Listed is a line such as "Needs  a configuration", which others that are indented may follow.
var Listed = regexp.MustCompile(`^(\S+)  +(\S.*)$`)

// Text writes paragraphs that blank lines part. Those whose lines are indented are shown as they are, those that begin
// as "Needs  a configuration" with their first word set off.
func (p *Page) Text(text string) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		switch {
		case strings.HasPrefix(paragraph, "   "):
			p.text.WriteString(".PP\n.RS 4\n.EX\n")
			p.lines(strings.ReplaceAll(paragraph[3:], "\n   ", "\n"))
			p.text.WriteString(".EE\n.RE\n")
		case Listed.MatchString(strings.SplitN(paragraph, "\n", 2)[0]):
			p.items(paragraph)
		default:
			p.text.WriteString(".PP\n")
			p.lines(paragraph)
		}
	}
}

func (p *Page) items(paragraph string) {
	for line := range strings.SplitSeq(paragraph, "\n") {
		if found := Listed.FindStringSubmatch(line); found != nil {
			p.Item(found[1], "", found[2])
		} else {
			p.lines(strings.TrimSpace(line))
		}
	}
}

func (p *Page) lines(text string) {
	for line := range strings.SplitSeq(text, "\n") {
		line = escape(line)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		p.text.WriteString(line + "\n")
	}
}

// escape has each character stand for itself.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\e`, `-`, `\-`, `"`, `\(dq`).Replace(text)
}
