package broker

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"text/template"

	"github.com/nats-io/nkeys"
)

// RemoteAPIPrefix is the api_prefix of all but primaries on a broker with these accounts.
const RemoteAPIPrefix = "P.API"

// User is a node that may connect.
type User struct {
	ID         string   // node id
	PublicKeys []string // of its nkey, U…; a second one while one is being replaced by the other
}

// Accounts is who may connect, and what each may do: an account for each role, nkeys. All brokers of a cluster have the
// same.
type Accounts struct {
	Primaries   []User // in the account that owns the streams
	Health      []User
	Proxies     []User
	Secondaries []User
	System      []User // may watch and reload the server itself; may be empty
}

//go:embed accounts.tmpl
var accountsText string

var accounts = template.Must(template.New(AccountsFile).Parse(accountsText))

// Render gives the text of [AccountsFile]; it holds no secrets. All faults of ids and keys are reported at once
// (ErrConfig).
func (a Accounts) Render() ([]byte, error) {
	if err := a.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	var text bytes.Buffer
	if err := accounts.Execute(&text, a); err != nil {
		return nil, fmt.Errorf("write broker's accounts: %w", err)
	}
	return text.Bytes(), nil
}

// APIPrefix lets the template agree with the clients' settings.
func (Accounts) APIPrefix() string { return RemoteAPIPrefix }

// validate makes sure that each user is one node: with a shared id or key, one could read another's answers.
func (a Accounts) validate() error {
	var faults []error
	if len(a.Primaries) == 0 {
		faults = append(faults, errors.New("no primary; an installation needs one"))
	}
	owner := make(map[string]string)
	for _, users := range [][]User{a.Primaries, a.Health, a.Proxies, a.Secondaries, a.System} {
		for _, u := range users {
			faults = append(faults, u.validate())
			for _, unique := range append([]string{u.ID}, u.PublicKeys...) {
				if other, taken := owner[unique]; taken {
					faults = append(faults, fmt.Errorf("%q is used by both %q and %q", unique, other, u.ID))
				}
				owner[unique] = u.ID
			}
		}
	}
	return errors.Join(faults...)
}

// CheckPublicKey reports whether key is the public half of a node's nkey.
func CheckPublicKey(key string) error {
	if !nkeys.IsValidPublicUserKey(key) {
		return fmt.Errorf("%q is no public nkey of a user (U…)", key)
	}
	return nil
}

func (u User) validate() error {
	faults := []error{CheckNodeID(u.ID)}
	if len(u.PublicKeys) == 0 {
		faults = append(faults, fmt.Errorf("user %q has no nkey", u.ID))
	}
	for _, key := range u.PublicKeys {
		if err := CheckPublicKey(key); err != nil {
			faults = append(faults, fmt.Errorf("user %q: %w", u.ID, err))
		}
	}
	return errors.Join(faults...)
}
