package proxy

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Key is one entry [[proxy.key]]: a scoped API key, with which a client may do less than all. What is not named in it
// is refused, whatever PowerDNS would say.
type Key struct {
	// ID names the key in logs, metrics and limits: 1 to 63 of a-z, 0-9, '.', '-' and '_'.
	ID string `json:"id"`

	// Hash is "sha256:" and the SHA-256 of the secret in hex, as NewSecret gives it.
	Hash string `json:"hash"`

	// Zones are patterns: "example.org" is that zone, "*.example.org" every zone below it at any depth and not itself,
	// "*" all zones.
	Zones []string `json:"zones"`

	// Verbs are what may be done with these zones, of the words that the table zoneRoutes has.
	Verbs []string `json:"verbs"`

	// Types are the record types that may be changed. Default: all but LUA, whose content is a program that PowerDNS
	// runs, and types given by a number.
	Types []string `json:"types,omitempty"`

	// Names are patterns for the owner names that may be changed, relative to the zone: "www" is that name, "@" the
	// zone's own. A first or last label "*" stands for one or more labels: "*.dyn" is every name below dyn,
	// "_acme-challenge.*" is _acme-challenge.www and _acme-challenge.a.b. Default: all.
	Names []string `json:"names,omitempty"`

	// DeletesPerHour is how many zones may be deleted within any hour. RRsets do not count. 0 is none.
	DeletesPerHour int `json:"deletes_per_hour,omitempty"`

	// Expires is when the key ends: a date, which is 00:00 UTC of that day, or a time in RFC 3339. Default: never.
	Expires string `json:"expires,omitempty"`

	// Rate is how many requests a second are taken, and as many at once. Default: 50.
	Rate float64 `json:"rate,omitempty"`
}

// Keys are the entries of one source. They are read strictly: an unknown member is an error.
type Keys []Key

// keyMembers are those that an entry may have.
var keyMembers = []string{
	"id", "hash", "zones", "verbs", "types", "names", "deletes_per_hour", "expires", "rate",
}

// UnmarshalText reads the entries as a JSON list of objects with the members of the TOML tables. Its errors say which
// entry is meant and do not quote its values.
func (k *Keys) UnmarshalText(text []byte) error {
	var entries []map[string]json.RawMessage
	if err := json.Unmarshal(text, &entries); err != nil {
		return errors.New("is no list of tables: write each key as [[proxy.key]]")
	}
	keys := make(Keys, len(entries))
	var faults []error
	for i, entry := range entries {
		if err := keys[i].read(entry); err != nil {
			faults = append(faults, fmt.Errorf("entry %d: %w", i+1, err))
		}
	}
	*k = keys
	return errors.Join(faults...)
}

func (k *Key) read(entry map[string]json.RawMessage) error {
	for _, member := range slices.Sorted(maps.Keys(entry)) {
		if !slices.Contains(keyMembers, member) {
			return fmt.Errorf("unknown key %q; it may have %s", member, strings.Join(keyMembers, ", "))
		}
	}
	text, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	err = json.NewDecoder(bytes.NewReader(text)).Decode(k)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s: a %s is no value for it", wrong.Field, wrong.Value)
	}
	return err
}

// SecretPrefix begins the secret of each scoped key, so that one is known by its looks where it should not be.
const SecretPrefix = "pdnsd_"

// NewSecret makes the secret of a key, with 256 random bits, and its hash. The hash is one plain SHA-256: nobody can
// guess such a secret, so a slow hash would protect nothing, and would let strangers keep the proxy busy.
func NewSecret() (secret, hash string) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	secret = SecretPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	digest := sha256.Sum256([]byte(secret))
	return secret, hashPrefix + hex.EncodeToString(digest[:])
}

const hashPrefix = "sha256:"

var hashForm = regexp.MustCompile(`^` + hashPrefix + `[0-9a-f]{64}$`)

// secretForm is what NewSecret makes.
var secretForm = regexp.MustCompile(`^` + SecretPrefix + `[A-Za-z0-9_-]{43}$`)

var keyID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// The bounds of numbers in an entry.
const (
	maxDeletes  = 1_000_000 // per hour; each is remembered for an hour
	maxRate     = 1_000_000
	defaultRate = 50
)

