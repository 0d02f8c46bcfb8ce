package proxy

import (
	"strings"
	"testing"
)

// FuzzChange demands that an id of a change that is understood means one change only.
func FuzzChange(f *testing.F) {
	for _, id := range []string{"17-1795462944685542-example.org.", "0-0-=2E", "18446744073709551615--1-a-b.example.", "1-2", "+1-2-a.", "01-2-a."} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		c, err := parseChange(id)
		if err != nil {
			return
		}
		again, err := parseChange(c.id())
		if err != nil || again.zone != c.zone || again.touch != c.touch || !again.at.Equal(c.at) {
			t.Fatalf("%q is %+v, written %q, and that %+v: %v", id, c, c.id(), again, err)
		}
		if strings.ContainsAny(c.id(), "\r\n") {
			t.Fatalf("%q is no header", c.id())
		}
	})
}
