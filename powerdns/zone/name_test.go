package zone

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Join([]string{label, label, label, strings.Repeat("b", 61)}, ".")
	for text, want := range map[string]string{
		".":                  ".",
		"example":            "example.",
		"Example.ORG.":       "example.org.",
		`a\.b.example`:       `a\.b.example.`,
		`\065\066.example`:   "ab.example.",
		`\000\255\032\@.x`:   `\000\255\ \@.x.`,
		"*.example.":         "*.example.",
		"1.2/3.in-addr.arpa": "1.2/3.in-addr.arpa.",
		label:                label + ".",
		longest:              longest + ".",
	} {
		name, err := ParseName(text)
		if err != nil || name.String() != want {
			t.Errorf("%q: got %q, %v", text, name, err)
		}
	}
	for _, text := range []string{"", "..", "a..b", ".a", label + "a", longest + "b", `a\`} {
		if name, err := ParseName(text); !errors.Is(err, ErrName) {
			t.Errorf("%q: got %q, %v", text, name, err)
		}
	}
}

func TestNameText(t *testing.T) {
	var n Name
	if err := n.UnmarshalText([]byte("Example.")); err != nil || n != "\x07example\x00" {
		t.Errorf("got %q, %v", n, err)
	}
	if text, err := n.MarshalText(); err != nil || string(text) != "example." {
		t.Errorf("got %q, %v", text, err)
	}
	if err := n.UnmarshalText([]byte("a..b")); err == nil || n != "\x07example\x00" {
		t.Errorf("a bad name left %q, %v", n, err)
	}
}

func TestNameFromWire(t *testing.T) {
	mixed := []byte("\x03wWw\x07EXample\x00")
	given := bytes.Clone(mixed)
	if n, err := NameFromWire(given); err != nil || n != "\x03www\x07example\x00" {
		t.Errorf("got %q, %v", n, err)
	}
	if !bytes.Equal(given, mixed) {
		t.Error("it changed what it was given")
	}
	longest := strings.Repeat("\x01a", 127) + "\x00"
	if n, err := NameFromWire([]byte(longest)); err != nil || string(n) != longest {
		t.Errorf("255 bytes: %v", err)
	}
	for _, b := range []string{"", "\x01", "\x01a", "\x00\x00", "\x01a\x00\x00", "\xc0\x00", "\x40", "\x01a" + longest, "\x02ab" + longest[2:]} {
		if n, err := NameFromWire([]byte(b)); err == nil {
			t.Errorf("% x: got %q", b, n)
		}
	}
}

func TestLabelsAndUnder(t *testing.T) {
	n := MustParseName(`a\.b.c.example.`)
	if got := n.Labels(); !slices.Equal(got, []string{"a.b", "c", "example"}) {
		t.Errorf("labels %q", got)
	}
	if got := Root.Labels(); len(got) != 0 {
		t.Errorf("labels of the root %q", got)
	}
	for parent, want := range map[string]bool{".": true, "example.": true, "c.example.": true, `a\.b.c.example.`: true, "b.c.example.": false, "ample.": false, "x.a.c.example.": false} {
		if n.Under(MustParseName(parent)) != want {
			t.Errorf("under %s: want %t", parent, want)
		}
	}
	if inside := Name("\x0a\x07example\x00\x00"); inside.Under("\x07example\x00") {
		t.Error("a suffix inside a label was taken for a parent")
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{".", "example", `a\.b.\000.EXAMPLE.`, `\`, "a..b", `x\092y`, strings.Repeat("a.", 127)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		if again, err := ParseName(n.String()); err != nil || again != n {
			t.Fatalf("%q is %q as text, and that is %q, %v", s, n.String(), again, err)
		}
		if w, err := NameFromWire([]byte(n)); err != nil || w != n {
			t.Fatalf("%q in wire form is %q, %v", s, w, err)
		}
	})
}
