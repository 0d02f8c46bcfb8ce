package settings

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"pdns-distribute/roles/private"
)

// maxFileSize is far above any real configuration (bytes): what is larger is another file, given by mistake. The decoder's
// time grows with the square of the number of keys, about a second for a file of this size that is nothing but keys.
const maxFileSize = 256 << 10

// readFile takes the settings of the TOML file.
func (l *loader) readFile(path string) {
	if path == "" {
		return
	}
	data, document := l.decode(path)
	if l.fileBroken {
		return
	}
	f := &file{loader: l, path: path, lines: linesOf(data)}
	for _, name := range slices.Sorted(maps.Keys(document)) {
		f.readSection(name, document[name])
	}
}

// Sections names the sections that a file has, known or not. Its error is of type [Faults].
func Sections(path string) ([]string, error) {
	var l loader
	_, document := l.decode(path)
	return slices.Sorted(maps.Keys(document)), l.faults.sorted()
}

// decode reads the file, or notes why it cannot be read.
func (l *loader) decode(path string) (data []byte, document map[string]any) {
	data, problem := readText(path)
	if problem != "" {
		l.fileBroken = true
		l.fault(Origin{source: fromFile, name: path}, "", "%s", problem)
	} else if err := toml.Unmarshal(data, &document); err != nil {
		l.fileBroken = true
		// The decoder's longer text would quote the line, which may hold a password.
		l.fault(syntaxError(path, err), "", "%s", strings.TrimPrefix(err.Error(), "toml: "))
	}
	return data, document
}

// readText gives the content of a file that is a text, or says what is wrong with it.
func readText(path string) (data []byte, problem string) {
	data, err := readLimited(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "there is no such file"
	case err != nil:
		return nil, "cannot be read: " + reason(err)
	case len(data) > maxFileSize:
		return nil, "is larger than 256 KiB: this is not a configuration file"
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return nil, "is in UTF-16: save it as UTF-8"
	case !utf8.Valid(data), bytes.IndexByte(data, 0) >= 0:
		return nil, "is not a text in UTF-8"
	}
	// Some editors on Windows begin a file with a byte order mark, which TOML doesn't know.
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), ""
}

// readLimited reads the file, but no more than shows that it is too large.
func readLimited(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFileSize+1))
}

// reason is the error without the path, which the fault names already.
func reason(err error) string {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return failed.Err.Error()
	}
	return err.Error()
}

// syntaxError finds where the file stops being TOML.
func syntaxError(path string, err error) Origin {
	at := Origin{source: fromFile, name: path}
	var syntax *toml.DecodeError
	if errors.As(err, &syntax) {
		at.line, at.column = syntax.Position()
	}
	return at
}

// file is the TOML file while it is taken apart.
type file struct {
	*loader
	path  string
	lines map[string]int
}

// at is where a section or key stands.
func (f *file) at(name string) Origin {
	return Origin{source: fromFile, name: f.path, line: f.lines[name]}
}

func (f *file) readSection(name string, content any) {
	table, isTable := content.(map[string]any)
	switch {
	case !f.hasSection(name) && isTable:
		f.fault(f.at(name), "", "unknown section [%s]%s", name, DidYouMean(name, f.sectionNames()))
	case !f.hasSection(name):
		f.fault(f.at(name), "", "%s", f.unknownKey(name))
	case !isTable:
		f.fault(f.at(name), name, "is a section: write [%s] once, and its keys below it", name)
	default:
		for _, key := range slices.Sorted(maps.Keys(table)) {
			f.readKey(name, name+"."+key, table[key])
		}
	}
}

func (f *file) readKey(section, name string, content any) {
	key, known := f.byName[name]
	if !known {
		f.fault(f.at(name), "", "%s", f.unknownKey(name))
		return
	}
	if !f.uses(section) {
		return
	}
	text, fits := key.Type.fromFile(content)
	if !fits {
		f.fault(f.at(name), name, "%s", key.Type.refuseFile(content))
		return
	}
	if key.secret && text != "" {
		if err := private.Check(f.path); err != nil {
			f.fault(f.at(name), name, "is a secret, and %v; or put it into a file of its own, by %s_file", err, name)
			return
		}
	}
	f.values[name] = value{text, f.at(name)}
}

// linesOf finds the line of each section and of each of its keys ("secondary", "secondary.workers") in a valid TOML document.
// The decoder keeps no positions, so this walks the document a second time.
func linesOf(data []byte) map[string]int {
	w := lineWalk{lines: map[string]int{}, line: 1}
	w.parser.Reset(data)
	var table []string
	for w.parser.NextExpression() {
		switch expression := w.parser.Expression(); expression.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = w.note(nil, expression)
		case unstable.KeyValue:
			w.noteKeyValue(table, expression)
		}
	}
	return w.lines
}

// lineWalk counts the lines up to each key. Keys come in the order of the document, so that each byte is looked at once.
type lineWalk struct {
	parser unstable.Parser
	lines  map[string]int
	line   int // of offset
	offset int
}

// noteKeyValue notes the key, and those within its value if that is an inline table: secondary = { workers = 8 }.
func (w *lineWalk) noteKeyValue(table []string, expression *unstable.Node) {
	path := w.note(table, expression)
	if expression.Value().Kind != unstable.InlineTable || len(path) > 1 {
		return
	}
	for children := expression.Value().Children(); children.Next(); {
		w.note(path, children.Node())
	}
}

// note remembers the lines of an expression's key and returns its path below table. Sections hold no further tables: what lies
// deeper than two levels is a fault of its second level, and is cut off.
func (w *lineWalk) note(table []string, expression *unstable.Node) []string {
	path := slices.Clip(table)
	for parts := expression.Key(); parts.Next() && len(path) < 2; {
		part := parts.Node()
		path = append(path, string(part.Data))
		w.advance(int(part.Raw.Offset))
		name := strings.Join(path, ".")
		if _, seen := w.lines[name]; !seen {
			w.lines[name] = w.line
		}
	}
	return path
}

func (w *lineWalk) advance(offset int) {
	w.line += bytes.Count(w.parser.Data()[w.offset:offset], []byte("\n"))
	w.offset = offset
}
