package broker

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Config says where the broker is and how this node proves who it is. Exactly one kind of credentials must be given; a
// client certificate may be that one, or come beside another. Files with secrets must be readable by their owner alone.
// Files are read anew at each connection except the nkey's, so certificates and passwords can be exchanged in place.
type Config struct {
	// URLs are the brokers, such as "tls://broker1.example.net:4222"; a client moves on to the next when one fails.
	// Only tls:// is accepted, on loopback too. No default.
	URLs []string `toml:"urls" env:"URLS"`

	// CAFile holds the certificates (PEM) that the broker's certificate is checked against. Default: the system's.
	// The check itself can't be switched off.
	CAFile string `toml:"ca_file" env:"CA_FILE" path:"public"`

	// CertFile and KeyFile are a client certificate (PEM), for a broker with `verify: true`, or, as the only
	// credentials, with `verify_and_map: true`. Default: none.
	CertFile string `toml:"cert_file" env:"CERT_FILE" path:"public"`
	KeyFile  string `toml:"key_file" env:"KEY_FILE" path:"secret"`

	// NKeyFile holds a user's nkey seed (SU…), as `pdns-distribute init` writes it: the broker keeps no secret.
	NKeyFile string `toml:"nkey_file" env:"NKEY_FILE" path:"secret"`

	// CredsFile holds a JWT and seed, for brokers with operator accounts (Synadia Cloud, nsc).
	CredsFile string `toml:"creds_file" env:"CREDS_FILE" path:"secret"`

	// User and PasswordFile are for existing brokers with passwords.
	User         string `toml:"user" env:"USER"`
	PasswordFile string `toml:"password_file" env:"PASSWORD_FILE" path:"secret"`

	// TokenFile holds a token, for existing brokers with tokens.
	TokenFile string `toml:"token_file" env:"TOKEN_FILE" path:"secret"`

	// APIPrefix is where the JetStream API is reached. "P.API" for secondaries and proxies on a broker set up by
	// `init`: they sit in accounts of their own, which import the little of the API they need under that name.
	APIPrefix string `toml:"api_prefix" env:"API_PREFIX" envDefault:"$JS.API"`

	// InboxPrefix is what the subjects of answers to this node begin with. A node may subscribe to its own answers
	// only. Default: "_INBOX_" and the node id, which is what `init` permits.
	InboxPrefix string `toml:"inbox_prefix" env:"INBOX_PREFIX"`
}

// defaultAPIPrefix is where a client in the account that owns the streams finds the JetStream API.
const defaultAPIPrefix = "$JS.API"

// Validate reports all faults of the configuration at once; it reads no files.
func (c Config) Validate() error {
	return errors.Join(c.checkURLs(), c.checkCertificate(), c.checkCredentials(),
		checkPrefix("api_prefix", c.APIPrefix), checkPrefix("inbox_prefix", c.InboxPrefix))
}

func fault(key, format string, args ...any) error {
	return configFault{fmt.Sprintf("broker.%s: %s", key, fmt.Sprintf(format, args...))}
}

// configFault is an ErrConfig whose text begins with the key, by which whoever read the file finds the line.
type configFault struct{ text string }

func (f configFault) Error() string { return f.text }

func (f configFault) Unwrap() error { return ErrConfig }

func (c Config) checkURLs() error {
	if len(c.URLs) == 0 {
		return fault("urls", `is empty; name at least one broker, such as "tls://broker.example.net:4222"`)
	}
	var faults []error
	for _, u := range c.URLs {
		faults = append(faults, checkURL(u))
	}
	return errors.Join(faults...)
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// The error of url.Parse would repeat the whole URL, which might hold a password.
		return fault("urls", `an entry is no URL; write it as "tls://HOST:4222"`)
	case u.User != nil:
		return fault("urls", "%q has credentials in it; use broker.nkey_file, or broker.user with broker.password_file",
			u.Redacted())
	case u.Scheme != "tls":
		return fault("urls", `"%s://%s" isn't encrypted; write "tls://%s" and give the broker a certificate `+
			"(`pdns-distribute init` makes one)", u.Scheme, u.Host, u.Host)
	case u.Hostname() == "":
		return fault("urls", `an entry names no host; write it as "tls://HOST:4222"`)
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return fault("urls", `%q has something after the port; write "tls://%s"`, s, u.Host)
	}
	return nil
}

func (c Config) checkCertificate() error {
	switch {
	case c.CertFile != "" && c.KeyFile == "":
		return fault("key_file", "is missing; broker.cert_file needs the private key beside it")
	case c.CertFile == "" && c.KeyFile != "":
		return fault("cert_file", "is missing; broker.key_file needs the certificate beside it")
	}
	return nil
}

func (c Config) checkCredentials() error {
	var given []string
	for _, k := range []struct{ key, value string }{
		{"nkey_file", c.NKeyFile}, {"creds_file", c.CredsFile}, {"user", c.User}, {"token_file", c.TokenFile},
	} {
		if k.value != "" {
			given = append(given, "broker."+k.key)
		}
	}
	switch {
	case c.User != "" && c.PasswordFile == "":
		return fault("password_file", "is missing; broker.user needs it")
	case c.User == "" && c.PasswordFile != "":
		return fault("user", "is missing; broker.password_file needs it")
	case len(given) == 0 && c.CertFile == "" && c.KeyFile == "":
		return fault("nkey_file", "is missing; no one connects without credentials. Name the seed file that "+
			"`pdns-distribute init` wrote for this node, or set creds_file, user with password_file, or token_file")
	case len(given) > 1:
		return fault("nkey_file", "%s are all set; keep one of them", strings.Join(given, " and "))
	}
	return nil
}

func checkPrefix(key, prefix string) error {
	if strings.ContainsAny(prefix, "*> \t\r\n") || strings.HasPrefix(prefix, ".") || strings.HasSuffix(prefix, ".") {
		return fault(key, "%q is no subject; write words joined by dots, without wildcards", prefix)
	}
	return nil
}