// Validate returns all that is wrong with the entries, each fault with the id of its key, and with ids and secrets that
// two entries share.
func (k Keys) Validate() error { return errors.Join(k.faults()...) }

func (k Keys) faults() []error {
	_, faults := k.scopes()
	return faults
}

// scopes makes of each entry what requests are judged by, by the hash of its secret.
func (k Keys) scopes() (byHash map[[sha256.Size]byte]*scope, faults []error) {
	byHash = map[[sha256.Size]byte]*scope{}
	ids := map[string]bool{}
	for _, key := range k {
		digest, s, err := key.scope()
		switch {
		case err != nil:
			faults = append(faults, err)
		case ids[key.ID]:
			faults = append(faults, fmt.Errorf("key %s: there are two of this id", key.ID))
		case byHash[digest] != nil:
			faults = append(faults, fmt.Errorf("key %s: has the secret of key %s", key.ID, byHash[digest].id))
		}
		ids[key.ID] = true
		byHash[digest] = s
	}
	return byHash, faults
}

func (k Key) scope() (digest [sha256.Size]byte, s *scope, err error) {
	if !keyID.MatchString(k.ID) || k.ID == powerdnsKey {
		return digest, nil, fmt.Errorf("key %.70q: the id is 1 to 63 of a-z, 0-9, '.', '-' and '_', and not %q",
			k.ID, powerdnsKey)
	}
	s = &scope{id: k.ID, deletes: k.DeletesPerHour, rate: k.Rate}
	if s.rate == 0 {
		s.rate = defaultRate
	}
	var faults []error
	fault := func(member string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("key %s: %s: %w", k.ID, member, err))
		}
	}
	digest, err = parseHash(k.Hash)
	fault("hash", err)
	s.zones, err = parseAll(k.Zones, parseZonePattern)
	fault("zones", errors.Join(err, needed(k.Zones, `write the zones, or "*" for all`)))
	s.verbs, err = parseAll(k.Verbs, parseVerb)
	fault("verbs", errors.Join(err, needed(k.Verbs, "write one or more of "+strings.Join(verbs, ", "))))
	s.types, err = parseAll(k.Types, parseType)
	fault("types", err)
	s.names, err = parseAll(k.Names, parseNamePattern)
	fault("names", err)
	s.expires, err = k.End()
	fault("expires", err)
	fault("verbs", k.checkLimited())
	fault("deletes_per_hour", k.checkDeletes())
	if k.Rate < 0 || k.Rate > maxRate {
		fault("rate", fmt.Errorf("%v is not between 0, which is the default, and %d", k.Rate, maxRate))
	}
	return digest, s, errors.Join(faults...)
}

// checkLimited: verbs that change the whole zone would lead around a limit to some of its records.
func (k Key) checkLimited() error {
	if len(k.Types) == 0 && len(k.Names) == 0 {
		return nil
	}
	for _, verb := range k.Verbs {
		if !slices.Contains(limitable, verb) {
			return fmt.Errorf("%s is about the whole zone: with types or names a key can have %s only",
				verb, strings.Join(limitable, ", "))
		}
	}
	return nil
}

func (k Key) checkDeletes() error {
	if k.DeletesPerHour < 0 || k.DeletesPerHour > maxDeletes {
		return fmt.Errorf("%d is not between 0 and %d", k.DeletesPerHour, maxDeletes)
	}
	if slices.Contains(k.Verbs, verbDelete) != (k.DeletesPerHour > 0) {
		return fmt.Errorf("goes together with the verb %s: give both or none", verbDelete)
	}
	return nil
}

func needed(list []string, what string) error {
	if len(list) == 0 {
		return errors.New("missing: " + what)
	}
	return nil
}

func parseAll[T any](texts []string, parse func(string) (T, error)) (parsed []T, err error) {
	var faults []error
	for _, text := range texts {
		one, err := parse(text)
		if err != nil {
			faults = append(faults, err)
		}
		parsed = append(parsed, one)
	}
	return parsed, errors.Join(faults...)
}

