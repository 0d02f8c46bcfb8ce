package broker

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/nats-io/nats.go"

	"pdns-distribute/private"
)

// security gives the options that encrypt the connection, check the broker, and authenticate this node.
func (c Config) security() ([]nats.Option, error) {
	if err := c.checkFiles(); err != nil {
		return nil, err
	}
	user, err := c.userOption()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	options := []nats.Option{
		user, // nil, which nats.go skips, where the certificate is all there is
		nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13}),
		nats.TLSHandshakeFirst(), // nothing, not even the server's INFO, passes unencrypted
	}
	if c.CAFile != "" {
		options = append(options, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		options = append(options, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	return append(options, bounded), nil
}

func (c Config) userOption() (nats.Option, error) {
	switch {
	case c.NKeyFile != "":
		signing, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		return plainNonces(signing), err
	case c.CredsFile != "":
		return plainNonces(nats.UserCredentials(c.CredsFile)), nil
	case c.User != "":
		return nats.UserInfoHandler(func() (string, string) { return c.User, readSecret(c.PasswordFile) }), nil
	case c.TokenFile != "":
		return nats.TokenHandler(func() string { return readSecret(c.TokenFile) }), nil
	default:
		return nil, nil
	}
}

// nonce is what a nats-server (2.15) has clients sign: base64.
var nonce = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// plainNonces signs nothing else. The nonce is the broker's choice: one that has been broken into would have this node
// sign a [Confirmation], or whatever else its key vouches for.
func plainNonces(signing nats.Option) nats.Option {
	return func(o *nats.Options) error {
		if err := signing(o); err != nil {
			return err
		}
		sign := o.SignatureCB
		o.SignatureCB = func(challenge []byte) ([]byte, error) {
			if !nonce.Match(challenge) {
				return nil, errors.New("the broker wants something signed that is no nonce: see who runs it")
			}
			return sign(challenge)
		}
		return nil
	}
}

// readSecret returns nothing when the file can't be read: the broker refuses that, and the refusal is logged and
// retried. The file was readable when the connection was made up.
func readSecret(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(content))
}

// checkFiles refuses a secret that others on the host can read, and certificates that others can write.
func (c Config) checkFiles() error {
	return errors.Join(
		checkFile("ca_file", c.CAFile, private.CheckPublic),
		checkFile("cert_file", c.CertFile, private.CheckPublic),
		checkFile("key_file", c.KeyFile, private.Check),
		checkFile("nkey_file", c.NKeyFile, private.Check),
		checkFile("creds_file", c.CredsFile, private.Check),
		checkFile("password_file", c.PasswordFile, private.Check),
		checkFile("token_file", c.TokenFile, private.Check),
	)
}

func checkFile(key, file string, check func(string) error) error {
	if file == "" {
		return nil
	}
	if err := check(file); err != nil {
		return fault(key, "%v", err)
	}
	return nil
}
