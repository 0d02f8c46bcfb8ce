package store

import (
	"os"
	"path/filepath"
	"testing"
)

// Whatever a file holds, looking at its length ends with an answer.
func FuzzCheckLength(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(make([]byte, 2*os.Getpagesize()))
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "zones.db")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = checkLength(file)
	})
}
