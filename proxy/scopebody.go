package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"pdns-distribute/powerdns/zone"
)

const (
	// maxDepth of values in each other: PowerDNS's API needs five.
	maxDepth = 16

	// maxValues in one body. Records have two in some 22 bytes, so that fewer fit into maxChecked.
	maxValues = 200_000
)

// decodeStrictly decodes one JSON value so that PowerDNS (json11) cannot read another one in the same bytes. It refuses
// what the two read differently: an object with a key twice, of which json11 takes the last, and what is not UTF-8.
// Keys are compared exactly, which encoding/json does not do for structs.
func decodeStrictly(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, deny("the body is not in UTF-8")
	}
	if !json.Valid(body) {
		return nil, errNotJSON
	}
	dec := &strictDecoder{json.NewDecoder(bytes.NewReader(body)), maxValues}
	dec.UseNumber()
	value, err := dec.value(maxDepth)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	return value, nil
}

var errNotJSON = deny("the body is not JSON")

// strictDecoder decodes no more values than are left.
type strictDecoder struct {
	*json.Decoder
	left int
}

func (dec *strictDecoder) value(depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, errNotJSON
	}
	if dec.left--; dec.left < 0 {
		return nil, deny("the body has more than %d values", maxValues)
	}
	delim, nested := token.(json.Delim)
	switch {
	case !nested:
		return token, nil
	case depth == 0:
		return nil, deny("the body is nested too deep")
	case delim == '[':
		return dec.list(depth - 1)
	}
	return dec.object(depth - 1)
}

func (dec *strictDecoder) list(depth int) (any, error) {
	list := []any{}
	for dec.More() {
		value, err := dec.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, dec.end()
}

func (dec *strictDecoder) object(depth int) (any, error) {
	object := map[string]any{}
	for dec.More() {
		token, err := dec.Token()
		key, is := token.(string)
		if err != nil || !is {
			return nil, errNotJSON
		}
		if _, twice := object[key]; twice {
			return nil, deny("the body has %.40q twice in one object", key)
		}
		if object[key], err = dec.value(depth); err != nil {
			return nil, err
		}
	}
	return object, dec.end()
}

func (dec *strictDecoder) end() error {
	if _, err := dec.Token(); err != nil {
		return errNotJSON
	}
	return nil
}

// The members that objects of PowerDNS's API have (4.7 to 5.1). A member that is not listed is refused: it may mean
// something to another version of PowerDNS.
var (
	// describing members are in what PowerDNS answers, and clients send them back. PowerDNS does not read them.
	describing = []string{"id", "name", "type", "url", "serial", "edited_serial", "notified_serial", "last_check"}

	settingMembers = []string{
		"kind", "masters", "account", "catalog", "soa_edit", "soa_edit_api", "api_rectify",
		"master_tsig_key_ids", "slave_tsig_key_ids",
	}
	dnssecMembers = []string{"dnssec", "nsec3param", "nsec3narrow", "presigned"}

	// patchMembers but rrsets are not read in a PATCH.
	patchMembers  = slices.Concat(describing, settingMembers, dnssecMembers, []string{"rrsets"})
	createMembers = slices.Concat(patchMembers, []string{"nameservers"})

	rrsetMembers     = []string{"name", "type", "ttl", "changetype", "records", "comments", "kind"}
	recordMembers    = []string{"content", "disabled", "set-ptr", "name", "type", "ttl", "modified_at"}
	commentMembers   = []string{"content", "account", "modified_at"}
	cryptokeyMembers = []string{
		"type", "id", "keytype", "active", "published", "dnskey", "ds", "cds",
		"privatekey", "content", "algorithm", "bits", "flags",
	}
	metadataMembers = []string{"kind", "metadata", "type"}
)

// changeTypes are all that PowerDNS has; it takes any case. EXTEND and PRUNE came with 4.9.12.
var changeTypes = []string{"REPLACE", "DELETE", "EXTEND", "PRUNE"}

// kinds are those that a scoped key may give a zone; PowerDNS takes any case. A CONSUMER makes and deletes zones of any
// name as its master's catalog says, and a PRODUCER's content is made of other zones.
var kinds = []string{"NATIVE", "MASTER", "SLAVE", "PRIMARY", "SECONDARY"}

// object takes a value for an object that has no other members.
func object(value any, what string, members []string) (map[string]any, error) {
	o, is := value.(map[string]any)
	if !is {
		return nil, deny("%s is no object", what)
	}
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if !slices.Contains(members, key) {
			return nil, deny("%s has the member %.40q, which is not known", what, key)
		}
	}
	return o, nil
}

// each checks the items of a list. One that is missing has none.
func each(o map[string]any, key string, check func(any) error) error {
	list, is := o[key].([]any)
	if !is && o[key] != nil {
		return deny("%s is no list", key)
	}
	for _, item := range list {
		if err := check(item); err != nil {
			return err
		}
	}
	return nil
}

// only is for bodies that say nothing of other zones, names or types.
func only(members []string) func(*scope, *operation, any) error {
	return func(_ *scope, _ *operation, body any) error {
		_, err := object(body, "the body", members)
		return err
	}
}

