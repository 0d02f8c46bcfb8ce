package doctor

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/private"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/primary"
)

// endsSoon is when the end of a certificate is a warning.
const endsSoon = 30 * 24 * time.Hour

// named is a file and the key that names it.
type named struct{ key, path string }

// files are secrets and certificates, as far as the role reads them.
func (e *examination) files() (f findings) {
	if e.role == health.RoleBroker {
		f.serverConfig(e)
	} else {
		b := e.cfg.Broker
		f.secrets("broker.secret", named{"broker.nkey_file", b.NKeyFile}, named{"broker.creds_file", b.CredsFile},
			named{"broker.password_file", b.PasswordFile}, named{"broker.token_file", b.TokenFile}, named{"broker.key_file", b.KeyFile})
		f.authorities("broker.ca", named{"broker.ca_file", b.CAFile}, e.now)
		f.certificate("broker.certificate", named{"broker.cert_file", b.CertFile}, e.now)
	}
	if e.role == health.RolePrimary || e.role == health.RoleSecondary {
		f.secrets("powerdns.secret", named{"powerdns.api_key_file", e.cfg.PowerDNS.APIKeyFile})
	}
	if _, err := os.Stat(e.cfg.PowerDNS.APIKeyFile); e.role == health.RoleProxy && err == nil {
		f.open("powerdns.secret", private.Check(e.cfg.PowerDNS.APIKeyFile)) // which it does not need, and need not have
	}
	f.signing(e)
	if e.besidePowerDNS() {
		f.authorities("powerdns.ca", named{"powerdns.ca_file", e.cfg.PowerDNS.CAFile}, e.now)
	}
	if e.role == health.RoleProxy {
		f.authorities("proxy.client_ca", named{"proxy.client_ca", e.cfg.Proxy.ClientCA}, e.now)
		f = append(f, e.proxyCertificate()...)
		f.scopedKeys(e)
	}
	return f
}

// scopedKeys are the keys that the proxy gives out: it does not start with ones that it cannot use.
func (f *findings) scopedKeys(e *examination) {
	const name = "proxy.keys"
	file := e.cfg.Proxy.KeysFile
	written, err := proxy.ReadKeysFile(file)
	if f.open(name, err) {
		return
	}
	if err != nil {
		f.fail(name, file, err.Error(), "correct that entry")
		f.run(here("pdns-distribute key list"))
		return
	}
	keys := len(written) + len(e.cfg.Proxy.Keys)
	if own, err := e.cfg.PowerDNS.ReadAPIKey(); keys > 0 && (err != nil || own == "") {
		f.fail(name, e.where(), "there are scoped keys, but not PowerDNS's own API key that the proxy needs for them",
			"write PowerDNS's api-key into a file of mode 600, name it in powerdns.api_key_file, and restart the proxy")
		return
	}
	if keys > 0 {
		f.ok(name, file, "scoped API keys: %d", keys)
	}
}

// signing is whether states are signed, and whether that is verified.
func (f *findings) signing(e *examination) {
	switch {
	case e.role == health.RolePrimary && e.cfg.Primary.SignKeyFile == "":
		f.warn("primary.sign_key_file", e.where(), "what this primary publishes is not signed: a compromised broker can forge zones",
			"set primary.sign_key_file (openssl genpkey -algorithm ed25519), and its public half as secondary.trusted_keys")
	case e.role == health.RolePrimary:
		if public, err := primary.SigningKey(e.cfg.Primary.SignKeyFile); f.open("primary.sign_key_file", err) {
			return
		} else if err != nil {
			f.fail("primary.sign_key_file", e.cfg.Primary.SignKeyFile, err.Error(), "copy it here from the folder that init wrote for this node")
		} else {
			f.ok("primary.sign_key_file", e.cfg.Primary.SignKeyFile, "secondary.trusted_keys must hold %s", public)
		}
	case e.role == health.RoleSecondary && len(e.cfg.Secondary.TrustedKeys) == 0:
		f.warn("secondary.trusted_keys", e.where(), "signatures of states are not verified: a compromised broker can forge zones",
			"name the primaries' public keys; once they sign, nothing else is applied here")
	case e.role == health.RoleSecondary:
		f.ok("secondary.trusted_keys", e.where(), "states are applied that one of %d keys signed", len(e.cfg.Secondary.TrustedKeys))
	}
}

// serverConfig is read as the role broker reads it.
func (f *findings) serverConfig(e *examination) {
	file := e.cfg.Server.Config
	var err error
	if e.server, err = broker.InspectServer(file); f.open("server.config", err) {
		return
	}
	if err != nil {
		f.fail("server.config", file, err.Error(), "put it right; the broker does not start before that")
		return
	}
	f.ok("server.config", file, "nats-server can run from it, and lets nobody in without credentials or unencrypted")
	if e.server.Certificate != nil {
		f.endOfBroker("server.certificate", file, e.server.Certificate, e.now, e.cfg.Node.ID)
	}
}

func (f *findings) secrets(name string, files ...named) {
	for _, file := range files {
		if file.path != "" {
			f.secret(name, file)
		}
	}
}

