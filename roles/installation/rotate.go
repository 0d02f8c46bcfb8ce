package installation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/private"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/settings"
)

// rotation replaces one kind of key. begin puts the new one beside the old one, so that both are good until finish.
// Both return the steps by which the operator brings it to the hosts.
type rotation struct {
	name          string
	of            string // whose; "" for the installation's
	begin, finish func(c *change, m *member) (steps func() []string, err error)
}

// kinds are the names of the rotations.
var kinds = []string{"nkey", "signing", "certificate", "ca"}

func rotations() map[string]rotation {
	return map[string]rotation{
		"nkey":        {"nkey", "node", (*change).beginNKey, (*change).finishNKey},
		"signing":     {"signing key", health.RolePrimary, (*change).beginSigning, (*change).finishSigning},
		"certificate": {"certificate", health.RoleBroker, (*change).renewCertificate, nil},
		"ca":          {"CA", "", (*change).beginCA, (*change).finishCA},
	}
}

// InitRotate is the command init rotate.
func InitRotate(_ context.Context, in command.Invocation) error {
	if err := rotate(in); err != nil {
		return fmt.Errorf("init rotate: %w", err)
	}
	return nil
}

func rotate(in command.Invocation) error {
	in.Args = fromFolder(in.Args)
	if len(in.Args) < 2 {
		return command.Misuse("name the folder, what to rotate, and whose, for example: pdns-distribute init rotate ./installation nkey ns1")
	}
	kind, whose, finish := in.Args[1], in.Args[2:], in.Options.Bool("finish")
	r, known := rotations()[kind]
	switch {
	case !known:
		return command.Misuse("%q is none of %s%s", kind, strings.Join(kinds, ", "), settings.DidYouMean(kind, kinds))
	case r.of == "" && len(whose) > 0:
		return command.Misuse("%s is of the whole installation: leave out %s", kind, whose[0])
	case r.of != "" && len(whose) != 1:
		return command.Misuse("name one %s behind %s", r.of, kind)
	case finish && r.finish == nil:
		return command.Misuse("there is nothing to finish for a %s: it replaces the one before at once", kind)
	}
	do, done := r.begin, "Made a new "+r.name
	if finish {
		do, done = r.finish, "Let go the old "+r.name
	}
	var steps func() []string
	c, err := alter(in.Args[0], func(c *change) (err error) {
		var m *member
		if r.of != "" {
			if m, err = c.owner(whose[0], r.of); err != nil {
				return err
			}
		}
		steps, err = do(c, m)
		return err
	})
	if err != nil {
		return err
	}
	if r.of != "" {
		done += " of " + whose[0]
	}
	return c.say(in.Stdout, done+" in "+c.dir+".", steps())
}

// owner is the node whose key is to be replaced: of a role, or any that has an nkey.
func (c *change) owner(id, of string) (*member, error) {
	m, err := c.named(id)
	switch {
	case err != nil:
		return nil, err
	case of == "node" && m.Role == health.RoleBroker:
		return nil, command.Misuse("%s is a broker, and has no nkey: it has a certificate", id)
	case of != "node" && m.Role != of:
		return nil, command.Misuse("%s is a %s, not a %s", id, m.Role, of)
	}
	return m, nil
}

// begun reports whether a second key is there, and refuses what does not fit to that.
func (c *change) begun(keys []string, kind, id string) error {
	if len(keys) > 1 {
		return command.Misuse("the rotation of %s of %s has begun already: bring it to an end first, by pdns-distribute init rotate --finish %s %s %s", kind, id, c.dir, kind, id)
	}
	return nil
}

func notBegun(keys []string, kind, id string) error {
	if len(keys) < 2 {
		return command.Misuse("no rotation of %s of %s has begun: there is nothing to finish", kind, id)
	}
	return nil
}

func (c *change) beginNKey(m *member) (func() []string, error) {
	if err := c.begun(m.NKeys, "nkey", m.ID); err != nil {
		return nil, err
	}
	file, err := m.newNKey()
	c.files = append(c.files, file)
	err = errors.Join(err, c.reconfirm())
	return func() []string {
		return append(append(c.accountSteps(), c.confirmSteps()...),
			c.copying(m.ID+"/"+nkeyFile, "the host of "+m.ID)+"\n    (mode 600, owned as the one before), and there:"+restarting(*m),
			c.finishing("nkey", m.ID))
	}, err
}

func (c *change) finishNKey(m *member) (func() []string, error) {
	if err := notBegun(m.NKeys, "nkey", m.ID); err != nil {
		return nil, err
	}
	m.NKeys = m.NKeys[:1]
	return func() []string { return append(c.accountSteps(), c.confirmSteps()...) }, c.reconfirm()
}

