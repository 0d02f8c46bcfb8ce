// Command reference writes what documents settings: docs/settings.md, the manual page pdns-distribute.toml(5), and the
// tables of docs/powerdns.md, which package powerdns has. The former two are made from the structs of the configuration:
// names, types and defaults from their tags, explanations from their comments. It is run at the top of the project's
// source, by make man.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	files, err := documents(".")
	for name, text := range files {
		if err == nil {
			err = os.WriteFile(name, []byte(text), 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// documents are the texts of the files that are written, by their paths below root.
func documents(root string) (map[string]string, error) {
	sections, err := readSections(root)
	if err != nil {
		return nil, err
	}
	ofPowerDNS, err := powerDNS(root)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		filepath.Join("docs", "powerdns.md"):                        ofPowerDNS,
		filepath.Join("docs", "settings.md"):                        markdown(sections),
		filepath.Join("packaging", "man", "pdns-distribute.toml.5"): manual(sections),
	}, nil
}
