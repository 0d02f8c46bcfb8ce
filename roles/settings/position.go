package settings

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// The decoder keeps no positions, so what stands where in a document is found by walking it a second time.

// place is a part of a key, or of the head of a table: of "secondary.workers = 8" there are two.
type place struct {
	path  []string // with the names before it; below the table that it stands in
	at    unstable.Range
	head  bool           // it is the head of a table
	value *unstable.Node // what the key is set to; nil where further parts follow
}

// maxDepth is how many parts of a key are looked at. Sections hold no further tables: what lies deeper than two
// levels is a fault of its second level.
const maxDepth = 3

// walk visits the places of a document in their order, as far as it is TOML.
func walk(data []byte, visit func(place)) error {
	var parser unstable.Parser
	parser.Reset(data)
	var table []string
	for parser.NextExpression() {
		switch expression := parser.Expression(); expression.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = walkKey(nil, expression, visit)
		case unstable.KeyValue:
			path := walkKey(table, expression, visit)
			if expression.Value().Kind != unstable.InlineTable || len(path) > 1 {
				continue
			}
			for children := expression.Value().Children(); children.Next(); { // secondary = { workers = 8 }
				walkKey(path, children.Node(), visit)
			}
		}
	}
	return parser.Error()
}

// walkKey visits the parts of an expression's key, and returns its path below table.
func walkKey(table []string, expression *unstable.Node, visit func(place)) []string {
	path := slices.Clip(table)
	for parts := expression.Key(); parts.Next() && len(path) < maxDepth; {
		part := parts.Node()
		path = append(path, string(part.Data))
		p := place{path: path, at: part.Raw, head: expression.Kind != unstable.KeyValue}
		if parts.IsLast() && !p.head {
			p.value = expression.Value()
		}
		visit(p)
	}
	return path
}

// is reports whether the place is that of a key of a section.
func (p place) is(section, key string) bool {
	return len(p.path) == 2 && p.path[0] == section && p.path[1] == key
}

// linesOf finds the line of each section and of each of its keys ("secondary", "secondary.workers") in a valid
// document.
func linesOf(data []byte) map[string]int {
	lines := map[string]int{}
	line, offset := 1, 0
	_ = walk(data, func(p place) {
		if len(p.path) > 2 {
			return
		}
		line += bytes.Count(data[offset:p.at.Offset], []byte("\n")) // places come in order: each byte is looked at once
		offset = int(p.at.Offset)
		name := strings.Join(p.path, ".")
		if _, seen := lines[name]; !seen {
			lines[name] = line
		}
	})
	return lines
}

// ListAt is where a key stands that is set to a list of texts.
type ListAt struct {
	Begin, End int // of the text from the key's name, without the section's, to behind the bracket
	Items      []string
}

// FindList finds the list that a key of a section is set to, and nil where it is not set to one.
func FindList(document []byte, section, key string) (found *ListAt, err error) {
	err = walk(document, func(p place) {
		if !p.is(section, key) || p.value == nil || p.value.Kind != unstable.Array {
			return
		}
		l := ListAt{Begin: int(p.at.Offset)}
		behind := int(p.at.Offset + p.at.Length)
		for items := p.value.Children(); items.Next(); {
			if item := items.Node(); item.Kind == unstable.String {
				l.Items = append(l.Items, string(item.Data))
				behind = int(item.Raw.Offset + item.Raw.Length)
			}
		}
		l.End = behind + endOfList(document[behind:])
		found = &l
	})
	if err != nil {
		return nil, fmt.Errorf("not a TOML document: %w", err)
	}
	return found, nil
}

// endOfList finds the end of a list behind its last text, where nothing is left but comments and the bracket.
func endOfList(rest []byte) int {
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case ']':
			return i + 1
		case '#':
			i += max(0, bytes.IndexByte(rest[i:], '\n'))
		}
	}
	return len(rest)
}

// WithLine returns the document with a line, which sets a key, below the head of a section. Where the section has
// that key already, or there is no such head, it returns the document as it is.
func WithLine(document []byte, section, key, line string) ([]byte, error) {
	at, has := -1, false
	err := walk(document, func(p place) {
		has = has || p.is(section, key)
		if p.head && len(p.path) == 1 && p.path[0] == section {
			at = int(p.at.Offset + p.at.Length)
		}
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("not a TOML document: %w", err)
	case has, at < 0:
		return document, nil
	}
	end := bytes.IndexByte(document[at:], '\n')
	if end < 0 {
		return slices.Concat(document, []byte("\n"+line+"\n")), nil
	}
	return slices.Insert(slices.Clone(document), at+end+1, []byte(line+"\n")...), nil
}
