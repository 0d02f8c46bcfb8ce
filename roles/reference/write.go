package main

import (
	"fmt"
	"strings"

	"pdns-distribute/roles/config"
	"pdns-distribute/roles/roff"
	"pdns-distribute/roles/settings"
)

// made is where the documents come from.
const made = "the comments and tags of the configuration's structs"

// about is what is true of all settings.
var about = []string{
	"Every role reads a TOML file: the one that --config names, else $" + settings.FileVariable + ", else " +
		"/etc/pdns-distribute/pdns-distribute.toml if it exists. Each key can be set in the environment, by the " +
		"variable that stands beside it, and as a flag, by --set SECTION.KEY=VALUE. A flag beats the environment, the " +
		"environment beats the file. Lists in the environment and in flags are separated by commas.",
	"Relative paths count from the folder of the file. Sections that a role does not use are ignored. Unknown keys " +
		"and bad values are refused at the start, all at once.",
}

// markdown is docs/settings.md.
func markdown(sections []section) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Settings\n\n<!-- Made from %s: change those, and run make man. -->\n", made)
	for _, paragraph := range about {
		fmt.Fprintf(&out, "\n%s\n", wrap(paragraph))
	}
	for _, s := range sections {
		fmt.Fprintf(&out, "\n## [%s]\n\nRead by %s.\n", s.name, readers(s))
		for _, t := range s.about {
			fmt.Fprintf(&out, "\n%s\n", wrap(t.with("`")))
		}
		for _, e := range s.entries {
			var names []string
			for _, k := range e.keys {
				names = append(names, "`"+k.Name+"`")
			}
			fmt.Fprintf(&out, "\n### %s\n", strings.Join(names, ", "))
			for _, k := range e.keys {
				fmt.Fprintf(&out, "\n`%s`: %s, %s\n", k.Env, k.Type, preset(k, "`"))
			}
			for _, t := range e.about {
				fmt.Fprintf(&out, "\n%s\n", wrap(t.with("`")))
			}
		}
	}
	return out.String()
}

// wrap breaks a paragraph into lines of at most 120 bytes.
func wrap(paragraph string) string {
	var out strings.Builder
	column := 0
	for word := range strings.FieldsSeq(paragraph) {
		switch {
		case column == 0:
		case column+1+len(word) > 120:
			out.WriteByte('\n')
			column = 0
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	return out.String()
}

// manual is pdns-distribute.toml(5).
func manual(sections []section) string {
	page := roff.New("pdns-distribute.toml", 5, "configuration of pdns-distribute", made)
	page.Section("DESCRIPTION")
	page.Text(strings.Join(about, "\n\n"))
	for _, s := range sections {
		page.Section("[" + s.name + "]")
		page.Text("Read by " + readers(s) + ".")
		for _, t := range s.about {
			page.Text(t.with(""))
		}
		for _, e := range s.entries {
			for i, k := range e.keys {
				texts := []string{properties(k)}
				for _, t := range e.about {
					if i == len(e.keys)-1 {
						texts = append(texts, t.with(""))
					}
				}
				page.Item(k.Name, "", texts...)
			}
		}
	}
	page.Section("FILES")
	page.Item("/etc/pdns-distribute/pdns-distribute.toml", "", "the configuration that is read where none is named")
	page.Section("SEE ALSO")
	page.Text("pdns-distribute(1)")
	return page.String()
}

// readers says which roles read a section.
func readers(s section) string {
	if len(s.roles) == len(config.Roles()) {
		return "every role"
	}
	return strings.Join(s.roles, ", ")
}

func properties(k settings.Key) string {
	return fmt.Sprintf("%s: %s, %s", k.Env, k.Type, preset(k, ""))
}

// preset says what holds where the key is not set, as far as a tag says it.
func preset(k settings.Key, quote string) string {
	if k.Default == "" {
		return "not set by default"
	}
	return "default " + quote + k.Default + quote
}

// with is the text with keys between quotes. Without them quotes of the comment are left out as well.
func (t text) with(quote string) string {
	var out strings.Builder
	for _, p := range t {
		words := p.words
		if quote == "" {
			words = strings.ReplaceAll(words, "`", "")
		}
		out.WriteString(words)
		if p.key != "" {
			out.WriteString(quote + p.key + quote)
		}
	}
	return out.String()
}
