package settings

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Type is what a key's value must be, in words that end the sentence "this is not …".
type Type string

const (
	Text     Type = "a text"
	Whole    Type = "a whole number"
	Number   Type = "a number"
	Switch   Type = "true or false"
	Duration Type = "a duration"
	List     Type = "a list of texts"
	Tables   Type = "a list of tables"
)

// examples show each type as it is written in the file.
var examples = map[Type]string{
	Text:     `"ns1"`,
	Whole:    `8`,
	Number:   `0.5`,
	Switch:   `true`,
	Duration: `"15m"`,
	List:     `["a", "b"]`,
	Tables:   `[[section.key]]`,
}

// typeOf says how a Go type is written, and false for types that no key may have.
func typeOf(t reflect.Type) (Type, bool) {
	switch {
	case unmarshalsText(t) && t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return Tables, true
	case unmarshalsText(t):
		return Text, true
	case t == reflect.TypeFor[time.Duration]():
		return Duration, true
	case t == reflect.TypeFor[[]string]():
		return List, true
	}
	switch t.Kind() {
	case reflect.String:
		return Text, true
	case reflect.Bool:
		return Switch, true
	case reflect.Int, reflect.Int64, reflect.Uint32:
		return Whole, true
	case reflect.Float64:
		return Number, true
	}
	return "", false
}

func unmarshalsText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func (t Type) mayBeEmpty() bool { return t == Text || t == List || t == Tables }

// fromFile gives the text of a value of the TOML file, and false if it is not of the type.
func (t Type) fromFile(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, t == Text || t == Duration
	case int64:
		return strconv.FormatInt(v, 10), t == Whole || t == Number
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), t == Number
	case bool:
		return strconv.FormatBool(v), t == Switch
	case []any:
		if t == Tables {
			return encodeTables(v)
		}
		text, ok := joinList(v)
		return text, ok && t == List
	}
	return "", false
}

// encodeTables gives the text form of a TOML array of tables: JSON, dates as texts. The key's own type reads it.
func encodeTables(tables []any) (string, bool) {
	text, err := json.Marshal(tables)
	return string(text), err == nil
}

// refuseFile says why a value of the TOML file is not of the type.
func (t Type) refuseFile(value any) string {
	if n, whole := value.(int64); whole && t == Duration {
		return noUnit(strconv.FormatInt(n, 10))
	}
	if t == List {
		if items, list := value.([]any); list {
			return refuseList(items)
		}
	}
	return t.refusal(t.quote(value))
}

// refuseText says why a text from the environment or a flag, or one in quotes in the file, is not of the type.
func (t Type) refuseText(text string) string {
	if _, err := strconv.ParseInt(text, 10, 64); err == nil && t == Duration {
		return noUnit(text)
	}
	return t.refusal(strconv.Quote(text))
}

func (t Type) refusal(got string) string {
	return fmt.Sprintf("%s is not %s (for example %s)", got, t, examples[t])
}

func noUnit(number string) string {
	return fmt.Sprintf("%s has no unit: write %q for seconds, %q for minutes or %q for hours",
		number, number+"s", number+"m", number+"h")
}

// quote shows a value of the file. What was put where a text belongs may be a password that lacks its quotes: it is
// named by its kind only, for the message ends up in logs.
func (t Type) quote(value any) string {
	switch v := value.(type) {
	case string:
		if t.mayBeEmpty() {
			return "a text"
		}
		return strconv.Quote(v)
	case int64, float64, bool:
		if t.mayBeEmpty() {
			return "a value without quotes"
		}
		return fmt.Sprint(v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return "a date or time"
	}
}

// refuse says why the text of the key could not be read, given the error of its parser.
func (k Key) refuse(text string, err error) string {
	switch {
	case k.unmarshal:
		return err.Error() // its own words; the text may be a secret, and is not repeated
	case errors.Is(err, strconv.ErrRange):
		return fmt.Sprintf("%s is out of range", text)
	default:
		return k.Type.refuseText(text)
	}
}

// listSeparator stands between the items of a list outside of the TOML file.
const listSeparator = ","

// joinList gives the text form of a TOML array, and false if its items can't have one.
func joinList(items []any) (string, bool) {
	texts := make([]string, len(items))
	for i, item := range items {
		text, ok := item.(string)
		if !ok || text == "" || strings.Contains(text, listSeparator) {
			return "", false
		}
		texts[i] = text
	}
	return strings.Join(texts, listSeparator), true
}

// refuseList says which item joinList could not take.
func refuseList(items []any) string {
	for i, item := range items {
		switch text, ok := item.(string); {
		case !ok:
			return fmt.Sprintf("item %d of the list is not a text in quotes (for example %s)", i+1, examples[List])
		case text == "":
			return fmt.Sprintf("item %d of the list is empty", i+1)
		case strings.Contains(text, listSeparator):
			return fmt.Sprintf("item %d of the list holds a comma: make it two items", i+1)
		}
	}
	return List.refusal("this")
}

// trimList drops what people put around the items of "a, b,".
func trimList(text string) string {
	var items []string
	for item := range strings.SplitSeq(text, listSeparator) {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return strings.Join(items, listSeparator)
}
