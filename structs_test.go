package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"testing"
)

// maxFields is what one can keep in mind of a type. What has more is made of smaller types, each with a name.
const maxFields = 15

// large are structs that are right as they are.
var large = map[string]string{
	"proxy Config":               "the settings of the section [proxy]: an operator's list, each with its help",
	"roles/config PrimaryConfig": "the settings of the section [primary]",
}

func TestStructsAreSmall(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for name, n := range fieldsOf(file) {
			name = filepath.ToSlash(filepath.Dir(path)) + " " + name
			if n > maxFields {
				found[name] = true
			}
			if n > maxFields && large[name] == "" {
				t.Errorf("%s has %d fields, more than %d: group them into types with names", name, n, maxFields)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range large {
		if !found[name] {
			t.Errorf("%s has no more than %d fields: take it out of the list of large structs", name, maxFields)
		}
	}
}

// The test would find what it is for.
func TestFieldsAreCounted(t *testing.T) {
	const text = "package p\ntype a struct{ b, c int; d; *e.F }\ntype g = struct{}\nfunc f() { type h struct { i int } }"
	parsed, err := parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(fieldsOf(parsed)), "map[a:4 g:0 h:1]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// fieldsOf counts the fields of each struct that a file declares. An embedded one counts as one.
func fieldsOf(file *ast.File) map[string]int {
	counts := map[string]int{}
	ast.Inspect(file, func(n ast.Node) bool {
		if declared, is := n.(*ast.TypeSpec); is {
			if s, is := declared.Type.(*ast.StructType); is {
				counts[declared.Name.Name] = 0
				for _, field := range s.Fields.List {
					counts[declared.Name.Name] += max(len(field.Names), 1)
				}
			}
		}
		return true
	})
	return counts
}