func parseHash(text string) (digest [sha256.Size]byte, err error) {
	if !hashForm.MatchString(text) {
		return digest, errors.New("is not \"sha256:\" and 64 hex digits; `pdns-distribute key add` makes a key with its hash")
	}
	_, err = hex.Decode(digest[:], []byte(text[len(hashPrefix):]))
	return digest, err
}

// ACME is what a client needs that proves domains by records of _acme-challenge: lego and acme.sh also send NOTIFY for
// zones of kind Master.
func ACME() (verbs, types, names []string) {
	return []string{verbRead, verbChange, verbNotify}, []string{"TXT"}, []string{"_acme-challenge", "_acme-challenge.*"}
}

// End is when the key ends; zero: never.
func (k Key) End() (time.Time, error) { return parseExpiry(k.Expires) }

func parseExpiry(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(form, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date such as 2027-01-31", text)
}

// verbs are all there are. What each of them covers is in zoneRoutes and serverRoutes.
var verbs = []string{verbRead, verbChange, verbCreate, verbDelete, verbDNSSEC, verbMetadata, verbNotify}

const (
	verbRead     = "read"
	verbChange   = "change"
	verbCreate   = "create"
	verbDelete   = "delete"
	verbDNSSEC   = "dnssec"
	verbMetadata = "metadata"
	verbNotify   = "notify"
)

// limitable are the verbs that types and names can be given with.
var limitable = []string{verbRead, verbChange, verbNotify}

func parseVerb(text string) (string, error) {
	if !slices.Contains(verbs, text) {
		return "", fmt.Errorf("%q is none of %s", text, strings.Join(verbs, ", "))
	}
	return text, nil
}

// recordType is what is compared: PowerDNS reads types in any case, and TYPE65 as HTTPS, which such a list does not
// name.
var recordType = regexp.MustCompile(`^[A-Z][A-Z0-9-]{0,19}$`)

func parseType(text string) (string, error) {
	if !recordType.MatchString(text) || text == "ANY" {
		return "", fmt.Errorf("%q is no record type such as \"TXT\"", text)
	}
	return text, nil
}

// zonePattern is which zones a key is for.
type zonePattern struct {
	name  zone.Name
	below bool // the zones below name, and not name itself
	all   bool
}

func parseZonePattern(text string) (p zonePattern, err error) {
	if text == "*" {
		return zonePattern{all: true}, nil
	}
	name, below := strings.CutPrefix(text, "*.")
	if strings.Contains(name, "*") {
		return p, fmt.Errorf("%q: a * stands alone, or first as in \"*.example.org\"", text)
	}
	p.below = below
	p.name, err = zone.ParseName(name)
	return p, err
}

func (p zonePattern) covers(name zone.Name) bool {
	switch {
	case p.all:
		return true
	case p.below:
		return name != p.name && name.Under(p.name)
	}
	return name == p.name
}

// namePattern is which names within a zone a key is for: labels from the left, and one or more of any kind before or
// after them.
type namePattern struct {
	labels        []string
	before, after bool
}

func parseNamePattern(text string) (p namePattern, err error) {
	rest := text
	switch {
	case text == "@":
		return p, nil
	case text == "*":
		return namePattern{after: true}, nil
	case strings.HasPrefix(text, "*."):
		p.before, rest = true, text[2:]
	case strings.HasSuffix(text, ".*"):
		p.after, rest = true, text[:len(text)-2]
	}
	if strings.Contains(rest, "*") || strings.HasSuffix(rest, ".") || rest == "@" {
		return p, fmt.Errorf("%q is no name relative to the zone, such as %q, %q, %q or %q",
			text, "www", "@", "*.dyn", "_acme-challenge.*")
	}
	name, err := zone.ParseName(rest)
	p.labels = name.Labels()
	return p, err
}

// covers reports whether the pattern is for these labels, which stand before those of the zone.
func (p namePattern) covers(labels []string) bool {
	more := len(labels) - len(p.labels)
	switch {
	case p.before:
		return more > 0 && slices.Equal(labels[more:], p.labels)
	case p.after:
		return more > 0 && slices.Equal(labels[:len(p.labels)], p.labels)
	}
	return slices.Equal(labels, p.labels)
}
