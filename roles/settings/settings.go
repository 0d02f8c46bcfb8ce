// Package settings loads the configuration of a role into a Config struct, from four sources:
//
//	default < TOML file < environment variable < flag
//
// Every source is first brought to one form, the text of a key and where it was set, so that a later source simply
// replaces an earlier one, and one place alone (caarlos0/env) turns texts into typed values. What is wrong is
// collected and returned together as [Faults], each naming file, line and key: an operator repairs a file in one go,
// not fault by fault.
//
// A Config struct is described by its tags. Its fields are the sections, their fields are the keys:
//
//	type Config struct {
//		Secondary SecondaryConfig `toml:"secondary" envPrefix:"SECONDARY_"`
//	}
//	type SecondaryConfig struct {
//		Workers int    `toml:"workers" env:"WORKERS" envDefault:"8"`
//		KeyFile string `toml:"key_file" env:"KEY_FILE" path:"secret"`
//	}
//
// so that secondary.workers is also PDNS_DISTRIBUTE_SECONDARY_WORKERS and --set secondary.workers=8. Fields without a
// toml tag are left alone. A section may have a method Validate() error; see [Load].
package settings

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caarlos0/env/v10"
)

// EnvPrefix begins the name of every environment variable that is a setting.
const EnvPrefix = "PDNS_DISTRIBUTE_"

// FileVariable is the environment variable that names the configuration file. It is the command line's business;
// [Load] only knows that it is no key.
const FileVariable = EnvPrefix + "CONFIG"

// Sources says where settings are read from. Each may be empty.
type Sources struct {
	File  string            // path of the TOML file; "" reads none
	Env   []string          // the process's environment, as os.Environ gives it
	Flags map[string]string // key to text: {"secondary.workers": "8"}
}

// Load fills cfg, a pointer to a Config struct as described at the package, from its defaults and the sources.
//
// The role uses the named sections. Only their values are looked at; those of other sections stay at their defaults,
// so that one file can serve all roles of a host. Unknown sections, keys and PDNS_DISTRIBUTE_ variables are faults
// everywhere. An empty text is a value: it switches off what has a default, and is a fault where a number or a
// duration is needed.
//
// A used section with a method Validate() error is asked once its values are set. It joins what it finds by
// errors.Join, and each error's text begins with the key ("secondary.workers: must be 1 or more"), by which Load adds
// where it was set.
//
// The error is nil or of type [Faults], and then cfg must not be used. Load panics when cfg's tags are wrong, or a
// section is named that it hasn't: both are mistakes of the programmer that the first test finds.
func Load(cfg any, from Sources, sections ...string) error {
	l := &loader{catalog: newCatalog(cfg), used: sections, values: map[string]value{}}
	l.mustHaveSections()
	l.readFile(from.File)
	l.readEnvironment(from.Env)
	l.readFlags(from.Flags)
	for _, s := range l.sections {
		l.fill(s)
	}
	// A file that can't be read says nothing about its keys; asking whether they are complete would only add noise.
	if !l.fileBroken {
		l.validate()
	}
	return l.faults.sorted()
}

// loader is one run of Load: what was read so far, and what was wrong with it.
type loader struct {
	catalog
	used       []string         // sections
	values     map[string]value // by the key's name; the strongest source so far
	faults     Faults
	fileBroken bool
}

// value is the text of a key and where it was set.
type value struct {
	text   string
	origin Origin
}

func (l *loader) mustHaveSections() {
	for _, name := range l.used {
		if !l.hasSection(name) {
			panic(fmt.Sprintf("settings: the configuration has no section %q", name))
		}
	}
}

func (l *loader) uses(section string) bool { return slices.Contains(l.used, section) }

func (l *loader) fault(at Origin, key, format string, args ...any) {
	l.faults = append(l.faults, Fault{Origin: at, Key: key, Problem: fmt.Sprintf(format, args...)})
}

// readEnvironment takes the settings among the environment variables.
func (l *loader) readEnvironment(environ []string) {
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, EnvPrefix) || name == FileVariable {
			continue
		}
		at := Origin{source: fromEnvironment, name: name}
		if key, known := l.byEnv[name]; known {
			l.values[key.Name] = value{text, at}
		} else if !serviceLink.MatchString(name) {
			l.fault(at, "", "unknown environment variable%s", DidYouMean(name, slices.Sorted(maps.Keys(l.byEnv))))
		}
	}
}

