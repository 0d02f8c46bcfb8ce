package main

import (
	"cmp"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pdns-distribute/roles/config"
	"pdns-distribute/roles/settings"
)

// foreign are names that look like ours and are those of PowerDNS, NATS, databases, clients and tools.
var foreign = strings.Fields(`
	pdns-new.conf reuseport only-notify xfr-cycle-interval secondary-check-signature-freshness default-soa-edit-signed
	api-key also-notify autosecondary enable-lua-record-updates webserver-max-bodysize xfr-max-received-mbytes
	INCEPTION-INCREMENT INCEPTION-EPOCH NSEC3NARROW mariadb-backup pdns-backend-pgsql pg_hba.conf postgresql.conf
	server_id slave_parallel_mode slave_parallel_threads hot_standby_feedback gtid_domain_id read_only
	basic_auth maxTTL enable-lua-records search-data optimistic conservative NONE nats-io/nats.go StateDirectory SocketBindAllow
	system_account verify_and_map handshake_first load-zone systemd-analyze max_connections
	errors.Is errors.As GOARCH UMask supermaster slave-cycle-interval xfr-cycle-interval schema.sqlite3.sql lmdb-shards
	PDNS_API_KEY PDNS_API_KEY_FILE PDNS_API_URL PDNS_HTTP_TIMEOUT PDNS_ServerId PDNS_Token PDNS_Url REQUESTS_CA_BUNDLE
	EXTERNAL_DNS_PDNS_API_KEY SSL_CERT_FILE dnsChallenge account.conf domains.txt connector --dns.propagation.disable-rns
`)

// example matches names that a document makes up: of nodes, zones and hosts, and files named after them.
var example = regexp.MustCompile(`^(?:(?:ns|broker|primary|proxy|health|hidden|p|h|b)\d.*|.*\bexample\b.*|acme-web1|.*[.]removed-)$`)

// names are all that a document may name.
type names struct {
	paths    map[string]bool            // files and folders, each with all ends of its path: publish.go, primary/publish.go, …
	tests    map[string]bool            // tests, fuzz targets and benchmarks
	targets  map[string]bool            // of the Makefile
	settings map[string]bool            // section.key
	members  map[string]map[string]bool // what a package, and a type, has
	words    map[string]bool            // identifiers, and words of texts that the program writes
}