// secret is a file that its owner alone may read.
func (f *findings) secret(name string, file named) {
	info, err := os.Stat(file.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.fail(name, file.path, "there is no such file",
			"copy it here from the folder that init wrote for this node, or correct "+file.key)
		return
	case err != nil:
		f.fail(name, file.path, err.Error(), "let the user that runs the role read it")
		return
	case !info.Mode().IsRegular():
		f.fail(name, file.path, "it is no regular file", "correct "+file.key)
		return
	}
	if f.open(name, private.Check(file.path)) {
		return
	}
	switch text, err := os.ReadFile(file.path); {
	case err != nil:
		f.fail(name, file.path, err.Error(), "have it owned by the user that runs the role, who should also run the doctor")
	case len(bytes.TrimSpace(text)) == 0:
		f.fail(name, file.path, "it is empty", "write the secret into it that "+file.key+" is to hold")
	default:
		f.ok(name, file.path, "only its owner can read it")
	}
}

// open reports what others than the role can read or write, as the role does when it refuses to start.
func (f *findings) open(name string, err error) bool {
	faults := private.Faults(err)
	for _, fault := range faults {
		f.fail(name, fault.Path, fault.Found, fault.Remedy)
		line, _, _ := strings.Cut(fault.Remedy, ", or ")
		f.run(here(line))
	}
	return len(faults) > 0
}

// authorities is a file of CA certificates. The one that lasts longest counts: an ended one beside it does no harm.
func (f *findings) authorities(name string, file named, now time.Time) {
	certificates := f.certificates(name, file)
	if len(certificates) == 0 {
		return
	}
	last := certificates[0]
	for _, c := range certificates {
		if c.NotAfter.After(last.NotAfter) {
			last = c
		}
	}
	f.end(name, file.path, last, now, "put the CA's next certificate into "+file.path+" as well, before others are signed by it")
}

// certificate is a file whose first certificate is this node's own.
func (f *findings) certificate(name string, file named, now time.Time) {
	if certificates := f.certificates(name, file); len(certificates) > 0 {
		f.end(name, file.path, certificates[0], now, "have another one signed, and put it in its place")
	}
}

// certificates reads a file, and nothing where none is named.
func (f *findings) certificates(name string, file named) []*x509.Certificate {
	if file.path == "" {
		return nil
	}
	text, err := private.ReadPublic(file.path)
	if f.open(name, err) {
		return nil
	}
	if err != nil {
		f.fail(name, file.path, err.Error(), "copy it here from the folder that init wrote for this node, or correct "+file.key)
		return nil
	}
	found, err := parseCertificates(text)
	if err != nil {
		f.fail(name, file.path, err.Error(), "put the certificates (PEM) there that "+file.key+" is to hold, or correct the key")
		return nil
	}
	return found
}

func parseCertificates(text []byte) (found []*x509.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	if len(found) == 0 {
		return nil, errors.New("it holds no certificate (PEM)")
	}
	return found, nil
}

// endOfBroker is about the certificate of a broker.
func (f *findings) endOfBroker(name, object string, c *x509.Certificate, now time.Time, id string) {
	f.end(name, object, c, now, "make another one for the broker in the installation's folder")
	if id != "" && (*f)[len(*f)-1].Result != ok {
		f.run(inFolder("rotate certificate " + health.Quoted(id)))
	}
}

// end judges how long a certificate is still good.
func (f *findings) end(name, object string, c *x509.Certificate, now time.Time, remedy string) {
	day := c.NotAfter.UTC().Format(time.DateOnly)
	left := c.NotAfter.Sub(now)
	switch {
	case left <= 0:
		f.fail(name, object, "the certificate ended on "+day, remedy)
	case now.Before(c.NotBefore):
		f.fail(name, object, "the certificate is good only from "+c.NotBefore.UTC().Format(time.DateTime)+" UTC on",
			"set this host's clock, if it is behind")
	case left < endsSoon:
		f.warn(name, object, fmt.Sprintf("the certificate ends on %s, in %s", day, counted(int(left.Hours()/24), "day")), remedy)
	default:
		f.ok(name, object, "the certificate ends on %s", day)
	}
}

// proxyCertificate is what the proxy's clients are shown.
func (e *examination) proxyCertificate() (f findings) {
	const name = "proxy.certificate"
	own := e.cfg.Proxy.TLSCert == ""
	object := e.cfg.Proxy.TLSCert
	if own {
		object = e.cfg.Proxy.StateDir
	}
	certificate, err := e.cfg.Proxy.Certificate()
	switch {
	case own && errors.Is(err, fs.ErrNotExist):
		f.ok(name, object, "the proxy makes a pair of its own when it starts")
	case f.open(name, err):
	case own && err != nil:
		f.fail(name, object, err.Error(), "remove proxy.crt and proxy.key there: the proxy makes them anew when it starts")
	case err != nil:
		f.fail(name, object, err.Error(), "put certificate and key there that belong together, the key with mode 600")
	case own && certificate.NotAfter.Sub(e.now) < endsSoon:
		f.warn(name, object, "the proxy's own certificate ends on "+certificate.NotAfter.UTC().Format(time.DateOnly),
			"let the proxy run: it makes another one, which its clients must be given")
	default:
		f.end(name, object, certificate, e.now, "have another one signed, and put it in its place: the proxy takes it by itself")
	}
	return f
}
