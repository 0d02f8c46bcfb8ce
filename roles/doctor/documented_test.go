package doctor

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pdns-distribute/roles/config"
	"pdns-distribute/roles/settings"
)

// TestChecksAreDocumented looks for each check in docs/doctor.md. A setting's name is no check.
func TestChecksAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "doctor.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"config.toml": true} // a file
	for _, key := range settings.Describe(new(config.Config)) {
		known[key.Name] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`"((?:config|server|broker|powerdns|proxy|disk|port|clock|sources)\.[a-z_]+)"`)
	checks := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range name.FindAllStringSubmatch(string(text), -1) {
			if known[found[1]] {
				continue
			}
			checks++
			if !strings.Contains(string(page), "`"+found[1]+"`") {
				t.Errorf("docs/doctor.md lacks the check %s of %s", found[1], file)
			}
		}
	}
	if checks < 20 {
		t.Errorf("%d checks were found", checks)
	}
}