// checkMetadata: this one names a script that PowerDNS runs. PowerDNS refuses to set it by its API, too (4.7 to 5.1).
func (s *scope) checkMetadata(op *operation, body any) error {
	o, err := object(body, "the body", metadataMembers)
	if err != nil {
		return err
	}
	kind, _ := o["kind"].(string)
	const script = "LUA-AXFR-SCRIPT"
	if upper(kind) == script || strings.HasSuffix(upper(op.path), "/"+script) {
		return deny("the metadata %s is not in any scope", script)
	}
	return nil
}

func (s *scope) checkPatch(op *operation, body any) error {
	o, err := object(body, "the body", patchMembers)
	if err != nil {
		return err
	}
	if _, is := o["rrsets"].([]any); !is {
		return deny("the body has no list of rrsets")
	}
	return s.checkRRsets(op.zone, o, true)
}

// checkPut asks for the verb of each member. RRsets in it replace all that the zone has, since 4.9.
func (s *scope) checkPut(op *operation, body any) error {
	o, err := object(body, "the body", patchMembers)
	if err != nil {
		return err
	}
	known := false
	for _, part := range []struct {
		verb    string
		members []string
	}{{verbChange, []string{"rrsets"}}, {verbDNSSEC, dnssecMembers}, {verbMetadata, settingMembers}} {
		given := slices.ContainsFunc(part.members, func(key string) bool { _, is := o[key]; return is })
		if given && !s.allows(part.verb) {
			return deny("the verb %s is not in its scope", part.verb)
		}
		known = known || given
	}
	if !known {
		return deny("the body has nothing that a verb covers")
	}
	if _, replaces := o["rrsets"]; replaces && len(s.names)+len(s.types) > 0 {
		return deny("PUT replaces all rrsets, and not all are in its scope; use PATCH")
	}
	return errors.Join(s.checkSettings(o), s.checkRRsets(op.zone, o, false))
}

func (s *scope) checkCreate(op *operation, body any) error {
	o, err := object(body, "the body", createMembers)
	if err != nil {
		return err
	}
	name, err := plainName(o["name"])
	if err != nil {
		return err
	}
	op.zone = name
	if !s.coversZone(name) {
		return deny("the zone %s is not in its scope", name)
	}
	return errors.Join(s.checkSettings(o), s.checkRRsets(name, o, false))
}

// checkSettings: those of a zone must not reach others. Who is in a catalog zone is part of that zone's content.
func (s *scope) checkSettings(o map[string]any) error {
	if kind, is := o["kind"].(string); o["kind"] != nil && (!is || !slices.Contains(kinds, upper(kind))) {
		return deny("the kind is none of %s", strings.Join(kinds, ", "))
	}
	if o["catalog"] == nil || o["catalog"] == "" {
		return nil
	}
	name, err := plainName(o["catalog"])
	if err != nil {
		return err
	}
	if !s.coversZone(name) {
		return deny("the catalog zone %s is not in its scope", name)
	}
	return nil
}

func (s *scope) checkRRsets(of zone.Name, o map[string]any, patch bool) error {
	return each(o, "rrsets", func(rrset any) error { return s.checkRRset(of, rrset, patch) })
}

func (s *scope) checkRRset(of zone.Name, value any, patch bool) error {
	o, err := object(value, "an rrset", rrsetMembers)
	if err != nil {
		return err
	}
	name, err := plainName(o["name"])
	if err != nil {
		return err
	}
	typ, err := plainType(o["type"])
	if err != nil {
		return err
	}
	changeType, _ := o["changetype"].(string)
	switch {
	case !name.Under(of):
		return deny("the name %s is not in the zone %s", name, of)
	case !s.coversName(name, of):
		return deny("the name %s is not in its scope", name)
	case !s.coversType(typ):
		return deny("the type %s is not in its scope", typ)
	case patch && !slices.Contains(changeTypes, upper(changeType)):
		return deny("the changetype of %s is none of %s", name, strings.Join(changeTypes, ", "))
	}
	return errors.Join(each(o, "records", checkRecord), each(o, "comments", func(comment any) error {
		_, err := object(comment, "a comment", commentMembers)
		return err
	}))
}

// checkRecord: set-ptr wrote into the zone of the address, up to 4.2.
func checkRecord(value any) error {
	o, err := object(value, "a record", recordMembers)
	if err != nil {
		return err
	}
	if ptr := o["set-ptr"]; ptr != nil && ptr != false {
		return deny("set-ptr writes into another zone")
	}
	return nil
}

// nameBytes are those that PowerDNS takes in names of writes, with '*'. It undoes escapes first; they are not taken
// here.
const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.-*"

// plainName is a name as PowerDNS's API writes it: with the closing dot, without escapes.
func plainName(value any) (zone.Name, error) {
	text, is := value.(string)
	foreign := func(r rune) bool { return !strings.ContainsRune(nameBytes, r) }
	if !is || strings.ContainsFunc(text, foreign) || !strings.HasSuffix(text, ".") {
		return "", deny("a name is no text with a closing dot and without escapes")
	}
	name, err := zone.ParseName(text)
	if err != nil {
		return "", deny("a name is no domain name")
	}
	return name, nil
}

// plainType is a type in capitals: PowerDNS takes any case.
func plainType(value any) (string, error) {
	text, _ := value.(string)
	typ := upper(text)
	if !recordType.MatchString(typ) {
		return "", deny("a type is no record type")
	}
	return typ, nil
}

// upper leaves all but ASCII letters, as PowerDNS does.
func upper(text string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, text)
}
