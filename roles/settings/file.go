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

	"pdns-distribute/private"
)

// maxFileSize is far above any real configuration (bytes): what is larger is another file, given by mistake. The
// decoder's time grows with the square of the number of keys, about a second for a file of this size that is nothing
// but keys.
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
	var open *private.Fault
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "there is no such file"
	case errors.As(err, &open):
		return nil, openTo(path, open)
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

// openTo says what is wrong with the rights of the file, which the fault names already, or of a folder above it.
func openTo(path string, open *private.Fault) string {
	if open.Path == path {
		return open.Found + "; run: " + open.Remedy
	}
	return open.Error()
}

// readLimited reads a file that others cannot write, but no more of it than shows that it is too large.
func readLimited(path string) ([]byte, error) {
	if err := private.CheckPublic(path); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFileSize+1))
}

// reason is the error without the path, which the fault names already.
func reason(err error) string {
	if errors.Is(err, private.ErrNotRegular) {
		return private.ErrNotRegular.Error()
	}
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
