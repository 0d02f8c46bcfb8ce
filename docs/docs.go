// Package docs holds what the program shows of its own documents.
package docs

import (
	_ "embed"
	"strings"
)

//go:embed alarms.md
var alarms string

// Alarm returns the entry of a kind of alarms, as Markdown and without its heading; "" if there is none.
func Alarm(kind string) string {
	_, entry, found := strings.Cut(alarms, "\n### "+kind+"\n")
	if !found {
		return ""
	}
	for _, next := range []string{"\n### ", "\n## "} {
		entry, _, _ = strings.Cut(entry, next)
	}
	return strings.TrimSpace(entry)
}
