package broker

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"pdns-distribute/roles/private"
)

// security gives the options that encrypt the connection, check the broker, and authenticate this node.
func (c Config) security() ([]nats.Option, error) {
	if err := c.checkSecretFiles(); err != nil {
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
		return nats.NkeyOptionFromSeed(c.NKeyFile)
	case c.CredsFile != "":
		return nats.UserCredentials(c.CredsFile), nil
	case c.User != "":
		return nats.UserInfoHandler(func() (string, string) { return c.User, readSecret(c.PasswordFile) }), nil
	case c.TokenFile != "":
		return nats.TokenHandler(func() string { return readSecret(c.TokenFile) }), nil
	default:
		return nil, nil
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

func (c Config) checkSecretFiles() error {
	return errors.Join(
		checkSecretFile("key_file", c.KeyFile),
		checkSecretFile("nkey_file", c.NKeyFile),
		checkSecretFile("creds_file", c.CredsFile),
		checkSecretFile("password_file", c.PasswordFile),
		checkSecretFile("token_file", c.TokenFile),
	)
}

// checkSecretFile refuses a secret that others on the host can read.
func checkSecretFile(key, file string) error {
	if file == "" {
		return nil
	}
	if err := private.Check(file); err != nil {
		return fault(key, "%v", err)
	}
	return nil
}
