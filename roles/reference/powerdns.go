package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"pdns-distribute/powerdns"
)

// tables are what docs/powerdns.md has of the source, by the names in its marks.
func tables() map[string]string {
	return map[string]string{
		"releases":                releasesTable(),
		"settings of secondaries": settingsTable(powerdns.Secondary),
		"settings of primaries":   settingsTable(powerdns.Primary),
		"causes":                  causesTable(),
	}
}

// marked is a table between its marks.
var marked = regexp.MustCompile(`(?s)<!-- made by make man: ([^>]*) -->\n.*?<!-- end -->`)

// powerDNS is docs/powerdns.md below root, with tables made anew.
func powerDNS(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "powerdns.md"))
	if err != nil {
		return "", err
	}
	all := tables()
	made := marked.ReplaceAllStringFunc(string(text), func(found string) string {
		name := marked.FindStringSubmatch(found)[1]
		table := all[name]
		delete(all, name)
		return fmt.Sprintf("<!-- made by make man: %s -->\n\n%s\n<!-- end -->", name, table)
	})
	if len(all) > 0 {
		return "", fmt.Errorf("docs/powerdns.md has no marks for %d of its tables", len(all))
	}
	return made, nil
}

func releasesTable() string {
	rows := []string{"| release | maintained until | packaged in | tests were run with | what is different |", "|---|---|---|---|---|"}
	for _, r := range powerdns.Releases() {
		end := r.End()
		if end == "" {
			end = "no end is known"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s |", r.Name, end, r.In, r.Tried, r.Notes))
	}
	return strings.Join(rows, "\n") + "\n"
}

// weights are how the tables call them.
var weights = map[powerdns.Weight]string{
	powerdns.Breaking: "**fails**", powerdns.Harmful: "warns", powerdns.Noted: "–",
}

func settingsTable(side powerdns.Side) string {
	rows := []string{"| setting | bad values | doctor | what happens then | should be |", "|---|---|---|---|---|"}
	for _, s := range powerdns.SettingsOf(side) {
		name := "`" + strings.ReplaceAll(s.Name, ", ", "`, `") + "`"
		if s.Former != "" {
			name += " (up to 4.8 also `" + s.Former + "`)"
		}
		if s.Since != "" {
			name += " (from " + s.Since + " on)"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s |", name, s.Bad.Text, weights[s.Weight], s.Does, s.Should))
	}
	return strings.Join(rows, "\n") + "\n"
}

func causesTable() string {
	rows := []string{"| the reason says | what to do | it shows by |", "|---|---|---|"}
	for _, c := range powerdns.Causes() {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |", c.Name, c.Remedy, `"`+strings.Join(c.Signs, `", "`)+`"`))
	}
	return strings.Join(rows, "\n") + "\n"
}
