package settings_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/settings"
)

// secret is how a package keeps a password: settings must set it by its own method, and never show it.
type secret struct{ text string }

func (s secret) Reveal() string { return s.text }

func (s *secret) UnmarshalText(text []byte) error {
	if len(text) < 4 {
		return errors.New("a key has 4 characters or more")
	}
	s.text = string(text)
	return nil
}

type nodeConfig struct {
	ID     string   `toml:"id" env:"ID"`
	Labels []string `toml:"labels" env:"LABELS" envDefault:"all"`
}

type powerdnsConfig struct {
	APIURL string `toml:"api_url" env:"API_URL"`
	APIKey secret `toml:"api_key" env:"API_KEY"`
}

func (c powerdnsConfig) Validate() error {
	switch c.APIURL {
	case "":
		return errors.New("powerdns.api_url: must say where the API is")
	case "nonsense":
		return errors.Join(nil, fmt.Errorf("powerdns.api_url: %w: %w", errors.New("no URL"), errors.New("no scheme")))
	}
	return nil
}

type secondaryConfig struct {
	Workers int     `toml:"workers" env:"WORKERS" envDefault:"8"`
	Percent float64 `toml:"max_delete_percent" env:"MAX_DELETE_PERCENT" envDefault:"10"`
	Serial  uint32  `toml:"serial" env:"SERIAL"`
	Bytes   int64   `toml:"bytes" env:"BYTES"`
	Strict  bool    `toml:"strict" env:"STRICT" envDefault:"true"`

	Since time.Time // not a setting
}

func (c *secondaryConfig) Validate() error {
	var faults []error
	if c.Workers < 1 {
		faults = append(faults, errors.New("secondary.workers: must be 1 or more"))
	}
	if c.Percent > 100 {
		faults = append(faults, errors.New("secondary.max_delete_percent: must be 100 or less"))
	}
	if c.Strict && c.Bytes < 0 {
		faults = append(faults, errors.New("strict does not go with negative bytes"))
	}
	return errors.Join(faults...)
}

type proxyConfig struct {
	Listen string        `toml:"listen" env:"LISTEN" envDefault:":8443"`
	Wait   time.Duration `toml:"wait" env:"WAIT" envDefault:"5s"`
}

type healthConfig struct {
	Wait time.Duration `toml:"check_wait" env:"CHECK_WAIT" envDefault:"20s"`
}

type config struct {
	Node      nodeConfig      `toml:"node" envPrefix:"NODE_"`
	PowerDNS  powerdnsConfig  `toml:"powerdns" envPrefix:"POWERDNS_"`
	Secondary secondaryConfig `toml:"secondary" envPrefix:"SECONDARY_"`
	Proxy     proxyConfig     `toml:"proxy" envPrefix:"PROXY_"`
	Health    healthConfig    `toml:"health" envPrefix:"HEALTH_"`
}

