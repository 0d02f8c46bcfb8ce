package settings

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Key is one setting, as its tags describe it.
type Key struct {
	Name    string // "secondary.workers"
	Env     string // "PDNS_DISTRIBUTE_SECONDARY_WORKERS"
	Type    Type
	Default string // as text; "" when there is none
	Path    string // of a key that names a file or a folder: SecretFile, PublicFile or StateFolder; from the tag path

	Field string // of the section's struct, whose comment explains the key

	secret    bool // the type gives itself away by a method Reveal only
	unmarshal bool // the type reads its own text, such as a secret
}

// What a key with a path names, as package private tells them apart.
const (
	SecretFile  = "secret" // read by its owner alone
	PublicFile  = "public" // written by its owner alone
	StateFolder = "folder" // both
)

// section is one table of the file and the struct that it fills.
type section struct {
	name      string
	envPrefix string
	keys      []Key
	value     reflect.Value
}

func (s section) keyOfField(field string) Key {
	return s.keys[slices.IndexFunc(s.keys, func(k Key) bool { return k.Field == field })]
}

// catalog is everything that may be set.
type catalog struct {
	sections []section
	byName   map[string]Key
	byEnv    map[string]Key
}

// newCatalog reads the tags of cfg, and panics where they make no sense.
func newCatalog(cfg any) catalog {
	c := catalog{byName: map[string]Key{}, byEnv: map[string]Key{}}
	root := reflect.ValueOf(cfg)
	if root.Kind() != reflect.Pointer || root.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("settings: %T is not a pointer to a struct", cfg))
	}
	for field, value := range root.Elem().Fields() {
		if name, tagged := field.Tag.Lookup("toml"); tagged {
			c.add(newSection(name, EnvPrefix+field.Tag.Get("envPrefix"), value))
		}
	}
	return c
}

func newSection(name, envPrefix string, value reflect.Value) section {
	s := section{name: name, envPrefix: envPrefix, value: value}
	for field := range value.Type().Fields() {
		if name, tagged := field.Tag.Lookup("toml"); tagged {
			s.keys = append(s.keys, newKey(s, name, field))
		}
	}
	return s
}

func newKey(s section, name string, field reflect.StructField) Key {
	variable := field.Tag.Get("env")
	typ, ok := typeOf(field.Type)
	if !ok || variable == "" || !field.IsExported() {
		panic(fmt.Sprintf("settings: %s.%s: field %s needs an env tag, a supported type and to be exported", s.name, name, field.Name))
	}
	path := field.Tag.Get("path")
	if !slices.Contains([]string{"", SecretFile, PublicFile, StateFolder}, path) || path != "" && typ != Text {
		panic(fmt.Sprintf("settings: %s.%s: its tag path is %q", s.name, name, path))
	}
	return Key{
		Name:      s.name + "." + name,
		Env:       s.envPrefix + variable,
		Type:      typ,
		Default:   field.Tag.Get("envDefault"),
		Path:      path,
		Field:     field.Name,
		secret:    field.Type.Implements(reflect.TypeFor[interface{ Reveal() string }]()),
		unmarshal: unmarshalsText(field.Type),
	}
}

func (c *catalog) add(s section) {
	c.sections = append(c.sections, s)
	for _, key := range s.keys {
		c.byName[key.Name] = key
		c.byEnv[key.Env] = key
	}
}

func (c *catalog) hasSection(name string) bool {
	return slices.ContainsFunc(c.sections, func(s section) bool { return s.name == name })
}

func (c *catalog) sectionNames() []string {
	names := make([]string, len(c.sections))
	for i, s := range c.sections {
		names[i] = s.name
	}
	return names
}

// unknownKey says that there is no such key, and what was probably meant: the same key of another section, or a
// similar one.
func (c *catalog) unknownKey(name string) string {
	problem := fmt.Sprintf("unknown key %q", name)
	last := name[strings.LastIndex(name, ".")+1:]
	if homes := c.sectionsWith(last); len(homes) > 0 {
		return problem + ", it belongs to " + strings.Join(homes, " or ")
	}
	return problem + DidYouMean(name, slices.Sorted(maps.Keys(c.byName)))
}

// sectionsWith lists the sections that have the key, in the form "[secondary]".
func (c *catalog) sectionsWith(key string) []string {
	var homes []string
	for _, s := range c.sections {
		if _, known := c.byName[s.name+"."+key]; known {
			homes = append(homes, "["+s.name+"]")
		}
	}
	return homes
}