// serviceLink matches the variables that Kubernetes, and Docker's old links, put into every container for a service
// named pdns-distribute or pdns-distribute-…: nobody meant them as settings.
var serviceLink = regexp.MustCompile(
	`^PDNS_DISTRIBUTE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// readFlags takes the settings given on the command line.
func (l *loader) readFlags(flags map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		at := Origin{source: fromFlag, name: name}
		key, known := l.byName[name]
		switch {
		case !known:
			l.fault(at, "", "%s", l.unknownKey(name))
		case key.secret && flags[name] != "":
			l.fault(at, name, "is a secret, and as a flag every user of this host sees it in the list of processes; "+
				"put it into a file and name that by %s_file, or set the environment variable %s", name, key.Env)
		default:
			l.values[name] = value{flags[name], at}
		}
	}
}

// fill sets the fields of one section: to what was read if the role uses it, else to the defaults.
func (l *loader) fill(s section) {
	texts := map[string]string{}
	for _, key := range s.keys {
		v, set := l.values[key.Name]
		switch {
		case !set || !l.uses(s.name):
		case v.text == "" && !key.Type.mayBeEmpty():
			l.fault(v.origin, key.Name, "%s", key.Type.refuseText(""))
		case key.Type == List:
			texts[key.Env] = trimList(v.text)
		default:
			texts[key.Env] = v.text
		}
	}
	l.parse(s, texts)
	for _, key := range s.keys {
		// env takes an empty text for 'not set' and puts the default there.
		if text, set := texts[key.Env]; set && text == "" {
			s.value.FieldByName(key.Field).SetZero()
		}
	}
}

// parse turns the texts into the typed fields of the section.
func (l *loader) parse(s section, texts map[string]string) {
	err := env.ParseWithOptions(s.value.Addr().Interface(), env.Options{Prefix: s.envPrefix, Environment: texts})
	var all env.AggregateError
	if !errors.As(err, &all) {
		return
	}
	for _, err := range all.Errors {
		var unread env.ParseError
		if !errors.As(err, &unread) {
			panic(fmt.Sprintf("settings: section %q: %v", s.name, err))
		}
		key := s.keyOfField(unread.Name)
		v, set := l.values[key.Name]
		if !set {
			panic(fmt.Sprintf("settings: %s: its default %q can't be read: %v", key.Name, key.Default, unread.Err))
		}
		l.fault(v.origin, key.Name, "%s", key.refuse(v.text, unread.Err))
	}
}

// validate asks the used sections what they find wrong with themselves. A key whose text could not even be read has
// its fault already, and gets no second one for the value that it was left with.
func (l *loader) validate() {
	unread := slices.Clone(l.faults)
	for _, s := range l.sections {
		v, can := s.value.Addr().Interface().(interface{ Validate() error })
		if !can || !l.uses(s.name) {
			continue
		}
		for _, err := range single(v.Validate()) {
			if f := l.invalid(s, err.Error()); !unread.about(f.Key) {
				l.faults = append(l.faults, f)
			}
		}
	}
}

// invalid makes a fault of "secondary.workers: must be 1 or more". A text that begins with no key is about the section.
func (l *loader) invalid(s section, text string) Fault {
	name, problem, _ := strings.Cut(text, ": ")
	if _, known := l.byName[name]; !known {
		return Fault{Origin{source: nowhere}, s.name, text}
	}
	v, set := l.values[name]
	if !set {
		return Fault{Origin{source: nowhere}, name, problem + " (not set)"}
	}
	return Fault{v.origin, name, problem}
}

// single takes apart what errors.Join has joined, and nothing else: an error of several %w is one sentence.
func single(err error) []error {
	if err == nil {
		return nil
	}
	joined, is := err.(interface{ Unwrap() []error })
	if !is || err.Error() != errors.Join(joined.Unwrap()...).Error() {
		return []error{err}
	}
	var all []error
	for _, err := range joined.Unwrap() {
		all = append(all, single(err)...)
	}
	return all
}

// Describe lists every key of cfg, a pointer to a Config struct, in the order of its fields.
func Describe(cfg any) []Key {
	var keys []Key
	for _, s := range newCatalog(cfg).sections {
		keys = append(keys, s.keys...)
	}
	return keys
}
