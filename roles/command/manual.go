package command

import (
	"strings"

	"pdns-distribute/roles/roff"
	"pdns-distribute/roles/settings"
)

// madeOf is what the manual is made from.
const madeOf = "the declarations of the commands"

// manual is pdns-distribute(1).
func (p *Program) manual() string { return p.write(roff.New(programName, 1, summary, madeOf)) }

// reference is docs/commands.md.
func (p *Program) reference() string { return p.write(newMarkdown(madeOf)) }

// write writes all that is known of the commands.
func (p *Program) write(page page) string {
	page.Section("SYNOPSIS")
	page.Synopsis(programName, "COMMAND [flags] [arguments]")
	page.Section("DESCRIPTION")
	page.Text(description)
	for _, group := range []Group{Role, Tool} {
		page.Section(strings.ToUpper(string(group)))
		for _, c := range p.all() {
			if c.Group == group {
				p.describe(page, c, c.Name)
			}
		}
	}
	page.Section("COMMON FLAGS")
	for _, f := range p.flags(Command{Configured: true}) {
		page.Item("--"+f.Name, f.Value, f.Help)
	}
	page.Item("--help", "", "show the help of the command")
	page.Section("EXIT STATUS")
	page.Text(strings.ReplaceAll(strings.TrimPrefix(exitCodes, "Exit codes:\n\n   "), "\n   ", "\n"))
	page.Section("ENVIRONMENT")
	page.Item(settings.FileVariable, "", "the configuration file, where --config names none")
	page.Item(settings.EnvPrefix+"SECTION_KEY", "", "a key of the configuration, see pdns-distribute.toml(5)")
	page.Section("FILES")
	page.Item(DefaultFile, "", "the configuration file, where neither --config nor the environment names one")
	page.Section("SEE ALSO")
	page.Text("pdns-distribute.toml(5), pdns_server(1), pdnsutil(1)")
	return page.String()
}

// describe writes a command, whose path is such as "init add", and those below it.
func (p *Program) describe(page page, c Command, path string) {
	page.Below(path)
	others := c.Arguments
	if len(p.flags(c)) > 0 {
		others = strings.TrimSpace("[flags] " + others)
	}
	page.Synopsis(programName+" "+path, others)
	page.Text(c.Description)
	for _, f := range c.Flags {
		page.Item("--"+f.Name, f.Value, f.Help)
	}
	for _, below := range c.Below {
		p.describe(page, below, path+" "+below.Name)
	}
}
