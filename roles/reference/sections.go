package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"pdns-distribute/roles/config"
	"pdns-distribute/roles/settings"
)

// section is one table of the configuration.
type section struct {
	name    string
	roles   []string // that read it
	about   []text   // paragraphs
	entries []entry
}

// entry is a key, or several that have one explanation.
type entry struct {
	keys  []settings.Key
	about []text // paragraphs
}

// text is what a comment says, in which keys of the section stand for fields of the struct.
type text []part

// part of a text is words, or a key.
type part struct{ words, key string }

// module is what all import paths of this project begin with.
const module = "pdns-distribute/"

// readSections reads the comments of the configuration's structs in the source below root.
func readSections(root string) (sections []section, err error) {
	keys := settings.Describe(new(config.Config))
	for field := range reflect.TypeFor[config.Config]().Fields() {
		name := field.Tag.Get("toml")
		others := func(k settings.Key) bool { return !strings.HasPrefix(k.Name, name+".") }
		ofSection := slices.DeleteFunc(slices.Clone(keys), others)
		s, err := readSection(root, name, field.Type, ofSection)
		if err != nil {
			return nil, err
		}
		sections = append(sections, s)
	}
	return sections, nil
}

func readSection(root, name string, of reflect.Type, keys []settings.Key) (section, error) {
	source, err := readStruct(filepath.Join(root, strings.TrimPrefix(of.PkgPath(), module)), of.Name())
	if err != nil {
		return section{}, err
	}
	names := map[string]string{} // of keys, by the fields
	for _, k := range keys {
		_, names[k.Field], _ = strings.Cut(k.Name, ".")
	}
	about := paragraphs(aboutSection(source.about, of.Name()), names)
	s := section{name: name, roles: config.RolesWith(name), about: about}
	for i, k := range keys {
		about := source.fields[k.Field]
		switch {
		case about == "" && i == 0:
			return s, fmt.Errorf("%s has no comment", k.Name)
		case about == "":
			last := &s.entries[len(s.entries)-1]
			last.keys = append(last.keys, k)
		default:
			s.entries = append(s.entries, entry{[]settings.Key{k}, paragraphs(about, names)})
		}
	}
	for _, e := range s.entries {
		for _, k := range e.keys {
			if !e.names(k) {
				return s, fmt.Errorf("%s: its comment does not name it", k.Name)
			}
		}
	}
	return s, nil
}

// names reports whether the explanation has the key's name.
func (e entry) names(k settings.Key) bool {
	for _, t := range e.about {
		if slices.ContainsFunc(t, func(p part) bool { return strings.HasSuffix(k.Name, "."+p.key) }) {
			return true
		}
	}
	return false
}

// aboutSection leaves out what its heading says: "NodeConfig is the section [node]."
func aboutSection(comment, typeName string) string {
	begin := regexp.MustCompile(`^` + typeName + ` is the section [^.]*\.\s*`)
	comment = begin.ReplaceAllString(comment, "")
	return strings.Replace(comment, typeName+" ", "This section ", 1)
}

// commented is a struct as its source has it.
type commented struct {
	about  string
	fields map[string]string // comments by the fields' names; one for several fields is the first one's
}

// readStruct finds the comments of a struct in the source of a package.
func readStruct(dir, name string) (commented, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return commented{}, err
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return commented{}, err
		}
		for _, d := range parsed.Decls {
			if found, is := structOf(d, name); is {
				return found, nil
			}
		}
	}
	return commented{}, fmt.Errorf("%s: there is no struct %s", dir, name)
}

func structOf(d ast.Decl, name string) (c commented, is bool) {
	decl, is := d.(*ast.GenDecl)
	if !is || len(decl.Specs) != 1 {
		return c, false
	}
	spec, is := decl.Specs[0].(*ast.TypeSpec)
	if !is || spec.Name.Name != name {
		return c, false
	}
	fields, is := spec.Type.(*ast.StructType)
	if !is {
		return c, false
	}
	c = commented{about: decl.Doc.Text(), fields: map[string]string{}}
	for _, f := range fields.Fields.List {
		for _, n := range f.Names {
			c.fields[n.Name] = f.Doc.Text()
		}
	}
	return c, true
}

var word = regexp.MustCompile(`\w+`)

// paragraphs takes a comment apart, and puts keys for the names of fields.
func paragraphs(comment string, keys map[string]string) (all []text) {
	for p := range strings.SplitSeq(strings.TrimSpace(comment), "\n\n") {
		p = strings.Join(strings.Fields(p), " ")
		if p == "" {
			continue
		}
		var t text
		end := 0
		for _, at := range word.FindAllStringIndex(p, -1) {
			if key, is := keys[p[at[0]:at[1]]]; is {
				t = append(t, part{words: p[end:at[0]]}, part{key: key})
				end = at[1]
			}
		}
		all = append(all, append(t, part{words: p[end:]}))
	}
	return all
}
