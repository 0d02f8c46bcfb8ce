package command

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"pdns-distribute/health"
)

// completeWord stands first where a shell asks what may stand in place of the last word. It is for the completion
// scripts.
const completeWord = "__complete"

// A Completer lists what may stand at a place of the command line. It is called while somebody types: it reads files
// at most, asks nobody over the network, changes nothing, and leaves out what it cannot find out.
type Completer func(Typed) Offer

// Typed is what stands before the word that is completed.
type Typed struct {
	Args   []string // without flags
	Flags  []string // names of those that are given
	Config string   // path of the configuration file that the command would read; "" without
}

// Given reports whether the flag of this name stands before the word.
func (t Typed) Given(flag string) bool { return slices.Contains(t.Flags, flag) }

// Offer is what may stand at a place. What does not begin as the word that was typed is left out by the caller.
type Offer struct {
	Words []Word
	Paths Paths // besides the words
}

// Word may stand at a place. With "=" at its end more has to follow.
type Word struct{ Text, Help string }

// Paths are which names of the file system may stand at a place.
type Paths string

const (
	noPaths Paths = "nothing"
	files   Paths = "files"
	folders Paths = "folders"
)

// Files offers files.
func Files(Typed) Offer { return Offer{Paths: files} }

// Folders offers folders.
func Folders(Typed) Offer { return Offer{Paths: folders} }

// OneOf offers these words.
func OneOf(words ...string) Completer {
	return func(Typed) Offer { return Words(words...) }
}

// Words is an offer of these words.
func Words(words ...string) (o Offer) {
	for _, w := range words {
		o.Words = append(o.Words, Word{Text: w})
	}
	return o
}

// OrFolders adds folders to what is offered.
func (o Offer) OrFolders() Offer {
	o.Paths = folders
	return o
}

// complete prints what may stand in place of the last word: a line for each word, with a tab before its help, and at
// the end a line ":files", ":folders" or ":nothing".
func (p *Program) complete(words []string) {
	if len(words) == 0 {
		return
	}
	last := words[len(words)-1]
	offer := p.offer(p.atHome(words[:len(words)-1]), last)
	for _, w := range offer.Words {
		if strings.HasPrefix(w.Text, last) && !strings.ContainsFunc(w.Text, unfit) {
			fmt.Fprintf(p.Stdout, "%s\t%s\n", w.Text, health.Cut(w.Help))
		}
	}
	fmt.Fprintf(p.Stdout, ":%s\n", cmp.Or(offer.Paths, noPaths))
}

// unfit reports whether a character cannot be part of a word that a shell inserts: words come from files.
func unfit(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }

// atHome puts the home folder for "~", which shells hand over as it was typed.
func (p *Program) atHome(words []string) (expanded []string) {
	home := ""
	for _, entry := range p.Environ {
		if path, is := strings.CutPrefix(entry, "HOME="); is {
			home = path
		}
	}
	for _, word := range words {
		if below, is := strings.CutPrefix(word, "~/"); is && home != "" {
			word = filepath.Join(home, below)
		}
		expanded = append(expanded, word)
	}
	return expanded
}

// offer finds what may stand behind words. Of the last word it looks at the beginning alone.
func (p *Program) offer(words []string, last string) Offer {
	at := Command{Below: p.all(), Flags: []Flag{{Name: "version", Help: "print the version"}}}
	for len(words) > 0 {
		next := find(at.Below, words[:1])
		if next.Name == "" {
			break
		}
		at, words = next, words[1:]
	}
	known := p.flags(at)
	l := p.read(at, known, words)
	name, _, assigned := strings.Cut(last, "=")
	flag := flagNamed(known, name)
	switch {
	case l.open != nil:
		return l.open.Complete.offer(l.Typed)
	case l.ended:
		return at.arguments(l.Typed)
	case assigned && flag != nil:
		return flag.Complete.offer(l.Typed).behind(name + "=")
	case strings.HasPrefix(last, "-"):
		return flagsLeft(known, l.Flags)
	case len(l.Args) == 0 && len(at.Below) > 0:
		offer := at.arguments(l.Typed)
		return Offer{append(wordsOf(at.Below), offer.Words...), offer.Paths}
	case at.takes(l.Args):
		return at.arguments(l.Typed)
	case at.Name == "": // an unknown command
		return Offer{}
	}
	return flagsLeft(known, l.Flags)
}

// line is what stands before the word that is completed, taken apart.
type line struct {
	Typed
	open  *Flag // whose value comes next
	ended bool  // by "--": no flags follow
}

func (p *Program) read(of Command, known []Flag, words []string) (l line) {
	var config string
	for _, word := range words {
		name, value, assigned := strings.Cut(word, "=")
		flag := flagNamed(known, name)
		switch {
		case l.open != nil:
			if l.open.Name == "config" {
				config = word
			}
			l.open = nil
		case l.ended, !strings.HasPrefix(word, "-"):
			l.Args = append(l.Args, word)
		case word == "--":
			l.ended = true
		case flag == nil: // the command will refuse it
		case assigned && flag.Name == "config":
			config = value
			fallthrough
		default:
			l.Flags = append(l.Flags, flag.Name)
			if flag.Value != "" && !assigned {
				l.open = flag
			}
		}
	}
	l.Config, _ = p.configFile(of, nil, config, l.Given("config")) // else nothing is offered
	return l
}

// flagNamed returns the flag that a word such as "--config" names, or nil.
func flagNamed(known []Flag, word string) *Flag {
	name := strings.TrimLeft(word, "-")
	i := slices.IndexFunc(known, func(f Flag) bool { return f.Name == name })
	if i < 0 || name == word {
		return nil
	}
	return &known[i]
}

// flagsLeft are the flags that may still be given.
func flagsLeft(known []Flag, given []string) (o Offer) {
	for _, f := range known {
		if f.Many || !slices.Contains(given, f.Name) {
			o.Words = append(o.Words, Word{"--" + f.Name, f.Help})
		}
	}
	o.Words = append(o.Words, Word{"--help", "show the help"})
	return o
}

// takes reports whether an argument may stand behind these.
func (c Command) takes(args []string) bool {
	wanted := strings.Fields(c.Arguments)
	return len(args) < len(wanted) || strings.Contains(c.Arguments, "...")
}

// arguments are what may stand behind those that are typed.
func (c Command) arguments(t Typed) Offer {
	if !c.takes(t.Args) {
		return Offer{}
	}
	return c.Complete.offer(t)
}

// offer is what the completer lists; nil lists nothing.
func (c Completer) offer(t Typed) Offer {
	if c == nil {
		return Offer{}
	}
	return c(t)
}

// offerSettings offers the keys that --set takes.
func (p *Program) offerSettings(Typed) (o Offer) {
	for _, key := range p.Settings {
		o.Words = append(o.Words, Word{key.Name + "=", string(key.Type)})
	}
	return o
}

// behind puts a prefix before each word.
func (o Offer) behind(prefix string) Offer {
	words := slices.Clone(o.Words)
	for i := range words {
		words[i].Text = prefix + words[i].Text
	}
	return Offer{words, o.Paths}
}

func wordsOf(commands []Command) (words []Word) {
	for _, c := range commands {
		words = append(words, Word{c.Name, c.Summary})
	}
	return words
}
