package main

import (
	"fmt"
	"strings"
)

// roots are the documents that programs read: where they come from, and what they are made of.
var roots = []struct{ heading, about, of string }{
	{
		"status", "What `pdns-distribute status --json` prints and a health role answers at `/distribute/v1/status`. " +
			"With `--watch` it is one line each time.", "status.Document",
	},
	{"status of a zone", "What `pdns-distribute status --json example.org` prints, a line for each zone.", "operator.zoneStatus"},
	{"webhook", "What the health role that leads posts to `health.webhook`, see [the webhook](monitoring.md#the-webhook).", "rolehealth.HookDocument"},
	{"doctor", "What `pdns-distribute doctor --json` prints, see [doctor](doctor.md).", "doctor.report"},
	{"readyz", "What each role answers at `/readyz` of its `observe.listen`.", "observe.ReadinessDocument"},
}

const jsonHead = `# JSON for programs

<!-- Made from the types in the source: change those, and run make man. -->

` + "`status`, `doctor` and the webhook have a `version`" + `. It is raised when a field goes or means something else. Fields may be
added without that, so take no offence at those that you do not know. What may be missing is marked with "?": it is left
out where it is empty or zero. [OpenAPI](openapi.json) has the same for the answers of HTTP.

A time is text as in RFC 3339, a duration a number of nanoseconds.
`

// jsonPage is docs/json.md.
func jsonPage(root string) (string, error) {
	c := newCatalog(root)
	var out strings.Builder
	out.WriteString(jsonHead)
	for _, r := range roots {
		from := len(c.objects)
		k, err := c.add(r.of)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", r.heading, wrap(r.about))
		for _, o := range c.objects[from:] {
			if o.name != k.ref {
				fmt.Fprintf(&out, "\n### %s\n", o.name)
				if o.about != "" {
					fmt.Fprintf(&out, "\n%s\n", wrap(o.about))
				}
			}
			fmt.Fprint(&out, "\n| field | is | meaning |\n|---|---|---|\n")
			for _, m := range o.fields {
				mark := ""
				if m.optional {
					mark = "?"
				}
				fmt.Fprintf(&out, "| `%s`%s | %s | %s |\n", m.name, mark, m.of.cell(), strings.ReplaceAll(m.about, "|", "\\|"))
			}
		}
	}
	return out.String(), nil
}

// cell is how a table names a kind.
func (k kind) cell() string {
	text := k.word
	switch k.word {
	case "object":
		text = fmt.Sprintf("[%s](#%s)", k.ref, strings.ToLower(k.ref))
	case "list":
		text = "list of " + k.of.cell()
	case "map":
		text = k.of.cell() + " by name"
	}
	if k.null {
		text += " or null"
	}
	return text
}
