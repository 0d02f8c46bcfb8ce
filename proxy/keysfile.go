package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"pdns-distribute/private"
)

// ReadKeysFile reads a TOML file that holds [[proxy.key]] tables and nothing else, readable by its owner alone. One
// that is not there holds none.
func ReadKeysFile(name string) (Keys, error) {
	if err := private.Check(name); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 { // it is just being written
		return nil, fmt.Errorf("%s is empty; remove it if there shall be no keys", name)
	}
	keys, err := ParseKeysFile(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}

// ParseKeysFile reads the text of a keys file. What it returns is valid.
func ParseKeysFile(text []byte) (Keys, error) {
	var document map[string]any
	if err := toml.Unmarshal(text, &document); err != nil {
		return nil, tomlFault(err)
	}
	if len(document) == 0 {
		return nil, nil
	}
	section, _ := document["proxy"].(map[string]any)
	entries, has := section["key"]
	if !has || len(section) > 1 || len(document) > 1 {
		return nil, errors.New("a keys file holds [[proxy.key]] tables and nothing else")
	}
	encoded, err := json.Marshal(entries)
	if err != nil {
		return nil, err
	}
	var keys Keys
	if err := keys.UnmarshalText(encoded); err != nil {
		return nil, err
	}
	return keys, keys.Validate()
}

// tomlFault says where a text stops being TOML, and does not quote it.
func tomlFault(err error) error {
	var syntax *toml.DecodeError
	if !errors.As(err, &syntax) {
		return errors.New("this is no TOML")
	}
	line, column := syntax.Position()
	return fmt.Errorf("line %d, column %d: this is no TOML", line, column)
}

// FormatKeys writes valid keys as a keys file has them.
func FormatKeys(keys Keys) ([]byte, error) {
	if err := keys.Validate(); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	for i, k := range keys {
		if i > 0 {
			text.WriteByte('\n')
		}
		fmt.Fprintf(&text, "[[proxy.key]]\nid = %q\nhash = %q\n", k.ID, k.Hash)
		for _, list := range []struct {
			name  string
			items []string
		}{{"zones", k.Zones}, {"verbs", k.Verbs}, {"types", k.Types}, {"names", k.Names}} {
			if len(list.items) > 0 {
				fmt.Fprintf(&text, "%s = [%s]\n", list.name, quoted(list.items))
			}
		}
		if k.DeletesPerHour > 0 {
			fmt.Fprintf(&text, "deletes_per_hour = %d\n", k.DeletesPerHour)
		}
		if k.Expires != "" {
			fmt.Fprintf(&text, "expires = %q\n", k.Expires)
		}
		if k.Rate > 0 {
			fmt.Fprintf(&text, "rate = %s\n", strconv.FormatFloat(k.Rate, 'f', -1, 64))
		}
	}
	return text.Bytes(), nil
}

// quoted is what stands between the brackets of a TOML list of texts.
func quoted(items []string) string {
	var list []string
	for _, item := range items {
		text, _ := json.Marshal(item) // JSON's escapes are TOML's, too
		list = append(list, string(text))
	}
	return strings.Join(list, ", ")
}

// RemoveKey cuts the tables of a key out of the text of a keys file, and leaves all else of it as it is. It reports
// whether there was one.
func RemoveKey(text []byte, id string) (rest []byte, was bool, err error) {
	keys, err := ParseKeysFile(text)
	i := slices.IndexFunc(keys, func(k Key) bool { return k.ID == id })
	if err != nil || i < 0 {
		return text, false, err
	}
	lines := strings.SplitAfter(string(text), "\n")
	var heads []int
	for n, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "[[") {
			heads = append(heads, n)
		}
	}
	byHand := fmt.Errorf("the entry of %s cannot be cut out of this file; remove it by hand", id)
	if len(heads) != len(keys) {
		return text, true, byHand
	}
	rest = []byte(strings.Join(slices.Delete(lines, heads[i], endOfTable(lines, append(heads, len(lines))[i+1])), ""))
	want := slices.Delete(slices.Clone(keys), i, i+1)
	if left, err := ParseKeysFile(rest); err != nil || !slices.EqualFunc(left, want, sameKey) {
		return text, true, byHand
	}
	return rest, true, nil
}

// endOfTable leaves the comment above the next table with it.
func endOfTable(lines []string, next int) int {
	for next > 0 && (strings.TrimSpace(lines[next-1]) == "" || strings.HasPrefix(strings.TrimSpace(lines[next-1]), "#")) {
		next--
	}
	return next
}

func sameKey(a, b Key) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}
