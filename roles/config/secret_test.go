package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/settings"
)

// TestSecretInAnOpenFile has the API key itself in a configuration that others can read. A file that names where it
// is may be read by anybody.
func TestSecretInAnOpenFile(t *testing.T) {
	const secret = "hunter22"
	file := filepath.Join(t.TempDir(), "config.toml")
	for _, c := range []struct {
		key  string
		mode os.FileMode
		good bool
	}{
		{"api_key", 0o600, true}, {"api_key", 0o640, false}, {"api_key", 0o604, false}, {"api_key_file", 0o644, true},
	} {
		text := "[powerdns]\n" + c.key + " = \"" + secret + "\"\n[broker]\nurls = [\"tls://a\"]\nnkey_file = \"n\"\n"
		must.OK(t, os.WriteFile(file, []byte(text), 0o600))
		must.OK(t, os.Chmod(file, c.mode))
		_, err := ForRole(settings.Sources{File: file}, health.RoleSecondary)
		switch {
		case c.good && err != nil:
			t.Errorf("%s, mode %04o: %v", c.key, c.mode, err)
		case c.good:
		case err == nil || !strings.Contains(err.Error(), file+":2: powerdns.api_key: is a secret") || !strings.Contains(err.Error(), "chmod 600 "+file) ||
			!strings.Contains(err.Error(), "powerdns.api_key_file") || strings.Contains(err.Error(), secret):
			t.Errorf("%s, mode %04o: %v", c.key, c.mode, err)
		}
	}
	must.OK(t, os.WriteFile(file, []byte("[broker]\nurls = [\"tls://a\"]\nnkey_file = \"n\"\n"), 0o600))
	must.OK(t, os.Chmod(file, 0o644))
	if _, err := ForRole(settings.Sources{File: file, Env: []string{"PDNS_DISTRIBUTE_POWERDNS_API_KEY=" + secret}}, health.RoleSecondary); err != nil {
		t.Error("a key in the environment: ", err)
	}
}
