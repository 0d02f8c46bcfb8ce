// Command reference writes the documents that are made from the source. docs/settings.md and the manual page
// pdns-distribute.toml(5) come from the structs of the configuration: names, types and defaults from their tags,
// explanations from their comments. docs/json.md and docs/openapi.json come from the types that are written
// as JSON, docs/metrics.md from the declarations of metrics, the tables of
// docs/powerdns.md from package powerdns, and the units of the package from roles/installation. It is run at the top of
// the project's source, by make man.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"pdns-distribute/roles/installation"
	"pdns-distribute/roles/monitoring"
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
	ofMetrics, err := metrics(root)
	if err != nil {
		return nil, err
	}
	ofJSON, err := jsonPage(root)
	if err != nil {
		return nil, err
	}
	ofHTTP, err := openAPI(root)
	if err != nil {
		return nil, err
	}
	units, err := installation.Units()
	if err != nil {
		return nil, err
	}
	all := map[string]string{
		filepath.Join("docs", "json.md"):                            ofJSON,
		filepath.Join("docs", "openapi.json"):                       ofHTTP,
		filepath.Join("docs", "metrics.md"):                         ofMetrics,
		filepath.Join("docs", "powerdns.md"):                        ofPowerDNS,
		filepath.Join("docs", "settings.md"):                        markdown(sections),
		filepath.Join("packaging", "man", "pdns-distribute.toml.5"): manual(sections),
	}
	watching, err := monitoring.Files()
	if err != nil {
		return nil, err
	}
	maps.Copy(all, watching)
	for name, text := range units {
		all[filepath.Join("packaging", "systemd", name)] = string(text)
	}
	return all, nil
}
