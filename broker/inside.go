package broker

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"
)

// inside is the user by which a server proves itself and publishes its presence. Its key is in this process's memory
// alone, is made anew at each start, and counts only for connections within the process: there is nothing to install or
// to steal.
type inside struct {
	key    nkeys.KeyPair
	public string
}

func newInside() (inside, error) {
	key, err := nkeys.CreateUser()
	if err != nil {
		return inside{}, err
	}
	public, err := key.PublicKey()
	return inside{key, public}, err
}

// coreAccount is the account that owns the streams, where accounts are as init writes them.
const coreAccount = "CORE"

// withinProcess is how nats-server calls connections within its process.
const withinProcess = "IN_PROCESS"

// admit adds the user to what a configuration permits, and reports whether that can be done: not where users are kept
// elsewhere, where the certificate is the user, or where nobody knows which account owns the streams.
func (i inside) admit(o *server.Options) bool {
	if len(o.TrustedOperators) > 0 || o.TLSMap || o.Username != "" || o.Authorization != "" || CheckNodeID(o.ServerName) != nil {
		return false
	}
	account := streamsOwner(o.Accounts)
	if account == nil && len(o.Accounts) > 0 {
		return false
	}
	o.Nkeys = append(o.Nkeys, &server.NkeyUser{
		Nkey: i.public, Account: account, Permissions: i.permissions(o.ServerName),
		AllowedConnectionTypes: map[string]struct{}{withinProcess: {}},
	})
	return true
}

func streamsOwner(accounts []*server.Account) *server.Account {
	for _, a := range accounts {
		if a.Name == coreAccount {
			return a
		}
	}
	return nil
}

// permissions are what proofs need, and no more.
func (i inside) permissions(name string) *server.Permissions {
	self := Sender{RoleBroker, name}
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			self.subject(statusPrefix), probeBlob(self).subject(), probeLease(self),
			statePrefix + noZone, self.subject(touchPrefix) + "." + noZone,
			defaultAPIPrefix + ".STREAM.INFO.*", defaultAPIPrefix + ".STREAM.MSG.GET.*",
			defaultAPIPrefix + ".CONSUMER.CREATE." + blobStream + ".*." + probeBlob(self).subject(),
			defaultAPIPrefix + ".CONSUMER.MSG.NEXT." + blobStream + ".*", defaultAPIPrefix + ".CONSUMER.INFO." + blobStream + ".*",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{insideInbox(name) + ".>"}},
	}
}

// insideInbox is no other node's: node ids begin with a letter or digit.
func insideInbox(name string) string { return "_INBOX__" + name }

// connect connects the server with itself.
func (i inside) connect(ns *server.Server, log zerolog.Logger) (*Conn, error) {
	c := unconnected(Sender{RoleBroker, ns.Name()}, log.Level(zerolog.WarnLevel))
	options := append(c.options(insideInbox(ns.Name())), nats.InProcessServer(ns), nats.Nkey(i.public, i.key.Sign))
	if err := c.dial("", options); err != nil {
		return nil, fmt.Errorf("connect the broker with itself: %w", err)
	}
	return c, nil
}
