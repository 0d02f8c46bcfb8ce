package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// keysFile is the text of a keys file with these keys.
func keysFile(t *testing.T, keys ...Key) []byte {
	t.Helper()
	text, err := FormatKeys(keys)
	must.OK(t, err)
	return text
}

// newKey makes a key and its secret.
func newKey(k Key) (Key, string) {
	secret, hash := NewSecret()
	k.Hash = hash
	return k, secret
}

// watchedKeys looks at its file all the time.
func watchedKeys(t *testing.T, file string, ready func() error) (*scopedKeys, *lines) {
	t.Helper()
	log := newLines()
	k, err := newScopedKeys(Config{KeysFile: file}, ready, nil, zerolog.New(log))
	must.OK(t, err)
	k.interval = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.watch(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return k, log
}

// putFile writes a file at once.
func putFile(t *testing.T, file string, text []byte) {
	t.Helper()
	must.OK(t, os.WriteFile(file+".new", text, 0o600))
	must.OK(t, os.Rename(file+".new", file))
}

func sha(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

func always() error { return nil }

// TestKeyringFollowsItsFile adds, changes and removes keys in the file. What has a fault changes nothing.
func TestKeyringFollowsItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.toml")
	k, log := watchedKeys(t, file, always)
	first, secret := newKey(acme())
	other := acme()
	other.ID = "other"
	second, otherSecret := newKey(other)
	if key, err := k.find(secret); key != nil || err == nil {
		t.Fatalf("%v, %v of a key that there is not", key, err)
	}
	if key, err := k.find("PowerDNS's own"); key != nil || err != nil {
		t.Fatalf("%v, %v of a key of another form", key, err)
	}
	putFile(t, file, keysFile(t, first))
	log.await(t, `"change":"added"`, "acme-web1")
	if key, err := k.find(secret); err != nil || key.id != "acme-web1" {
		t.Fatalf("%v, %v", key, err)
	}
	limiter := (*k.held.Load())[sha(secret)].use

	putFile(t, file, keysFile(t, first, second))
	log.await(t, `"change":"added"`, `"key":"other"`)
	if (*k.held.Load())[sha(secret)].use != limiter {
		t.Error("what a key had left of its rate is gone")
	}
	for _, bad := range []string{"", "[[proxy.key", "[proxy]\nlisten = \"x\"", string(keysFile(t,
		first)) + "\nzone = [\"x\"]"} {
		putFile(t, file, []byte(bad))
		log.await(t, "keeping the former")
		if key, err := k.find(otherSecret); err != nil || key == nil {
			t.Fatalf("%s: %v, %v", bad, key, err)
		}
	}
	putFile(t, file, keysFile(t, second))
	log.await(t, `"change":"removed"`, "acme-web1")
	if _, err := k.find(secret); err == nil {
		t.Error("a removed key is good")
	}
	second.Zones = []string{"example.net"}
	putFile(t, file, keysFile(t, second))
	log.await(t, `"change":"replaced"`, `"key":"other"`)
	if key, err := k.find(otherSecret); err != nil || key.coversZone(zone.MustParseName("example.org.")) {
		t.Errorf("%v: the former scope holds", err)
	}
	must.OK(t, os.Remove(file))
	log.await(t, `"change":"removed"`, `"key":"other"`)
	if n := log.count("scoped API key changed"); n != 5 {
		t.Errorf("%d changes are logged, of 5", n)
	}
	for _, line := range log.seen {
		if strings.Contains(line, secret) || strings.Contains(line, otherSecret) || strings.Contains(line, first.Hash) {
			t.Errorf("a secret is logged: %s", line)
		}
	}
}

// TestKeysFileOpenToOthers: whoever may write it would make keys.
func TestKeysFileOpenToOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.toml")
	key, _ := newKey(acme())
	must.OK(t, os.WriteFile(file, keysFile(t, key), 0o600))
	must.OK(t, os.Chmod(file, 0o666))
	if _, err := newScopedKeys(Config{KeysFile: file}, always, nil, zerolog.Nop()); err == nil ||
		!strings.Contains(err.Error(), "chmod") {
		t.Errorf("taken: %v", err)
	}
}

// TestKeysNeedPowerDNSKey: without PowerDNS's own key a scoped one can do nothing.
func TestKeysNeedPowerDNSKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.toml")
	none := func() error { return errors.New("no key of PowerDNS") }
	if _, err := newScopedKeys(Config{KeysFile: file}, none, nil, zerolog.Nop()); err != nil {
		t.Errorf("without scoped keys: %v", err)
	}
	key, _ := newKey(acme())
	must.OK(t, os.WriteFile(file, keysFile(t, key), 0o600))
	if _, err := newScopedKeys(Config{KeysFile: file}, none, nil, zerolog.Nop()); err == nil ||
		!strings.Contains(err.Error(), "no key of PowerDNS") {
		t.Errorf("with one: %v", err)
	}
}

// TestKeyEnds has a key that is good until a day begins, in UTC.
func TestKeyEnds(t *testing.T) {
	k := acme()
	k.Expires = "2027-01-31"
	key, secret := newKey(k)
	ring, err := newScopedKeys(Config{Keys: Keys{key}}, always, nil, zerolog.Nop())
	must.OK(t, err)
	end := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	for at, good := range map[time.Time]bool{end.Add(-time.Nanosecond): true, end: false, end.AddDate(1, 0, 0): false} {
		ring.now = func() time.Time { return at }
		if found, err := ring.find(secret); (found != nil && err == nil) != good {
			t.Errorf("%s: %v, %v", at, found, err)
		}
	}
}