// write puts the content into pdns.toml, and makes the file's directory the current one so that messages are short.
func write(t *testing.T, content string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("pdns.toml", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return "pdns.toml"
}

func TestEverySourceAndType(t *testing.T) {
	file := write(t, "\xef\xbb\xbf"+strings.ReplaceAll(`
health.check_wait = "1m"
[node]
id = "from file"
labels = ["site=fra", "rack 3"]
[powerdns]
api_key = "hunter22"
[secondary]
workers = 2
bytes = -16
max_delete_percent = 12.5
serial = 0xffff_ffff
strict = false
[proxy]
listen = ""
wait = "1m30s"
`, "\n", "\r\n"))
	var got config
	err := settings.Load(&got, settings.Sources{
		File: file,
		Env: []string{"HOME=/", "PDNS_DISTRIBUTE_CONFIG=x", "PDNS_DISTRIBUTE_NODE_ID=from environment",
			"PDNS_DISTRIBUTE_SECONDARY_WORKERS=3", "PDNS_DISTRIBUTE_PROXY_SERVICE_HOST=10.0.0.1", "PDNS_DISTRIBUTE_PORT_80_TCP=x"},
		Flags: map[string]string{"secondary.workers": "4"},
	}, "node", "secondary", "proxy", "health")
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		Node:      nodeConfig{ID: "from environment", Labels: []string{"site=fra", "rack 3"}},
		Secondary: secondaryConfig{Workers: 4, Percent: 12.5, Serial: 4294967295, Bytes: -16},
		Proxy:     proxyConfig{Wait: 90 * time.Second},
		Health:    healthConfig{Wait: time.Minute},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDefaultsWithoutAnySource(t *testing.T) {
	var got config
	if err := settings.Load(&got, settings.Sources{}, "node", "secondary", "proxy"); err != nil {
		t.Fatal(err)
	}
	if got.Secondary.Workers != 8 || got.Proxy.Listen != ":8443" || !slices.Equal(got.Node.Labels, []string{"all"}) {
		t.Errorf("got %+v", got)
	}
}

func TestUnusedSectionStaysAtItsDefaults(t *testing.T) {
	file := write(t, "[secondary]\nworkers = \"many\"\n[proxy]\nwait = \"1s\"\n")
	var got config
	err := settings.Load(&got, settings.Sources{File: file, Env: []string{"PDNS_DISTRIBUTE_SECONDARY_SERIAL=x"}}, "proxy")
	if err != nil {
		t.Fatal(err)
	}
	if got.Secondary.Workers != 8 || got.Proxy.Wait != time.Second {
		t.Errorf("got %+v", got)
	}
}

func TestListsAndEmptyTexts(t *testing.T) {
	var got config
	err := settings.Load(&got, settings.Sources{
		Env:   []string{"PDNS_DISTRIBUTE_NODE_LABELS= a, b ,", "PDNS_DISTRIBUTE_POWERDNS_API_URL=http://x", "PDNS_DISTRIBUTE_POWERDNS_API_KEY="},
		Flags: map[string]string{"proxy.listen": ""},
	}, "node", "powerdns", "proxy")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Node.Labels, []string{"a", "b"}) || got.Proxy.Listen != "" {
		t.Errorf("got %+v", got)
	}
	file := write(t, "[node]\nlabels = []\n[powerdns]\napi_key = \"hunter22\"\napi_url = \"x\"")
	if err := settings.Load(&got, settings.Sources{File: file}, "node", "powerdns"); err != nil {
		t.Fatal(err)
	}
	if got.Node.Labels != nil || got.PowerDNS.APIKey.text != "hunter22" {
		t.Errorf("got %+v", got)
	}
}

func TestFaultOfFile(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"text for int", "[secondary]\n\nworkers = \"many\"", `pdns.toml:3: secondary.workers: "many" is not a whole number (for example 8)`},
		{"quoted int", "[secondary]\nworkers = \"8\"", `pdns.toml:2: secondary.workers: "8" is not a whole number (for example 8)`},
		{"float for int", "[secondary]\nworkers = 1.5", `pdns.toml:2: secondary.workers: 1.5 is not a whole number (for example 8)`},
		{"bool for int", "[secondary]\nworkers = true", `pdns.toml:2: secondary.workers: true is not a whole number (for example 8)`},
		{"table for int", "[secondary.workers]\nx = 1", `pdns.toml:1: secondary.workers: a table is not a whole number (for example 8)`},
		{"list for int", "[secondary]\nworkers = [1]", `pdns.toml:2: secondary.workers: a list is not a whole number (for example 8)`},
		{"date for int", "[secondary]\nworkers = 2026-01-01", `pdns.toml:2: secondary.workers: a date or time is not a whole number (for example 8)`},
		{"large int", "[secondary]\nserial = 4294967296", `pdns.toml:2: secondary.serial: 4294967296 is out of range`},
		{"negative uint", "[secondary]\nserial = -1", `pdns.toml:2: secondary.serial: "-1" is not a whole number (for example 8)`},
		{"text for float", "[secondary]\nmax_delete_percent = \"10%\"", `pdns.toml:2: secondary.max_delete_percent: "10%" is not a number (for example 0.5)`},
		{"int for bool", "[secondary]\nstrict = 1", `pdns.toml:2: secondary.strict: 1 is not true or false (for example true)`},
		{"int for duration", "[proxy]\nwait = 15", `pdns.toml:2: proxy.wait: 15 has no unit: write "15s" for seconds, "15m" for minutes or "15h" for hours`},
		{"quoted int for duration", "[proxy]\nwait = \"15\"", `pdns.toml:2: proxy.wait: 15 has no unit: write "15s" for seconds, "15m" for minutes or "15h" for hours`},
		{"nonsense for duration", "[proxy]\nwait = \"soon\"", `pdns.toml:2: proxy.wait: "soon" is not a duration (for example "15m")`},
		{"empty duration", "[proxy]\nwait = \"\"", `pdns.toml:2: proxy.wait: "" is not a duration (for example "15m")`},
		{"int for text", "[node]\nid = 12345678", `pdns.toml:2: node.id: a value without quotes is not a text (for example "ns1")`},
		{"int for secret", "[powerdns]\napi_url = \"x\"\napi_key = 12345678", `pdns.toml:3: powerdns.api_key: a value without quotes is not a text (for example "ns1")`},
		{"bad secret", "[powerdns]\napi_url = \"x\"\napi_key = \"abc\"", `pdns.toml:3: powerdns.api_key: a key has 4 characters or more`},
		{"text for list", "[node]\nlabels = \"a,b\"", `pdns.toml:2: node.labels: a text is not a list of texts (for example ["a", "b"])`},
		{"int in list", "[node]\nlabels = [\"a\", 2]", `pdns.toml:2: node.labels: item 2 of the list is not a text in quotes (for example ["a", "b"])`},
		{"empty in list", "[node]\nlabels = [\"\"]", `pdns.toml:2: node.labels: item 1 of the list is empty`},
		{"comma in list", "[node]\nlabels = [\"a,b\"]", `pdns.toml:2: node.labels: item 1 of the list holds a comma: make it two items`},
		{"misspelt key", "[secondary]\nworker = 8", `pdns.toml:2: unknown key "secondary.worker", did you mean "secondary.workers"?`},
		{"swapped letters", "[secondary]\nwrokers = 8", `pdns.toml:2: unknown key "secondary.wrokers", did you mean "secondary.workers"?`},
		{"key of another section", "[proxy]\nworkers = 8", `pdns.toml:2: unknown key "proxy.workers", it belongs to [secondary]`},
		{"key above all sections", "workers = 8", `pdns.toml:1: unknown key "workers", it belongs to [secondary]`},
		{"key of nothing", "[proxy]\n\"quite.different\" = 8", `pdns.toml:2: unknown key "proxy.quite.different"`},
		{"unknown key in unused section", "[health]\nchekc_wait = 8", `pdns.toml:2: unknown key "health.chekc_wait", did you mean "health.check_wait"?`},
		{"unknown section", "\n[secondry]\nworkers = 8\nx = 1", `pdns.toml:2: unknown section [secondry], did you mean "secondary"?`},
		{"section as key", "secondary = 8", `pdns.toml:1: secondary: is a section: write [secondary] once, and its keys below it`},
		{"section as list", "[[secondary]]\nworkers = 8", `pdns.toml:1: secondary: is a section: write [secondary] once, and its keys below it`},
		{"inline section", "\nsecondary = { bytes = 1, workers = \"x\" }", `pdns.toml:2: secondary.workers: "x" is not a whole number (for example 8)`},
		{"duplicate key", "[secondary]\nworkers = 8\nworkers = 9", `pdns.toml:3:1: key workers is already defined`},
		{"duplicate section", "[proxy]\n[secondary]\n[proxy]", `pdns.toml:3:2: table proxy already exists`},
		{"syntax", "[powerdns]\napi_key = hunter2", `pdns.toml:2:11: unexpected character U+0068 'h' at start of value`},
		{"prose", "Dear server,\nplease run", `pdns.toml:1:6: expected '=' after key`},
		{"binary", "\x7fELF\x02\x01\x01\x00\x00\xff", `pdns.toml: is not a text in UTF-8`},
		{"zeros", strings.Repeat("\x00", 100), `pdns.toml: is not a text in UTF-8`},
		{"UTF-16", "\xff\xfe[\x00n\x00", `pdns.toml: is in UTF-16: save it as UTF-8`},
		{"garbage", strings.Repeat("garbage\n", 10<<20/8), `pdns.toml: is larger than 256 KiB: this is not a configuration file`},
		{"validate, set", "[secondary]\n# none\nworkers = 0", `pdns.toml:3: secondary.workers: must be 1 or more`},
		{"validate, error of several", "[powerdns]\napi_url = \"nonsense\"", `pdns.toml:2: powerdns.api_url: no URL: no scheme`},
		{"validate, not about a key", "[secondary]\nbytes = -1", `secondary: strict does not go with negative bytes`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sections := []string{"node", "secondary", "proxy"}
			if strings.Contains(tt.content, "[powerdns]") {
				sections = append(sections, "powerdns")
			}
			err := settings.Load(new(config), settings.Sources{File: write(t, tt.content)}, sections...)
			if got := fmt.Sprint(err); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestFaultOfEnvironmentAndFlags(t *testing.T) {
	tests := []struct{ env, flag, text, want string }{
		{env: "PDNS_DISTRIBUTE_SECONDARY_WORKERS=many", want: `PDNS_DISTRIBUTE_SECONDARY_WORKERS: secondary.workers: "many" is not a whole number (for example 8)`},
		{env: "PDNS_DISTRIBUTE_SECONDARY_WORKERS=", want: `PDNS_DISTRIBUTE_SECONDARY_WORKERS: secondary.workers: "" is not a whole number (for example 8)`},
		{env: "PDNS_DISTRIBUTE_SECONDARY_WORKERS=99999999999", want: `PDNS_DISTRIBUTE_SECONDARY_WORKERS: secondary.workers: 99999999999 is out of range`},
		{env: "PDNS_DISTRIBUTE_SECONDARY_STRICT=perhaps", want: `PDNS_DISTRIBUTE_SECONDARY_STRICT: secondary.strict: "perhaps" is not true or false (for example true)`},
		{env: "PDNS_DISTRIBUTE_PROXY_WAIT=15", want: `PDNS_DISTRIBUTE_PROXY_WAIT: proxy.wait: 15 has no unit: write "15s" for seconds, "15m" for minutes or "15h" for hours`},
		{env: "PDNS_DISTRIBUTE_SECONDARY_WORKER=8", want: `PDNS_DISTRIBUTE_SECONDARY_WORKER: unknown environment variable, did you mean "PDNS_DISTRIBUTE_SECONDARY_WORKERS"?`},
		{env: "PDNS_DISTRIBUTE_SECONDARY_WORKERS=0", want: `PDNS_DISTRIBUTE_SECONDARY_WORKERS: secondary.workers: must be 1 or more`},
		{flag: "secondary.workers", text: "many", want: `--set: secondary.workers: "many" is not a whole number (for example 8)`},
		{flag: "secondary.worker", text: "8", want: `--set: unknown key "secondary.worker", did you mean "secondary.workers"?`},
		{flag: "workers", text: "8", want: `--set: unknown key "workers", it belongs to [secondary]`},
		{flag: "secondary.workers", text: "0", want: `--set: secondary.workers: must be 1 or more`},
	}
	for _, tt := range tests {
		t.Run(tt.env+tt.flag+"="+tt.text, func(t *testing.T) {
			from := settings.Sources{Env: []string{tt.env}}
			if tt.flag != "" {
				from.Flags = map[string]string{tt.flag: tt.text}
			}
			err := settings.Load(new(config), from, "secondary", "proxy")
			if got := fmt.Sprint(err); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestAllFaultsAtOnceInOrder(t *testing.T) {
	file := write(t, `[secondary]
workers = 0
max_delete_percent = 200
serial = "x"
[proxi]
listen = ":1"
`)
	err := settings.Load(new(config), settings.Sources{
		File:  file,
		Env:   []string{"PDNS_DISTRIBUTE_PROXY_WAIT=x", "PDNS_DISTRIBUTE_NODE_IDD=x"},
		Flags: map[string]string{"node.idd": "x"},
	}, "powerdns", "secondary", "proxy")
	want := `8 faults in the configuration:
  pdns.toml:2: secondary.workers: must be 1 or more
  pdns.toml:3: secondary.max_delete_percent: must be 100 or less
  pdns.toml:4: secondary.serial: "x" is not a whole number (for example 8)
  pdns.toml:5: unknown section [proxi], did you mean "proxy"?
  PDNS_DISTRIBUTE_NODE_IDD: unknown environment variable, did you mean "PDNS_DISTRIBUTE_NODE_ID"?
  PDNS_DISTRIBUTE_PROXY_WAIT: proxy.wait: "x" is not a duration (for example "15m")
  --set: unknown key "node.idd", did you mean "node.id"?
  powerdns.api_url: must say where the API is (not set)`
	if got := fmt.Sprint(err); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var faults settings.Faults
	if !errors.As(err, &faults) || faults[0].Key != "secondary.workers" || faults[0].Origin.String() != "pdns.toml:2" {
		t.Errorf("faults don't tell key and origin: %#v", faults)
	}
}

func TestUnreadableKeyIsNotValidatedAsWell(t *testing.T) {
	err := settings.Load(new(struct {
		Secondary strictConfig `toml:"secondary" envPrefix:"SECONDARY_"`
	}), settings.Sources{Env: []string{"PDNS_DISTRIBUTE_SECONDARY_WORKERS=x"}}, "secondary")
	want := `PDNS_DISTRIBUTE_SECONDARY_WORKERS: secondary.workers: "x" is not a whole number (for example 8)`
	if got := fmt.Sprint(err); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// strictConfig has no default, so that a text that can't be read leaves an invalid value.
type strictConfig struct {
	Workers int `toml:"workers" env:"WORKERS"`
}

func (c strictConfig) Validate() error {
	if c.Workers < 1 {
		return errors.New("secondary.workers: must be 1 or more")
	}
	return nil
}

func TestFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "none.toml")
	for path, want := range map[string]string{
		missing:     missing + ": there is no such file",
		dir:         dir + ": cannot be read: is no regular file",
		"/dev/zero": "/dev/zero: cannot be read: is no regular file",
	} {
		// powerdns lacks its API's address: with no file to say it, that is not worth telling.
		err := settings.Load(new(config), settings.Sources{File: path}, "powerdns")
		if got := fmt.Sprint(err); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// A configuration that others can write is theirs.
func TestFileThatOthersCanWrite(t *testing.T) {
	file, err := filepath.Abs(write(t, "[node]\nid = \"ns1\"\n"))
	must.OK(t, err)
	folder := filepath.Dir(file)
	for _, c := range []struct {
		path string
		mode os.FileMode
		want string
	}{
		{file, 0o644, ""}, {folder, 0o755, ""},
		{file, 0o664, file + ": others than its owner can write to it (mode 0664); run: chmod go-w " + file},
		{file, 0o646, file + ": others than its owner can write to it (mode 0646); run: chmod go-w " + file},
		{folder, 0o777, "run: chmod go-w " + folder},
	} {
		must.OK(t, os.Chmod(file, 0o600))
		must.OK(t, os.Chmod(folder, 0o700))
		must.OK(t, os.Chmod(c.path, c.mode))
		err := settings.Load(new(config), settings.Sources{File: file}, "node")
		if c.want == "" && err != nil || c.want != "" && !strings.HasSuffix(fmt.Sprint(err), c.want) {
			t.Errorf("%s, mode %04o: %v, want %s", c.path, c.mode, err, c.want)
		}
	}
}

// A secret on the command line is in the list of processes, which all users of the host can read.
func TestSecretAsFlag(t *testing.T) {
	set := func(value string) error {
		return settings.Load(new(config), settings.Sources{
			Flags: map[string]string{"powerdns.api_key": value, "powerdns.api_url": "x"},
		}, "powerdns")
	}
	want := "--set: powerdns.api_key: is a secret, and as a flag every user of this host sees it in the list of processes; " +
		"put it into a file and name that by powerdns.api_key_file, " +
		"or set the environment variable PDNS_DISTRIBUTE_POWERDNS_API_KEY"
	if got := fmt.Sprint(set("hunter22")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if err := set(""); err != nil {
		t.Error("no secret at all: ", err)
	}
}

func TestEmptyFileIsNoFault(t *testing.T) {
	if err := settings.Load(new(config), settings.Sources{File: write(t, "")}, "secondary"); err != nil {
		t.Error(err)
	}
}

func TestDescribe(t *testing.T) {
	keys := settings.Describe(new(config))
	if len(keys) != 12 || keys[0].Name != "node.id" {
		t.Fatalf("got %+v", keys)
	}
	got := keys[4]
	if got.Name != "secondary.workers" || got.Env != "PDNS_DISTRIBUTE_SECONDARY_WORKERS" || got.Type != settings.Whole ||
		got.Default != "8" || got.Field != "Workers" {
		t.Errorf("got %+v", got)
	}
}

func TestProgrammersMistakesPanic(t *testing.T) {
	type noEnv struct {
		Section struct {
			Key string `toml:"key"`
		} `toml:"section" envPrefix:"SECTION_"`
	}
	type noType struct {
		Section struct {
			Key map[string]int `toml:"key" env:"KEY"`
		} `toml:"section" envPrefix:"SECTION_"`
	}
	type badDefault struct {
		Section struct {
			Key int `toml:"key" env:"KEY" envDefault:"x"`
		} `toml:"section" envPrefix:"SECTION_"`
	}
	for name, load := range map[string]func() error{
		"no pointer":      func() error { return settings.Load(config{}, settings.Sources{}) },
		"unknown section": func() error { return settings.Load(new(config), settings.Sources{}, "nonsense") },
		"no env tag":      func() error { return settings.Load(new(noEnv), settings.Sources{}) },
		"no such type":    func() error { return settings.Load(new(noType), settings.Sources{}) },
		"bad default":     func() error { return settings.Load(new(badDefault), settings.Sources{}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "settings: ") {
					t.Errorf("panicked with %q", got)
				}
			}()
			t.Error(load())
		})
	}
}

// Nesting as deep as the size limit allows must end in a fault, not in an exhausted stack.
func TestDeepFiles(t *testing.T) {
	const depth = 128<<10 - 8
	for name, content := range map[string]string{
		"key":     "a" + strings.Repeat(".a", depth) + "=1",
		"section": "[a" + strings.Repeat(".a", depth) + "]",
		"list":    "a=" + strings.Repeat("[", depth),
		"table":   "a=" + strings.Repeat("{a=", depth/2),
	} {
		t.Run(name, func(t *testing.T) {
			var faults settings.Faults
			err := settings.Load(new(config), settings.Sources{File: write(t, content)}, "secondary")
			if !errors.As(err, &faults) || len(faults) != 1 {
				t.Errorf("got %.200v", err)
			}
		})
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "[secondary]\nworkers = 8\n", "secondary = { workers = 8 }", "[[node]]\nid=1", "a.b.c=1\n[d.e]\nf=[1,{g=2}]",
		"\xef\xbb\xbf[proxy]\r\nwait=15", "\"a\\u0000b\".'c'=\"\"\"\nx\"\"\"", "[node]\nlabels=[[\"a\"],1979-05-27T07:32:00Z]", "a={b={c=1},\nd=2}",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "fuzz.toml")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		err := settings.Load(new(config), settings.Sources{File: path}, "node", "powerdns", "secondary", "proxy")
		var faults settings.Faults
		if err != nil && (!errors.As(err, &faults) || len(faults) == 0 || err.Error() == "") {
			t.Errorf("%q: an error without faults: %#v", content, err)
		}
	})
}

func TestSections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	for content, want := range map[string][]string{
		"[proxy]\nlisten = \":1\"\n[node]\nid = \"x\"\n": {"node", "proxy"},
		"proxy = { listen = \":1\" }\n[unknown]\n":       {"proxy", "unknown"},
		"": nil,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := settings.Sections(path); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", content, got, err)
		}
	}
	var faults settings.Faults
	if _, err := settings.Sections(path + ".none"); !errors.As(err, &faults) {
		t.Error(err)
	}
}

// A list is found by what the document means, whatever it looks like.
func TestFindList(t *testing.T) {
	for document, want := range map[string]string{
		"[secondary]\ntrusted_keys = [\"a\", 'b']\nworkers = 8\n":                                     `trusted_keys = ["a", 'b']`,
		"[secondary]\n  trusted_keys=[\n # ] \"no\"\n 'a', # \"neither\" ]\n \"b\",\n # ]\n] # end\n": "trusted_keys=[\n # ] \"no\"\n 'a', # \"neither\" ]\n \"b\",\n # ]\n]",
		"secondary.trusted_keys = ['a', \"b\"]":                                                       `trusted_keys = ['a', "b"]`,
		"secondary = { workers = 8, trusted_keys = [\"a\",\"b\"] }\n":                                 `trusted_keys = ["a","b"]`,
		"[proxy]\ntrusted_keys = []\n[secondary]\n\"trusted_keys\" = [\"a\",'b']":                     `"trusted_keys" = ["a",'b']`,
		"[secondary]\nx = \"\"\"\ntrusted_keys = ['c']\n\"\"\"\ntrusted_keys = ['a','b']":             "trusted_keys = ['a','b']",
	} {
		list, err := settings.FindList([]byte(document), "secondary", "trusted_keys")
		if err != nil || list == nil || document[list.Begin:list.End] != want || !slices.Equal(list.Items, []string{"a", "b"}) {
			t.Errorf("%q: got %+v (%v)", document, list, err)
		}
	}
	for _, document := range []string{
		"", "[secondary]\nworkers = 8\n", "[proxy]\ntrusted_keys = ['a']\n", "# [secondary]\n# trusted_keys = ['a']\n",
		"[secondary]\ntrusted_keys = 'a'\n", "[secondary.more]\ntrusted_keys = ['a']\n", "secondary.trusted_keys.more = ['a']\n",
	} {
		if list, err := settings.FindList([]byte(document), "secondary", "trusted_keys"); err != nil || list != nil {
			t.Errorf("%q: got %+v (%v)", document, list, err)
		}
	}
	if _, err := settings.FindList([]byte("[secondary\n"), "secondary", "trusted_keys"); err == nil {
		t.Error("no error where there is no TOML")
	}
}

func TestWithLine(t *testing.T) {
	for document, want := range map[string]string{
		"[health] # here\nmax_load = 4\n[broker]\n": "[health] # here\nkey = 1\nmax_load = 4\n[broker]\n",
		"[broker]\nkey = 2\n[health]":               "[broker]\nkey = 2\n[health]\nkey = 1\n",
		"[health]\nkey = 2\n":                       "[health]\nkey = 2\n",
		"health.key = 2\n":                          "health.key = 2\n",
		"# [health]\n":                              "# [health]\n",
	} {
		if got, err := settings.WithLine([]byte(document), "health", "key", "key = 1"); err != nil || string(got) != want {
			t.Errorf("%q: got %q (%v), want %q", document, got, err, want)
		}
	}
}
