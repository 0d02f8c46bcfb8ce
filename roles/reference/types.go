package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// object is a struct as it stands in JSON.
type object struct {
	name, about string
	fields      []member
}

// member is one field.
type member struct {
	name, about string
	of          kind
	optional    bool
}

// kind is what a value is in JSON: an elementary one, an object by name, a list or a map of another kind.
type kind struct {
	word string // "text" and so on, "object", "list", "map"
	ref  string // the name of the object
	of   *kind
	null bool
}

// overrides are fields whose Go type says nothing: packages that may not know the type hand it through.
var overrides = map[string]string{
	"ReadinessDocument.alarms": "health.Group", "Reason.run": "health.Command",
}

// folders are those of packages that documents are made of, by the packages' names.
var folders = map[string]string{
	"health": "health", "status": "roles/status", "operator": "roles/operator", "doctor": "roles/doctor",
	"rolehealth": "roles/health", "observe": "roles/observe", "proxy": "proxy", "zone": "powerdns/zone",
}

// catalog reads types of the source, each once.
type catalog struct {
	root    string
	sources map[string]map[string]declared // by package and name
	texts   map[string]bool                // types that write themselves as text, as package.Name
	objects []object
}

// declared is a type, and the comment on it.
type declared struct {
	of    ast.Expr
	about string
}

func newCatalog(root string) *catalog {
	return &catalog{root: root, sources: map[string]map[string]declared{}, texts: map[string]bool{}}
}

// add reads the struct of a name such as "health.Group" with all that it is made of, and returns its kind.
func (c *catalog) add(name string) (kind, error) {
	pkg, short, _ := strings.Cut(name, ".")
	return c.named(pkg, short)
}

// load reads the types of a package.
func (c *catalog) load(pkg string) (map[string]declared, error) {
	if known := c.sources[pkg]; known != nil {
		return known, nil
	}
	files, err := filepath.Glob(filepath.Join(c.root, folders[pkg], "*.go"))
	if err != nil || folders[pkg] == "" {
		return nil, fmt.Errorf("package %s is not among those that documents are made of: %w", pkg, err)
	}
	found := map[string]declared{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range parsed.Decls {
			c.note(pkg, d, found)
		}
	}
	c.sources[pkg] = found
	return found, nil
}

func (c *catalog) note(pkg string, d ast.Decl, found map[string]declared) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil && d.Name.Name == "MarshalText" {
			if of, is := d.Recv.List[0].Type.(*ast.Ident); is {
				c.texts[pkg+"."+of.Name] = true
			}
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if t, is := spec.(*ast.TypeSpec); is {
				found[t.Name.Name] = declared{t.Type, sentence(d.Doc, t.Name.Name)}
			}
		}
	}
}

// named is the kind of a declared type.
func (c *catalog) named(pkg, name string) (kind, error) {
	types, err := c.load(pkg)
	if err != nil {
		return kind{}, err
	}
	d, is := types[name]
	switch {
	case !is:
		return kind{}, fmt.Errorf("package %s has no type %s", pkg, name)
	case c.texts[pkg+"."+name]:
		return kind{word: "text"}, nil
	}
	s, is := d.of.(*ast.StructType)
	if !is {
		return c.kindOf(pkg, d.of)
	}
	title := titleOf(pkg, name)
	if slices.ContainsFunc(c.objects, func(o object) bool { return o.name == title }) {
		return kind{word: "object", ref: title}, nil
	}
	at := len(c.objects)
	c.objects = append(c.objects, object{name: title, about: d.about}) // its place, before those that it is made of
	fields, err := c.members(pkg, title, s)
	c.objects[at].fields = fields
	return kind{word: "object", ref: title}, err
}

// titleOf is the name of an object in documents.
func titleOf(pkg, name string) string {
	if named, is := map[string]string{
		"doctor.report": "Report", "doctor.check": "Check", "status.Document": "Status", "rolehealth.HookDocument": "Webhook",
		"proxy.standingJSON": "Standing", "proxy.zoneJSON": "ZoneAnswer", "proxy.changeJSON": "ChangeAnswer",
	}[pkg+"."+name]; is {
		return named
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// members are the fields of a struct that stand in JSON, with those of embedded structs.
func (c *catalog) members(pkg, title string, s *ast.StructType) (all []member, err error) {
	for _, f := range s.Fields.List {
		var tag string
		if f.Tag != nil {
			tag = reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json")
		}
		if len(f.Names) == 0 && tag == "" {
			inner, err := c.embedded(pkg, title, f.Type)
			if err != nil {
				return nil, err
			}
			all = append(all, inner...)
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "" || name == "-" {
			continue
		}
		m := member{name: name, about: comment(f), optional: strings.Contains(options, "omit")}
		if of := overrides[title+"."+name]; of != "" {
			one, err := c.add(of)
			if err != nil {
				return nil, err
			}
			m.of = kind{word: "list", of: &one}
		} else if m.of, err = c.kindOf(pkg, f.Type); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", title, name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// embedded are the fields of an embedded struct, which stand in JSON beside the others.
func (c *catalog) embedded(pkg, title string, of ast.Expr) ([]member, error) {
	name := ""
	switch of := of.(type) {
	case *ast.Ident:
		name = of.Name
	case *ast.SelectorExpr:
		pkg, name = of.X.(*ast.Ident).Name, of.Sel.Name
	}
	types, err := c.load(pkg)
	if err != nil {
		return nil, err
	}
	s, is := types[name].of.(*ast.StructType)
	if !is {
		return nil, fmt.Errorf("%s embeds %s.%s, which is no struct", title, pkg, name)
	}
	return c.members(pkg, title, s)
}

// elementary are Go types as JSON has them.
var elementary = map[string]string{
	"string": "text", "bool": "boolean", "any": "any",
	"int": "integer", "int64": "integer", "uint16": "integer", "uint32": "integer", "uint64": "integer", "float64": "number",
	"time.Time": "time", "time.Duration": "duration", "json.RawMessage": "any",
}

func (c *catalog) kindOf(pkg string, e ast.Expr) (kind, error) {
	switch e := e.(type) {
	case *ast.Ident:
		if word := elementary[e.Name]; word != "" {
			return kind{word: word}, nil
		}
		return c.named(pkg, e.Name)
	case *ast.SelectorExpr:
		from := e.X.(*ast.Ident).Name
		if word := elementary[from+"."+e.Sel.Name]; word != "" {
			return kind{word: word}, nil
		}
		return c.named(from, e.Sel.Name)
	case *ast.StarExpr:
		of, err := c.kindOf(pkg, e.X)
		of.null = true
		return of, err
	case *ast.ArrayType:
		of, err := c.kindOf(pkg, e.Elt)
		return kind{word: "list", of: &of}, err
	case *ast.MapType:
		of, err := c.kindOf(pkg, e.Value)
		return kind{word: "map", of: &of}, err
	}
	return kind{}, fmt.Errorf("%T cannot be documented", e)
}

// comment is what stands behind a field, or above it.
func comment(f *ast.Field) string {
	text := f.Comment.Text()
	if text == "" {
		text = f.Doc.Text()
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "nil", "missing")), " ")
}

// sentence is the first paragraph of a comment on a type, without the type's name.
func sentence(doc *ast.CommentGroup, name string) string {
	text, _, _ := strings.Cut(doc.Text(), "\n\n")
	text = strings.Join(strings.Fields(text), " ")
	for _, verb := range []string{" is ", " are "} {
		if rest, is := strings.CutPrefix(text, name+verb); is && rest != "" {
			return strings.ToUpper(rest[:1]) + rest[1:]
		}
	}
	return text
}