// TestFaultsInKeys has one fault in an otherwise good key at a time.
func TestFaultsInKeys(t *testing.T) {
	for want, spoil := range map[string]func(*Key){
		`key "": the id`:             func(k *Key) { k.ID = "" },
		`key "powerdns": the id`:     func(k *Key) { k.ID = "powerdns" },
		`key "A": the id`:            func(k *Key) { k.ID = "A" },
		"hash: is not":               func(k *Key) { k.Hash = "sha256:12" },
		"zones: missing":             func(k *Key) { k.Zones = nil },
		`zones: "a.*.b"`:             func(k *Key) { k.Zones = []string{"a.*.b"} },
		"verbs: missing":             func(k *Key) { k.Verbs = nil },
		`verbs: "write" is none`:     func(k *Key) { k.Verbs = []string{"write"} },
		"create is about the whole":  func(k *Key) { k.Verbs = []string{"create"} },
		"dnssec is about the whole":  func(k *Key) { k.Verbs = []string{"dnssec"}; k.Types = nil },
		"delete: give both":          func(k *Key) { k.DeletesPerHour = 1 },
		"deletes_per_hour: -1":       func(k *Key) { k.DeletesPerHour = -1 },
		`types: "txt" is no record`:  func(k *Key) { k.Types = []string{"txt"} },
		`types: "ANY" is no record`:  func(k *Key) { k.Types = []string{"ANY"} },
		`names: "*.*" is no name`:    func(k *Key) { k.Names = []string{"*.*"} },
		`expires: "tomorrow" is no`:  func(k *Key) { k.Expires = "tomorrow" },
		"rate: -1 is not between":    func(k *Key) { k.Rate = -1 },
		"there are two of this id":   nil,
		"has the secret of key acme": nil,
	} {
		key, _ := newKey(acme())
		keys := Keys{key}
		switch {
		case spoil != nil:
			spoil(&keys[0])
		case strings.Contains(want, "two"):
			again, _ := newKey(acme())
			keys = append(keys, again)
		default:
			again := key
			again.ID = "again"
			keys = append(keys, again)
		}
		if err := keys.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	good, _ := newKey(acme())
	must.OK(t, Keys{good}.Validate())
}

func TestKeysAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		`[{"id":"a","zone":["x"]}]`: `unknown key "zone"`,
		`[{"ID":"a"}]`:              `unknown key "ID"`,
		`[{"id":1}]`:                "id: a number",
		`[{"zones":"x"}]`:           "zones: a string",
		`{"id":"a"}`:                "no list of tables",
		`[1]`:                       "no list of tables",
	} {
		var keys Keys
		if err := keys.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzKeysFile(f *testing.F) {
	key, _ := newKey(acme())
	text, err := FormatKeys(Keys{key})
	must.OK(f, err)
	f.Add(text)
	f.Add([]byte("[[proxy.key]]\nid = \"a\"\nexpires = 2027-01-31\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeysFile(text)
		if err != nil {
			return
		}
		again, err := FormatKeys(keys)
		must.OK(t, err)
		back, err := ParseKeysFile(again)
		must.OK(t, err)
		if want, got := asJSON(t, keys), asJSON(t, back); want != got {
			t.Errorf("%s is read back as %s", want, got)
		}
	})
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	must.OK(t, err)
	return string(text)
}

// TestKeysOfBothSources: those of the configuration and of the file are good together, and read anew together.
func TestKeysOfBothSources(t *testing.T) {
	dir := t.TempDir()
	first, secret := newKey(acme())
	inFile := acme()
	inFile.ID, inFile.Expires = "in-file", "2999-01-31"
	second, otherSecret := newKey(inFile)
	configured := Keys{first}
	registry := prometheus.NewRegistry()
	shown := newMetrics(registry)
	cfg := Config{KeysFile: filepath.Join(dir, "keys.toml"), RereadKeys: func() (Keys, error) { return configured, nil }}
	putFile(t, cfg.KeysFile, keysFile(t, second))
	k, err := newScopedKeys(cfg, always, shown, zerolog.Nop())
	must.OK(t, err)
	for _, s := range []string{secret, otherSecret} {
		if key, err := k.find(s); key == nil || err != nil {
			t.Errorf("%v, %v", key, err)
		}
	}
	if ends := seriesOf(t, registry, "pdns_distribute_proxy_key_expiry_timestamp_seconds"); ends != 1 {
		t.Errorf("%d ends are shown", ends)
	}
	refused := seriesOf(t, registry, "pdns_distribute_proxy_refused_total")
	if refused != 7 { // three reasons for each key, and no key at all
		t.Errorf("%d counters of refusals are shown", refused)
	}
	putFile(t, cfg.KeysFile, keysFile(t, first))
	if err := k.look(); err == nil || !strings.Contains(err.Error(), "two of this id") {
		t.Errorf("one id in both: %v", err)
	}
	configured = nil
	must.OK(t, k.look())
	if key, err := k.find(otherSecret); key != nil || err == nil {
		t.Errorf("a removed key: %v, %v", key, err)
	}
}