var (
	isTest    = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)[A-Z]\w*$`)
	isSource  = regexp.MustCompile(`^[\w./-]+\.(?:go|tmpl|html|md|sh)$`)
	isFolder  = regexp.MustCompile(`^(?:roles|broker|powerdns|docs|packaging|testdata)/[\w/]+$`)
	isMetric  = regexp.MustCompile(`^((?:pdns_distribute|broker|primary|secondary|proxy|health)_\w+)(?:\{(.*)\})?$`)
	isSubject = regexp.MustCompile(`^(pdns\.[a-z]+)(?:\..*)?$`)
	isSetting = regexp.MustCompile(`^([a-z]+\.[a-z_0-9]+)(?: ?=.*)?$`)
	isMember  = regexp.MustCompile(`^(?:\w+\.)?(\w+)\.(\w+)$`)
	isName    = regexp.MustCompile(`^\w[\w.-]*\w$`)
	separator = regexp.MustCompile(`[^\w.-]+`)
	target    = regexp.MustCompile(`(?m)^([a-z-]+):`)
)

// errGone is of what looks like a name of ours and is none.
var errGone = errors.New("there is no such thing; where it is not ours, add it to foreign in names_test.go")

func (n names) check(span string) error {
	section, _, _ := strings.Cut(span, ".")
	assigned, _, isAssigned := strings.Cut(span, "=")
	switch found := isMetric.FindStringSubmatch(span); {
	case slices.Contains(foreign, strings.TrimSpace(assigned)) || example.MatchString(span):
		return nil
	case found != nil:
		return n.all(append(splitWords(found[2]), "pdns_distribute_"+strings.TrimPrefix(found[1], "pdns_distribute_")))
	case isSubject.MatchString(span) && !n.words[span]:
		return n.all(isSubject.FindStringSubmatch(span)[1:])
	case isTest.MatchString(span):
		return exists(n.tests[span])
	case isSource.MatchString(span), isFolder.MatchString(span):
		return exists(n.paths[span])
	case strings.HasPrefix(span, "make "):
		return exists(n.targets[strings.Fields(span)[1]])
	case strings.HasPrefix(span, "pdns-distribute "), strings.Contains(span, "--"):
		return n.checkCommand(strings.Fields(span))
	case n.hasSection(section) && isSetting.MatchString(span) && !n.isOtherwise(span):
		return exists(n.settings[isSetting.FindStringSubmatch(span)[1]])
	case n.members[section] != nil && isMember.MatchString(span) && !n.words[span]:
		found := isMember.FindStringSubmatch(span)
		return exists(n.members[found[1]][found[2]])
	case isAssigned && !strings.Contains(assigned, " "):
		return n.all(splitWords(assigned))
	case isName.MatchString(span) && !isNumber(span) && !n.paths[span]:
		return n.all([]string{span})
	}
	return nil
}

// isOtherwise reports whether what looks like section.key is something else: a member of a package, or a file.
func (n names) isOtherwise(span string) bool {
	found := isMember.FindStringSubmatch(span)
	return found != nil && n.members[found[1]][found[2]] || n.words[span]
}

func (n names) hasSection(name string) bool {
	for key := range n.settings {
		if strings.HasPrefix(key, name+".") {
			return true
		}
	}
	return false
}

// checkCommand looks at the commands and flags of a line, and at none of their arguments.
func (n names) checkCommand(line []string) error {
	if len(line) > 1 && line[0] == "pdns-distribute" && !exempt(line[1]) {
		if err := exists(n.words[line[1]]); err != nil {
			return err
		}
	}
	for _, word := range line {
		if flag, is := strings.CutPrefix(word, "--"); is && !slices.Contains([]string{"set", "help"}, flag) {
			if err := exists(n.words[flag]); err != nil {
				return err
			}
		}
	}
	return nil
}

// exempt is what stands for one of several names.
func exempt(word string) bool { return strings.ToUpper(word) == word || strings.HasPrefix(word, "--") }

func (n names) all(list []string) error {
	for _, word := range list {
		if !n.words[word] && !isNumber(word) {
			return errGone
		}
	}
	return nil
}

func exists(does bool) error {
	if !does {
		return errGone
	}
	return nil
}

func isNumber(word string) bool { return word != "" && word[0] >= '0' && word[0] <= '9' }

func splitWords(text string) []string {
	return slices.DeleteFunc(separator.Split(text, -1), func(word string) bool { return len(strings.Trim(word, ".-")) < 2 })
}

// readNames reads all sources.
func readNames(t *testing.T) names {
	t.Helper()
	n := names{
		paths: map[string]bool{}, tests: map[string]bool{}, targets: map[string]bool{}, settings: map[string]bool{},
		members: map[string]map[string]bool{}, words: map[string]bool{},
	}
	for _, key := range settings.Describe(&config.Config{}) {
		n.settings[key.Name] = true
		n.words[key.Env] = true
	}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		n.addPath(path)
		switch {
		case path == ".git" && entry.IsDir():
			return fs.SkipDir
		case entry.IsDir():
			return nil
		}
		return n.addSource(path)
	})
	if err != nil || len(n.tests) < 100 || len(n.settings) < 50 {
		t.Fatalf("%d tests and %d settings were found: %v", len(n.tests), len(n.settings), err)
	}
	return n
}

func (n names) addPath(path string) {
	for end := filepath.ToSlash(path); ; {
		n.paths[end] = true
		_, rest, more := strings.Cut(end, "/")
		if !more {
			return
		}
		end = rest
	}
}

func (n names) addSource(path string) error {
	if filepath.Ext(path) == ".go" {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err == nil {
			n.addGo(file, strings.HasSuffix(path, "_test.go"))
		}
		return err
	}
	isScript := slices.Contains([]string{".tmpl", ".html", ".sh", ".service"}, filepath.Ext(path))
	if !isScript && path != "Makefile" && path != "go.mod" {
		return nil
	}
	text, err := os.ReadFile(path)
	n.addWords(string(text))
	if path == "Makefile" {
		for _, found := range target.FindAllStringSubmatch(string(text), -1) {
			n.targets[found[1]] = true
		}
	}
	return err
}

// addGo takes what a file declares, and the words of its texts; of a test file only its tests, since the texts of tests
// hold what is no more.
func (n names) addGo(file *ast.File, isTestFile bool) {
	n.words[file.Name.Name] = true
	if isTestFile {
		for _, declared := range file.Decls {
			if function, is := declared.(*ast.FuncDecl); is && isTest.MatchString(function.Name.Name) {
				n.tests[function.Name.Name] = true
			}
		}
		return
	}
	for _, imported := range file.Imports {
		n.addWords(imported.Path.Value)
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.FuncDecl:
			n.add(cmp.Or(receiver(node), file.Name.Name), node.Name)
		case *ast.TypeSpec:
			n.add(file.Name.Name, node.Name)
			n.addFields(node)
		case *ast.ValueSpec:
			for _, name := range node.Names {
				n.add(file.Name.Name, name)
			}
		case *ast.Field:
			for _, name := range node.Names {
				n.words[name.Name] = true
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(node.Value); err == nil && node.Kind == token.STRING {
				n.addWords(text)
			}
		}
		return true
	})
}

func (n names) addFields(declared *ast.TypeSpec) {
	var fields *ast.FieldList
	switch of := declared.Type.(type) {
	case *ast.StructType:
		fields = of.Fields
	case *ast.InterfaceType:
		fields = of.Methods
	default:
		return
	}
	for _, field := range fields.List {
		for _, name := range field.Names {
			n.add(declared.Name.Name, name)
		}
		if field.Tag != nil {
			tag, _ := strconv.Unquote(field.Tag.Value)
			n.addWords(reflect.StructTag(tag).Get("json"))
			n.addWords(reflect.StructTag(tag).Get("toml"))
		}
	}
}

// receiver is the name of a method's type, "" of a function.
func receiver(function *ast.FuncDecl) string {
	if function.Recv == nil {
		return ""
	}
	typ := function.Recv.List[0].Type
	if star, is := typ.(*ast.StarExpr); is {
		typ = star.X
	}
	if generic, is := typ.(*ast.IndexExpr); is {
		typ = generic.X
	}
	if name, is := typ.(*ast.Ident); is {
		return name.Name
	}
	return ""
}

func (n names) add(to string, name *ast.Ident) {
	if n.members[to] == nil {
		n.members[to] = map[string]bool{}
	}
	n.members[to][name.Name] = true
	n.words[name.Name] = true
}

// addWords takes the words of a text, and the parts of those with dots.
func (n names) addWords(text string) {
	for _, word := range separator.Split(text, -1) {
		word = strings.Trim(word, ".-")
		n.words[word] = true
		for part := range strings.SplitSeq(word, ".") {
			n.words[part] = true
		}
	}
}