func (c *change) beginSigning(m *member) (func() []string, error) {
	if err := c.begun(m.SignKeys, "signing", m.ID); err != nil {
		return nil, err
	}
	file, err := m.newSignKey()
	if err != nil {
		return nil, err
	}
	c.files = append(c.files, file)
	return func() []string {
		return append(c.trustSteps(),
			"when all secondaries run with it: "+c.copying(m.ID+"/"+signFile, "the host of "+m.ID)+"\n    (mode 600, owned as the one before), and there:"+restarting(*m),
			c.resigning("so that all states are signed by the new key"),
			c.finishing("signing", m.ID))
	}, c.retrust()
}

func (c *change) finishSigning(m *member) (func() []string, error) {
	if err := notBegun(m.SignKeys, "signing", m.ID); err != nil {
		return nil, err
	}
	m.SignKeys = m.SignKeys[:1]
	return c.trustSteps, c.retrust()
}

// finishing is the last step of a beginning.
func (c *change) finishing(what ...string) string {
	return "when that works:" + line("pdns-distribute init rotate --finish "+strings.Join(append([]string{c.dir}, what...), " "))
}

// authority is the CA, with its key. Of several certificates in its file the first one is the key's.
func (c *change) authority() (ca broker.Certificate, err error) {
	if ca.CertPEM, err = os.ReadFile(filepath.Join(c.dir, caFile)); err != nil {
		return ca, err
	}
	ca.KeyPEM, err = private.Read(filepath.Join(c.dir, caKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return ca, fmt.Errorf("%s is not there: put it back for this command, it signs the certificate", filepath.Join(c.dir, caKeyFile))
	}
	return ca, err
}

func (c *change) renewCertificate(m *member) (func() []string, error) {
	ca, err := c.authority()
	if err != nil {
		return nil, err
	}
	files, err := m.certificate(ca, time.Now())
	c.files = append(c.files, files...)
	return func() []string {
		return []string{
			c.copying(m.ID+"/"+certFile, m.host()),
			c.copying(m.ID+"/"+keyFile, m.host()) + "\n    (mode 600, owned as the one before), and there:" + reloading(*m),
		}
	}, err
}

func (c *change) beginCA(*member) (func() []string, error) {
	before, err := os.ReadFile(filepath.Join(c.dir, caFile))
	if err != nil {
		return nil, err
	}
	if len(broker.Certificates(before)) > 1 {
		return nil, command.Misuse("the rotation of ca has begun already: bring it to an end first, by pdns-distribute init rotate --finish %s ca", c.dir)
	}
	ca, err := broker.NewCA("pdns-distribute", time.Now())
	if err != nil {
		return nil, err
	}
	c.putCA(slices.Concat(ca.CertPEM, before))
	c.put(initFile{caKeyFile, ca.KeyPEM, secret})
	return func() []string {
		steps := c.caSteps()
		for _, b := range c.of(health.RoleBroker) {
			steps = append(steps, "when all know the new CA, and then what it says:"+line("pdns-distribute init rotate "+c.dir+" certificate "+b.ID))
		}
		return append(steps, c.finishing("ca"))
	}, nil
}

// finishCA lets the old CA go, which no broker may need any more.
func (c *change) finishCA(*member) (func() []string, error) {
	both, err := os.ReadFile(filepath.Join(c.dir, caFile))
	if err != nil {
		return nil, err
	}
	authorities := broker.Certificates(both)
	if len(authorities) < 2 {
		return nil, command.Misuse("no rotation of ca has begun: there is nothing to finish")
	}
	newest := authorities[0] // beginCA puts it first
	for _, b := range c.of(health.RoleBroker) {
		certificate, err := os.ReadFile(filepath.Join(c.dir, b.ID, certFile))
		if err != nil {
			return nil, err
		}
		if err := broker.CheckSigned(certificate, newest); err != nil {
			return nil, fmt.Errorf("%s has a certificate of the old CA still: pdns-distribute init rotate %s certificate %s: %w", b.ID, c.dir, b.ID, err)
		}
	}
	c.putCA(newest)
	return c.caSteps, nil
}

// putCA gives all nodes the same authorities.
func (c *change) putCA(text []byte) {
	c.put(initFile{caFile, text, public})
	for _, m := range c.Nodes {
		c.put(initFile{m.ID + "/" + caFile, text, public})
	}
}

func (c *change) caSteps() (steps []string) {
	for _, m := range c.Nodes {
		host, then := "the host of "+m.ID, restarting(m)
		if m.Role == health.RoleBroker {
			host, then = m.host(), reloading(m)
		}
		steps = append(steps, c.copying(m.ID+"/"+caFile, host)+", and there:"+then)
	}
	return steps
}
